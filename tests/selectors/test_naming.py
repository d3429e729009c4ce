"""Selectors by name, as people write them, and those of other packages."""

from importlib.metadata import EntryPoint

import pytest

from adacore.selectors import (
    SELECTORS,
    AdaCore,
    GradMatch,
    PerBatch,
    PerClass,
    Random,
    Whole,
    describe,
    installed_selectors,
    known_selectors,
    label,
    make_selector,
    parse_selector,
    registry,
)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("adacore", AdaCore()),
        (" adacore ( ) ", AdaCore()),
        ("adacore(weighting=uniform, average_gradient=false)", AdaCore(weighting="uniform", average_gradient=False)),
        ("adacore(damping=1e-3,beta1=0,samples=2)", AdaCore(damping=1e-3, beta1=0, samples=2)),
        ("adacore(curvature=none)", AdaCore(curvature=None)),
        ("adacore(per=data)", Whole(AdaCore())),
        ("adacore(per=class)", PerClass(AdaCore())),
        ("gradmatch(per=batch, batch_size=32, lam=0)", PerBatch(GradMatch(lam=0), batch_size=32)),
    ],
)
def test_text_is_read_and_written_the_same(text, selector):
    assert parse_selector(text) == selector
    assert parse_selector(describe(selector)) == selector


@pytest.mark.parametrize("name", SELECTORS)
def test_every_name_gives_its_selector_with_default_settings(name):
    selector = make_selector(name)
    assert (selector.name, describe(selector), label(selector)) == (name, name, name)


def test_labels_name_folders_and_do_not_depend_on_how_the_text_was_written():
    one, other = (
        parse_selector(t) for t in ("adacore(beta1=0.80, weighting=sqrt)", "adacore(weighting=sqrt,beta1=.8)")
    )
    assert label(one) == label(other) == "adacore-weighting=sqrt-beta1=0.8"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("adcore", ValueError, "unknown selector 'adcore': did you mean 'adacore'"),
        (
            "adacore(weightning=uniform)",
            ValueError,
            "setting of adacore 'weightning': did you mean 'weighting'",
        ),
        ("adacore(weighting=unifrom)", ValueError, "unknown weighting 'unifrom': did you mean 'uniform'"),
        ("adacore(beta1=1)", ValueError, r"beta1=1 is outside \[0, 1\)"),
        ("adacore(beta1=high)", TypeError, "beta1='high' is not a number"),
        ("adacore(block_size=1.5)", TypeError, "block_size=1.5 is not a whole number"),
        ("adacore(average_gradient=0)", TypeError, "average_gradient=0 is neither true nor false"),
        ("adacore(beta1=0.5, beta1=0.6)", ValueError, "gives beta1 twice"),
        ("adacore(uniform)", ValueError, "'uniform' in .* is no setting"),
        ("adacore(beta1=)", ValueError, "is no setting"),
        ("adacore)", ValueError, "is no method"),
        ("", ValueError, "is no method"),
        ("craig(name=x)", ValueError, "unknown setting of craig 'name'"),
        ("craig(per=clas)", ValueError, "unknown per 'clas': did you mean 'class'"),
        ("craig(batch_size=8)", ValueError, 'batch_size=8 is for per="batch"'),
        ("random(seed=1)", ValueError, "unknown setting of random 'seed'"),
        (None, TypeError, "is no method"),
    ],
)
def test_mistakes_are_told_with_the_nearest_name(text, error, message):
    with pytest.raises(error, match=message):
        parse_selector(text)


class Installed(Random):
    name = "installed"


@pytest.fixture
def installed(monkeypatch):
    points = [
        EntryPoint("installed", f"{__name__}:Installed", registry.GROUP),
        EntryPoint("missing", "no_such_module_of_adacore:Selector", registry.GROUP),
        EntryPoint("random", "collections:OrderedDict", registry.GROUP),
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda point: Installed if point.name == "installed" else _load(point))
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])
    return points


_load = EntryPoint.load


def test_selectors_of_other_packages_are_found_by_name(installed):
    assert isinstance(make_selector("installed"), Installed)
    assert known_selectors()["installed"] is Installed


def test_a_broken_one_does_not_break_the_others(installed):
    assert "missing" not in known_selectors()
    assert make_selector("random") == Random()
    with pytest.raises(ValueError, match=r"installed selector 'missing' does not load .*no_such_module_of_adacore"):
        make_selector("missing")


def test_none_may_take_the_name_of_a_built_in_one(installed):
    assert known_selectors()["random"] is Random
    assert isinstance(installed_selectors()["random"], ValueError)


def test_a_new_method_is_a_file_and_a_line(monkeypatch):
    import sys
    from types import ModuleType

    import adacore.selectors

    class New(Random):
        name = "new_one"

    file = ModuleType("adacore.selectors.new_one")
    file.New = New
    monkeypatch.setitem(sys.modules, "adacore.selectors.new_one", file)
    monkeypatch.setitem(registry._CLASSES, "new_one", "New")
    assert isinstance(make_selector("new_one"), New)
    assert parse_selector("new_one(per=data)").selector == New()
    assert adacore.selectors.New is New
    assert "new_one" in known_selectors()
    with pytest.raises(AttributeError, match="no attribute 'Newer'"):
        _ = adacore.selectors.Newer
