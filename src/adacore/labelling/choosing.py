"""Choosing rows of a file, as ``adacore select`` does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unknown_name
from adacore.labelling.coverage import Coverage, coverage_of, labels_in
from adacore.labelling.durable_files import prepare_file
from adacore.labelling.items import Items, item_column, read_items
from adacore.labelling.row_numbers import read_known_labels, read_positions
from adacore.labelling.tables import read_features

if TYPE_CHECKING:
    from adacore.coreset import Coreset

LONG = 300.0
"""Predicted seconds from which a person is told before the wait: ``plan`` is right within a factor of three, and less
than two minutes need no word."""


def _setting(default: Any, text: str, **bounds: float) -> Any:
    return field(default=default, metadata={"help": text, "bounds": bounds})


@dataclass(frozen=True)
class SelectSettings:
    """Settings of ``adacore select``; the help texts say what each field means.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of the wrong kind.

    Example:
        >>> SelectSettings(budget=2.5)
        Traceback (most recent call last):
        TypeError: budget=2.5 is not a whole number: pass an int of at least 1
    """

    budget: int | None = _setting(None, "number of rows to select")
    fraction: float | None = _setting(
        None, "instead of --budget, share of the rows to select, in (0, 1]", above=0, most=1
    )
    tolerance: float | None = _setting(
        None,
        "instead of --budget, select as few as bring L, the sum of all rows' distances to the nearest selected one, "
        "down to this",
        least=0,
    )
    metric: Literal["euclidean", "cosine"] = _setting(
        "euclidean", "how distance is measured; cosine for embeddings, of which only the direction means something"
    )
    items: str | None = _setting(
        None,
        "what stands behind the rows, in their order: a folder of images, a .txt file with a text a line, or a column, "
        "as in texts.csv:text or texts.parquet:text",
    )
    report: str | None = _setting(None, "a .html file that shows the picks and what they stand for")
    sheet: str | None = _setting(None, "a .csv file to label in: position, item, weight, label")
    initial: str | None = _setting(
        None,
        "rows that are labelled or selected already, from which the selection goes on: the --sheet of an earlier "
        "round, positions (.txt, .csv, .npy), a mask (.npy), or a coreset",
    )
    exclude: str | None = _setting(None, "rows that must not be selected, in a file as for --initial")
    labels: str | None = _setting(
        None,
        "select within classes that are known: a column's name, target (LIBSVM), an .npy file, or a .txt file with a "
        "label a line",
    )
    quotas: str = _setting(
        "proportional", "with --labels, how many of each class: proportional, equal, or a number for each: cat=10,dog=5"
    )
    out: str = _setting("coreset.npz", "where the selection is saved, a .npz or .parquet file")
    method: Literal["exact", "stochastic", "sampled"] = _setting(
        "exact",
        "exact: greedy on all rows; for millions of rows sampled: on a random sample of them, or stochastic: on random "
        "candidates for each pick",
    )
    seed: int | None = _setting(None, "of the random draws of --method sampled and stochastic", least=0)
    refine: bool = _setting(False, "improve the selection by swaps until none helps, which takes several times longer")
    engine: Literal["local", "ray"] = _setting(
        "local", "this process, or Ray's: files larger than memory, on many cores or machines (docs/scale.md)"
    )
    work: str | None = _setting(
        None, "with --engine ray, a folder that keeps what is done: killed, it goes on from there"
    )
    memory: float | None = _setting(
        None, "with --engine ray, gigabytes that each worker may take, 0.5 of libraries included; 2 if none", above=0
    )
    address: str | None = _setting(None, "with --engine ray, of a cluster, as ray.init takes it; this machine if none")

    def __post_init__(self) -> None:
        # Field types and bounds are checked first: the checks below may then rely on texts being texts.
        from adacore.selectors.settings import check_fields  # which loads torch: --help does not wait for it

        check_fields(self)
        if Path(self.out).suffix not in {".npz", ".parquet"}:
            raise ValueError(f"--out {self.out} ends in {Path(self.out).suffix!r}: expected .npz or .parquet")
        for name, ending in (("report", ".html"), ("sheet", ".csv")):
            value = getattr(self, name)
            if value is not None and Path(value).suffix != ending:
                raise ValueError(f"--{name} {value} ends in {Path(value).suffix!r}: expected {ending}")
        # Refused and not ignored: somebody who asks for quotas believes that classes are kept apart.
        if self.quotas != "proportional" and self.labels is None:
            raise ValueError(f"--quotas {self.quotas} without classes: pass --labels, what to select within")
        self._check_engine()
        if self.items is not None and self.report is None and self.sheet is None:
            raise ValueError(
                "--items are shown in a report or a sheet: pass --report picks.html or --sheet to-label.csv"
            )

    def _check_engine(self) -> None:
        if self.engine == "ray":
            others = ("tolerance", "refine", "exclude", "items", "report", "sheet")
            given = next((name for name in others if getattr(self, name)), None)
            if given is not None:
                raise ValueError(f"--{given} is not supported with --engine ray: leave it out, or pass --engine local")
            return
        given = next((name for name in ("work", "memory", "address") if getattr(self, name) is not None), None)
        if given is not None:
            raise ValueError(f"--{given} is of Ray alone: pass --engine ray too")


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and from what.

    Attributes:
        coreset: The new picks.
        features: The table, shape (n, d).
        labels: Classes as they are called, shape (n,), or None.
        initial: Positions of rows that were selected before, or None.
        items: What stands behind the rows.
        settings: How it was chosen.
        known: Labels of rows that were selected before, by position, where the file of them has any.
    """

    coreset: Coreset
    features: Any
    labels: NDArray[Any] | None
    initial: NDArray[np.int64] | None
    items: Items
    settings: SelectSettings
    known: Mapping[int, str] = field(default_factory=dict)

    def coverage(self) -> Coverage:
        """Work out what each pick stands for."""
        return coverage_of(
            self.features,
            self.coreset,
            initial=self.initial,
            metric=self.settings.metric,
            # Picks per class are sorted stratum by stratum, and swaps replace picks in the middle: in both cases the
            # gains do not add up to a curve of L(S_t).
            in_greedy_order=self.labels is None and not self.settings.refine,
        )


