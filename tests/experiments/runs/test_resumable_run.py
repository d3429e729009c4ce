import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from adacore.coreset import Coreset
from adacore.experiments import data
from adacore.experiments.data import ArrayDataset, Splits
from adacore.experiments.runs.models import MODELS
from adacore.experiments.runs.resumable_run import resume, train
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import TrainConfig, from_mapping
from adacore.experiments.runs.training_loop import TrainingLoop

QUICK = {"data": "digits", "model": "mlp", "fraction": 0.1, "every": 2, "epochs": 4, "tensorboard": False}


def without_seconds(rows):
    return [{name: value for name, value in row.items() if not name.endswith("_seconds")} for row in rows]


def weights(folder):
    return torch.load(Path(folder) / "checkpoint.pt", weights_only=True)["model"]


def coresets(folder):
    return {path.name: Coreset.load(path) for path in sorted((Path(folder) / "coresets").iterdir())}


def assert_same_run(one, other):
    assert without_seconds(RunFolder(Path(one)).rows()) == without_seconds(RunFolder(Path(other)).rows())
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    ours, theirs = coresets(one), coresets(other)
    assert ours.keys() == theirs.keys()
    for name, coreset in ours.items():
        assert np.array_equal(coreset.indices, theirs[name].indices)
        assert np.array_equal(coreset.weights, theirs[name].weights)


def gaussian_splits(n=60, classes=3, features=4):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(n) % classes
    centres = 3 * torch.randn(classes, features, generator=generator)
    inputs = centres[targets] + torch.randn(n, features, generator=generator)
    dataset = ArrayDataset(inputs, targets)
    return Splits("gaussian", dataset, dataset, (features,), classes, tuple("abc"))


def test_a_run_leaves_the_folder_that_the_design_promises(tmp_path):
    config = TrainConfig(**{**QUICK, "tensorboard": True}, method="random(every=2)")
    rows = train(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert from_mapping(TrainConfig, folder.settings()) == config
    assert folder.rows() == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["reselected"] for row in rows] == [True, False, True, False]
    assert list(coresets(folder.path)) == ["epoch-00001.npz", "epoch-00003.npz"]
    assert len(list(folder.path.glob("events.out.tfevents.*"))) == 1
    assert all(row["coreset_size"] == 144 for row in rows)
    assert [row["gradient_evaluations"] for row in rows] == [144, 288, 432, 576]
    chosen = {index for coreset in coresets(folder.path).values() for index in coreset.indices.tolist()}
    assert rows[-1]["fraction_seen"] == pytest.approx(len(chosen) / 1437)
    assert torch.load(folder.checkpoint_file, weights_only=True)["epoch"] == 4


def test_the_loop_is_plain_weighted_gradient_descent(tmp_path):
    """One epoch of one batch over everything, against the gradient written out."""
    splits = gaussian_splits()
    config = TrainConfig(
        method="full", model="logistic", epochs=1, batch_size=100, schedule="constant", learning_rate=0.5, momentum=0.0
    )
    trainer = TrainingLoop(config, splits)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    RunFolder(tmp_path).create(config)
    trainer.run_epoch(RunFolder(tmp_path))
    x, y = splits.train.inputs.double(), nn.functional.one_hot(splits.train.targets, 3).double()
    weight, bias = before["1.weight"].double(), before["1.bias"].double()
    error = torch.softmax(x @ weight.T + bias, 1) - y
    expected = weight - 0.5 * (error.T @ x / len(x) + 1e-4 * weight)
    assert torch.allclose(trainer.model.state_dict()["1.weight"].double(), expected, atol=1e-6)


def test_cluster_sizes_weight_the_steps(tmp_path):
    """An example of weight four pulls as four copies would, once weights are scaled to mean one."""

    class Chosen:
        name, per = "chosen", "data"

        def __init__(self, traits):
            self.traits = traits

        def requirements(self):
            from adacore.probing.snapshot import Requirements

            return Requirements()

        def select(self, snapshot, budget, *, generator):
            return Coreset(np.array([0, 1, 2]), np.array([4.0, 1.0, 1.0]), snapshot.n)

    from adacore.selectors import Random

    splits = gaussian_splits()
    config = TrainConfig(method="random", model="logistic", epochs=1, schedule="constant", momentum=0.0, budget=3)
    trainer = TrainingLoop(config, splits)
    trainer.loader.reselector.selector = Chosen(Random.traits)
    weight, bias = (trainer.model.state_dict()[name].double().clone() for name in ("1.weight", "1.bias"))
    RunFolder(tmp_path).create(config)
    trainer.run_epoch(RunFolder(tmp_path))
    rows = [0, 0, 0, 0, 1, 2]
    x, y = splits.train.inputs[rows].double(), nn.functional.one_hot(splits.train.targets[rows], 3).double()
    error = torch.softmax(x @ weight.T + bias, 1) - y
    expected = weight - 0.1 * (error.T @ x / len(rows) + 1e-4 * weight)
    assert torch.allclose(trainer.model.state_dict()["1.weight"].double(), expected, atol=1e-6)


