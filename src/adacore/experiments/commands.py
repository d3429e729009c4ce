"""The laboratory's commands: for each, what declares its flags and what runs it.

``parser`` is an ``adacore.cli.Parser``, which lies below this room; ``given`` are the values of a command line and of
its file of settings, by name. What runs something imports the modules that load torch: help does not wait for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from adacore.experiments.runs.settings import CompareConfig, Settings, TrainConfig, from_mapping


def _settings(cls: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make settings of the values that were given, of those that are theirs."""
    # A command has flags of its own, such as --out, beside those that are settings.
    names = {setting.name for setting in dataclasses.fields(cls)}
    return from_mapping(cls, {name: value for name, value in given.items() if name in names})


def add_train(parser: Any) -> None:
    """Declare the flags of ``adacore train``."""
    parser.add("--out", str, "folder of the run (default: runs/<data>-<model>-<method>-...)", metavar="FOLDER")
    parser.add("--resume", str, "go on with the run in this folder, with its own settings", metavar="RUN")
    parser.add_settings(TrainConfig)


def _run_folder(given: Mapping[str, Any]) -> Path:
    """The folder of a run: as given, or named by what tells runs apart."""
    # Late, as in every function here that runs something: these modules load torch.
    from adacore.experiments.runs.comparison import method_folder

    if given.get("resume") or given.get("out"):
        return Path(given.get("resume") or given["out"])
    config = _settings(TrainConfig, given)
    return Path("runs") / method_folder(f"{config.data}-{config.model}-{config.method}-seed-{config.seed}")


def run_train(given: dict[str, Any]) -> int:
    """Train, or go on with a run; returns the exit code."""
    from adacore.experiments.runs.experiment import MOVABLE
    from adacore.experiments.runs.progress import Lines, Live
    from adacore.experiments.runs.resumable_run import resume, train

    console, folder = Console(), _run_folder(given)
    # Bars redraw a line, which a log file would keep once for every epoch.
    live = Live(console) if console.is_terminal else None
    watcher = Lines(console) if live is None else live.watch_run()
    with live or contextlib.nullcontext():
        if given.get("resume"):
            # Refused and not ignored: a run that goes on with other settings than it was started with is neither of the
            # two.
            wrong = sorted(given.keys() - {"resume", *MOVABLE})
            if wrong:
                raise ValueError(
                    f"--resume goes on with the run's own settings: leave out --{wrong[0].replace('_', '-')}"
                )
            given.pop("resume")
            rows = resume(folder, watcher=watcher, **given)
        else:
            rows = train(_settings(TrainConfig, given), folder, watcher=watcher)
    last = rows[-1]
    _say(console, f"{last['test_accuracy']:.2%} on the test set after {last['epoch']} epochs; the run is in {folder}")
    return 0


def after_train(given: Mapping[str, Any]) -> str:
    """Say how an interrupted training goes on."""
    folder = _run_folder(given)
    kept = (folder / "checkpoint.pt").exists()
    return f"adacore train --resume {folder} goes on" if kept else "no epoch was finished, nothing is kept"


def add_compare(parser: Any) -> None:
    """Declare the flags of ``adacore compare``."""
    from adacore.experiments.paper.set_ups import set_up_names

    text = "folder of the comparison; given again, it goes on (default: runs/compare-...)"
    parser.add("--out", str, text, metavar="FOLDER")
    parser.add_settings(CompareConfig, set_up_names())


def run_compare(given: dict[str, Any]) -> int:
    """Train with several methods, and write the report; returns the exit code."""
    from adacore.experiments.report import write_report
    from adacore.experiments.runs.comparison import compare, method_folder

    console = _wide_console()
    config = _settings(CompareConfig, given)
    # Named by data and model, so that the same command given again finds its folder and goes on.
    out = Path(given.get("out") or Path("runs") / method_folder(f"compare-{config.data}-{config.model}"))
    compare(config, out, console=console)
    _say(console, f"Runs: {out}/<method>/seed-<seed>, table: {out / 'comparison.json'}")
    # The page last: if drawing it fails, table and record are there, and ``adacore report`` draws it again.
    _say(console, f"Report, to open in a browser: {write_report(out)}")
    return 0


def _wide_console() -> Console:
    """Make a console that does not squeeze tables where there is no terminal to fit."""
    console = Console()
    # Where there is no terminal rich assumes 80 columns, too few for the table.
    return console if console.is_terminal else Console(width=140)


def check_picks_report() -> None:
    """Make sure, before anything is chosen, that what draws the page of picks is installed."""
    from adacore.experiments.report.picks import check_report_libraries

    check_report_libraries()


def write_picks_report(choice: Any, path: Path, title: str, command: str) -> None:
    """Write the page of picks of ``adacore select``."""
    from adacore.experiments.report.picks import render_picks
    from adacore.labelling.durable_files import replace_file

    page = render_picks(
        choice.features,
        choice.coverage(),
        title=title,
        items=choice.items,
        labels=choice.labels,
        known=choice.known,
        certificate=choice.coreset.certificate,
        command=command,
    )
    replace_file(path, page)


