import io
import json
import math
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from adacore.coreset import Coreset
from adacore.experiments.evidence.as_json import to_json
from adacore.experiments.evidence.outcomes import Outcome
from adacore.experiments.evidence.sentences import sentence, warnings
from adacore.experiments.evidence.summaries import speedup, summarise
from adacore.experiments.runs.comparison import compare, method_folder
from adacore.experiments.runs.folder_lock import locked
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import CompareConfig

QUICK = {"epochs": 3, "every": 2, "tensorboard": False, "model": "logistic"}


def rows(accuracies, *, step_seconds=1.0, step_gradients=10):
    return [
        {
            "epoch": epoch,
            "test_accuracy": accuracy,
            "probing_seconds": 0.25 * step_seconds * epoch,
            "selecting_seconds": 0.25 * step_seconds * epoch,
            "training_seconds": 0.5 * step_seconds * epoch,
            "evaluating_seconds": 100.0,
            "gradient_evaluations": step_gradients * epoch,
            "probed_examples": 5 * epoch,
            "fraction_seen": min(1.0, 0.1 * epoch),
        }
        for epoch, accuracy in enumerate(accuracies, 1)
    ]


def outcomes(accuracies):
    """Finished runs of one epoch by seed."""
    return {seed: Outcome.finished(rows([accuracy])) for seed, accuracy in enumerate(accuracies)}


def test_the_interval_is_students_t_over_the_seeds():
    values = [0.90, 0.92, 0.97]
    (summary,) = summarise({"random": outcomes(values)})
    half = 4.302652729911275 * np.std(values, ddof=1) / math.sqrt(3)  # t_{0.975, 2}
    assert summary.accuracy.mean == pytest.approx(np.mean(values))
    assert summary.accuracy.half_width == pytest.approx(half)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ((0.02, 0.021, 0.022), "is 2.1 points better than Random"),
        ((-0.02, -0.021, -0.022), "is 2.1 points worse than Random"),
        ((0.02, -0.021, 0.002), "is not distinguishable from Random"),
        ((0.001, 0.0, 0.0005), "is equivalent to Random, within 1 point"),
    ],
)
def test_a_method_is_judged_by_the_paired_differences(differences, words):
    random = [0.5 + seed / 10 for seed in range(3)]  # seeds differ far more than methods
    ours = [accuracy + difference for accuracy, difference in zip(random, differences, strict=True)]
    assert words in sentence(summarise({"random": outcomes(random), "ours": outcomes(ours)})[1])


def test_too_few_seeds_or_no_random_gives_no_verdict():
    for seeds in (1, 2):
        better = summarise({"random": outcomes([0.5, 0.6][:seeds]), "ours": outcomes([0.9, 0.999][:seeds])})[1]
        assert better.against_random.verdict == "not distinguishable"
        assert "run at least 3" in sentence(better)
    assert "add random" in sentence(summarise({"ours": outcomes([0.9] * 3)})[0])


def run_of(accuracies, **costs):
    return {0: Outcome.finished(rows(accuracies, **costs))}


def test_the_speedup_is_taken_where_each_first_reaches_the_full_datas_accuracy_less_a_point():
    full = run_of([0.5, 0.895, 0.9], step_seconds=10, step_gradients=100)  # reaches 0.89 after 20 s
    ours = run_of([0.2, 0.4, None, 0.89, 0.3], step_seconds=1, step_gradients=10)  # after 4 s
    fast = speedup(ours, full)
    assert fast.seconds == pytest.approx(5)
    assert fast.gradient_evaluations == pytest.approx((200 + 10) / (40 + 20))  # probed examples are counted
    assert speedup(full, full).seconds == pytest.approx(1)


def test_a_speedup_that_not_every_seed_reaches_is_none():
    fast = speedup(outcomes([0.9, 0.8]), outcomes([0.9, 0.9]))
    assert (fast.reached, fast.seeds, fast.seconds) == (1, 2, None)


def test_forty_steps_in_all_are_said_to_be_no_training():
    summaries = summarise({"random": outcomes([0.1] * 3)})
    assert "Nothing was trained yet" in " ".join(warnings(summaries, batch_size=1))
    many = {seed: Outcome.finished(rows([0.9], step_gradients=1000)) for seed in range(3)}
    assert warnings(summarise({"random": many}), batch_size=10) == []


def test_seconds_are_those_of_probing_selecting_and_training():
    (summary,) = summarise({"random": run_of([0.9, 0.9])})
    assert summary.cost.total_seconds == pytest.approx(2)
    assert summary.cost.seconds == {"probing": 0.5, "selecting": 0.5, "training": 1.0}
    assert summary.cost.gradient_evaluations == 20 + 10


def test_what_is_not_known_is_null_in_json():
    text = json.dumps(to_json(summarise({"random": run_of([0.9])})[0]), allow_nan=False)
    assert json.loads(text)["accuracy"] == {"mean": 0.9, "low": None, "high": None, "n": 1}


