"""Which engine selects: the one place that decides, from the size of a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adacore.facility.costs import LEAST_DIMENSIONS
from adacore.facility.greedy import TreeGreedy
from adacore.facility.matrix import MOST_PAIRS, MatrixGreedy
from adacore.facility.problem import Problem
from adacore.facility.workers import Workers

Reporter = Callable[[int], None]


class Greedy(Protocol):
    """Exact greedy selection in progress on one problem, in the problem's own units; every engine is one.

    Attributes:
        problem: The problem.
        exhausted: Whether nothing is left to gain, or nobody to select.
    """

    problem: Problem
    exhausted: bool

    @property
    def gains(self) -> NDArray[np.float64]:
        """L before each pick less L after it, shape (count,); the first is nan if nothing was selected before."""

    @property
    def total(self) -> float:
        """L, summed anew whenever ``extend`` returns; infinite before anything is selected."""

    @property
    def count(self) -> int:
        """Number of picks."""

    @property
    def distances(self) -> int:
        """Number of distances evaluated."""

    @property
    def selected(self) -> NDArray[np.int64]:
        """Rows of the picks, int64, in the order of selection."""

    def extend(self, limit: int, *, floor: float = 0.0, target: float = -1.0) -> None:
        """Go on selecting, up to ``limit`` picks, a next gain of at most ``floor`` or a total of at most ``target``."""

    def extend_among(self, rows: NDArray[np.int64]) -> int | None:
        """Select the best of some candidates, ties to the lowest row; None if none of them gains anything."""

    def select_rows(self, rows: NDArray[np.int64]) -> None:
        """Select rows that were chosen elsewhere, before any other; ``bound_all`` before going on from there."""

    def bound_all(self) -> None:
        """Evaluate all candidates anew."""

    def largest_bound(self) -> float:
        """Return an upper bound on what the next pick gains."""

    def remaining_bounds(self, most: float) -> NDArray[np.float64]:
        """Bound the gains of what is left from above, evaluating at most so many distances."""

    def served_weights(self) -> NDArray[np.float64]:
        """Sum the weights of the clients nearest to each initial row, then to each pick; ties to the earlier."""


def start_greedy(problem: Problem, workers: Workers, report: Reporter | None = None) -> Greedy:
    """Start exact greedy selection.

    Args:
        problem: The problem, in its own units.
        workers: Threads to share the work, or the GPU, on which it is products that compute.
        report: Called with the number of picks from time to time.

    Returns:
        The selection, nothing selected yet.
    """
    # First of all: for few rows, in any number of dimensions, the matrix is cheaper than either engine's preparations.
    small = (problem.candidates.size + problem.initial.size) * problem.clients.size <= MOST_PAIRS
    if small and workers.device is None:
        return MatrixGreedy(problem, workers)
    if problem.sparse or problem.d >= LEAST_DIMENSIONS or workers.device is not None:
        from adacore.facility.products.greedy import ProductGreedy  # here, for it loads torch: 1 s

        return ProductGreedy(problem, workers, report)
    return TreeGreedy(problem, workers, report)
