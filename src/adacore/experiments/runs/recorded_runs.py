"""Recorded runs, read back from their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.experiments.analysis import Examples
from adacore.experiments.runs.run_folder import Row, RunFolder, read_yaml
from adacore.training.ledger import PARTS

_NAMES = {
    "adacore": "AdaCore",
    "craig": "CRAIG",
    "gradmatch": "GradMatch",
    "glister": "GLISTER",
    "el2n": "EL2N",
    "k_center": "k-center",
    "k_medoids": "k-medoids",
}
_LAST = ("random", "full")


@dataclass(frozen=True, eq=False)
class Run:
    """One training, as its folder tells it.

    Attributes:
        folder: Where it lies.
        settings: Its configuration, by name.
        made_with: Versions and machine, in words; empty if not recorded.
        rows: Metrics, one row for each epoch, at least one of them with a test accuracy.
    """

    folder: Path
    settings: dict[str, Any]
    made_with: str
    rows: tuple[Row, ...]

    @property
    def method(self) -> str:
        """The method as on the command line."""
        return str(self.settings.get("method", self.folder.parent.name))

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.settings.get("seed", 0))

    @property
    def finished(self) -> bool:
        """Whether all epochs were run."""
        return bool(len(self.rows) >= int(self.settings.get("epochs", 0)))

    @property
    def evaluated(self) -> tuple[Row, ...]:
        """The rows up to the last evaluation on the test set."""
        last = max(position for position, row in enumerate(self.rows) if row.get("test_accuracy") is not None)
        return self.rows[: last + 1]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one metric of all epochs; nan where it was not recorded."""
        values = [row.get(name) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds of probing, selecting and training up to each epoch; evaluating is left out."""
        return np.asarray(sum(np.nan_to_num(self.column(f"{part}_seconds")) for part in PARTS), dtype=np.float64)

    @cached_property
    def coresets(self) -> tuple[tuple[int, Coreset], ...]:
        """Coresets with the epochs, from 1, that they were selected in."""
        paths = sorted(RunFolder(self.folder).coresets.glob("epoch-*.npz"))
        return tuple((int(path.stem.removeprefix("epoch-")), Coreset.load(path)) for path in paths)

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
    def rows(self) -> dict[int, tuple[Row, ...]]:
        """Metrics by seed, up to the last evaluation."""
        return {run.seed: run.evaluated for run in self.runs}


def base_name(label: str) -> str:
    """Return a method's name without its settings.

    Example:
        >>> base_name("adacore(weighting=uniform)")
        'adacore'
    """
    return re.split(r"[^\w-]", label, maxsplit=1)[0]


def display_name(label: str) -> str:
    """Write a method's name as people do.

    Example:
        >>> display_name("adacore(weighting=uniform)"), display_name("least_confidence")
        ('AdaCore (weighting=uniform)', 'Least confidence')
    """
    base = base_name(label)
    rest = label[len(base) :].strip()
    name = _NAMES.get(base, base.replace("_", " ").capitalize())
    return f"{name} {rest}" if rest else name


def read_methods(folder: Path) -> tuple[Method, ...]:
    """Read all runs in a folder, or the run that the folder is.

    Args:
        folder: Of one run, of a comparison, or of several.

    Returns:
        Methods, AdaCore first, Random and Full last.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no run with at least one finished epoch, or one that cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: pass the folder of a run or of a comparison")
    runs = [run for path in sorted(folder.rglob("metrics.jsonl")) if (run := _read(path.parent)) is not None]
    if not runs:
        raise ValueError(f"{folder} holds no run with a finished epoch: pass what `adacore train` or `compare` wrote")
    grouped: dict[str, list[Run]] = {}
    several = _clash(runs)
    for run in runs:
        where = run.folder.relative_to(folder).parts[0] if several else ""
        grouped.setdefault(f"{run.method} {where}".strip(), []).append(run)
    methods = [Method(label, tuple(sorted(group, key=lambda run: run.seed))) for label, group in grouped.items()]
    return tuple(sorted(methods, key=_order))


def _read(folder: Path) -> Run | None:
    source = RunFolder(folder)
    rows = source.rows()
    if not source.config_file.is_file() or all(row.get("test_accuracy") is None for row in rows):
        return None
    first = source.config_file.read_text(encoding="utf-8").partition("\n")[0]
    made_with = first.removeprefix("# Made with").strip() if first.startswith("# Made with") else ""
    return Run(folder, read_yaml(source.config_file), made_with, tuple(rows))


def _clash(runs: Sequence[Run]) -> bool:
    """Tell whether one method was run with one seed more than once, as in two set-ups side by side."""
    keys = [(run.method, run.seed) for run in runs]
    return len(set(keys)) < len(keys)


def _order(method: Method) -> tuple[int, int]:
    names = list(_NAMES)
    if method.base in _LAST:
        return 2, _LAST.index(method.base)
    return (0, names.index(method.base)) if method.base in names else (1, 0)