def test_folders_of_methods_can_be_told_apart():
    methods = ["adacore", "adacore(beta1=0.8)", "adacore(beta1=0.9, weighting=uniform)"]
    assert len({method_folder(method) for method in methods}) == 3
    assert all("/" not in method_folder(method) and " " not in method_folder(method) for method in methods)


def states(out, method, seed):
    return torch.load(out / method / f"seed-{seed}" / "checkpoint.pt", weights_only=True)["model"]


def test_a_comparison_trains_all_and_says_what_came_of_it(tmp_path):
    config = CompareConfig(**QUICK, methods=("random", "full"), seeds=2)
    console = Console(width=140, record=True, quiet=False, file=(tmp_path / "printed").open("w"))
    summaries = compare(config, tmp_path / "out", console=console)
    printed = console.export_text()
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [method["method"] for method in written["methods"]] == ["random", "full"]
    assert written["config"]["seeds"] == 2
    assert sentence(summaries[1]) in printed
    assert "seen" in printed
    for method in ("random", "full"):
        for seed in (0, 1):
            assert len(RunFolder(tmp_path / "out" / method / f"seed-{seed}").rows()) == 3


def test_methods_are_paired_by_seed(tmp_path):
    """The same seed means the same initial weights and the same draws: two names of one method end identically."""
    config = CompareConfig(**QUICK, methods=("adacore", "adacore(beta1=0.9)", "random"), seeds=1)
    compare(config, tmp_path)
    one, other = states(tmp_path, "adacore", 0), states(tmp_path, "adacore-beta1=0.9", 0)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_comparison_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    config = CompareConfig(**QUICK, methods=("random", "full"), seeds=2)
    compare(config, tmp_path / "whole")
    import adacore.experiments.runs.worker_processes as module

    started = []

    def stopping(run, folder, **settings):
        started.append((run.method, run.seed))
        if len(started) == 3:
            raise KeyboardInterrupt
        return real(run, folder, **settings)

    real = module.train
    monkeypatch.setattr(module, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        compare(config, tmp_path / "parts")
    monkeypatch.setattr(module, "train", real)
    first = (tmp_path / "parts" / "random" / "seed-0" / "checkpoint.pt").stat().st_mtime_ns
    compare(config, tmp_path / "parts")
    assert (tmp_path / "parts" / "random" / "seed-0" / "checkpoint.pt").stat().st_mtime_ns == first
    for method in config.methods:
        for seed in (0, 1):
            one, other = states(tmp_path / "whole", method, seed), states(tmp_path / "parts", method, seed)
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_killed_between_its_last_row_and_its_checkpoint_is_not_over(tmp_path, monkeypatch):
    """All rows are there, and the weights of the epoch before."""
    config = CompareConfig(**QUICK, methods=("random",), seeds=1)
    compare(config, tmp_path / "whole")
    save = RunFolder.save_checkpoint

    def killed(folder, state):
        if state["epoch"] == config.epochs:
            raise KeyboardInterrupt
        save(folder, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        compare(config, tmp_path / "killed")
    monkeypatch.undo()
    folder = RunFolder(tmp_path / "killed" / "random" / "seed-0")
    assert len(folder.rows()) == config.epochs
    assert not folder.has_ended(config.epochs)
    compare(config, tmp_path / "killed")
    assert folder.has_ended(config.epochs)
    one, other = states(tmp_path / "killed", "random", 0), states(tmp_path / "whole", "random", 0)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_run_whose_checkpoint_was_deleted_is_over(tmp_path):
    config = CompareConfig(**QUICK, methods=("random",), seeds=1)
    compare(config, tmp_path)
    checkpoint = tmp_path / "random" / "seed-0" / "checkpoint.pt"
    checkpoint.unlink()
    compare(config, tmp_path)
    assert not checkpoint.exists()


def test_a_comparison_may_grow_but_not_change(tmp_path):
    compare(CompareConfig(**QUICK, methods=("random",), seeds=1), tmp_path)
    assert len(compare(CompareConfig(**QUICK, methods=("random", "full"), seeds=2), tmp_path)) == 2
    with pytest.raises(ValueError, match="holds a comparison with epochs=3, now it is 4"):
        compare(CompareConfig(**{**QUICK, "epochs": 4}, methods=("random",), seeds=1), tmp_path)


def test_a_folder_of_a_single_run_is_not_taken_for_a_comparison(tmp_path):
    compare(CompareConfig(**QUICK, methods=("random",), seeds=1), tmp_path)
    with pytest.raises(FileExistsError, match="already holds a run"):
        compare(CompareConfig(**QUICK, methods=("random",), seeds=1), tmp_path / "random" / "seed-0")


def test_a_finished_comparison_is_repeated_without_loading_data(tmp_path, monkeypatch):
    config = CompareConfig(**QUICK, methods=("random",), seeds=1)
    first = compare(config, tmp_path)
    monkeypatch.setattr("adacore.experiments.data.load", None)
    assert compare(config, tmp_path)[0].accuracy == first[0].accuracy


def test_coresets_of_paired_runs_of_random_are_the_same_draws(tmp_path):
    for name in ("a", "b"):
        compare(CompareConfig(**QUICK, methods=("random",), seeds=1), tmp_path / name)
    one, other = (
        Coreset.load(tmp_path / name / "random" / "seed-0" / "coresets" / "epoch-00003.npz") for name in ("a", "b")
    )
    assert np.array_equal(one.indices, other.indices)


def test_a_method_that_needs_held_out_data_says_so_before_any_work():
    with pytest.raises(ValueError, match=r"glister chooses by the loss on held-out data: pass --validation 0\.1"):
        CompareConfig(methods=("random", "glister"))
    CompareConfig(methods=("random", "glister"), validation=0.1)


def test_what_is_compiled_is_charged_to_no_run(monkeypatch, tmp_path):
    prepared = []
    monkeypatch.setattr("adacore.facility.prepare_kernels", lambda: prepared.append("now"))
    monkeypatch.setattr("adacore.experiments.runs.comparison.WORTH_SAYING", 0.0)
    text = io.StringIO()
    config = CompareConfig(methods=("random",), seeds=1, epochs=1, tensorboard=False)
    compare(config, tmp_path / "one", console=Console(file=text))
    assert prepared == []
    compare(replace(config, methods=("craig",)), tmp_path / "two", console=Console(file=text))
    assert prepared[0] == "now"
    assert "Compiled what selects in" in text.getvalue()


def test_runs_side_by_side_are_those_one_after_another(tmp_path):
    """Two spawned processes, cores shared out: same weights, same rows but for the seconds."""
    config = CompareConfig(**QUICK, methods=("random", "craig"), seeds=2, threads=1)
    compare(config, tmp_path / "one")
    summaries = compare(replace(config, jobs=2), tmp_path / "two")
    assert [summary.accuracies.keys() for summary in summaries] == [{0, 1}, {0, 1}]
    for method in config.methods:
        for seed in (0, 1):
            one, other = states(tmp_path / "one", method, seed), states(tmp_path / "two", method, seed)
            assert all(torch.equal(one[name], other[name]) for name in one)
    assert "jobs 2" in RunFolder(tmp_path / "two" / "random" / "seed-0").made_with()


def test_a_worker_that_is_refused_ends_the_comparison_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def make(): raise ValueError('no such camera')\n")
    config = CompareConfig(**QUICK, data="broken:make", methods=("random", "full"), seeds=1, jobs=2)
    with pytest.raises(ValueError, match="no such camera"):
        compare(config, tmp_path / "out")


def test_a_method_that_diverges_counts_as_what_it_had_reached_and_the_others_go_on(tmp_path):
    config = CompareConfig(
        methods=("full", "random"), seeds=3, epochs=30, model="logistic", learning_rate=1e37, momentum=0.0,
        weight_decay=0.1, tensorboard=False,
    )  # fmt: skip
    summaries = compare(config, tmp_path)
    assert summaries[0].diverged == (0, 1, 2)
    assert len(summaries[0].accuracies) == 3
    assert all(math.isfinite(accuracy) for accuracy in summaries[0].accuracies.values())
    before = (tmp_path / "full" / "seed-0" / "diverged.json").stat().st_mtime_ns
    compare(config, tmp_path)  # it is not tried again
    assert (tmp_path / "full" / "seed-0" / "diverged.json").stat().st_mtime_ns == before


def test_a_folder_in_use_by_another_process_is_refused(tmp_path):
    config = CompareConfig(**QUICK, methods=("random",), seeds=1)
    with locked(tmp_path), pytest.raises(BlockingIOError, match="in use by this process"):
        compare(config, tmp_path)


@pytest.mark.slow
def test_killed_side_by_side_runs_end_with_their_parent_and_go_on(tmp_path):
    config = CompareConfig(
        methods=("random", "adacore"), seeds=1, epochs=40, every=5, tensorboard=False, threads=1, jobs=2
    )
    words = ["--methods=random,adacore", "--seeds=1", "--epochs=40", "--every=5", "--no-tensorboard", "--threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "adacore.cli", "compare", *words, "--jobs=2", "--out", str(tmp_path / "killed")],
        stdout=subprocess.DEVNULL,
    )
    rows = [tmp_path / "killed" / method / "seed-0" / "metrics.jsonl" for method in config.methods]
    deadline = time.monotonic() + 240
    while not all(path.exists() and path.stat().st_size for path in rows):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    # At once: the workers must be gone before the patience of the lock is over.
    compare(replace(config, jobs=1), tmp_path / "killed")
    compare(replace(config, jobs=1), tmp_path / "whole")
    for method in config.methods:
        one, other = states(tmp_path / "killed", method, 0), states(tmp_path / "whole", method, 0)
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert len(RunFolder(tmp_path / "killed" / method / "seed-0").rows()) == 40