def test_evaluation_is_the_mean_loss_and_accuracy_on_the_test_set(tmp_path):
    rows = train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    splits = data.load("digits")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.Sigmoid(), nn.Linear(100, 10))
    model.load_state_dict(weights(tmp_path / "run"))
    logits = model(splits.test.inputs).detach()
    assert rows[-1]["test_loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, splits.test.targets)))
    assert rows[-1]["test_accuracy"] == pytest.approx(float((logits.argmax(1) == splits.test.targets).double().mean()))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "adacore"},
        {"method": "craig", "optimizer": "adamw"},
        {"method": "random", "optimizer": "adahessian"},
        {"method": "adacore", "damped_momentum": True, "warm_start": 1, "warm_start_on": "random"},
        {"method": "full", "model": "resnet20", "epochs": 2, "batch_size": 512, "channels_last": True},
        {"method": "random", "precision": "bf16-mixed", "drop_last": True, "batch_size": 32},
    ],
)
def test_a_run_that_stops_after_any_epoch_and_goes_on_is_the_undisturbed_one(tmp_path, settings):
    config = TrainConfig(**{**QUICK, **settings})
    train(config, tmp_path / "whole")

    class Stop(Exception):
        pass

    class Stopping:
        def begin(self, title, epochs, done):
            pass

        def epoch(self, row):
            raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "parts", watcher=Stopping())
    for _ in range(config.epochs - 2):
        with pytest.raises(Stop):
            resume(tmp_path / "parts", watcher=Stopping())
    resume(tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_training_leaves_global_random_streams_where_they_were(tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(TrainConfig(**{**QUICK, "epochs": 1}, method="adacore"), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_a_model_that_draws_from_the_global_stream_is_resumed_exactly(tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text(
        "from torch import nn\n"
        "def make(classes): return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(**{**QUICK, "model": "own_model:make"}, method="random")
    train(config, "whole")

    class Stopping:
        def begin(self, title, epochs, done):
            pass

        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, "parts", watcher=Stopping())
    torch.rand(3)
    resume("parts")
    assert_same_run("whole", "parts")


SETTINGS = {"data": "digits", "model": "mlp", "method": "adacore", "fraction": 0.1, "every": 3, "epochs": 12}
ARGUMENTS = [f"--{name}={value}" for name, value in SETTINGS.items()] + ["--no-tensorboard"]


def start(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "adacore.cli", "train", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_after(process, metrics, rows):
    """Send SIGKILL as soon as the file has that many rows, whatever the process is doing."""
    deadline = time.monotonic() + 120
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < rows:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_run_killed_after_rows_2_5_and_9_ends_as_the_undisturbed_one(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    undisturbed = start(*ARGUMENTS, "--out", str(whole))
    process = start(*ARGUMENTS, "--out", str(killed))
    for rows in (2, 5, 9):
        kill_after(process, killed / "metrics.jsonl", rows)
        found = (killed / "metrics.jsonl").read_bytes().count(b"\n")
        assert rows <= found < 12, "the run was too fast to be killed in time"
        process = start("--resume", str(killed))
    assert process.wait() == 0
    assert undisturbed.wait() == 0
    assert_same_run(killed, whole)


def test_rows_and_coresets_beyond_the_checkpoint_are_cut_off(tmp_path):
    """As after a kill between a row and its checkpoint, in the middle of the next row."""
    config = TrainConfig(**QUICK, method="random")
    train(config, tmp_path / "whole")

    class Stopping:
        def begin(self, title, epochs, done):
            pass

        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "torn", watcher=Stopping())
    with (tmp_path / "torn" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_loss": 1.0}\n{"epoch": 4, "tra')
    (tmp_path / "torn" / "coresets" / "epoch-00003.npz").write_bytes(b"torn")
    (tmp_path / "torn" / "coresets" / ".partial.npz").write_bytes(b"torn")
    (tmp_path / "torn" / "checkpoint.partial").write_bytes(b"torn")
    resume(tmp_path / "torn")
    assert_same_run(tmp_path / "whole", tmp_path / "torn")


def test_resuming_before_the_first_checkpoint_starts_anew(tmp_path):
    config = TrainConfig(**QUICK, method="random")
    train(config, tmp_path / "whole")
    torn = RunFolder(tmp_path / "torn")
    torn.create(config)
    torn.append({"epoch": 1})
    resume(torn.path)
    assert_same_run(tmp_path / "whole", torn.path)


def test_resuming_a_finished_run_does_nothing(tmp_path):
    rows = train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert resume(tmp_path / "run") == rows
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"garbage" * 100])
def test_a_corrupt_checkpoint_is_a_clear_error(tmp_path, damage):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint\.pt is corrupt .*delete it to start the run anew"):
        resume(tmp_path / "run")


def test_a_checkpoint_of_something_else_is_a_clear_error(tmp_path):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(ValueError, match="is corrupt"):
        resume(tmp_path / "run")


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"already holds a run.*--resume"):
        train(TrainConfig(**QUICK, method="random"), tmp_path / "run")


def test_settings_changed_behind_a_run_are_noticed(tmp_path):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("every: 2", "every: 3"))
    with pytest.raises(ValueError, match="was run with every=2, now it is 3"):
        resume(tmp_path / "run")


def test_missing_rows_are_noticed(tmp_path):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ValueError, match="rows are missing"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("method", ["random", "adacore"])
def test_a_loss_that_becomes_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, method):
    """A learning rate that rises until logits overflow: what is kept must be finite and of an earlier epoch."""
    config = TrainConfig(
        **{**QUICK, "epochs": 50, "model": "logistic"},
        method=method,
        learning_rate=1e37,
        momentum=0.0,
        weight_decay=0.1,
    )
    with pytest.raises(ValueError, match=r"in epoch \d+|epoch \d+:") as error:
        train(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    rows = folder.rows()
    assert f"epoch {len(rows) + 1}" in str(error.value)
    state = folder.load_checkpoint()
    assert (0 if state is None else state["epoch"]) == len(rows)
    if state is not None:
        assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_loss_that_is_nan_in_a_later_epoch_names_it(tmp_path):
    splits = gaussian_splits()
    config = TrainConfig(method="full", model="logistic", epochs=5, tensorboard=False, schedule="constant")

    class Poison:
        def begin(self, title, epochs, done):
            pass

        def epoch(self, row):
            if row["epoch"] == 2:
                splits.train.inputs[7] = float("nan")

    with pytest.raises(ValueError, match=r"in epoch 3: .*checkpoint of epoch 2 is kept"):
        train(config, tmp_path / "run", splits=splits, watcher=Poison())
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["epoch"] == 2


def test_a_model_whose_logits_do_not_match_the_labels_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "narrow", lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    with pytest.raises(ValueError, match=r"gives logits of shape \(2, 3\).*10 classes"):
        train(TrainConfig(**{**QUICK, "model": "narrow"}, method="random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_take_the_inputs_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "wrong", lambda shape, classes: nn.Linear(5, classes))
    with pytest.raises(ValueError, match=r"cannot take inputs of shape \(1, 8, 8\)"):
        train(TrainConfig(**{**QUICK, "model": "wrong"}, method="random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluation_every_few_epochs_always_ends_with_one(tmp_path):
    rows = train(TrainConfig(**{**QUICK, "epochs": 5}, method="random", eval_every=2), tmp_path / "run")
    assert [row["test_accuracy"] is not None for row in rows] == [False, True, False, True, True]


def test_a_budget_below_the_number_of_classes_is_refused_before_any_work(tmp_path):
    settings = {name: value for name, value in QUICK.items() if name != "fraction"}
    with pytest.raises(ValueError, match="below the number of classes"):
        train(TrainConfig(**settings, budget=9, method="random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metrics_are_one_json_object_a_line(tmp_path):
    train(TrainConfig(**QUICK, method="random"), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_the_number_of_threads_is_put_back(tmp_path):
    before = torch.get_num_threads()
    seen = []

    class Looking:
        def begin(self, title, epochs, done):
            seen.append(torch.get_num_threads())

        def epoch(self, row):
            pass

    train(TrainConfig(**QUICK, method="random", threads=before + 1), tmp_path / "run", watcher=Looking())
    assert seen == [before + 1]
    assert torch.get_num_threads() == before
