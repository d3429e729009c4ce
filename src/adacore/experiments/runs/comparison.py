"""Comparing methods over the same seeds: runs that are done are kept, half-done ones go on, the rest is started."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from adacore.experiments import data
from adacore.experiments.evidence.as_json import to_json
from adacore.experiments.evidence.outcomes import Outcome
from adacore.experiments.evidence.summaries import MethodSummary, summarise
from adacore.experiments.runs.arms import parse_arm
from adacore.experiments.runs.comparison_table import print_comparison
from adacore.experiments.runs.experiment import MOVABLE, experiment_of
from adacore.experiments.runs.folder_lock import locked
from adacore.experiments.runs.progress import Live, LiveRun, Silent, Watcher, describe, print_plain
from adacore.experiments.runs.recorded_runs import read_run
from adacore.experiments.runs.run_folder import RunFolder, read_yaml, versions, write_yaml
from adacore.experiments.runs.settings import CompareConfig, TrainConfig, to_mapping
from adacore.experiments.runs.worker_processes import LoadedData, run_side_by_side, train_one
from adacore.labelling.durable_files import replace_file
from adacore.selectors.preparation import prepare_selector

_FREE = {*MOVABLE, "methods", "seeds", "first_seed"}
"""Settings in which a comparison may differ from what its folder holds already."""

WORTH_SAYING = 3.0
"""Seconds of compiling from which it is mentioned: less is not noticed beside loading the data."""


def method_folder(method: str) -> str:
    """Name the folder of a method's runs.

    Example:
        >>> method_folder("adacore(weighting=uniform, beta1=0.8)")
        'adacore-weighting=uniform-beta1=0.8'
    """
    # Names of methods hold parentheses, commas and spaces, which shells and some file systems take amiss.
    return re.sub(r"[^A-Za-z0-9.=_+-]+", "-", method).strip("-")


def compare(config: CompareConfig, out: str | Path, *, console: Console | None = None) -> list[MethodSummary]:
    """Train every method with every seed, print the table, and write ``comparison.json``.

    Runs of one seed share initial weights and all that is drawn. Interrupted, it goes on where it was stopped. A run
    that diverges counts as what it had reached. With ``jobs`` above 1, runs are trained in spawned processes; a script
    that calls this then needs the guard ``if __name__ == "__main__":``.

    Args:
        config: Settings.
        out: The comparison's folder; runs are kept in ``<out>/<method>/seed-<seed>``.
        console: Where to print; None for nowhere.

    Returns:
        A summary of each method.

    Raises:
        ValueError: If the folder holds a comparison with other settings.
        FileExistsError: If it holds a single run, or a simulation of labelling.
        BlockingIOError: If another process works in the folder.
    """
    out = Path(out)
    console = Console(quiet=True) if console is None else console
    # Before the folder is made: a refusal leaves nothing behind.
    _check_claim(config, out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _check_claim(config, out)  # again, now that nobody else can write here
        # Written before the first run: a comparison that was stopped says what it was.
        write_yaml(out / "config.yaml", to_mapping(config))
        trainings = config.runs()
        folders = [out / method_folder(run.method) / f"seed-{run.seed}" for run in trainings]
        todo = [(run, folder) for run, folder in zip(trainings, folders, strict=True) if not _is_over(run, folder)]
        _prepare(console, {run.method for run, _ in todo})
        _train_all(todo, config.jobs, console, done=len(trainings) - len(todo))
        outcomes: dict[str, dict[int, Outcome]] = {method: {} for method in config.methods}
        for run, folder in zip(trainings, folders, strict=True):
            # Read from disk, finished long ago or just now alike: the table says what a report will say.
            outcomes[run.method][run.seed] = read_run(folder).outcome
        summaries = summarise(outcomes)
        _write(config, out, summaries)
    print_comparison(console, config, summaries)
    return summaries


def _check_claim(config: CompareConfig, out: Path) -> None:
    """Check that the folder is free, or holds this comparison."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: pass a folder for the comparison")
    if RunFolder(out).holds_run():
        raise FileExistsError(f"{out} already holds a run of adacore train: pass another folder")
    RunFolder(out).check_no_simulation()
    labels = [method_folder(method) for method in config.methods]
    # Two spellings of one method, or two that differ in characters which folder names lose.
    if len(set(labels)) < len(labels):
        raise ValueError(f"two of the methods share a folder, {labels}: name each method once")
    settings = out / "config.yaml"
    if not settings.exists():
        return
    saved = read_yaml(settings)
    for name, value in to_mapping(config).items():
        if name not in _FREE and saved.get(name, value) != value:
            raise ValueError(
                f"{out} holds a comparison with {name}={saved[name]!r}, now it is {value!r}: put {name} back, or "
                "pass another folder"
            )


