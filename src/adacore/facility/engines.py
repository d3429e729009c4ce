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

MOST_TREE_DIMENSIONS = 32
"""Rows of more dimensions go to products unasked: where a tree might still win there was not measured."""

WORTH_ASKING = 20_000
"""Rows from which it is asked how they lie: with fewer, the engines differed by a third at most (16 to 24
dimensions)."""

ASKED = 512
"""Rows in the sample: some 5 ms."""

FEW_DIRECTIONS, NEAR = 6.0, 0.25
"""Rows of few effective dimensions, or in tight groups, go to the tree. All 49,990 rows of ijcnn1, 10 % per class, CPU
seconds of tree and of products, one run each beside other work on an AMD EPYC: 7.4 and 19.8 as features (12.6 effective
dimensions, nearness 0.21), 18.0 and 26.9 as preconditioned gradients (4.7; 0.56). Gaussian rows (16; 0.64), softmax
gradients (15; 0.32) and projected text embeddings (13; 0.57) of 16 dimensions are faster by products. Both limits were
set on these sets: on others they choose the slower engine at times, and never another answer."""

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
    if workers.device is not None or problem.sparse or (problem.d >= LEAST_DIMENSIONS and not _suits_tree(problem)):
        from adacore.facility.products.greedy import ProductGreedy  # here, for it loads torch: 1 s

        return ProductGreedy(problem, workers, report)
    return TreeGreedy(problem, workers, report)


def _suits_tree(problem: Problem) -> bool:
    """Say whether many rows of 12 to 32 dimensions lie so that a tree leaves most pairs out."""
    members = problem.members()
    if problem.d > MOST_TREE_DIMENSIONS or members.size < WORTH_ASKING:
        return False
    rows = problem.scaled(members[np.linspace(0, members.size - 1, ASKED).astype(np.int64)])
    rows -= rows.mean(axis=0)
    # Of the order of 1: what squares of extreme rows over- or underflow to would be a wrong guess, and no more.
    rows /= max(float(np.abs(rows).max()), 1e-300)
    moments = rows.T @ rows
    # Participation ratio of the variances l along the principal axes, (sum l)^2 / sum l^2: d where all are equal, 1
    # where one holds all. Both sums are norms of the covariance: no eigenvalue is needed.
    directions = float(np.trace(moments)) ** 2 / max(float(np.square(moments).sum()), 1e-300)
    norms = np.square(rows).sum(axis=1)
    distances = np.sqrt(np.maximum(norms[:, None] + norms - 2 * (rows @ rows.T), 0))
    # The nearest hundredth beside the median distance: what a leaf's radius is beside what greedy looks across.
    distances.partition((ASKED // 128, ASKED // 2), axis=1)
    nearness = distances[:, ASKED // 128] / np.maximum(distances[:, ASKED // 2], 1e-300)
    return bool(directions <= FEW_DIRECTIONS or np.median(nearness) <= NEAR)
