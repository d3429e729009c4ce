"""The paper's set-ups: each is what the paper says, loads, and trains a batch; results are computed from records."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from adacore.experiments.data import ArrayDataset, Splits
from adacore.experiments.paper import configure, parts_of, reproduce, write_results
from adacore.experiments.paper.__main__ import main
from adacore.experiments.paper.claims import count_outcomes, judge_claims, reproduced
from adacore.experiments.paper.convex import judge_convex
from adacore.experiments.paper.differences import differences
from adacore.experiments.paper.pictures import average, draw, has_curves
from adacore.experiments.paper.quotes import wrong_quotes
from adacore.experiments.paper.records import is_small, read_records
from adacore.experiments.paper.results import results
from adacore.experiments.paper.run import take_over
from adacore.experiments.paper.set_ups import (
    ALIASES,
    group,
    load_set_up,
    set_up_names,
)
from adacore.experiments.paper.small import TRAIN, shrink
from adacore.experiments.runs.arms import parse_arm
from adacore.experiments.runs.comparison import compare
from adacore.experiments.runs.resumable_run import train
from adacore.experiments.runs.settings import CompareConfig
from adacore.selectors import AdaCore

CONVEX = {"figure1", "figure2", "figure6"}  # have a form of their own
NAMES = [*set_up_names(), *set_up_names(convex=True)]
SET_UPS = [name for name in NAMES if name not in CONVEX | {"demo"}]
ITEMS = sorted({name.partition("-")[0] for name in SET_UPS})


def tiny(data: str) -> Splits:
    """Data of the right form and a few random examples."""
    shape, classes = {"mnist": ((1, 28, 28), 10), "bdd100k": ((3, 64, 64), 7)}.get(data, ((3, 32, 32), 10))
    generator = torch.Generator().manual_seed(0)
    n = 6 * classes
    images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)
    train_set = ArrayDataset(images, torch.arange(n) % classes)
    test_set = train_set.take(torch.arange(classes))
    names = tuple(str(c) for c in range(classes))
    return Splits(data, train_set, test_set, shape, classes, names, validation=test_set)


@pytest.mark.parametrize("name", SET_UPS)
def test_every_set_up_loads_and_its_selectors_can_be_made(name: str) -> None:
    config = configure(parts_of(name))[name]
    assert {run.seed for run in config.runs()} == set(range(config.seeds))
    for method in config.methods:
        assert parse_arm(method).selector.name


def batches() -> list[Any]:
    """One run of each method with each model, data set and optimizer: set-ups that differ in numbers alone are one."""
    seen: dict[tuple[str, ...], Any] = {}
    for name in SET_UPS:
        settings = load_set_up(name)
        for method in settings["methods"]:
            key = (settings["data"].partition("-")[0], settings["model"], settings["optimizer"], method)
            heavy = settings["model"] in {"resnet18", "resnet50"} and name != "table8-adacore"
            seen.setdefault(
                key, pytest.param(name, method, id=f"{name}-{method}", marks=[pytest.mark.slow] if heavy else [])
            )
    return list(seen.values())


@pytest.mark.parametrize(("name", "method"), batches())
def test_every_set_up_trains_a_batch(name: str, method: str, tmp_path: Path) -> None:
    config = configure(parts_of(name), overrides={"methods": [method]})[name]
    run = replace(config.runs()[0], epochs=1, budget=10, fraction=None, batch_size=10, tensorboard=False, validation=0)
    (row,) = train(run, tmp_path / "run", splits=tiny(config.data))
    assert math.isfinite(row["train_loss"])
    # Strata are an order of all examples and no coreset: an epoch takes the budget from them.
    assert row["gradient_evaluations"] == (row["coreset_size"] or run.budget)


def test_the_set_ups_mean_the_papers_adacore() -> None:
    """Set-ups write just ``adacore``: should its defaults become others, they must spell the paper's out."""
    plain = AdaCore()
    assert (plain.weighting, plain.scope, plain.block_size, plain.proxy) == ("cluster", "block", 64, "logits")
    assert plain.average_gradient
    assert plain.average_curvature


