"""Strata of a table: what selection keeps apart, how a budget is shared among them, and random draws from each."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.facility.strata import partition, share_budget

Quotas = str | Mapping[Any, int]


def quantile_bins(y: NDArray[Any], bins: int | None) -> NDArray[np.int64]:
    """Sort real targets into bins of about equally many examples.

    Args:
        y: Targets, shape (n,).
        bins: How many at most; None or 1 for one bin. Equal targets share a bin, so that there can be fewer.

    Returns:
        The bin of each example, int64, shape (n,), from 0 without gaps.

    Raises:
        ValueError: If ``bins`` is below 1.
        TypeError: If it is not a whole number.

    Example:
        >>> quantile_bins(np.array([5.0, 1.0, 2.0, 9.0]), 2)
        array([1, 0, 0, 1])
    """
    if bins is None:
        return np.zeros(len(y), dtype=np.int64)
    # True is an int to Python, and ``bins=True`` a mistake and not one bin.
    if isinstance(bins, bool) or not isinstance(bins, Integral):
        raise TypeError(f"bins={bins!r} is not a whole number: pass an int >= 1, or None for no bins")
    if bins < 1:
        raise ValueError(f"bins={bins} is below 1: pass a number of quantile bins, or None for no bins")
    # Equal quantiles (many equal targets) would leave empty bins between them, which no pick can serve.
    edges = np.unique(np.quantile(y, np.linspace(0.0, 1.0, int(bins) + 1)[1:-1]))
    # ``unique`` a second time: numbers without gaps are what the budgets of strata are indexed by.
    return np.unique(np.searchsorted(edges, y, side="right"), return_inverse=True)[1].astype(np.int64)


def stratum_budgets(strata: NDArray[np.int64], size: int, quotas: Quotas = "proportional") -> NDArray[np.int64]:
    """Share a budget among strata, as ``adacore.facility_location`` does.

    Args:
        strata: The stratum of each example, int64, shape (n,), from 0 without gaps.
        size: How many to select in all.
        quotas: ``"proportional"`` to the strata's sizes, ``"equal"``, or {stratum: how many}.

    Returns:
        How many to select in each stratum, int64, shape (strata,).

    Raises:
        ValueError: If the name is unknown, a number is out of range, or the numbers do not add up.

    Example:
        >>> stratum_budgets(np.repeat([0, 1, 2], [90, 8, 2]), 12, "equal")
        array([5, 5, 2])
    """
    parts = partition(strata, len(strata))
    return share_budget(parts, parts.counts, quotas, size, None)


def draw(
    strata: NDArray[np.int64],
    size: int,
    weights: NDArray[np.float64],
    seed: Any,
    quotas: Quotas = "proportional",
) -> Coreset:
    """Draw examples at random within each stratum, weighted so that each stratum keeps its weight.

    Args:
        strata: The stratum of each example, int64, shape (n,), from 0 without gaps.
        size: How many to draw.
        weights: Of the examples, float64, shape (n,), > 0.
        seed: For ``numpy.random.default_rng``.
        quotas: See ``stratum_budgets``.

    Returns:
        The coreset, stratum by stratum.

    Example:
        >>> coreset = draw(np.array([0, 0, 0, 1]), 2, np.ones(4), seed=0)
        >>> coreset.weights
        array([3., 1.])
    """
    generator = np.random.default_rng(seed)
    budgets = stratum_budgets(strata, size, quotas)
    chosen, shares = [], []
    for c, k in enumerate(budgets):
        members = np.flatnonzero(strata == c)
        # Without replacement: a coreset's indices are unique, and a second copy of a row adds nothing to its weight.
        rows = generator.choice(members, k, replace=False)
        chosen.append(rows)
        # Each drawn example carries its own weight, scaled up to what its whole stratum weighs.
        shares.append(weights[rows] * (weights[members].sum() / weights[rows].sum()) if k else np.empty(0))
    return Coreset(np.concatenate(chosen), np.concatenate(shares), len(strata))
