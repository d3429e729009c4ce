"""Loggers of other libraries get the settings and every row of a run."""

import csv
import sys
from typing import ClassVar

import pytest

from adacore.cli import main
from adacore.experiments.runs.loggers import make_logger
from adacore.experiments.runs.resumable_run import resume, train
from adacore.experiments.runs.settings import TrainConfig

QUICK = {"model": "logistic", "method": "random", "epochs": 3, "tensorboard": False}


class Recording:
    """The protocol, and nothing more."""

    made: ClassVar[list] = []

    def __init__(self, folder):
        self.folder, self.settings, self.rows, self.status = folder, None, [], None
        Recording.made.append(self)

    def log_hyperparams(self, params):
        self.settings = params

    def log_metrics(self, metrics, step):
        self.rows.append((step, metrics))

    def finalize(self, status):
        self.status = status


@pytest.fixture
def recording(monkeypatch):
    """The import path of the logger above."""
    Recording.made = []
    monkeypatch.setitem(sys.modules, "logging_of_mine", sys.modules[__name__])
    return "logging_of_mine:Recording"


def test_a_logger_by_import_path_gets_settings_rows_and_the_end(tmp_path, recording):
    rows = train(TrainConfig(**QUICK, loggers=(recording,)), tmp_path / "run")
    (logger,) = Recording.made
    assert (logger.folder, logger.status) == (tmp_path / "run", "success")
    assert logger.settings["method"] == "random"
    assert [step for step, _ in logger.rows] == [row["epoch"] for row in rows] == [1, 2, 3]
    assert [numbers["test_accuracy"] for _, numbers in logger.rows] == [row["test_accuracy"] for row in rows]


def test_a_run_that_goes_on_tells_its_loggers_all_rows(tmp_path, recording):
    class Stopping:
        def begin(self, *args):
            pass

        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    config = TrainConfig(**QUICK, loggers=(recording,))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, watcher=Stopping())
    resume(tmp_path)
    stopped, resumed = Recording.made
    assert (stopped.status, resumed.status) == ("failed", "success")
    assert [step for step, _ in resumed.rows] == [1, 2, 3]
    resume(tmp_path, loggers=())  # they may be others, as TensorBoard may be on or off


def test_csv_by_name_on_the_command_line(tmp_path):
    out = tmp_path / "run"
    words = ["train", "--model=logistic", "--method=random", "--epochs=2", "--no-tensorboard", "--loggers=csv"]
    assert main([*words, f"--out={out}"]) == 0
    with (out / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2]
    assert 0 < float(rows[-1]["test_accuracy"]) <= 1


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_whose_library_is_missing_is_one_line_with_the_command(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "lightning.pytorch.loggers", None)
    with pytest.raises(ModuleNotFoundError, match=rf"'{name}' needs .*pip install lightning {name}"):
        make_logger(name, tmp_path)


def test_an_unknown_name_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match=r"unknown logger 'cvs': did you mean 'csv'"):
        TrainConfig(loggers=("cvs",))


def test_what_is_no_logger_is_refused(tmp_path):
    with pytest.raises(TypeError, match="without log_hyperparams"):
        make_logger("pathlib:Path", tmp_path)


def test_a_module_in_the_run_s_own_folder_is_not_executed(tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(TrainConfig(**QUICK), run)
    monkeypatch.syspath_prepend(run)
    (run / "sent.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match="code in a run's folder is not executed"):
        resume(run, loggers=("sent:logger",))