@pytest.mark.parametrize(
    "name", [name for name in SET_UPS if not name.startswith(("figure9", "cifar10", "stratified", "uniform"))]
)
def test_the_papers_common_settings(name: str) -> None:
    config = configure(parts_of(name))[name]
    assert config.weight_decay == 1e-4
    assert (config.learning_rate, config.schedule) == (0.1, "paper")
    if config.optimizer == "sgd":
        assert (config.momentum, config.damped_momentum) == (0.9, True)
    small = name.startswith(("table7", "table8")) or name == "table3-b128"  # Figure 4 and Table 3; all others are 256
    expected = 128 if small else 256
    assert config.batch_size == (512 if name == "table3-b512" else expected)


def test_what_each_table_varies() -> None:
    assert [c.every for c in configure(parts_of("table2")).values()] == [20, 20, 10, 10, 5, 5]
    assert {(c.model, c.data, c.fraction) for c in configure(parts_of("table4")).values()} == {
        (model, data, fraction)
        for model, data in (("resnet20", "cifar10"), ("resnet18", "cifar10-imbalanced"))
        for fraction in (0.1, 0.3)
    }
    epochs = {c.methods[0].partition("(")[0]: c.epochs for c in configure(parts_of("table8")).values()}
    assert epochs == {"adacore": 200, "craig": 250, "random": 864, "gradmatch": 200, "glister": 300, "full": 40}
    assert {c.epochs for c in configure(parts_of("figure8b")).values()} == {200, 1000, 15}


def test_random_stands_beside_every_comparison() -> None:
    for item in ITEMS:
        if item != "figure5":
            configs = configure(parts_of(item))
            for parts in group(configs).values():
                methods = [method for part in parts for method in configs[part].methods]
                assert any(parse_arm(method).selector.name == "random" for method in methods), parts


def test_glister_has_a_held_out_set_and_the_others_all_of_the_data() -> None:
    for name in SET_UPS:
        settings = load_set_up(name)
        assert ("glister" in settings["methods"]) == (settings.get("validation", 0) > 0)


def test_figures_that_share_runs_are_found_by_either_name() -> None:
    for alias, name in ALIASES.items():
        assert parts_of(alias) == parts_of(name)
    with pytest.raises(ValueError, match="did you mean 'table2'"):
        parts_of("tabel2")


@pytest.mark.parametrize("name", sorted(CONVEX & set(NAMES)))
def test_convex_figures_say_how_they_are_run(name: str) -> None:
    with pytest.raises(ValueError, match="convex models"):
        parts_of(name)


def test_parts_that_differ_in_methods_alone_stand_in_one_comparison() -> None:
    assert list(group(configure(parts_of("table8")))) == ["table8"]
    assert group(configure(parts_of("table2-r20"))) == {"table2-r20": ["table2-r20", "table2-r20-glister"]}
    assert set(group(configure(parts_of("table2")))) == {"table2-r5", "table2-r10", "table2-r20"}