def add_label(parser: Any) -> None:
    """Declare the flags of ``adacore label``."""
    from adacore.experiments.runs.labelling_comparison import LabelSettings

    text = (
        "a table of numbers, a row for each example: .npy, .parquet, .csv, .tsv, or LIBSVM; or digits, which needs no "
        "file, or another data set below ADACORE_DATA: mnist, cifar10, ijcnn1"
    )
    parser.add("features", str, text)
    parser.add("--out", str, "folder of outcomes, record and report; given again, it goes on", default="runs/label")
    parser.add_settings(LabelSettings)


def run_label(given: dict[str, Any]) -> int:
    """Simulate labelling, and write its record and its page; returns the exit code."""
    from adacore.experiments.report.label_page import label_table, write_label_report
    from adacore.experiments.runs.labelling_comparison import LabelSettings, simulate_labelling
    from adacore.experiments.runs.settings import method_texts

    features, out = given.pop("features"), Path(given.pop("out", "runs/label"))
    # A command line hands over one text with commas, a file of settings a list.
    for name in ("methods", "budgets", "estimators"):
        if name in given:
            given[name] = method_texts(given[name])
    settings = LabelSettings(**given)
    x, y = _labelled_rows(features, settings.labels)
    console = _wide_console()
    record = simulate_labelling(
        x,
        y,
        settings,
        out,
        progress=lambda done, total, what: _say(console, f"{done} of {total} parts done; {what}"),
    )
    console.print(label_table(record))
    _say(console, f"Record: {out / 'record.json'}")
    _say(console, f"Report, to open in a browser: {write_label_report(record, out / 'report.html', str(features))}")
    return 0


def _labelled_rows(features: str, labels: str | None) -> tuple[Any, Any]:
    """Read a table with its classes, or the training set of a data set that is known by name."""
    import numpy as np

    from adacore.experiments import data
    from adacore.labelling.tables import read_features

    if features in {"digits", *data.DATASETS} and not Path(features).exists():
        # Refused and not ignored: whoever names other classes would get a record of the data set's own.
        if labels is not None:
            raise ValueError(
                f"--labels {labels} is given, and the data set {features} has its own classes: leave it out"
            )
        train = data.load(features).train
        # Images in files are decoded one by one for training; raw pixels in their thousands are no table to choose by.
        if not isinstance(train, data.ArrayDataset):
            raise ValueError(
                f"the data set {features} is not held in memory: pass a table of its features, as an .npy file, with "
                "--labels"
            )
        return np.asarray(train.inputs).reshape(len(train), -1), np.asarray(train.targets)
    if labels is None:
        raise ValueError("--labels is required: a simulation needs the true classes; pass a column or an .npy file")
    table = read_features(features, labels=labels)
    if table.labels is None:
        raise ValueError(f"{features} has no classes {labels!r}: pass a column or an .npy file")
    return table.x, table.labels


def add_report(parser: Any) -> None:
    """Declare the flags of ``adacore report``."""
    parser.add("folder", str, "folder of a run or of a comparison")
    parser.add("--out", str, "the HTML file (default: report.html in the folder)", metavar="FILE")


def run_report(given: dict[str, Any]) -> int:
    """Write the page of a run or a comparison; returns the exit code."""
    from adacore.experiments.report import write_report

    path = write_report(Path(given["folder"]), Path(given["out"]) if given.get("out") else None)
    _say(Console(), f"Report, to open in a browser: {path}")
    return 0


def add_reproduce(parser: Any) -> None:
    """Declare the flags of ``adacore reproduce``."""
    from adacore.experiments.paper.set_ups import Scale

    parser.add("name", str, "a figure or table, such as table2, or a part of one, such as table2-r20")
    parser.add("--scale", Scale, "as in the paper, or small: minutes on 2 cores", default="paper")
    parser.add("--out", str, "folder of runs, reports and records (default: runs/reproduce)", metavar="FOLDER")
    parser.add_settings(CompareConfig)


def run_reproduce(given: dict[str, Any]) -> int:
    """Run a figure or table of the paper; returns the exit code."""
    from adacore.experiments.paper import reproduce

    name, scale, out = given.pop("name"), given.pop("scale", "paper"), given.pop("out", None)
    reproduce(name, scale=scale, overrides=given, out=out, console=_wide_console())
    return 0


def run_doctor(given: dict[str, Any]) -> int:
    """Check the installation; returns the exit code, 1 if a check failed."""
    from adacore.experiments.doctor import run

    return 0 if run() else 1


def _say(console: Console, text: str) -> None:
    # As it is: a path in brackets would be taken for a style, and a long line be broken where somebody copies it.
    console.print(text, highlight=False, markup=False, soft_wrap=True)
