"""The doctor: finds what is wrong, says so, and is not stopped by it."""

import io
import time

import pytest
from rich.console import Console

from adacore.cli import main
from adacore.experiments import doctor
from adacore.selectors import SELECTORS, Random, Traits, registry


def printed(width=160):
    stream = io.StringIO()
    healthy = doctor.run(Console(file=stream, width=width))
    return healthy, stream.getvalue()


@pytest.fixture
def few(monkeypatch):
    """Leave a single selector in the table, so that a test takes no longer than it must."""
    monkeypatch.setattr("adacore.selectors.SELECTORS", {"random": Random})


def test_all_is_well_here_within_half_a_minute():
    start = time.perf_counter()
    healthy, text = printed()
    assert healthy
    assert time.perf_counter() - start < 30
    assert all(f"selector {name}" in text for name in SELECTORS)
    assert "FAILED" not in text
    assert "All is well" in text


def test_a_selector_that_breaks_its_promises_is_named(few, monkeypatch):
    class Liar(Random):
        traits = Traits(randomised=False)

    monkeypatch.setattr(
        "adacore.selectors.installed_selectors", lambda: {"liar": Liar, "gone": ImportError("no module named gone")}
    )
    healthy, text = printed()
    assert not healthy
    assert "selector liar (installed)" in text
    assert "the answer depends on the seed" in " ".join(text.replace("│", " ").split())
    assert "does not load: no module named gone" in text
    assert "checks failed: selector liar (installed), selector gone (installed)." in text


def test_a_selector_that_needs_settings_is_named(few, monkeypatch):
    class Needy(Random):
        def __init__(self, setting):
            raise NotImplementedError

    monkeypatch.setattr("adacore.selectors.installed_selectors", lambda: {"needy": Needy})
    (finding,) = [f for f in doctor.diagnose() if f.part.startswith("selector needy")]
    assert not finding.healthy
    assert "cannot be made without settings" in finding.detail


def test_what_is_wrong_with_the_machine_does_not_stop_it(few, monkeypatch):
    monkeypatch.setattr(doctor, "_compiled", lambda: (_ for _ in ()).throw(OSError("no such library")))
    findings = {finding.part: finding for finding in doctor.diagnose()}
    assert not findings["compiled code"].healthy
    assert findings["compiled code"].detail == "no such library"
    assert findings["forked workers"].healthy


def test_a_cache_folder_that_cannot_be_written_to_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert str(tmp_path) in doctor._cache()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "set NUMBA_CACHE_DIR" in doctor._cache()


def test_the_command_exits_with_one_if_something_failed(few, monkeypatch, capsys):
    monkeypatch.setattr("adacore.selectors.installed_selectors", dict)
    assert main(["doctor"]) == 0
    monkeypatch.setattr("adacore.selectors.installed_selectors", lambda: {"gone": ImportError("gone")})
    assert main(["doctor"]) == 1
    capsys.readouterr()


def test_entry_points_are_looked_for_under_the_documented_group():
    assert registry.GROUP == "adacore.selectors"


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    def without(name):
        def version(package):
            if package == name:
                raise doctor.PackageNotFoundError
            return "1"

        return version

    for package, command in (("scipy", "pip install 'adacore[experiments]'"), ("numba", "pip install adacore")):
        monkeypatch.setattr(doctor, "version", without(package))
        with pytest.raises(RuntimeError) as error:
            doctor._packages()
        assert str(error.value) == f"not installed: {package}: {command}"