def test_overrides_win_and_methods_are_kept_where_they_belong() -> None:
    configs = configure(
        parts_of("table2-r20"), overrides={"model": "resnet20", "methods": "random, adacore(beta1=0.5)"}
    )
    assert list(configs) == ["table2-r20"]  # GLISTER was not asked for
    assert all(config.model == "resnet20" for config in configs.values())
    assert configs["table2-r20"].methods == ("random", "adacore(beta1=0.5)")
    assert configure(parts_of("figure9"), overrides={"budget": 500})["figure9"].size == {"budget": 500}
    with pytest.raises(ValueError, match="unknown setting"):
        configure(parts_of("figure9"), overrides={"epoch": 3})
    with pytest.raises(ValueError, match="unknown scale"):
        configure(parts_of("figure9"), scale="tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize("item", ITEMS)
def test_the_smaller_scale_costs_little_and_keeps_what_is_compared(item: str) -> None:
    parts = parts_of(item)
    for name, config in configure(parts, scale="small").items():
        assert list(config.methods) == parts[name]["methods"]
        assert config.seeds >= 3
        assert config.epochs >= 10
        assert isinstance(config.fraction, float)
        # Of coreset methods; Random and the full data may train for longer, as in the paper.
        if "adacore" in config.methods:
            assert config.fraction * TRAIN * config.epochs <= 61_000  # epochs are rounded
            assert config.epochs / int(config.every) <= 40


def test_the_smaller_scale_has_as_many_steps_an_epoch_where_coresets_are_small() -> None:
    sizes = {name: c.batch_size for name, c in configure(parts_of("table3"), scale="small").items()}
    assert sizes == {"table3-b512": 154, "table3-b256": 77, "table3-b128": 40}  # 150 in place of 500 examples


def test_the_smaller_scale_finds_its_data_where_it_is_told_to(tmp_path: Path) -> None:
    from adacore.experiments.data import load

    # An empty folder that is given and not one of the environment's: the error names it.
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load("adacore.experiments.paper.small:mnist", data_root=tmp_path)


def test_images_are_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    from adacore.experiments import data

    splits = tiny("cifar10")
    monkeypatch.setitem(data.DATASETS, "cifar10", lambda root: splits)
    monkeypatch.setattr("adacore.experiments.paper.small.find_root", lambda root: Path())
    small = shrink("cifar10")
    assert small.shape == (3, 16, 16)
    pixels, target = small.train[7]
    before, expected = splits.train[7]
    assert torch.equal(target, expected)
    assert torch.allclose(pixels, before.reshape(3, 16, 2, 16, 2).mean((2, 4)), atol=0.5 / 255 + 1e-6)


@pytest.fixture
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small versions find random images in place of MNIST."""
    from adacore.experiments import data

    splits = tiny("mnist")
    monkeypatch.setitem(data.DATASETS, "mnist", lambda root: splits)
    monkeypatch.setattr("adacore.experiments.paper.small.find_root", lambda root: Path())


@pytest.mark.slow
@pytest.mark.usefixtures("small_data")
def test_reproduce_runs_resumes_and_records(tmp_path: Path) -> None:
    settings = {"epochs": 2, "eval_every": 1, "seeds": 2, "methods": "craig,random", "tensorboard": False}
    (path,) = reproduce("figure9", scale="small", overrides=settings, out=tmp_path)
    record = json.loads(path.read_text())
    assert path == tmp_path / "records" / "figure9.json"
    assert [method["method"] for method in record["methods"]] == ["craig", "random"]
    assert record["methods"][0]["curves"]["1"]["epoch"] == [1, 2]
    assert is_small(record)
    assert (tmp_path / "figure9" / "report.html").is_file()
    checkpoints = sorted(tmp_path.rglob("checkpoint.pt"))
    before = [checkpoint.stat().st_mtime_ns for checkpoint in checkpoints]
    reproduce("figure9", scale="small", overrides={**settings, "methods": "craig,random,full"}, out=tmp_path)
    assert [checkpoint.stat().st_mtime_ns for checkpoint in checkpoints] == before
    assert len(sorted(tmp_path.rglob("checkpoint.pt"))) == len(checkpoints) + 2


def method(name: str, accuracies: list[float], *, total: float = 1.0, seen: float = 0.5, **more: Any) -> dict[str, Any]:
    seconds = {"probing": 0.2 * total, "selecting": 0.1 * total, "training": 0.7 * total, "total": total}
    return {
        "method": name,
        "accuracy": {"mean": float(np.mean(accuracies)), "low": None, "high": None, "n": len(accuracies)},
        "accuracies": {str(seed): accuracy for seed, accuracy in enumerate(accuracies)},
        "seconds": seconds,
        "gradient_evaluations": 1000,
        "fraction_seen": seen,
        "against_random": None,
        "settings": {},
        **more,
    }


def record_of(*methods: dict[str, Any], name: str = "table4-cifar10-s10", **settings: Any) -> dict[str, Any]:
    shipped = {k: v for k, v in load_set_up(name).items() if k not in {"methods", "seeds"}}
    return {"name": name, "made_with": "torch", "settings": {**shipped, **settings}, "methods": list(methods)}


def outcome(claim: dict[str, list[Any]], record: dict[str, Any]) -> str:
    (finding,) = judge_claims([claim], record)
    return finding.outcome


def test_claims_are_judged_by_paired_seeds() -> None:
    ours, theirs = method("adacore", [0.7, 0.8, 0.6, 0.5]), method("craig", [0.68, 0.775, 0.58, 0.479])
    record = record_of(ours, theirs)
    assert outcome({"better": ["adacore", "craig"]}, record) == "holds"
    assert outcome({"better": ["craig", "adacore"]}, record) == "does not hold"
    assert outcome({"better": ["adacore", "random"]}, record) == "not run"
    noisy = record_of(method("adacore", [0.7, 0.5, 0.6]), method("craig", [0.5, 0.69, 0.55]))
    assert outcome({"better": ["adacore", "craig"]}, noisy) == "can't be told"  # the mean is higher, that is all


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_prove_no_claim(seeds: int) -> None:
    record = record_of(method("adacore", [0.9, 0.901][:seeds]), method("craig", [0.5, 0.501][:seeds]))
    (finding,) = judge_claims([{"better": ["adacore", "craig"]}], record)
    assert finding.outcome == "can't be told"
    assert "run at least 3" in finding.why


def test_claims_of_one_table_are_corrected_for_each_other() -> None:
    """A difference that would be significant alone is not among eight that are not."""
    generator = np.random.default_rng(0)
    random = 0.5 + generator.normal(0, 0.02, 5)
    ours = random + 0.01 + np.array([-0.008, 0.004, -0.003, 0.005, 0.002])
    others = [method(f"m{k}", (random + generator.normal(0, 0.02, 5)).tolist()) for k in range(7)]
    record = record_of(method("adacore", ours.tolist()), method("random", random.tolist()), *others)
    alone = {"better": ["adacore", "random"]}
    assert outcome(alone, record) == "holds"
    among = [alone, *({"better": ["adacore", f"m{k}"]} for k in range(7))]
    assert judge_claims(among, record)[0].outcome == "can't be told"


def test_other_claims() -> None:
    accuracies = [0.7, 0.71, 0.72]
    record = record_of(
        method("adacore", accuracies, total=10, seen=0.4, first_ranks={"forgetting": 2.0}),
        method("full", [a + 0.001 * (k - 1) for k, a in enumerate(accuracies)], total=25, seen=1.0,
               first_ranks={"forgetting": 3.0}),
    )  # fmt: skip
    assert outcome({"cheaper": ["adacore", "full", 2.5]}, record) == "holds"
    assert outcome({"cheaper": ["adacore", "full", 2.6]}, record) == "does not hold"
    assert outcome({"sees_less": ["adacore", "full"]}, record) == "holds"
    assert outcome({"first_ranks_above": ["adacore", 1.0, "forgetting"]}, record) == "holds"
    assert outcome({"first_ranks_below": ["adacore", "full", "forgetting"]}, record) == "holds"
    assert outcome({"first_ranks_below": ["adacore", "full", "uncertainty"]}, record) == "not run"
    with pytest.raises(ValueError, match="unknown kind of claim"):
        judge_claims([{"beter": ["adacore", "full"]}], record)


def test_as_accurate_is_no_guess() -> None:
    """Cheap, but nobody knows whether it is within a point: one seed, or seeds far apart."""
    for ours, theirs in (([0.7], [0.7]), ([0.6, 0.8, 0.7], [0.7, 0.7, 0.69])):
        record = record_of(method("adacore", ours, total=1), method("full", theirs, total=10))
        assert outcome({"cheaper": ["adacore", "full", 2.0]}, record) == "can't be told"


def test_the_page_counts_claims_and_gives_no_verdict_on_a_mixture() -> None:
    claims = [{"better": ["adacore", "craig"]}, {"better": ["adacore", "random"]}]
    best, middle, worst = ([0.7 + d, 0.8 + d, 0.6 + d, 0.65 + d] for d in (0.1, 0.05, 0.0))

    def counted(adacore: list[float], craig: list[float], random: list[float]) -> str:
        methods = (method("adacore", adacore), method("craig", craig), method("random", random))
        return count_outcomes(judge_claims(claims, record_of(*methods)))

    assert counted(best, middle, worst) == "2 hold"
    assert counted(middle, best, worst) == "1 holds, 1 does not hold"
    assert counted(worst, best, middle) == "2 do not hold"
    missing = record_of(method("adacore", best), method("craig", worst))
    assert count_outcomes(judge_claims(claims, missing)) == "1 holds, 1 was not run"


def test_an_accuracy_is_reproduced_within_two_points() -> None:
    assert reproduced(70.6, 68.6) == reproduced(70.6, 72.6) == "yes"
    assert reproduced(57.3, 37.3) == "no (−20.0)"
    entry = {"item": "T", "about": "A", "record": "table4-cifar10-s10", "paper": {"adacore": [70.6]}, "why": "A guess."}
    page = results([entry], {"table4-cifar10-s10": record_of(method("adacore", [0.5] * 3))})
    assert "| AdaCore no (−20.6) |" in page
    assert "(within 2 points): AdaCore no (−20.6). A guess." in page


def test_a_card_says_what_ended_early() -> None:
    record = record_of(method("adacore", [0.5] * 3, diverged=[1], unfinished=[3, 4]))
    page = results([{"item": "T", "about": "A", "record": record["name"]}], {record["name"]: record})
    assert "| 3, 1 diverged, 2 unfinished, not counted |" in page


def test_what_is_not_in_the_paper_and_what_has_no_data_stand_apart() -> None:
    record = record_of(method("adacore", [0.5] * 3))
    entries = [
        {"item": "Ours", "about": "A", "record": record["name"], "own": True},
        {"item": "Table 6", "about": "B", "record": "table6", "without_data": "nobody has it"},
        {"item": "Table 8", "about": "C", "record": "table8"},
    ]
    page = results(entries, {record["name"]: record})
    assert page.index("Not in the paper") < page.index("| Ours |") < page.index("## Data not available")
    assert "- Table 6: nobody has it" in page
    assert "adacore reproduce table8" in page
    assert "adacore reproduce table6" not in page


def test_says_how_a_record_differs_from_the_set_up() -> None:
    record = record_of(*(method(name, [0.7] * 3) for name in ("adacore", "craig")), model="resnet18")
    told = "; ".join(differences(record))
    assert "model resnet18 instead of resnet20" in told
    assert "without Random" in told
    same = record_of(*(method(name, [0.7] * 3) for name in ("adacore", "craig", "random")))
    assert differences(same) == []


def test_a_smaller_scale_is_said_and_reproduces_no_accuracy() -> None:
    name = "table4-cifar10-s10"
    (config,) = configure(parts_of(name), scale="small").values()
    record = record_of(method("adacore", [0.706] * 3), **vars(config))
    record["settings"].pop("methods")
    page = results([{"item": "T", "about": "", "record": name, "paper": {"adacore": [70.6]}}], {name: record})
    assert "| T | smaller scale, 3 seeds |" in page
    assert (
        "**Smaller scale**: 3,000 training and 3,000 test images of 16 × 16 pixels; LeNet in place of ResNet-20" in page
    )
    assert "100 epochs in place of 200, the learning rate's schedule scaled alike; R = 10 in place of 20" in page
    assert "| smaller scale: not comparable |" in page
    assert "AdaCore yes" not in page
    assert "adacore reproduce table4-cifar10-s10 --scale small" in page


def test_runs_that_were_cut_off_are_said_to_be() -> None:
    record = {**record_of(method("adacore", [0.5] * 3), name="uniform-first60"), "cut_off": 60, "command": "python x"}
    page = results([{"item": "T", "about": "A", "record": record["name"]}], {record["name"]: record})
    assert "| T | the first 60 of 200 epochs, 3 seeds |" in page
    assert "**Cut off** after 60 of 200 epochs" in page
    assert "\n    python x\n" in page


def test_a_method_that_holds_out_data_is_named() -> None:
    record = record_of(method("adacore", [0.5] * 3), method("glister", [0.4] * 3, settings={"validation": 0.1}))
    page = results([{"item": "T", "about": "A", "record": record["name"]}], {record["name"]: record})
    assert "**Less data**: GLISTER holds out 10" in page


def convex_record(figure: int, **ends: list[float]) -> dict[str, Any]:
    def run(method: str, end: float) -> dict[str, Any]:
        selecting = 500 if method == "adacore" else 0
        curve = {"residuals": [1.0, end], "evaluations": [100, 1000], "selecting_evaluations": selecting}
        return {**curve, "gradient_difference": end}

    runs = {method: {"0.1": [run(method, end) for end in values]} for method, values in ends.items()}
    return {"command": "c", "config": {"figure": figure, "solvers": ["sgd"], "seeds": 5}, "runs": {"sgd": runs}}


def test_convex_claims_are_judged_by_seeds_and_count_selecting() -> None:
    random = [2e-3, 4e-3, 3e-3, 2.5e-3, 3.5e-3]
    record = convex_record(1, adacore=[end / 5 for end in random], random=random, full=[1e-5] * 5)
    claims = [{"lower": ["sgd", "adacore", "random"]}, {"fewer_gradients": ["sgd", "adacore", "full", 1.0]}]
    lower, fewer = judge_convex(claims, record)
    assert lower.outcome == "holds"
    assert "5 times lower" in lower.why
    assert fewer.outcome == "does not hold"  # as many in training, and 500 to select
    assert "1,500 gradients, selecting included" in fewer.why
    noisy = convex_record(2, adacore=[1e-3, 9e-3, 1e-2, 1e-3, 5e-3], random=random)
    assert judge_convex(claims[:1], noisy)[0].outcome == "can't be told"
    two = convex_record(1, adacore=[1e-9, 2e-9], random=[1e-3, 2e-3])
    assert judge_convex(claims[:1], two)[0].outcome == "can't be told"  # two seeds, however far apart
    with pytest.raises(ValueError, match="unknown kind of claim"):
        judge_convex([{"lowr": ["sgd", "adacore", "random"]}], record)


def test_a_convex_figure_says_how_it_stands_to_random() -> None:
    random = [2e-3, 4e-3, 3e-3, 2.5e-3, 3.5e-3]
    record = convex_record(1, adacore=[end / 5 for end in random], random=random)
    entry = {"item": "Figure 1", "about": "A", "record": "figure1", "claims": [{"lower": ["sgd", "adacore", "random"]}]}
    page = results([entry], {"figure1": record})
    assert "| Figure 1 | full scale, 5 seeds | SGD: **yes** | SGD: 5 times lower (" in page
    assert "| Figure 1 | holds | – | – |" in page


def test_a_seed_that_diverged_is_drawn_at_what_it_had_reached() -> None:
    whole = {"epoch": [1, 2, 4], "test_accuracy": [0.2, 0.4, 0.8], "gradient_evaluations": [10, 20, 40]}
    ended = {"epoch": [1, 2], "test_accuracy": [0.3, 0.1], "gradient_evaluations": [10, 20]}
    other = {"epoch": [1, 4], "test_accuracy": [0.0, 0.6], "gradient_evaluations": [10, 40]}
    x, y = average([ended, whole, other])
    assert x.tolist() == [10, 20, 40]
    assert y.tolist() == [[30, 10, 10], [20, 40, 80], [0, pytest.approx(20), 60]]


def test_the_committed_page_is_what_the_records_make(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    if not (root / "docs" / "records" / "paper.yaml").is_file():
        pytest.skip("no docs/records: not a checkout")
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["python -m adacore.experiments.paper", "--check"])
    assert main() == 0, capsys.readouterr().out


def test_every_figure_and_table_has_a_row_and_every_claim_is_of_a_known_kind(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "docs" / "records"
    if not (folder / "paper.yaml").is_file():
        pytest.skip("no docs/records: not a checkout")
    entries = yaml.safe_load((folder / "paper.yaml").read_text())
    told = " ".join(entry["item"] for entry in entries)
    for number in range(1, 10):
        assert f"Table {number}" in told or f"Tables {number}" in told or f"and {number}" in told, number
        assert f"Figure {number}" in told or f"Figures {number}" in told, number
    for entry in entries:
        if entry["record"].removeprefix("convex-") in CONVEX:
            continue
        methods = {method for part in parts_of(entry["record"]).values() for method in part["methods"]}
        assert set(entry.get("paper", {})) <= methods, entry["item"]
        for claim in entry.get("claims", ()):
            assert outcome(claim, {"methods": []}) == "not run"
            (about,) = claim.values()
            scores = {"forgetting", "uncertainty"}
            assert {part for part in about if isinstance(part, str)} - scores <= methods, entry["item"]
    page = write_results(folder, tmp_path / "results.md").read_text()
    assert all(entry["item"] in page for entry in entries)


def test_records_are_read_back_and_damaged_ones_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json is no record"):
        read_records(tmp_path)


def test_the_digits_demo_is_a_comparison() -> None:
    if "demo" in NAMES:
        assert set(load_set_up("demo")) <= set(CompareConfig.__dataclass_fields__)


def test_a_figure_that_is_not_what_its_record_says_is_found(tmp_path: Path) -> None:
    records = {"demo": record_of(method("adacore", [0.9444, 0.9446, 0.9442]))}
    page = tmp_path / "page.md"

    def wrong(text: str) -> str:
        page.write_text(f"first line\n{text}\n")
        return "\n".join(wrong_quotes(page, records))

    assert (
        wrong("AdaCore (94.4 %<!-- record demo: adacore accuracy -->, 3<!-- record demo: adacore seeds --> seeds)")
        == ""
    )
    assert wrong("−94.4<!-- record demo: adacore accuracy x -1 -->") == ""
    assert "line 2: 94.5 is quoted" in wrong("94.5 %<!-- record demo: adacore accuracy -->")
    assert "no record demo2" in wrong("94.4 %<!-- record demo2: adacore accuracy -->")
    assert "says nothing of 'craig accuracy'" in wrong("94.4 %<!-- record demo: craig accuracy -->")
    assert "follows no figure" in wrong("nothing<!-- record demo: adacore accuracy -->")
    records["search"] = {"rows": [{"score": 0.97715, "residual": 2.63e-4}]}
    assert (
        wrong("97.7 %<!-- record search: rows/0/score x 100 --> and 2.6e-4<!-- record search: rows/0/residual -->")
        == ""
    )
    assert "97.8 is quoted" in wrong("97.8 %<!-- record search: rows/0/score x 100 -->")
    assert "2.7e-4 is quoted" in wrong("2.7e-4<!-- record search: rows/0/residual -->")
    assert "says nothing of 'rows/1/score'" in wrong("97.7<!-- record search: rows/1/score -->")


def test_a_card_shows_the_curves_of_its_record(tmp_path: Path) -> None:
    curve = {"epoch": [1, 2], "test_accuracy": [0.5, 0.7], "gradient_evaluations": [100, 200], "seconds": [1.0, 2.0]}
    record = record_of(method("adacore", [0.7] * 3, curves={"0": curve}), method("random", [0.7] * 3))
    assert has_curves(record)
    assert "AdaCore" in draw(record, tmp_path / "pictures" / "t.svg").read_text()
    page = results([{"item": "T", "about": "A", "record": record["name"]}], {record["name"]: record})
    assert f"(pictures/{record['name']}.svg)" in page


def test_every_picture_of_the_committed_page_is_there() -> None:
    page = Path(__file__).parents[2] / "docs" / "results.md"
    if not page.is_file():
        pytest.skip("no docs: not a checkout")
    for name in re.findall(r"\]\((pictures/[^)]+)\)", page.read_text()):
        assert (page.parent / name).is_file(), name


@pytest.mark.usefixtures("small_data")
def test_a_run_that_another_figure_has_finished_is_taken_from_there(tmp_path: Path) -> None:
    (config,) = configure(
        parts_of("figure9"), scale="small", overrides={"epochs": 1, "seeds": 2, "methods": "random"}
    ).values()
    compare(replace(config, seeds=1), tmp_path / "one")
    assert take_over(replace(config, learning_rate=0.2), tmp_path / "other", tmp_path) == 0
    assert take_over(config, tmp_path / "two", tmp_path) == 1
    assert not (tmp_path / "two" / "random" / "seed-1").exists()
    before = (tmp_path / "two" / "random" / "seed-0" / "metrics.jsonl").read_text()
    compare(config, tmp_path / "two")
    assert (tmp_path / "two" / "random" / "seed-0" / "metrics.jsonl").read_text() == before
    assert take_over(config, tmp_path / "two", tmp_path) == 0