def _is_over(run: TrainConfig, folder: Path) -> bool:
    """Tell whether a run has ended, by its last epoch or because it diverged, and check that it is this one."""
    source = RunFolder(folder)
    if not source.config_file.is_file():
        return False
    settings = source.settings()
    if (settings["method"], settings["seed"]) != (run.method, run.seed) or (
        experiment_of(settings) != experiment_of(to_mapping(run))
    ):
        raise ValueError(f"{folder} holds a run with other settings: move it away, or pass another folder")
    return source.has_ended(run.epochs) or source.divergence() is not None


def _prepare(console: Console, methods: set[str]) -> None:
    """Compile what the methods need before anything is timed: the first run would be charged with it."""
    with console.status("Compiling what selects, if this machine has not done so yet"):
        # Sorted, since a set has no order: what is compiled first is the same every time.
        seconds = sum(prepare_selector(parse_arm(method).selector) for method in sorted(methods))
    if seconds >= WORTH_SAYING:
        print_plain(console, f"Compiled what selects in {seconds:.0f} s: done once on this machine, charged to no run.")


def _train_all(todo: Sequence[tuple[TrainConfig, Path]], jobs: int, console: Console, *, done: int) -> None:
    """Train what is left, one run after another or ``jobs`` at a time."""
    with _display(console, len(todo) + done, done) as display:
        # A single run gains nothing from a process of its own but the seconds of starting it.
        if jobs > 1 and len(todo) > 1:
            first, _ = todo[0]
            if ":" not in first.data:
                # Decoded images are kept in a cache: were it empty, every worker would decode all of them.
                data.load(first.data, data_root=first.data_root)
            run_side_by_side(todo, jobs, notify=lambda i, kind, content: display.note(todo[i], i, kind, content))
            return
        loaded = LoadedData()
        for position, task in enumerate(todo):
            watcher = display.watcher(position)
            message = train_one(*task, loaded, watcher)
            display.note(task, position, "done" if message is None else "diverged", message)


class _Display:
    """What a person sees of all runs: bars on a terminal, a line for each run that has ended elsewhere."""

    def __init__(self, console: Console, live: Live | None, total: int, ended: int) -> None:
        self.console, self.live, self.total, self.ended = console, live, total, ended
        self._bars: dict[int, LiveRun] = {}

    def watcher(self, position: int) -> Watcher:
        """Return what is told about the epochs of a run."""
        if self.live is None:
            return Silent()
        return self._bars.setdefault(position, self.live.watch_run())

    def note(self, task: tuple[TrainConfig, Path], position: int, kind: str, content: Any) -> None:
        """Note what became of a run; see ``run_side_by_side``."""
        if kind == "begin":
            self.watcher(position).begin(*content)
        elif kind == "epoch":
            self.watcher(position).epoch(content)
        else:
            self._end(task, position, content)

    def _end(self, task: tuple[TrainConfig, Path], position: int, message: str | None) -> None:
        self.ended += 1
        config, folder = task
        if self.live is not None:
            self.live.run_done()
            if position in self._bars:
                self._bars.pop(position).close()
        if message is not None or self.live is None:
            told = describe(RunFolder(folder).rows()[-1]) if message is None else message
            print_plain(self.console, f"{self.ended}/{self.total} {config.method}, seed {config.seed}: {told}")


@contextlib.contextmanager
def _display(console: Console, total: int, done: int) -> Iterator[_Display]:
    if console.is_terminal:
        with Live(console, total) as live:
            for _ in range(done):
                live.run_done()
            yield _Display(console, live, total, done)
    else:
        yield _Display(console, None, total, done)


def _write(config: CompareConfig, out: Path, summaries: list[MethodSummary]) -> None:
    # Everything that the table says, and with what it was made: the file is to be readable without the runs.
    content = {
        "config": to_mapping(config),
        "made_with": versions(),
        "methods": [{**to_json(summary), "folder": method_folder(summary.method)} for summary in summaries],
    }
    replace_file(out / "comparison.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
