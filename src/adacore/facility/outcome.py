"""What was selected in one problem: from the engine's units and rows to the caller's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.facility.engines import Greedy
from adacore.facility.problem import Problem

REFRESHED = 0.05
NEGLIGIBLE = 1_000_000
"""Distances that may be spent on a better lower bound: a twentieth of those of the selection and a million (1 ms)."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was selected in one problem, in its own units.

    Attributes:
        rows: The selected rows, int64, shape (k,), in the order of selection.
        weights: Weight of the clients nearest to each, ties to the earlier, float64, shape (k,).
        initial_weights: The same for the initial rows, float64, shape (r,).
        gains: float64, shape (k,), the first nan where nothing was selected before.
        objective: L(S).
        lower_bound: On L of the best S of this size.
        distances: How many distances were evaluated.
        method: Which method ran.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    initial_weights: NDArray[np.float64]
    gains: NDArray[np.float64]
    objective: float
    lower_bound: float
    distances: int
    method: str

    def coreset(self, problem: Problem, members: NDArray[np.int64]) -> Coreset:
        """Express the outcome in the caller's units.

        Args:
            problem: The problem that was solved.
            members: Rows that were chosen from, int64, ascending.

        Returns:
            The coreset of these rows, its indices positions in ``members``.

        Raises:
            ValueError: If L(S) exceeds what float64 holds in the caller's units.
        """
        # The exponent is put back last: within the engine no sum can overflow, in the caller's units this one may.
        objective = float(problem.loss_in_units(self.objective))
        if not np.isfinite(objective):
            raise ValueError(
                "L(S) exceeds 1.8e308, what float64 holds: divide x (or weights) by a constant, which changes no pick"
            )
        return Coreset(
            # Members ascend, so that a row's position among them is found by bisection.
            indices=np.searchsorted(members, self.rows),
            weights=problem.weights_in_units(self.weights),
            population=members.size,
            objective=objective,
            gains=problem.loss_in_units(self.gains),
            lower_bound=float(problem.loss_in_units(self.lower_bound)),
            statistics={"distances": self.distances, "method": self.method},
            initial_weights=problem.weights_in_units(self.initial_weights) if problem.initial.size else None,
        )


def outcome_of(greedy: Greedy, method: str, lower_bound: float | None = None) -> Outcome:
    """Sum up a selection.

    Args:
        greedy: The selection.
        method: Which method ran.
        lower_bound: A bound known already; computed if None.

    Returns:
        The outcome.
    """
    # Initial rows are numbered first: the first ``before`` weights are theirs.
    served, before = greedy.served_weights(), greedy.problem.initial.size
    return Outcome(
        rows=greedy.selected,
        weights=served[before:].astype(np.float64),
        initial_weights=served[:before].astype(np.float64),
        gains=greedy.gains,
        objective=greedy.total,
        lower_bound=bound_below(greedy) if lower_bound is None else lower_bound,
        distances=greedy.distances,
        method=method,
    )


def bound_below(greedy: Greedy) -> float:
    """Bound L of the best S of the same size from below.

    Let S be what was selected and S* any k candidates. L never rises when more is selected, and by submodularity each
    of S* gains no more on top of others than on top of S: L(S*) >= L(S + S*) >= L(S) - sum_{j in S*} gain(j | S) >=
    L(S) - the sum of the k largest remaining gains. Upper bounds on gains do as well as gains; the largest are brought
    up to date: all from lists, or as many as cost a twentieth of the selection.

    Args:
        greedy: The selection.

    Returns:
        The bound, at least 0.
    """
    if greedy.total <= 0:
        return 0.0
    # A bound from an early pick is far too large by now; without fresh ones the lower bound could be 0.
    bounds = greedy.remaining_bounds(REFRESHED * greedy.distances + NEGLIGIBLE)
    # As many as were selected: S* has that size. Candidates without a bound left gain nothing.
    k = min(greedy.count, bounds.size)
    # The k largest in any order: linear, where sorting would take n log n.
    largest = np.partition(bounds, bounds.size - k)[bounds.size - k :] if k else bounds[:0]
    # Rounding of the two sums, relative to what is subtracted from: n 2^-53 would need n = 10^4 to reach 1e-12.
    return max(0.0, greedy.total * (1 - 1e-12) - float(largest.sum()) * (1 + 1e-11))
