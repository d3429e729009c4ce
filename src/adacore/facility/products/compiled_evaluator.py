"""Evaluating candidates on a CPU: products by torch, all else in compiled passes over blocks that stay in cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.facility.heap import CandidateQueue
from adacore.facility.list_gains import Goal
from adacore.facility.products import kernels, list_gains
from adacore.facility.products.array_evaluator import ArrayEvaluator
from adacore.facility.products.eight_bits import eight_bits_suit, round_sides
from adacore.facility.products.evaluators import Served
from adacore.facility.products.kernels import SUM_ROUNDING, ExactRows, Side
from adacore.facility.products.list_gains import Lists, Queue
from adacore.facility.products.list_writing import (
    Found,
    Part,
    Reach,
    find_served,
    lists_of_columns,
    lists_of_rows,
    make_room,
)
from adacore.facility.products.medoid import sum_bounds
from adacore.facility.products.memory import BLOCK, free_bytes, list_capacity
from adacore.facility.products.nearest import nearest
from adacore.facility.products.rows import UNIT_ROUNDOFF, Rows, round_up
from adacore.facility.products.sample import MOST_LONGER, Sample
from adacore.facility.products.sides import Sides
from adacore.facility.workers import Workers

FEW_IN_VAIN, MOST_IN_VAIN = 256, 0.5
"""Bounds in 8 bits cost a quarter of those in single precision, and are given up once half of them were for nothing: of
20,000 x 256 clustered rows, by the cosine metric, nearly all were, and selecting took 15.9 for 10.6 CPU seconds. On
30,000 sentence embeddings it is 2 %."""

MINUS_TWO = np.float32(-2)
"""A power of two: scales are multiplied by it exactly."""

_Norms = tuple[NDArray[np.float32], NDArray[np.float32]]

CLIENTS_AT_A_TIME = 4096
"""Clients in one product with a batch of candidates: 32 x 4,096 of float32 are half a MiB."""


class CompiledEvaluator(ArrayEvaluator):
    """Evaluates candidates with compiled passes over blocks of products; see ``Evaluator``.

    Args:
        sides: Clients and candidates, on the CPU.
        workers: Threads.
    """

    batches = 16, 256

    def __init__(self, sides: Sides, workers: Workers) -> None:
        super().__init__(sides.weights, workers)
        self._sides = sides
        self._same = sides.clients is sides.candidates
        self._i, self._j = sides.candidates.single, sides.clients.single
        self._low_i, self._low_j = sides.candidates.low.numpy(), sides.clients.low.numpy()
        self._exact_i, self._exact_j = _exact(sides.candidates), _exact(sides.clients)
        # The scales of a block in single precision, on either side.
        self._ones = np.ones(max(CLIENTS_AT_A_TIME, BLOCK), np.float32)
        self.n = sides.candidates.n
        self._able = _filled_up(sides.able, False)
        self._seen = np.full(self.n, -1)
        # Lists are written from 8 bits where that is faster: they only rule out.
        self._rounded = round_sides(sides) if eight_bits_suit(sides.clients.d) else None
        self._lists_in_8_bits = self._gains_in_8_bits = False
        self._added, self._asked = 0, -1
        # Candidates bounded in 8 bits, and those of them that had to be bounded in single precision all the same.
        self._tried, self._in_vain = 0, 0
        # Drawn once: asked after every pick, it then costs a comparison of numbers that are there.
        self._sample = Sample(sides, self._rounded)

    def _product(self, scratch: torch.Tensor, rows: torch.Tensor, j: slice) -> NDArray[np.float32]:
        """Compute -2 y_i . y_j for some candidates and a range of clients."""
        columns = self._j[j]
        out = scratch[: rows.shape[0] * columns.shape[0]].view(rows.shape[0], columns.shape[0])
        # beta = 0: what ``out`` holds is not read. alpha = -2 is a power of two and rounds nothing.
        products: NDArray[np.float32] = torch.addmm(out, rows, columns.T, beta=0, alpha=-2, out=out).numpy()
        return products

    def _gains_suit_8_bits(self) -> bool:
        """Whether to bound gains in 8 bits; asked of the sample once a pick."""
        if self._asked != self._added:
            limits = torch.from_numpy(self._limits())
            self._gains_in_8_bits, self._asked = self._sample.gains_suit_8_bits(limits), self._added
        # What the sample can't tell: where many candidates gain nearly the same, larger bounds rule out nobody.
        return self._gains_in_8_bits and self._in_vain <= FEW_IN_VAIN + MOST_IN_VAIN * self._tried

    def _block(self, scratch: torch.Tensor, i: slice, j: slice, in_8_bits: bool) -> tuple[NDArray[Any], _Norms, _Norms]:
        """Compute a block of products, and both sides' lower norms and scales."""
        if self._rounded is None or not in_8_bits:
            return self._product(scratch, self._i[i], j), (self._low_i[i], self._ones), (self._low_j[j], self._ones)
        rows, columns = self._rounded
        block = self._product_of_codes(scratch, rows.codes[i], j)
        return block, (rows.low[i], rows.scales[i] * MINUS_TWO), (columns.low[j], columns.scales[j])

    def _product_of_codes(self, scratch: torch.Tensor, codes: torch.Tensor, j: slice) -> NDArray[np.int32]:
        """Compute q_i . q_j for some candidates and a range of clients."""
        assert self._rounded is not None
        columns = self._rounded[1].codes[j]
        # The same memory for whole numbers of the same size.
        out = scratch[: codes.shape[0] * columns.shape[0]].view(torch.int32).view(codes.shape[0], columns.shape[0])
        torch._int_mm(codes, columns.T, out=out)
        products: NDArray[np.int32] = out.numpy()
        return products

    def _over_clients(self, positions: NDArray[np.int64], add: Callable[..., None]) -> NDArray[np.float64]:
        """Sum something over all clients, block by block: ``add(scratch, clients, sums)``."""
        # Threads share out clients, not candidates: a batch may be 16 rows, whose product with all clients is one task
        # each.
        starts = range(0, self.m, CLIENTS_AT_A_TIME)
        # A sum for each range, added in their order at the end: the same bounds whoever computes which range.
        parts = np.zeros((len(starts), positions.size))

        def work(first: int, last: int) -> int:
            scratch = torch.empty(CLIENTS_AT_A_TIME * positions.size, dtype=torch.float32)
            for part in range(first, last):
                add(scratch, slice(starts[part], min(starts[part] + CLIENTS_AT_A_TIME, self.m)), parts[part])
            return 0

        self._workers.share(work, len(starts), 1)
        self.distances += positions.size * self.m
        return np.asarray(parts.sum(axis=0))

    def sum_bounds(self) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        bounds = sum_bounds(self._sides.clients, self._sides.candidates, torch.from_numpy(self._weights))
        return np.asarray(bounds.numpy())

    def lower_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        rows, low_i = self._i[torch.from_numpy(positions)], self._low_i[positions]

        def add(scratch: torch.Tensor, some: slice, sums: NDArray[np.float64]) -> None:
            block = self._product(scratch, rows, some)
            kernels.add_distances(block, low_i, self._low_j[some], self._weights32[some], sums)

        # Weights were rounded upwards, by two units in the last place at most.
        return self._over_clients(positions, add) * (2 - SUM_ROUNDING - 4 * UNIT_ROUNDOFF)

    def upper_gains(self, positions: NDArray[np.int64], reached: float = 0.0) -> NDArray[np.float64]:
        """See ``Evaluator``; with something to reach, first in 8 bits, a quarter of the work."""
        minima = round_up(self._minima)
        if reached <= 0 or not self._gains_suit_8_bits():
            return self._upper_gains(positions, minima)
        assert self._rounded is not None
        rows, columns = self._rounded
        codes, low, scales = rows.codes[torch.from_numpy(positions)], rows.low[positions], rows.scales[positions]

        def add(scratch: torch.Tensor, some: slice, sums: NDArray[np.float64]) -> None:
            block = self._product_of_codes(scratch, codes, some)
            side = Side(columns.low[some], columns.scales[some], minima[some], self._weights32[some])
            kernels.add_gains(block, low, scales * MINUS_TWO, side, sums)

        bounds = self._over_clients(positions, add) * SUM_ROUNDING
        may = bounds >= reached
        self._tried, self._in_vain = self._tried + may.size, self._in_vain + int(may.sum())
        if may.any():
            bounds[may] = self._upper_gains(positions[may], minima)
        return bounds

    def _upper_gains(self, positions: NDArray[np.int64], minima: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bound gains from above in single precision."""
        rows, low_i = self._i[torch.from_numpy(positions)], self._low_i[positions]
        ones = np.ones(positions.size, np.float32)

        def add(scratch: torch.Tensor, some: slice, sums: NDArray[np.float64]) -> None:
            side = Side(self._low_j[some], self._ones, minima[some], self._weights32[some])
            kernels.add_gains(self._product(scratch, rows, some), low_i, ones, side, sums)

        return self._over_clients(positions, add) * SUM_ROUNDING

    def upper_gains_of_all(self, *, closely: bool = False) -> NDArray[np.float64]:
        """See ``Evaluator``; where candidates are the clients, one product serves both halves of a pair."""
        if not self._same:
            # Clients of their own: there are no pairs of both kinds, and nothing to share.
            batches = [np.arange(a, min(a + BLOCK, self.n)) for a in range(0, self.n, BLOCK)]
            return np.concatenate([self.upper_gains(batch) for batch in batches])
        minima, in_8_bits = round_up(self._minima), not closely and self._gains_suit_8_bits()
        blocks = _blocks(self.n)
        # The upper triangle of blocks: d_ij = d_ji, one product tells what i gains from j and j from i.
        pairs = [(a, b) for a in range(len(blocks)) for b in range(a, len(blocks))]
        # Sums of whole numbers, which are the same in any order: threads then change no bound, not in its last bit. No
        # gain exceeds the sum of weights times minima, which is brought below 2^61.
        most = float(self._weights32.astype(np.float64) @ minima)
        power = 61 - math.frexp(most)[1]
        everyone: list[NDArray[np.int64]] = []
        idle: list[tuple[torch.Tensor, NDArray[np.int64]]] = []

        def work(first: int, last: int) -> int:
            # As many rooms as threads at work; taken and put back under the GIL, without a lock.
            if idle:
                scratch, gains = idle.pop()
            else:
                scratch, gains = torch.empty(BLOCK * BLOCK, dtype=torch.float32), np.zeros(self.n, np.int64)
                everyone.append(gains)
            for a, b in pairs[first:last]:
                i, j = blocks[a], blocks[b]
                block, side_i, side_j = self._block(scratch, i, j, in_8_bits)
                i_side, j_side = (
                    Side(*side_i, minima[i], self._weights32[i]),
                    Side(*side_j, minima[j], self._weights32[j]),
                )
                gains_i, gains_j = np.zeros(i.stop - i.start), np.zeros(j.stop - j.start)
                # On the diagonal both halves are in the block already.
                if a == b:
                    kernels.add_gains(block, *side_i, j_side, gains_i)
                else:
                    kernels.add_gains_of_both(block, i_side, j_side, gains_i, gains_j)
                for some, more in ((i, gains_i), (j, gains_j)):
                    gains[some] += np.ceil(np.ldexp(more, power)).astype(np.int64)
            idle.append((scratch, gains))
            return 0

        self._workers.share(work, len(pairs), 1)
        self.distances += self.n * (self.n + 1) // 2
        return np.asarray(np.ldexp(np.sum(everyone, axis=0), -power) * SUM_ROUNDING)

    def served(self, position: int) -> Served:
        """See ``Evaluator``."""
        starts = range(0, self.m, CLIENTS_AT_A_TIME)
        parts: list[Any] = [None] * len(starts)
        row, x = self._i[position : position + 1], np.empty(self._exact_i.exact.shape[1])
        # Once, for all its distances.
        kernels.scaled_row(self._exact_i, position, x)
        limits = self._limits()

        def work(first: int, last: int) -> int:
            scratch = torch.empty(CLIENTS_AT_A_TIME, dtype=torch.float32)
            for part in range(first, last):
                some = slice(starts[part], min(starts[part] + CLIENTS_AT_A_TIME, self.m))
                clients, distances = np.empty(some.stop - some.start, np.int64), np.empty(some.stop - some.start)
                # Bounds on squared distances from below: most clients are told to be nearer to something else without
                # their row being read in double precision, which would cost d numbers from memory each.
                squares = self._product(scratch, row, some)[0] + (self._low_i[position] + self._low_j[some])
                count = kernels.serve(
                    squares, limits[some], self._minima, some.start, x, self._exact_j, clients, distances
                )
                parts[part] = clients[:count], distances[:count]
            return 0

        self._workers.share(work, len(starts), 1)
        self.distances += self.m
        return Served(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))

    def add(self, served: Served, number: int) -> None:
        """See ``Evaluator``."""
        super().add(served, number)
        self._added += 1

    def add_initial(self) -> None:
        """See ``Evaluator``."""
        assert self._sides.initial is not None
        owner, distances = nearest(self._sides.clients, self._sides.initial, self._workers)
        self._owner[:], self._minima[:] = owner.numpy(), distances.numpy()
        self.distances += self.m * self._sides.initial.n

    def lists_fit(self, selected: int) -> bool:
        """See ``Evaluator``."""
        if self._capacity < 0:
            free = free_bytes(torch.device("cpu"))
            # Once: the memory that is free falls as lists are written, and must not be counted twice.
            self._capacity = list_capacity(self.m, self._sides.clients.d, free)
        limits = torch.from_numpy(self._limits())
        entries = self._sample.share_served(limits) * self.n * self.m
        # Asked only where it matters: it takes longer than the share.
        longer = self._sample.longer_in_8_bits(limits, selected) if entries <= self._capacity else math.inf
        self._lists_in_8_bits = longer <= MOST_LONGER
        return entries * (longer if self._lists_in_8_bits else 1) <= self._capacity

    def write_lists(self) -> bool:
        """See ``Evaluator``."""
        # What fills up the last block is never found: ``find_served`` holds infinite squares there.
        limits = _filled_up(self._limits(), np.float32(-1))
        blocks_i, blocks_j = _blocks(self.n), _blocks(self.m)
        written = Lists(self.n, self.m, self._capacity, float(self._minima.max()))
        # A little less than the inverse of a step, so that what is rounded stays a lower bound.
        steps = np.float32((1 - 8 * UNIT_ROUNDOFF) / written.written.step)
        # Lists are written block of candidates by block, so that each is contiguous; what columns of later blocks are
        # found to serve waits for its turn. At most a quarter of all entries wait at once (``PENDING``).
        # By block of clients and not in the order in which threads come: so every list, and every sum over one, is the
        # same whoever wrote it.
        waiting: list[dict[int, Part]] = [{} for _ in blocks_i]
        idle: list[tuple[torch.Tensor, Found, Found]] = []

        def look(a: int, b: int) -> None:
            """Find who is served in a block; what its columns serve waits for their turn as candidates."""
            scratch, found, found_for_columns = idle.pop() if idle else _room()
            i, j = blocks_i[a], blocks_j[b]
            both = self._same and b > a
            # What is not asked for may be short: it is never read.
            block, side_i, side_j = self._block(scratch, i, j, self._lists_in_8_bits)
            i_side = Reach(*side_i, limits[i] if both else limits[:1], self._able[i])
            j_side = Reach(*side_j, limits[j.start :], self._able[j] if both else self._able[:1])
            find_served(block, i_side, j_side, both, found, found_for_columns)
            rows = i.stop - i.start
            waiting[a][b] = Part(j.start, *lists_of_rows(found, rows, steps))
            if both:
                lists = lists_of_columns(found_for_columns, rows, j_side.able, steps)
                waiting[b][a] = Part(i.start, *lists)
            idle.append((scratch, found, found_for_columns))

        for a, i in enumerate(blocks_i):
            # The blocks before were done as columns of theirs.
            begin = a if self._same else 0

            # Bound as defaults: a closure would see the loop's last value.
            def work(first: int, last: int, a: int = a, begin: int = begin) -> int:
                for b in range(first, last):
                    look(a, begin + b)
                return 0

            self._workers.share(work, len(blocks_j) - begin, 1)
            # Too long after all: everything is given up, and selection goes on by products.
            if not written.take(i, [waiting[a][b] for b in sorted(waiting[a])]):
                return False
            waiting[a].clear()
        self.distances += self.n * (self.n + 1) // 2 if self._same else self.n * self.m
        self._lists = written
        return True

    def pick_from_lists(
        self,
        queue: CandidateQueue,
        picks: NDArray[np.int64],
        gains: NDArray[np.float64],
        total: float,
        goal: Goal,
    ) -> tuple[int, float, bool]:
        """See ``PicksFromLists``."""
        assert self._lists is not None
        arrays = Queue(queue.bounds, queue.positions, queue.rows, self._seen)
        state = self._state()
        count = 0
        while True:
            count, queue.size, self._lists.used, total, why = list_gains.pick_from_lists(
                arrays, queue.size, self._lists.written, self._lists.used, self._exact_i, self._exact_j, state,
                picks, gains, count, total, goal,
            )  # fmt: skip
            if why != list_gains.NO_ROOM:
                return count, total, why == list_gains.FINISHED
            # Outside the kernel, which can't grow an array that Python holds; it goes on where it stopped.
            self._lists.grow()


def _exact(rows: Rows) -> ExactRows:
    return ExactRows(rows.exact.numpy(), rows.index.numpy(), rows.factors.numpy(), rows.same)


def _room() -> tuple[torch.Tensor, Found, Found]:
    """Make room for a block and whatever is found in it."""
    return torch.empty(BLOCK * BLOCK, dtype=torch.float32), make_room(BLOCK, BLOCK), make_room(BLOCK, BLOCK)


def _blocks(n: int) -> list[slice]:
    return [slice(a, min(a + BLOCK, n)) for a in range(0, n, BLOCK)]


def _filled_up(values: NDArray[Any], value: Any) -> NDArray[Any]:
    """Fill up to whole blocks."""
    short = -values.size % BLOCK
    return np.concatenate([values, np.full(short, value, values.dtype)]) if short else values
