"""The run folder: one process at a time, whole files or the old ones, and nothing in it executed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from adacore.experiments.report import write_report
from adacore.experiments.runs.comparison import compare
from adacore.experiments.runs.folder_lock import locked
from adacore.experiments.runs.labelling_comparison import LabelSettings, simulate_labelling
from adacore.experiments.runs.recorded_runs import read_methods
from adacore.experiments.runs.resumable_run import resume, train
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import CompareConfig, TrainConfig
from adacore.labelling.durable_files import replace_by, replace_file

QUICK: dict[str, Any] = {"model": "logistic", "method": "random", "epochs": 3, "tensorboard": False}


def run_in(folder: Path, **settings: Any) -> RunFolder:
    train(TrainConfig(**{**QUICK, **settings}), folder)
    return RunFolder(folder)


def python(code: str, *words: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


HOLD = """
import sys, time, pathlib
from adacore.experiments.runs.folder_lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_in_use_by_another_process_is_refused_and_free_once_that_is_killed(tmp_path: Path) -> None:
    config = TrainConfig(**QUICK)
    other = python(HOLD, str(tmp_path))
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"in use by process {other.pid} on "):
            train(config, tmp_path)
        assert not (tmp_path / "config.yaml").exists()
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert len(train(config, tmp_path)) == 3  # the leftover lock file keeps nobody out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = HOLD.replace(
        "time.sleep(60)", "pid = __import__('os').fork()\n    if pid: print(pid, flush=True)\n    time.sleep(60)"
    )
    other = python(code, str(tmp_path))
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    child = int(other.stdout.readline())
    other.kill()
    other.wait()
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_is_no_way_to_wait_for_oneself(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(BlockingIOError, match="this process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = replace_file(tmp_path / "a.txt", "old")

    def breaks(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"cannot write .*a\.txt: No space left on device; what it held before is kept"):
        replace_by(path, breaks)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does: a write beyond the limit is an error, not a death
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from adacore.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(tmp_path: Path) -> None:
    words = [
        "train",
        "--model=mlp",
        "--method=random",
        "--epochs=3",
        "--no-tensorboard",
        "--out",
        str(tmp_path / "run"),
    ]
    failed = python(FULL_DISK, *words)
    _, errors = failed.communicate(timeout=120)
    assert failed.returncode == 2
    assert len(errors.splitlines()) == 1, errors
    assert "cannot write" in errors
    assert "checkpoint.pt" in errors
    assert len(resume(tmp_path / "run")) == 3
    assert not list((tmp_path / "run").glob(".partial*"))


def test_a_missing_folder_of_coresets_does_not_stop_a_resume(tmp_path: Path) -> None:
    class Stopping:
        def begin(self, title: str, epochs: int, done: int) -> None:
            pass

        def epoch(self, row: Any) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(**{**QUICK, "every": 1}), tmp_path, watcher=Stopping())
    for path in (tmp_path / "coresets").iterdir():
        path.unlink()
    (tmp_path / "coresets").rmdir()
    assert len(resume(tmp_path)) == 3
    assert [path.name for path in (tmp_path / "coresets").iterdir()] == ["epoch-00003.npz"]


def test_after_the_clock_went_back_tensorboard_reads_every_epoch(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Stopping:
        def begin(self, title: str, epochs: int, done: int) -> None:
            pass

        def epoch(self, row: Any) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(**{**QUICK, "tensorboard": True}), tmp_path, watcher=Stopping())
    (events,) = tmp_path.glob("events.out.tfevents.*")
    later = events.name.replace(events.name.split(".")[3], str(int(time.time()) + 10**6))
    events.rename(tmp_path / later)  # as if the first part had been written with a clock that is far ahead
    resume(tmp_path)
    log = EventAccumulator(str(tmp_path))
    log.Reload()
    assert [event.step for event in log.Scalars("train_loss")] == [1, 2, 3]


def test_training_into_the_folder_of_a_comparison_is_refused(tmp_path: Path) -> None:
    compare(CompareConfig(**{k: v for k, v in QUICK.items() if k != "method"}, methods=("random",), seeds=1), tmp_path)
    before = (tmp_path / "config.yaml").read_bytes()
    for folder, reason in ((tmp_path, "folder of a comparison"), (tmp_path / "random", "holds other runs")):
        with pytest.raises(FileExistsError, match=reason):
            train(TrainConfig(**QUICK), folder)
    assert (tmp_path / "config.yaml").read_bytes() == before
    assert not (tmp_path / "random" / "config.yaml").exists()


def test_trainings_and_simulations_of_labelling_keep_apart(tmp_path: Path) -> None:
    simulated, trained = tmp_path / "simulated", tmp_path / "trained"
    simulated.mkdir()
    (simulated / "outcomes.jsonl").write_text("")
    with pytest.raises(FileExistsError, match="adacore label"):
        train(TrainConfig(**QUICK), simulated)
    settings = {name: value for name, value in QUICK.items() if name != "method"}
    with pytest.raises(FileExistsError, match="adacore label"):
        compare(CompareConfig(**settings, methods=("random",), seeds=1), simulated)
    assert [path.name for path in simulated.iterdir()] == ["outcomes.jsonl"]
    train(TrainConfig(**QUICK), trained)
    before = sorted(path.name for path in trained.iterdir())
    x = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(FileExistsError, match="holds a training"):
        simulate_labelling(x, np.arange(60) % 2, LabelSettings(methods=("random",), seeds=2, budgets=("5",)), trained)
    assert sorted(path.name for path in trained.iterdir()) == before


def damage(path: Path, line: int, **changes: Any) -> None:
    """Change values of a row; None removes one."""
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[line - 1].update(changes)
    rows[line - 1] = {name: value for name, value in rows[line - 1].items() if value is not None}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training_seconds": None}, "lacks training_seconds"),
        ({"training_seconds": -1.0}, "training_seconds is -1.0"),
        ({"test_accuracy": "high"}, "test_accuracy is 'high'"),
        ({"test_accuracy": 97.2}, "test_accuracy is 97.2, expected a number in"),
        ({"gradient_evaluations": True}, "gradient_evaluations is True"),
        ({"epoch": 7}, "expected epoch 2, found 7"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = run_in(tmp_path)
    damage(folder.metrics_file, 2, **changes)
    for act in (folder.rows, lambda: write_report(tmp_path), lambda: resume(tmp_path)):
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2, is no row of a run") as error:
            act()
        assert words in str(error.value)


@pytest.mark.parametrize("text", ["[1, 2]\n", "nonsense\n", "\n"])
def test_a_foreign_file_of_rows_is_named(tmp_path: Path, text: str) -> None:
    folder = run_in(tmp_path)
    folder.metrics_file.write_text(text + folder.metrics_file.read_text())
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1"):
        write_report(tmp_path)


def test_a_byte_order_mark_hides_no_run(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    for path in (folder.metrics_file, folder.config_file):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(folder.rows()) == 3
    assert folder.made_with().startswith("python")
    assert write_report(tmp_path).is_file()


def test_a_run_without_settings_is_mentioned(tmp_path: Path) -> None:
    run_in(tmp_path / "a")
    run_in(tmp_path / "b", seed=1).config_file.unlink()
    assert "has no config.yaml" in write_report(tmp_path).read_text()
    (tmp_path / "a" / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"holds no run.*has no config\.yaml"):
        write_report(tmp_path)


@pytest.mark.parametrize("settings", ["method: 3\n", "- a\n", "{", "data: digits\nmethod: random\nseed: 0\n"])
def test_damaged_settings_are_named(tmp_path: Path, settings: str) -> None:
    run_in(tmp_path).config_file.write_text(settings)
    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        write_report(tmp_path)


def test_a_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    torch.save({"epoch": 3, "model": {}}, folder.checkpoint_file)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is corrupt \(it is no state of a run"):
        resume(tmp_path)


def test_two_experiments_in_one_folder_are_never_averaged(tmp_path: Path) -> None:
    for seed in range(3):
        run_in(tmp_path / f"short-{seed}", seed=seed, epochs=2)
        run_in(tmp_path / f"long-{seed}", seed=3 + seed, epochs=4)
    methods = read_methods(tmp_path).methods
    assert {method.label: len(method.runs) for method in methods} == {"random [epochs=2]": 3, "random [epochs=4]": 3}
    page = write_report(tmp_path).read_text()
    assert "Not all runs have the same settings" in page


HELPER = "import pathlib\npathlib.Path(__file__).with_name('executed').touch()\nraise SystemExit('executed')\n"


def test_nothing_that_a_folder_names_is_executed_by_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_in(tmp_path / "run", method="craig")
    settings = yaml.safe_load(folder.config_file.read_text())
    (tmp_path / "run" / "helper.py").write_text(HELPER)
    (tmp_path / "run" / "metrics.jsonl").rename(tmp_path / "rows")
    for names in (
        {"data": "helper:load"},
        {"data": "os:getcwd"},
        {"model": "helper:load"},
        {"data": "adacore.cli:main"},
    ):
        (tmp_path / "run" / "metrics.jsonl").write_bytes((tmp_path / "rows").read_bytes())
        folder.config_file.write_text(yaml.safe_dump({**settings, **names}))
        monkeypatch.chdir(tmp_path / "run")
        write_report(".", tmp_path / "report.html")
        assert not (tmp_path / "run" / "executed").exists()
    folder.config_file.write_text(yaml.safe_dump({**settings, "data": "helper:load"}))
    with pytest.raises(ValueError, match="a module in that very folder"):
        resume(".")
    assert not (tmp_path / "run" / "executed").exists()
    monkeypatch.undo()


def test_settings_that_are_python_objects_are_not_made(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    folder.config_file.write_text("data: !!python/object/apply:os.system ['touch executed']\n")
    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        write_report(tmp_path)


def nan_splits(part: str, position: int = 3) -> str:
    return (
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "class Lazy(torch.utils.data.Dataset):\n"
        "    def __init__(self, x, y): self.x, self.y = x, y\n"
        "    def __len__(self): return len(self.x)\n"
        "    def __getitem__(self, i): return self.x[i], self.y[i]\n"
        "def make(kind):\n"
        "    parts = {name: (torch.randn(60, 4), torch.arange(60) % 3) for name in ('train', 'test')}\n"
        f"    parts[{part!r}][0][{position}] = float('nan')\n"
        "    return tuple(kind(*parts[name]) for name in ('train', 'test'))\n"
        "def memory(): return make(TensorDataset)\n"
        "def lazy(): return make(Lazy)\n"
    )


@pytest.mark.parametrize("kind", ["memory", "lazy"])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("method", ["random", "full"])
def test_a_broken_example_is_named_and_the_learning_rate_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, part: str, method: str
) -> None:
    name = f"nan_{part}_{kind}_{method}"
    (tmp_path / f"{name}.py").write_text(nan_splits(part))
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(data=f"{name}:{kind}", fraction=1.0, **{**QUICK, "method": method})
    with pytest.raises(ValueError, match=r"(training|test) example 3 .*holds nan or infinite inputs") as error:
        train(config, tmp_path / "run")
    assert "learning-rate" not in str(error.value)


@pytest.mark.parametrize("label", [10_000_000, 5_000])
def test_a_label_that_can_be_no_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: int) -> None:
    (tmp_path / f"labels_{label}.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        f"def make():\n    y = torch.arange(200) % 4\n    y[7] = {label}\n"
        "    return (TensorDataset(torch.randn(200, 4), y),) * 2\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"largest class is {label}, but only 5 different ones occur"):
        train(TrainConfig(data=f"labels_{label}:make", **QUICK), tmp_path / "run")


def test_holding_out_examples_copies_no_inputs() -> None:
    from adacore.experiments import data
    from adacore.experiments.data.split import hold_out

    base = data.load("digits")
    for seed in range(3):
        splits = hold_out(base, 0.1, seed=seed)
        assert splits.train.store is base.train.store  # type: ignore[attr-defined]
        assert splits.validation.store is base.train.store  # type: ignore[union-attr]


def test_every_timing_ends_in_seconds_and_there_is_one_row_for_each_epoch(tmp_path: Path) -> None:
    rows = run_in(tmp_path, method="adacore").rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {name for name in rows[0] if "second" in name or "time" in name} == {
        f"{part}_seconds" for part in ("probing", "selecting", "training", "evaluating", "epoch")
    }


@pytest.mark.parametrize("method", ["stratified", "craig", "random", "full"])
def test_an_analysed_run_tells_the_error_of_its_mini_batches(tmp_path: Path, method: str) -> None:
    rows = run_in(tmp_path, method=method, analyse_every=2).rows()
    for row in rows:
        measured = row["epoch"] in {2, 3}  # the second and the last
        assert (row["batch_gradient_error"] is not None) == measured
        assert (row["random_batch_gradient_error"] is not None) == measured
        # Batches along strata have no coreset behind them.
        assert (row["gradient_error"] is not None) == (measured and method != "stratified")
    ratio = rows[-1]["batch_gradient_error"] / rows[-1]["random_batch_gradient_error"]
    # Random draws in every class: where a batch is the whole subset, it is stratified by class. Full is shuffled.
    assert 0.8 < ratio < 1.2 if method == "full" else 0 < ratio < 0.8
    assert "Error of mini-batch gradients" in write_report(tmp_path).read_text() or method == "full"


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:200] + b"x" * 50 + b[250:]])
def test_damaged_examples_are_named_with_a_flag_that_exists(tmp_path: Path, damage: Any) -> None:
    run_in(tmp_path, method="craig", analyse_every=2)
    path = tmp_path / "examples.npz"
    assert write_report(tmp_path).is_file()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"examples\.npz holds no examples.*--analyse-every"):
        write_report(tmp_path)


def test_a_damaged_coreset_is_named(tmp_path: Path) -> None:
    folder = run_in(tmp_path, method="craig")
    (_, path), *_ = folder.coreset_files()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"epoch-00001\.npz"):
        write_report(tmp_path)
