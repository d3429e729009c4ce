"""Recorded runs, read back from their folders: typed, checked, and nothing in them executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.experiments.analysis import Examples
from adacore.experiments.evidence.outcomes import Outcome
from adacore.experiments.evidence.sentences import NAMES, display_name
from adacore.experiments.evidence.summaries import base_name
from adacore.experiments.runs.experiment import differing_settings, experiment_of
from adacore.experiments.runs.metrics_rows import Row
from adacore.experiments.runs.run_folder import Divergence, RunFolder
from adacore.training.ledger import PARTS

_LAST = ("random", "full")


@dataclass(frozen=True, eq=False)
class Run:
    """One training, as its folder tells it.

    Attributes:
        folder: Where it lies.
        settings: Its configuration, plain values by name.
        made_with: Versions and machine, in words; empty if not recorded.
        rows: Metrics, one row for each epoch.
        divergence: How it ended, if the training diverged.
    """

    folder: Path
    settings: dict[str, Any]
    made_with: str
    rows: tuple[Row, ...]
    divergence: Divergence | None = None

    @property
    def method(self) -> str:
        """The method as on the command line."""
        return str(self.settings["method"])

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.settings["seed"])

    @property
    def experiment(self) -> str:
        """What the run is part of; see ``experiment_of``."""
        return experiment_of(self.settings)

    @property
    def finished(self) -> bool:
        """Whether all epochs were run."""
        return len(self.rows) >= int(self.settings["epochs"])

    @property
    def is_evaluated(self) -> bool:
        """Whether there is a test accuracy."""
        return any(row.get("test_accuracy") is not None for row in self.rows)

    @property
    def outcome(self) -> Outcome:
        """What the run came to."""
        # First: a run can diverge after its last row was written, while it is evaluated.
        if self.divergence is not None:
            return Outcome(self.rows, "diverged", self.divergence.test_accuracy)
        return Outcome.finished(self.rows) if self.finished else Outcome(self.rows, "unfinished", float("nan"))

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one metric of all epochs; nan where it was not measured."""
        values = [row.get(name) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds of probing, selecting and training up to each epoch; evaluating is left out."""
        return np.asarray(sum(self.column(f"{part}_seconds") for part in PARTS), dtype=np.float64)

    @property
    def gradient_evaluations(self) -> NDArray[np.float64]:
        """Examples stepped on and probed up to each epoch."""
        return self.column("gradient_evaluations") + self.column("probed_examples")

    @cached_property
    def coresets(self) -> tuple[tuple[int, Coreset], ...]:
        """Coresets with the epochs, from 1, that they were selected in."""
        return tuple((epoch, Coreset.load(path)) for epoch, path in RunFolder(self.folder).coreset_files())

    @cached_property
    def examples(self) -> Examples | None:
        """What was recorded about every example at the end, if it was."""
        path = self.folder / "examples.npz"
        return Examples.load(path) if path.is_file() else None


@dataclass(frozen=True)
class Method:
    """All runs of one method.

    Attributes:
        label: What tells it apart from the other methods.
        runs: By ascending seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The label as people write it."""
        return display_name(self.label)

    @property
    def base(self) -> str:
        """The label without settings."""
        return base_name(self.label)

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """What each run came to, by seed."""
        return {run.seed: run.outcome for run in self.runs}

    @property
    def experiment(self) -> str:
        """What all of its runs are part of."""
        return self.runs[0].experiment


@dataclass(frozen=True)
class Recorded:
    """All runs below a folder.

    Attributes:
        methods: AdaCore first, Random and Full last.
        left_out: What was found and can't be shown, with the reason, a sentence each.
    """

    methods: tuple[Method, ...]
    left_out: tuple[str, ...] = ()


def read_run(folder: Path) -> Run:
    """Read one run.

    Args:
        folder: Of the run.

    Returns:
        The run, finished or not.

    Raises:
        FileNotFoundError: If there are no settings.
        ValueError: If settings or rows are damaged; the message names file and line.
    """
    source = RunFolder(folder)
    settings = source.settings()
    return Run(folder, settings, source.made_with(), tuple(source.rows()), source.divergence())


def read_methods(folder: Path) -> Recorded:
    """Read all runs in a folder, or the run that the folder is.

    Runs are one method's only if they are parts of one experiment: what was run with other settings is a method of its
    own, whose label says what differs, or where it lies.

    Args:
        folder: Of one run, of a comparison, or of several.

    Returns:
        The methods, and what was left out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no run with at least one evaluated epoch, or one that is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: pass the folder of a run or of a comparison")
    runs, left_out, found = list[Run](), list[str](), set[Path]()
    # A run that diverged in its first epoch has no rows.
    # By what a run leaves and not by config.yaml, which comparisons have too.
    for where in sorted({path.parent for name in ("metrics.jsonl", "diverged.json") for path in folder.rglob(name)}):
        # Told and not passed over: whoever copied the rows alone should learn why they are missing from the page.
        if not (where / "config.yaml").is_file():
            left_out.append(f"{where} has no config.yaml, so that nobody knows what was run")
            continue
        # No run is written within another: it is a copy of one, as a backup, and would count twice.
        outer = next((parent for parent in where.parents if parent in found), None)
        if outer is not None:
            left_out.append(f"{where} lies within the run {outer}, as a copy does")
            continue
        found.add(where)
        run = read_run(where)
        if run.is_evaluated or run.divergence is not None:
            runs.append(run)
        else:
            left_out.append(f"{where} has no evaluated epoch yet")
    # Runs that diverged at once may stand beside others, but nothing can be drawn of them alone.
    if not any(run.is_evaluated for run in runs):
        ended = [f"{run.folder}: {run.divergence.reason}" for run in runs if run.divergence is not None]
        reasons = f" ({'; '.join([*left_out, *ended])})" if left_out or ended else ""
        raise ValueError(
            f"{folder} holds no run with a finished epoch{reasons}: pass what `adacore train` or `compare` wrote"
        )
    methods = []
    for label, group in _grouped(runs, folder).items():
        by_seed: dict[int, Run] = {}
        for run in group:
            # Results are kept by seed: a second run of one seed has no place among them.
            if by_seed.setdefault(run.seed, run) is not run:
                left_out.append(f"{run.folder} repeats {by_seed[run.seed].folder}, with the same settings and seed")
        methods.append(Method(label, tuple(by_seed[seed] for seed in sorted(by_seed))))
    return Recorded(tuple(sorted(methods, key=_order)), tuple(left_out))


def _grouped(runs: Sequence[Run], folder: Path) -> dict[str, list[Run]]:
    """Sort runs into methods, each of one experiment, with labels that tell them apart."""
    parts: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        # Two runs of one method and seed are two experiments in two folders, as of two set-ups: the first folder tells
        # them apart.
        place = run.folder.relative_to(folder).parts[0] if _occurs_twice(run, runs) else ""
        parts.setdefault((run.method, run.experiment, place), []).append(run)
    # Only a method that was run in several experiments needs more than its name.
    experiments: dict[str, dict[str, str]] = {}
    for method, experiment, place in parts:
        experiments.setdefault(method, {})[f"{experiment} {place}"] = experiment
    places = [(method, place) for method, _, place in parts]
    labelled = {}
    for (method, experiment, place), group in parts.items():
        differing = differing_settings(experiments[method])[f"{experiment} {place}"]
        told = ", ".join(f"{name}={value}" for name, value in differing.items())
        # The folder is enough, unless runs with other settings lie in it too.
        told = "" if place and places.count((method, place)) == 1 else told
        labelled[" ".join(filter(None, (method, place, told and f"[{told}]")))] = group
    return labelled


def _occurs_twice(run: Run, runs: Sequence[Run]) -> bool:
    """Tell whether one method was run with one seed more than once, as in two set-ups side by side."""
    # Method and seed name a run within a comparison: a second one can't be averaged with it.
    return sum((other.method, other.seed) == (run.method, run.seed) for other in runs) > 1


def _order(method: Method) -> tuple[int, int]:
    # The paper's methods first, in its order; the controls last, where a reader looks for them.
    names = list(NAMES)
    if method.base in _LAST:
        return 2, _LAST.index(method.base)
    return (0, names.index(method.base)) if method.base in names else (1, 0)


def experiments_of(methods: Sequence[Method]) -> Mapping[str, str]:
    """Name the experiment of each method by its label, for ``summarise``."""
    return {method.label: method.experiment for method in methods}
