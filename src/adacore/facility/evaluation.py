"""Evaluating candidates against the state of greedy, shared over the cores."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adacore.facility import distance_gains, medoid
from adacore.facility.distance_gains import GROUP, LEAST_WEIGHT
from adacore.facility.minima import equal_minima, select_points, sum_minima
from adacore.facility.pair_gains import bound_gains_of_all, rest_of_errors, upper_gains
from adacore.facility.problem import Problem
from adacore.facility.tree import LEAF, LEAVES, TILE, build_tree
from adacore.facility.workers import Workers

WORK_AT_A_TIME = 300_000_000
"""Pairs times dimensions between two looks at whether the selection was interrupted: some 0.1 s of one core."""

SERIAL_WORK = 3_000_000
"""Pairs times dimensions (1 ms) below which waking other threads costs more than they spare."""

POINTS_AT_A_TIME = 1024
"""Points that are selected in one pass over the tiles, and held in float64: each pass reads the caller's rows anew,
which is little beside comparing them with so many points."""

TILE_GROUPS = 64
"""Groups of tiles, which threads share when many points are selected: at n = 1,000,000 a group takes 5 ms for 1,000
points. Their number follows from n alone, so that sums do too."""


class Evaluation:
    """Gains of candidates, given what is selected, and what they cost.

    Args:
        problem: The problem, in its own units.
        workers: Threads to share the work.
    """

    def __init__(self, problem: Problem, workers: Workers) -> None:
        self.rows = problem.dense_rows()
        self.tree = build_tree(problem)
        self.workers = workers
        self.far = 2.1 * float(self.tree.tile_norms.max())
        """Above every distance between two points: twice the largest norm, and rounding."""
        # Finite, so that gains before the first pick are finite too: far W less the sum of distances.
        self.state = equal_minima(self.tree, self.far)
        # Views: kernels write tiles, Python reads one row of numbers.
        self.minima = self.state.minima.reshape(-1)
        self.owner = self.state.owner.reshape(-1)
        self.weights = self.tree.weights.reshape(-1)
        self.clients = int((self.weights > 0).sum())
        # At most 2 u above the weight, which the 9 of (d / 2 + 9) u in ``bound_gains`` holds. A positive weight stays
        # positive, and 0 stays 0, for copies must not gain.
        rounded = np.nextafter(self.weights.astype(np.float32), np.float32(np.inf))
        rounded = np.where(self.weights > 0, np.maximum(rounded, np.float32(LEAST_WEIGHT)), np.float32(0))
        self._weights32 = rounded.reshape(-1, LEAF)
        self.distances = 0
        self.distances_each = float(self.clients)
        """Distances per candidate when ``bounds`` was last called: what an evaluation costs at present."""

    def total(self) -> float:
        """Compute L, the sum of weights times minima."""
        return float(sum_minima(self.weights, self.minima))

    def select(self, positions: NDArray[np.int64], number: int) -> NDArray[np.float64]:
        """Lower the minima of the clients nearer to a point than to what was selected, point after point.

        Args:
            positions: The points, int64, shape (c,).
            number: Number of the first, in the order of selection; the others follow.

        Returns:
            By how much L fell with each, float64, shape (c,).
        """
        gained = np.zeros(positions.size)
        for first in range(0, positions.size, POINTS_AT_A_TIME):
            some = positions[first : first + POINTS_AT_A_TIME]
            gained[first : first + some.size] = self._select_some(some, number + first)
        return gained

    def _select_some(self, positions: NDArray[np.int64], number: int) -> NDArray[np.float64]:
        rows, tree, state, tiles = self.rows, self.tree, self.state, self.weights.size // TILE
        # A single pick of many, as while greedy searches, takes less than sharing it would.
        groups = min(TILE_GROUPS, tiles) if positions.size > 1 else 1
        ends = np.linspace(0, tiles, groups + 1).astype(np.int64)
        gained = np.zeros((groups, positions.size))
        self.distances += self.workers.share(
            lambda g, _: int(select_points(rows, tree, state, positions, number, ends[g], ends[g + 1], gained[g])),
            groups,
            1,
        )
        # Group by group in their order, whichever thread took which: the sums are the same for any number of threads.
        total: NDArray[np.float64] = gained.sum(axis=0)
        return total

    def bounds(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate candidates in single precision.

        Args:
            positions: The candidates, int64, shape (c,).

        Returns:
            Gains, and how far from the true ones they may be at most; float64, shape (c,).
        """
        found, errors = np.empty(positions.size), np.empty(positions.size)
        tree, state, weights = self.tree, self.state, self._weights32
        before = self.distances
        self.share(
            lambda a, b: distance_gains.bound_gains(tree, state, weights, positions, a, b, found, errors),
            positions.size,
            self.clients,
        )
        # What one evaluation costs falls as minima do; ``ListDecision`` compares with the newest price.
        self.distances_each = max(1.0, (self.distances - before) / max(1, positions.size))
        return found, errors

    def bounds_of_all(self) -> NDArray[np.float64]:
        """Bound the gains of all rows as candidates from above, in single precision, each pair once.

        Returns:
            float64, shape (n,).
        """
        tree, state, weights = self.tree, self.state, self._weights32
        radii, rest = tree.leaf_distances.reshape(-1, LEAVES, LEAF).max(axis=2), rest_of_errors(tree, state)
        # Sums of whole numbers, which are the same in any order: threads then change no bound, not in its last bit. No
        # gain exceeds the sum of weights times minima, as they were rounded; no error that of all leaves. Both are
        # brought below 2^61.
        most = float(weights.reshape(-1).astype(np.float64) @ state.coarse.reshape(-1))
        most_error = float(rest.sum() + tree.leaf_weights.sum() * tree.tile_norms.max())
        power, error_power = 61 - math.frexp(most)[1], 61 - math.frexp(most_error)[1]
        everyone: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        idle: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

        def work(first: int, last: int) -> int:
            # As many rooms as threads at work; taken and put back under the GIL, without a lock.
            if idle:
                gains, errors = idle.pop()
            else:
                gains, errors = np.zeros(weights.shape, np.int64), np.zeros(weights.shape[0], np.int64)
                everyone.append((gains, errors))
            more, off, leaf = np.zeros(weights.shape), np.zeros(weights.shape[0]), first * LEAVES
            evaluated = bound_gains_of_all(tree, state, weights, radii, rest, leaf, last * LEAVES, more, off)
            # Pairs of leaves a <= b: nobody before the first is looked at.
            gains[leaf:] += np.ceil(np.ldexp(more[leaf:], power)).astype(np.int64)
            errors[leaf:] += np.ceil(np.ldexp(off[leaf:], error_power)).astype(np.int64)
            idle.append((gains, errors))
            return int(evaluated)

        before, tiles = self.distances, tree.weights.shape[0]
        # Each chunk passes over all sums once more: 128 of them cost little beside n^2 / 2 pairs.
        self.distances += self.workers.share(work, tiles, max(1, tiles // 128))
        # An evaluation of one candidate alone looks at all of its pairs.
        self.distances_each = max(1.0, 2 * (self.distances - before) / tree.n)
        gains, errors = (np.sum(parts, axis=0) for parts in zip(*everyone, strict=True))
        bounds = upper_gains(np.ldexp(gains, -power), np.ldexp(errors, -error_power))
        return bounds.reshape(-1)[: tree.n]

    def exact_gains(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evaluate candidates in double precision.

        Args:
            positions: The candidates, int64, shape (c,).

        Returns:
            Gains, float64, shape (c,).
        """
        values, rows, tree, state = np.empty(positions.size), self.rows, self.tree, self.state
        self.share(
            lambda a, b: distance_gains.exact_gains(rows, tree, state, positions, a, b, values),
            positions.size,
            self.clients,
        )
        return values

    def exact_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum weights times distances from candidates to all clients in double precision.

        Args:
            positions: The candidates, int64, shape (c,).

        Returns:
            L({j}) of each, float64, shape (c,).
        """
        values, rows, tree = np.empty(positions.size), self.rows, self.tree
        self.share(
            lambda a, b: distance_gains.exact_sums(rows, tree, positions, a, b, values), positions.size, self.clients
        )
        return values

    def least_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bound the sums of weights times distances from below, from the moments of tiles.

        Args:
            positions: The candidates, int64, shape (c,).

        Returns:
            A lower bound on L({j}) of each, float64, shape (c,).
        """
        lower, tree = np.empty(positions.size), self.tree
        moments = medoid.measure_moments(tree)
        self.share(
            lambda a, b: medoid.sum_bounds(tree, moments, positions, a, b, lower), positions.size, tree.weights.shape[0]
        )
        return lower

    def share(self, work: Callable[[int, int], int], count: int, pairs_each: int) -> None:
        """Do work on ``count`` candidates in chunks that can be interrupted, and count its distances.

        Args:
            work: Called with ranges of candidates; returns the number of distances.
            count: How many candidates.
            pairs_each: How many distances each may take.
        """
        work_each = max(1, pairs_each) * (self.tree.coarse.shape[1] + 5)  # a root and a comparison cost 5 dimensions
        if count * work_each <= SERIAL_WORK:
            self.distances += work(0, count)
            return
        # Four chunks a thread: candidates differ in cost, and who is done early takes another.
        chunk = min(WORK_AT_A_TIME // work_each, count // (4 * self.workers.threads))
        # Whole groups of four, for a short group costs as much as a full one.
        chunk = max(GROUP, chunk // GROUP * GROUP)
        self.distances += self.workers.share(work, count, chunk)
