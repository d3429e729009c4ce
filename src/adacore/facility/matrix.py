"""Exact greedy facility location on the whole matrix of distances, for few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility import list_gains
from adacore.facility.compiling import Array, kernel
from adacore.facility.floating_point import CAREFUL, DOWN, UP
from adacore.facility.heap import CandidateQueue
from adacore.facility.list_gains import TIE
from adacore.facility.minima import sum_minima
from adacore.facility.problem import Problem
from adacore.facility.sparse.compressed import CompressedRows
from adacore.facility.workers import Workers

MOST_PAIRS = 512 * 512
"""Candidates times clients up to which the matrix is made: a tile of the tree, which would be padded to as many."""


class MatrixGreedy:
    """Lazy greedy selection with all distances in float64 written down; see ``TreeGreedy``, whose interface it shares.

    Args:
        problem: The problem, in its own units.
        workers: Looked at for interruption; few rows are not worth a second thread.
    """

    def __init__(self, problem: Problem, workers: Workers) -> None:
        self.problem = problem
        self.workers = workers
        # Clients without weight add 0 to every sum.
        served = problem.weights > 0
        self._weights = problem.weights[served]
        # Initial rows first, so that their numbers as owners are their positions.
        self._able = np.concatenate([problem.initial, problem.candidates])
        # A candidate's distances in a row: what is added up for a gain, and lowered by a pick, is contiguous.
        self._matrix = np.empty((self._able.size, self._weights.size))
        write = _write_distances(problem, self._able, problem.clients[served])
        for row in range(self._able.size):
            workers.check()
            write(row, self._matrix[row])
        # As ``distances.distance_or_zero`` does; so all engines see the same distances.
        self._matrix[self._matrix <= problem.scaled_same()] = 0
        self.distances = self._matrix.size
        self.picks: NDArray[np.int64] = np.empty(0, np.int64)
        self.gains: NDArray[np.float64] = np.empty(0)
        self.owner = np.zeros(self._weights.size, np.int64)
        self.minima = np.full(self._weights.size, np.inf)
        self.total = np.inf
        self.exhausted = False
        self._queue = CandidateQueue(self._able)
        self._lists: list_gains.Lists | None = None
        for number in range(problem.initial.size):
            self._lower(number, number)
        # Without them the first pick is the medoid, found from row sums of the matrix.
        if problem.initial.size:
            self._measure_total()

    @property
    def count(self) -> int:
        """Number of picks."""
        return int(self.picks.size)

    @property
    def selected(self) -> NDArray[np.int64]:
        """Rows of the picks, int64, in the order of selection."""
        return self._able[self.picks]

    def served_weights(self) -> NDArray[np.float64]:
        """Sum the weights of the clients nearest to each: first the initial rows, then the picks; ties to the earlier.

        Returns:
            float64, shape (initial rows + picks,).
        """
        size = self.problem.initial.size + self.count
        return np.bincount(self.owner, weights=self._weights, minlength=size).astype(np.float64)

    def extend(self, limit: int, *, floor: float = 0.0, target: float = -1.0) -> None:
        """Go on selecting; see ``TreeGreedy.extend``."""
        if self.count == 0 and not self.problem.initial.size:
            self._pick_medoid()
        if self._lists is None and not self.exhausted:
            self._write_lists()
        if self._lists is not None and self.count < limit and self.total > target and not self.exhausted:
            picks, gains = np.empty(limit - self.count, np.int64), np.empty(limit - self.count)
            count, self._queue.size, _, done = list_gains.pick_from_lists(
                self._queue.bounds, self._queue.positions, self._able, self._queue.size, self._lists, self.minima,
                self.owner, self._weights, picks, gains, self.total,
                # An infinite margin: L is summed anew after every pick. All these sums together add at most candidates
                # times clients terms, as many as the matrix has.
                list_gains.Goal(self.problem.initial.size + self.count, floor, target, np.inf),
            )  # fmt: skip
            self.picks = np.concatenate([self.picks, picks[:count]])
            self.gains = np.concatenate([self.gains, gains[:count]])
            self._measure_total()
            spent = done and floor <= 0 and self.total > target
            self.exhausted = self.exhausted or spent or self.count == self.problem.candidates.size

    def _pick_medoid(self) -> None:
        # A product by BLAS, in an order of its own: its rounding is, as a rule, far below TIE, within which the lowest
        # row wins.
        sums = self._matrix @ self._weights
        ties = np.flatnonzero(sums <= sums.min() * (1 + TIE))
        self._add(int(ties[np.argmin(self._able[ties])]))

    def _add(self, position: int) -> None:
        before = self.total
        self._lower(position, self.problem.initial.size + self.count)
        self._measure_total()
        self.picks = np.append(self.picks, position)
        self.gains = np.append(self.gains, before - self.total if np.isfinite(before) else np.nan)

    def _lower(self, position: int, number: int) -> None:
        nearer = self._matrix[position] < self.minima
        self.owner[nearer] = number
        self.minima = np.minimum(self.minima, self._matrix[position])

    def _measure_total(self) -> None:
        self.total = float(sum_minima(self._weights, self.minima))
        self.exhausted = self.exhausted or self.total <= 0

    def _write_lists(self) -> None:
        """Turn the matrix into lists of who would be served by whom, in the form in which gains are summed."""
        # Strictly nearer than what is selected: the others gain nothing, now or later.
        near = self._matrix < self.minima
        near[: self.problem.initial.size] = False
        near[self.picks] = False
        lengths = near.sum(axis=1)
        candidate, client = np.nonzero(near)
        self._lists = list_gains.Lists(
            np.cumsum(lengths) - lengths, lengths, client.astype(np.int32), self._matrix[candidate, client]
        )
        everyone = np.arange(self._able.size)
        gains = np.empty(everyone.size)
        list_gains.list_gains(everyone, 0, everyone.size, self._lists, self.minima, self._weights, gains)
        self._queue.fill(everyone, gains)

    def extend_among(self, rows: NDArray[np.int64]) -> int | None:
        """Select the best of some candidates; see ``TreeGreedy.extend_among``."""
        # Ascending, so that the first of those that tie is the lowest row.
        rows = np.sort(rows)
        near = self._matrix[self._positions(rows)]
        if np.isfinite(self.total):
            gains = np.maximum(0, self.minima - near) @ self._weights
            if gains.max() <= 0:
                return None
            best = int(rows[gains >= gains.max() * (1 - TIE)][0])
        else:
            sums = near @ self._weights
            best = int(rows[sums <= sums.min() * (1 + TIE)][0])
        self.select_rows(np.array([best]))
        return best

    def _positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        by_row = np.argsort(self._able, kind="stable")
        positions: NDArray[np.int64] = by_row[np.searchsorted(self._able, rows, sorter=by_row)]
        return positions

    def select_rows(self, rows: NDArray[np.int64]) -> None:
        """Select rows that were chosen elsewhere, before any other; see ``TreeGreedy.select_rows``."""
        for position in self._positions(rows):
            self._add(int(position))
        # They are of minima that have fallen.
        self._lists = None

    def bound_all(self) -> None:
        """Evaluate all candidates anew."""
        if not self.exhausted:
            self._write_lists()

    def largest_bound(self) -> float:
        """Return an upper bound on what the next pick gains."""
        if self._lists is None:
            self.bound_all()
        return self._queue.largest()

    def remaining_bounds(self, most: float) -> NDArray[np.float64]:
        """Return the gains of what is left; ``most`` is not needed, for no distance is evaluated."""
        if self._lists is None:
            self.bound_all()
        if self._lists is None:
            return np.empty(0)
        positions, gains = self._queue.entries()
        list_gains.list_gains(positions, 0, positions.size, self._lists, self.minima, self._weights, gains)
        return gains


def _write_distances(
    problem: Problem, able: NDArray[np.int64], clients: NDArray[np.int64]
) -> Callable[[int, NDArray[np.float64]], None]:
    """Return what writes the distances from one of the rows ``able`` to all clients."""
    rows = problem.rows
    if not isinstance(rows, CompressedRows):
        points, others = problem.scaled(able), problem.scaled(clients)
        return lambda row, out: distances_from(points[row], others, out)
    from adacore.facility.sparse.kernels import ExactRows, pair_distances  # compiled only where rows are sparse

    # In the problem's own units, as ``scaled`` has them.
    factors = np.ldexp(problem.unit, -problem.distance_exponent)
    from_these, to_those = (ExactRows(rows, some, factors[some], 0.0) for some in (able, clients))
    everyone = np.arange(clients.size)
    return lambda row, out: pair_distances(to_those, everyone, from_these, np.array([row]), out)


@kernel
def distances_from(x: Array, rows: Array, out: Array) -> Any:
    """Write ||x - y|| for every row y, dimension after dimension, as ``distances.distance_to`` does."""
    for i in range(rows.shape[0]):
        s = 0.0
        for k in range(x.size):
            # Differences, not |x|^2 + |y|^2 - 2 x.y: that cancels, and equal rows would not be at distance 0.
            y = rows[i, k] - x[k]
            s += y * y
        out[i] = np.sqrt(s)
        if s < CAREFUL:
            s = 0.0
            for k in range(x.size):
                y = (rows[i, k] - x[k]) * UP
                s += y * y
            out[i] = np.sqrt(s) * DOWN
