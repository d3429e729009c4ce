"""Comparing methods over the same seeds: runs that are done are kept, half-done ones go on, the rest is started."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adacore.experiments import data
from adacore.experiments.data.split import hold_out
from adacore.experiments.evidence.intervals import Interval
from adacore.experiments.evidence.summaries import MethodSummary, Speedup, summarise, to_json
from adacore.experiments.runs.progress import Live, Silent, Watcher, describe
from adacore.experiments.runs.resumable_run import MOVABLE, train
from adacore.experiments.runs.run_folder import Row, RunFolder, read_yaml, versions, write_yaml
from adacore.experiments.runs.settings import CompareConfig, TrainConfig, to_mapping
from adacore.facility import prepare_kernels
from adacore.selectors import parse_selector

_FREE = {*MOVABLE, "methods", "seeds", "first_seed"}
"""Settings in which a comparison may differ from what its folder holds already."""

WORTH_SAYING = 3.0
"""Seconds of compiling from which it is mentioned."""


def method_folder(method: str) -> str:
    """Name the folder of a method's runs.

    Example:
        >>> method_folder("adacore(weighting=uniform, beta1=0.8)")
        'adacore-weighting=uniform-beta1=0.8'
    """
    return re.sub(r"[^A-Za-z0-9.=_+-]+", "-", method).strip("-")


def compare(config: CompareConfig, out: str | Path, *, console: Console | None = None) -> list[MethodSummary]:
    """Train every method with every seed, print the table, and write ``comparison.json``.

    Runs of one seed share initial weights and all that is drawn. Interrupted, it goes on where it was stopped.

    Args:
        config: Settings.
        out: The comparison's folder; runs are kept in ``<out>/<method>/seed-<seed>``.
        console: Where to print; None for nowhere.

    Returns:
        A summary of each method.

    Raises:
        ValueError: If the folder holds a comparison with other settings.
        FileExistsError: If it holds a single run.
    """
    out = Path(out)
    console = Console(quiet=True) if console is None else console
    _claim(config, out)
    base: data.Splits | None = None
    runs: dict[str, dict[int, list[Row]]] = {method: {} for method in config.methods}
    trainings = config.runs()
    folders = {run: out / method_folder(run.method) / f"seed-{run.seed}" for run in trainings}
    _prepare(console, {run.method for run, folder in folders.items() if not _is_done(run, folder)})
    with _watching(console, len(trainings)) as watcher:
        for number, run in enumerate(trainings, 1):
            folder = folders[run]
            if base is None and not _is_done(run, folder):
                base = data.load(config.data, data_root=config.data_root)
            splits = None if base is None else hold_out(base, config.validation, seed=run.seed)
            rows = runs[run.method][run.seed] = train(run, folder, splits=splits, resume=True, watcher=watcher)
            if isinstance(watcher, Live):
                watcher.run_done()
            else:
                _line(console, f"{number}/{len(trainings)} {run.method}, seed {run.seed}: {describe(rows[-1])}")
    summaries = summarise(runs)
    _write(config, out, summaries)
    console.print(table(config, summaries))
    for summary in summaries:
        if summary.sentence:
            _line(console, summary.sentence)
    return summaries


def _claim(config: CompareConfig, out: Path) -> None:
    """Check that the folder is free, or holds this comparison, and write the settings into it."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: pass a folder for the comparison")
    if RunFolder(out).holds_run():
        raise FileExistsError(f"{out} already holds a run of adacore train: pass another folder")
    labels = [method_folder(method) for method in config.methods]
    if len(set(labels)) < len(labels):
        raise ValueError(f"two of the methods share a folder, {labels}: name each method once")
    settings = out / "config.yaml"
    if settings.exists():
        saved = read_yaml(settings)
        for name, value in to_mapping(config).items():
            if name not in _FREE and saved.get(name, value) != value:
                raise ValueError(
                    f"{out} holds a comparison with {name}={saved[name]!r}, now it is {value!r}: put {name} back, or "
                    "pass another folder"
                )
    out.mkdir(parents=True, exist_ok=True)
    write_yaml(settings, to_mapping(config))


def _is_done(run: TrainConfig, folder: Path) -> bool:
    return len(RunFolder(folder).rows()) >= run.epochs


def _prepare(console: Console, methods: set[str]) -> None:
    """Compile what the methods need before anything is timed: the first run would be charged with it."""
    if not any(parse_selector(method).traits.compiled for method in methods):
        return
    with console.status("Compiling what selects, if this machine has not done so yet"):
        seconds = prepare_kernels()
    if seconds >= WORTH_SAYING:
        _line(console, f"Compiled what selects in {seconds:.0f} s: done once on this machine, charged to no run.")


@contextlib.contextmanager
def _watching(console: Console, runs: int) -> Iterator[Watcher]:
    if console.is_terminal:
        with Live(console, runs) as live:
            yield live
    else:
        yield Silent()


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _write(config: CompareConfig, out: Path, summaries: list[MethodSummary]) -> None:
    content = {
        "config": to_mapping(config),
        "made_with": versions(),
        "methods": [{**to_json(summary), "folder": method_folder(summary.method)} for summary in summaries],
    }
    temporary = out / "comparison.partial"
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(out / "comparison.json")


def table(config: CompareConfig, summaries: list[MethodSummary]) -> Table:
    """Lay the summaries out for the terminal.

    Args:
        config: Settings of the comparison.
        summaries: One for each method.

    Returns:
        A rich table.
    """
    size = f"{config.budget} examples" if config.budget is not None else f"{config.size['fraction']:.3g} of the data"
    rhythm = "as often as costs allow" if config.every == "auto" else f"every {config.every} epochs"
    laid = Table(
        title=f"{config.data}, {config.model}, {size}, a new coreset {rhythm}, {config.epochs} "
        f"epochs, {config.seeds} seed{'s' * (config.seeds > 1)}",
        caption="Means over seeds; accuracy with its 95 % interval. Speed-up: to full training's accuracy less one "
        "point, in seconds / gradient evaluations.",
    )
    laid.add_column("method", overflow="fold")
    for heading in ("test accuracy", "seconds", "probing", "selecting", "training", "gradients", "touched", "speed-up"):
        laid.add_column(heading, justify="right")
    for summary in summaries:
        laid.add_row(
            summary.method.replace("[", r"\["),
            _accuracy(summary.accuracy),
            f"{summary.total_seconds:.2f}",
            *(f"{summary.seconds[part]:.2f}" for part in ("probing", "selecting", "training")),
            f"{summary.gradient_evaluations:,.0f}",
            f"{summary.fraction_touched:.1%}",
            _speedup(summary.speedup),
        )
    return laid


def _accuracy(interval: Interval) -> str:
    spread = "" if math.isnan(interval.low) else f" ± {100 * interval.half_width:.2f}"
    return f"{100 * interval.mean:.2f}{spread} %"


def _speedup(speedup: Speedup | None) -> str:
    if speedup is None:
        return "-"
    if speedup.seconds is None or speedup.gradient_evaluations is None:
        return f"reached {speedup.reached} of {speedup.seeds}"
    return f"{speedup.seconds:.1f} / {speedup.gradient_evaluations:.1f}"
