"""Evaluating candidates among sparse rows: products of sparse rows, and the same bounds as in many dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.facility.problem import Problem
from adacore.facility.products.array_evaluator import ArrayEvaluator
from adacore.facility.products.evaluators import Served
from adacore.facility.products.kernels import SUM_ROUNDING, Side, add_distances, add_gains
from adacore.facility.products.list_gains import Lists, client_kind
from adacore.facility.products.list_writing import Part
from adacore.facility.products.memory import free_bytes, list_capacity
from adacore.facility.products.nearest import nearest
from adacore.facility.products.rows import UNIT_ROUNDOFF, round_up
from adacore.facility.sparse import kernels
from adacore.facility.sparse.rows import open_sparse_rows
from adacore.facility.workers import Workers

CANDIDATES_AT_A_TIME, CLIENTS_AT_A_TIME = 8, 1 << 14
"""A block of half a MiB, which stays in a core's cache. The range of clients is long, since each entry of a candidate
is looked up once for each range; the sums it is cut into are added in their order, whatever the threads."""

SAMPLED_CANDIDATES, SAMPLED_CLIENTS, MARGIN = 128, 4096, 1.2
"""Half a million pairs tell how long lists would be: where 1 % are served, within 2 % or so. The sample may fall short
by the margin."""


class SparseEvaluator(ArrayEvaluator):
    """Evaluates candidates among sparse rows on a CPU; see ``products.evaluators.Evaluator``.

    A batch of candidates is multiplied with all clients, entry by entry through the clients' columns: the work is that
    of the columns which two rows share, and a pass over the products, whatever the number of columns.

    Args:
        problem: The problem, in its own units, its rows compressed.
        workers: Threads.

    Attributes:
        exponent: Distances of the problem are those of the evaluator times 2 to this.
    """

    batches = 16, 256

    def __init__(self, problem: Problem, workers: Workers) -> None:
        super().__init__(problem.weights, workers)
        take = open_sparse_rows(problem)
        self._clients = take(problem.clients)
        same = np.array_equal(problem.clients, problem.candidates)
        self._candidates = self._clients if same else take(problem.candidates)
        self._initial = take(problem.initial) if problem.initial.size else None
        self.exponent = problem.product_exponent - problem.distance_exponent
        self.n = self._candidates.n
        self._low_i, self._low_j = self._candidates.low.numpy(), self._clients.low.numpy()

    def _ranges(self) -> list[slice]:
        return [slice(a, min(a + CLIENTS_AT_A_TIME, self.m)) for a in range(0, self.m, CLIENTS_AT_A_TIME)]

    def _squares(self, positions: NDArray[np.int64], some: slice) -> NDArray[np.float32]:
        """Compute -2 y_i . y_j for some candidates and a range of clients."""
        out = np.empty((positions.size, some.stop - some.start), np.float32)
        kernels.multiply(self._candidates.single, positions, self._clients.by_column, some.start, some.stop, out)
        return out

    def _over_clients(
        self, positions: NDArray[np.int64], add: Callable[[NDArray[np.float32], Any, slice, NDArray[np.float64]], None]
    ) -> NDArray[np.float64]:
        """Sum something over all clients for each candidate, a block of products after the other."""
        sums = np.zeros(positions.size)
        self._clients.by_column  # noqa: B018  # sorted here once, and not by every thread

        def work(first: int, last: int) -> int:
            mine = positions[first:last]
            for some in self._ranges():
                add(self._squares(mine, some), self._low_i[mine], some, sums[first:last])
            return 0

        self._workers.share(work, positions.size, CANDIDATES_AT_A_TIME)
        self.distances += positions.size * self.m
        return sums

    def sum_bounds(self) -> NDArray[np.float64]:
        """See ``Evaluator``: from products at once, since moments of sparse rows would be dense."""
        return self.lower_sums(np.arange(self.n))

    def lower_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``Evaluator``."""

        def add(block: NDArray[np.float32], low: Any, some: slice, sums: NDArray[np.float64]) -> None:
            add_distances(block, low, self._low_j[some], self._weights32[some], sums)

        # Weights were rounded upwards, by two units in the last place at most.
        return self._over_clients(positions, add) * (2 - SUM_ROUNDING - 4 * UNIT_ROUNDOFF)

    def upper_gains(self, positions: NDArray[np.int64], reached: float = 0.0) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        if self._lists is not None:
            return self.list_bounds(positions)
        minima = round_up(self._minima)
        # Products of sparse rows are in single precision: their scales are 1.
        ones_i, ones_j = np.ones(positions.size, np.float32), np.ones(self.m, np.float32)

        def add(block: NDArray[np.float32], low: Any, some: slice, sums: NDArray[np.float64]) -> None:
            side = Side(self._low_j[some], ones_j[some], minima[some], self._weights32[some])
            add_gains(block, low, ones_i, side, sums)

        return self._over_clients(positions, add) * SUM_ROUNDING

    def upper_gains_of_all(self, *, closely: bool = False) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        return self.upper_gains(np.arange(self.n))

    def served(self, position: int) -> Served:
        """See ``Evaluator``."""
        if self._lists is None:
            self.distances += self.m
            return Served(*self._candidates.near(position, self._clients, self._minima))
        written = self._lists.written
        some = slice(written.starts[position], written.starts[position] + written.lengths[position])
        clients = written.clients[some].astype(np.int64)
        # Once more by the lower bound, for minima have fallen since the list was looked at.
        clients = clients[written.lower[some] * written.step < self._minima[clients]]
        distances = np.empty(clients.size)
        kernels.pair_distances(self._clients.exact, clients, self._candidates.exact, np.array([position]), distances)
        nearer = distances < self._minima[clients]
        return Served(clients[nearer], distances[nearer])

    def add_initial(self) -> None:
        """See ``Evaluator``."""
        assert self._initial is not None
        owner, distances = nearest(self._clients, self._initial, self._workers)
        self._owner[:], self._minima[:] = owner.numpy(), distances.numpy()
        self.distances += self.m * self._initial.n

    def lists_fit(self, selected: int) -> bool:
        """See ``Evaluator``."""
        if self._capacity < 0:
            # What the rows take, as columns of float32: lists may take a few times as much, as in many dimensions.
            columns = -(-self._clients.single.nbytes // (4 * self.m))
            self._capacity = list_capacity(self.m, columns, free_bytes(torch.device("cpu")))
        # Evenly spaced: any fixed choice will do, for it decides nothing but when lists are written.
        some = np.unique(np.linspace(0, self.n - 1, min(SAMPLED_CANDIDATES, self.n)).astype(np.int64))
        limits, hits, looked_at = self._limits(), 0, 0
        for part in self._ranges()[:: max(1, self.m // (4 * SAMPLED_CLIENTS))]:
            part = slice(part.start, min(part.stop, part.start + SAMPLED_CLIENTS))
            block = self._squares(some, part) + self._low_i[some, None] + self._low_j[part]
            hits, looked_at = hits + int((block < limits[part]).sum()), looked_at + block.size
        return MARGIN * hits / looked_at * self.n * self.m <= self._capacity

    def write_lists(self) -> bool:
        """See ``Evaluator``."""
        limits, kind = self._limits(), client_kind(self.m)
        written = Lists(self.n, self.m, self._capacity, float(self._minima.max()))
        # A little less than the inverse of a step, so that what is rounded stays a lower bound.
        steps = np.float32((1 - 8 * UNIT_ROUNDOFF) / written.written.step)
        everyone = np.arange(self.n)
        blocks = [slice(a, min(a + CANDIDATES_AT_A_TIME, self.n)) for a in range(0, self.n, CANDIDATES_AT_A_TIME)]
        # Some blocks at a time side by side, then into the lists in their order.
        together = 16 * self._workers.threads
        self._clients.by_column  # noqa: B018  # sorted here once, and not by every thread
        for begin in range(0, len(blocks), together):
            found: list[list[Part]] = [[] for _ in blocks[begin : begin + together]]

            def work(first: int, last: int, begin: int = begin, found: list[Any] = found) -> int:
                for b in range(first, last):
                    positions = everyone[blocks[begin + b]]
                    for some in self._ranges():
                        block = self._squares(positions, some)
                        block += self._low_i[positions, None] + self._low_j[some]
                        candidates, lengths = np.empty((2, positions.size), np.uint16)
                        clients, lower = np.empty(block.size, kind), np.empty(block.size, np.uint16)
                        lists, count = kernels.find_served(
                            block, limits[some], some.start, steps, candidates, lengths, clients, lower
                        )
                        # Copies, so that what was not needed is given back.
                        pairs = clients[:count].copy(), lower[:count].copy()
                        found[b].append(Part(0, candidates[:lists], lengths[:lists], *pairs))
                return 0

            self._workers.share(work, len(found), 1)
            for block, parts in zip(blocks[begin : begin + together], found, strict=True):
                # Too long after all: everything is given up, and selection goes on by products.
                if not written.take(block, parts):
                    return False
        self.distances += self.n * self.m
        self._lists = written
        return True
