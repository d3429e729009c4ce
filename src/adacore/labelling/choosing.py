"""Choosing rows of a file, as ``adacore select`` does."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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

    budget: int | None = _setting(None, "number of examples to select")
    fraction: float | None = _setting(None, "share of the examples to select, in (0, 1]", above=0, most=1)
    tolerance: float | None = _setting(
        None,
        "select as few as make L(S), the sum of all rows' distances to the nearest selected one, at most this",
        least=0,
    )
    labels: str | None = _setting(None, "classes to select within: a column's name, target (LIBSVM), or an .npy file")
    method: Literal["exact", "stochastic", "sampled"] = _setting(
        "exact", "greedy on all rows, on random candidates for each pick, or on a random sample of the rows"
    )
    seed: int | None = _setting(None, "of what is random in the latter two", least=0)
    out: str = _setting("coreset.npz", "where to, a .npz or .parquet file")

    def __post_init__(self) -> None:
        from adacore.selectors.settings import check_fields  # which loads torch: --help does not wait for it

        check_fields(self)
        if Path(self.out).suffix not in {".npz", ".parquet"}:
            raise ValueError(f"--out {self.out} ends in {Path(self.out).suffix!r}: expected .npz or .parquet")


def choose_rows(features: str | Path, settings: SelectSettings) -> Coreset:
    """Choose the rows of a table that stand for all, and save them.

    Args:
        features: A file, as ``read_features`` takes it.
        settings: How to choose, and where to save.

    Returns:
        The coreset.

    Raises:
        ValueError: If a file or a setting is not as described.
    """
    from adacore.facility import facility_location  # which compiles: a wrong file name need not wait for it

    table = read_features(features, labels=settings.labels)
    if settings.method == "exact":
        _warn_of_a_long_wait(*table.x.shape, settings=settings)
    coreset = facility_location(
        table.x,
        budget=settings.budget,
        fraction=settings.fraction,
        tolerance=settings.tolerance,
        labels=table.labels,
        method=settings.method,
        seed=settings.seed,
    )
    out = Path(settings.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    coreset.save(out)
    return coreset


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
