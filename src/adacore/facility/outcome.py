"""What was selected from one set of points: from the engine's positions back to the caller's rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacore.facility import sparse
from adacore.facility.greedy import Greedy

REFRESHED = 0.05
NEGLIGIBLE = 1_000_000


@dataclass(frozen=True)
class Outcome:
    """What was selected from one set of points, in units of the engine.

    Attributes:
        indices: Rows of the selected points, int64, shape (k,).
        weights: Mass nearest to each, ties to the earlier pick, float64, shape (k,).
        gains: float64, shape (k,), the first nan.
        objective: L(S).
        lower_bound: On L of the best S of this size.
        distances: How many distances were evaluated.
        method: Which method ran.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    gains: NDArray[np.float64]
    objective: float
    lower_bound: float
    distances: int
    method: str


def outcome_of(greedy: Greedy, method: str, lower_bound: float | None = None) -> Outcome:
    """Sum up a selection.

    Args:
        greedy: The selection, with at least one pick.
        method: Which method ran.
        lower_bound: A bound known already; computed if None.

    Returns:
        The outcome.
    """
    objective = float(sparse.sum_minima(greedy.masses, greedy.minima))
    return Outcome(
        indices=greedy.tree.order[greedy.picks],
        weights=np.bincount(greedy.owner, weights=greedy.masses, minlength=greedy.count)[: greedy.count].astype(
            np.float64
        ),
        gains=greedy.gains,
        objective=objective,
        lower_bound=bound_below(greedy, objective) if lower_bound is None else lower_bound,
        distances=int(greedy.distances),
        method=method,
    )


def bound_below(greedy: Greedy, objective: float) -> float:
    """Bound L of the best subset of the same size from below.

    By submodularity L(S*) >= L(S) - sum of the k largest remaining gains, for every S* of size k; upper bounds on gains
    do as well. The largest are brought up to date: all from lists, or as many as cost a twentieth of the selection.

    Args:
        greedy: The selection.
        objective: L(S).

    Returns:
        The bound, at least 0.
    """
    if objective <= 0:
        return 0.0
    bounds = greedy.refreshed_bounds(REFRESHED * greedy.distances + NEGLIGIBLE)
    k = min(greedy.count, bounds.size)
    largest = np.partition(bounds, bounds.size - k)[bounds.size - k :] if k else bounds
    return max(0.0, objective - float(largest.sum()) * (1 + 1e-11))