def choose_rows(features: str | Path, settings: SelectSettings) -> Choice:
    """Choose the rows of a table that stand for all, and save them.

    Args:
        features: A file, as ``read_features`` takes it.
        settings: How to choose, and where to save.

    Returns:
        The choice.

    Raises:
        ValueError: If a file or a setting is not as described.
    """
    from adacore.facility import facility_location  # which compiles: a wrong file name need not wait for it

    table = read_features(features, labels=settings.labels, without=item_column(settings.items, features))
    n = table.x.shape[0]
    # All files are read before anything is computed: a wrong one is noticed at once and not after minutes.
    items = Items() if settings.items is None else read_items(settings.items, n)
    _prepare_files(settings)
    initial = None if settings.initial is None else read_positions(settings.initial, n)
    beside = {} if settings.initial is None else read_known_labels(settings.initial)
    known = {position: label for position, label in beside.items() if label}
    if len(known) < len(beside):
        warnings.warn(
            f"{settings.initial}: {len(beside) - len(known):,} of {len(beside):,} rows have no label yet; all of them "
            "count as chosen already, take out those that you will not label",
            stacklevel=2,
        )
    candidates = None
    if settings.exclude is not None:
        # The engine takes what may be chosen, not what must not: excluded rows stay clients, and are still served.
        candidates = np.setdiff1d(np.arange(n), read_positions(settings.exclude, n))
    # Sampling takes minutes at worst; the exact engine alone can take hours on a table that looks harmless.
    if settings.method == "exact":
        _warn_of_a_long_wait(*table.x.shape, settings=settings)
    coreset = facility_location(
        table.x,
        budget=settings.budget,
        fraction=settings.fraction,
        tolerance=settings.tolerance,
        labels=table.labels,
        quotas=_quotas(settings.quotas, table.labels),
        initial=initial,
        candidates=candidates,
        metric=settings.metric,
        method=settings.method,
        refine=settings.refine,
        seed=settings.seed,
    )
    # The coreset is saved before any page or sheet is made: a fault in those must not cost the selection.
    coreset.save(settings.out)
    return Choice(coreset, table.x, table.labels, initial, items, settings, known)


def _prepare_files(settings: SelectSettings) -> None:
    """Make sure, before a selection that may take minutes, that what comes of it can be written."""
    for name in (settings.out, settings.report, settings.sheet):
        if name is not None:
            prepare_file(Path(name))
    # Typed again, or out of a shell's history, the command of the first round would write over its labels.
    if settings.sheet is not None and (held := labels_in(Path(settings.sheet))):
        raise ValueError(
            f"--sheet {settings.sheet} exists and holds {held} labels: pass another name, or move it; to go on from "
            f"its rows, pass --initial {settings.sheet} too"
        )


def _quotas(text: str, labels: NDArray[Any] | None) -> Any:
    """Read ``proportional``, ``equal`` or ``cat=10,dog=5``, whose names are those of the classes as texts."""
    named = parse_quotas(text)
    if labels is None or isinstance(named, str):
        return named
    # A command line hands over texts, and the classes may be numbers: they meet as texts.
    classes = {str(label): label for label in np.unique(labels).tolist()}
    for name in named:
        if name not in classes:
            raise unknown_name("class in --quotas", name, classes)
    return {classes[name]: number for name, number in named.items()}


def parse_quotas(text: str) -> str | dict[str, int]:
    """Read ``--quotas``.

    Args:
        text: ``proportional``, ``equal`` or ``cat=10,dog=5``.

    Returns:
        One of the words, or a number by the name of a class.

    Raises:
        ValueError: If it is neither.
    """
    if text in {"proportional", "equal"}:
        return text
    quotas: dict[str, int] = {}
    for part in text.split(","):
        # Split at the last equals sign: a class may have one in its name.
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not equals or not number.isdigit():
            raise ValueError(
                f"--quotas {text}: {part!r} is not class=number; pass proportional, equal, or cat=10,dog=5"
            )
        quotas[name] = int(number)
    return quotas


def _warn_of_a_long_wait(n: int, d: int, *, settings: SelectSettings) -> None:
    """Say what an exact selection is predicted to take, where that is long, and what takes less."""
    from adacore.facility import plan

    if n < 1 or d < 1:
        return  # facility_location says what is wrong with it
    # One pick alone is cheap, the second costs as much as all others; how many a tolerance takes is not known.
    k = min(max(settings.budget or round(n * (settings.fraction or 0.0)), 2), n)
    cost = plan(n=n, d=d, k=k)
    if cost.seconds > LONG:
        other = "--budget and --method sampled" if settings.tolerance is not None else "--method sampled"
        warnings.warn(
            f"exact selection of {k:,} among {n:,} rows of {d:,} features is predicted to take about "
            f"{cost.seconds:,.0f} s ({cost.seconds / 3600:.1f} h): {other} selects from a random sample, in minutes",
            stacklevel=2,
        )
