"""Evaluating candidates with torch, on whatever device the rows are: what runs on a GPU, and on a CPU in tests.

Batches are as large as memory allows, so that launches of kernels are few beside what they compute; the host waits for
the device once for each batch of bounds, and once for each exact list. What is kept on the device is the rows, O(n),
and the lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.facility.products.evaluators import Served
from adacore.facility.products.fused import TERMS, Side, fused_works, gains_by_torch, gains_of_block
from adacore.facility.products.list_gains import ROUNDING, STEPS, step_for
from adacore.facility.products.medoid import sum_bounds
from adacore.facility.products.memory import LONG_ENTRY_BYTES, free_bytes
from adacore.facility.products.nearest import nearest
from adacore.facility.products.rows import LEAST, LIMIT_ROUNDING, UNIT_ROUNDOFF, pair_distances
from adacore.facility.products.sample import Sample
from adacore.facility.products.sides import Sides
from adacore.facility.workers import Workers

BLOCK_NUMBERS, LEAST_BLOCK, MOST_BLOCK = 1 << 20, 1 << 16, 1 << 28
"""Numbers in a block of products: 4 MiB on a CPU, where it should stay in cache; on a GPU a thirty-second of what is
free, up to 1 GiB, which one kernel takes half a millisecond to go over: a hundred times what it takes to launch."""

BLOCKS_IN_FREE = 128
"""A GPU's free bytes over this are the numbers in a block: with its temporaries it takes an eighth of what is free."""

LISTS_OF_FREE = 0.6
"""The lists may take this share of a GPU's free memory; a block and its temporaries need an eighth, exact lists
little."""

ENTRIES_AT_A_TIME = 1 << 26
"""Entries of lists that are looked at at once: 2 GiB of temporaries on a GPU."""

SUM_ROUNDING = 1 + (TERMS + 24) * UNIT_ROUNDOFF
"""Roundings of a term, and of a sum of so many terms in single precision, in any order."""

COMPACTED = 1.5
"""Whenever there are so many times as many picks, clients that can't be served any more are dropped from the lists."""


class TensorEvaluator:
    """Evaluates candidates with torch; see ``Evaluator``.

    Args:
        sides: Clients and candidates, on any device.
        workers: Asked from time to time whether to give up.
        capacity: How many entries the lists may have; if None, what is free decides.
    """

    batches = 64, 1024

    def __init__(self, sides: Sides, workers: Workers, capacity: int | None = None) -> None:
        self._check = workers.check
        self._sides = sides
        self._device = sides.clients.single.device
        self._same = sides.clients is sides.candidates
        self._i, self._j = sides.candidates, sides.clients
        self.n, self.m = self._i.n, self._j.n
        self._weights = torch.from_numpy(sides.weights).to(self._device)
        self._fused = fused_works(self._device)
        self._weights32 = _up(self._weights)
        self._minima = torch.full((self.m,), torch.inf, dtype=torch.float64, device=self._device)
        self._owner = torch.zeros(self.m, dtype=torch.int64, device=self._device)
        self._nothing_selected = True
        self._lists: _Lists | None = None
        self._capacity = capacity
        self._sample = Sample(sides)
        # The number of picks from which lists are compacted next.
        self._compact_at = 0
        self.distances = 0

    @property
    def listed(self) -> bool:
        """Whether the lists are written."""
        return self._lists is not None

    def _block_numbers(self) -> int:
        if self._device.type != "cuda":
            return BLOCK_NUMBERS
        return min(max(free_bytes(self._device) // BLOCKS_IN_FREE, LEAST_BLOCK), MOST_BLOCK)

    def _products(self, rows: Tensor, j: slice) -> Tensor:
        """Compute -2 y_i . y_j for some candidates and a range of clients."""
        columns = self._j.single[j]
        # beta = 0 below: ``out`` need not be cleared.
        out = torch.empty((rows.shape[0], columns.shape[0]), dtype=torch.float32, device=self._device)
        return torch.addmm(out, rows, columns.T, beta=0, alpha=-2, out=out)

    def _squares(self, rows: Tensor, low: Tensor, j: slice) -> Tensor:
        """Bound squared distances between some candidates and a range of clients from below."""
        # The clients' norms come with the product, in the same pass.
        return torch.addmm(self._j.low[j], rows, self._j.single[j].T, alpha=-2).add_(low[:, None])

    def _gains(self, block: Tensor, i: Side, j: Side, both: bool = False) -> tuple[Tensor, Tensor | None]:
        return gains_of_block(block, i, j, both) if self._fused else gains_by_torch(block, i, j, both)

    def sum_bounds(self) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        return np.asarray(sum_bounds(self._j, self._i, self._weights).cpu().numpy())

    def lower_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        at = self._to(positions)
        rows, low = self._i.single[at], self._i.low[at]
        sums = torch.zeros(positions.size, dtype=torch.float64, device=self._device)
        for some in _ranges(self.m, self._block_numbers() // positions.size):
            distances = self._squares(rows, low, some).clamp_(min=0).sqrt_()
            sums += distances.mul_(self._weights32[some]).sum(dim=1, dtype=torch.float64)
            self._check()
        self.distances += positions.size * self.m
        # Weights were rounded upwards, by two units in the last place at most.
        return np.asarray((sums * (2 - SUM_ROUNDING - 4 * UNIT_ROUNDOFF)).cpu().numpy())

    def upper_gains(self, positions: NDArray[np.int64], reached: float = 0.0) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        # From lists nothing is multiplied any more.
        if self._lists is not None:
            return self.list_bounds(positions)
        at = self._to(positions)
        rows, minima = self._i.single[at], _up(self._minima)
        # Of the candidates only the norms are asked for.
        i = Side(*[self._i.low[at]] * 3)
        gains = torch.zeros(positions.size, dtype=torch.float64, device=self._device)
        for some in _ranges(self.m, self._block_numbers() // positions.size):
            j = Side(self._j.low[some], minima[some], self._weights32[some])
            gains += self._gains(self._products(rows, some), i, j)[0]
        self._check()
        self.distances += positions.size * self.m
        return np.asarray((gains * SUM_ROUNDING).cpu().numpy())

    def upper_gains_of_all(self, *, closely: bool = False) -> NDArray[np.float64]:
        """See ``Evaluator``; where candidates are the clients, one product serves both halves of a pair."""
        clients = Side(self._j.low, _up(self._minima), self._weights32)
        candidates = clients if self._same else Side(*[self._i.low] * 3)
        gains = torch.zeros(self.n, dtype=torch.float64, device=self._device)
        side = max(1, int(self._block_numbers() ** 0.5))
        blocks_i, blocks_j = _ranges(self.n, side), _ranges(self.m, side)
        for a, i in enumerate(blocks_i):
            rows = self._i.single[i]
            for b in range(a if self._same else 0, len(blocks_j)):
                j, both = blocks_j[b], self._same and b > a
                of_rows, of_columns = self._gains(
                    self._products(rows, j), Side(*(t[i] for t in candidates)), Side(*(t[j] for t in clients)), both
                )
                gains[i] += of_rows
                if of_columns is not None:
                    gains[j] += of_columns
            self._check()
        self.distances += self.n * (self.n + 1) // 2 if self._same else self.n * self.m
        return np.asarray((gains * SUM_ROUNDING).cpu().numpy())

    def served(self, position: int) -> Served:
        """See ``Evaluator``."""
        at = torch.tensor([position], device=self._device)
        if self._lists is not None:
            clients = self._lists.clients_of(position, self._minima)
        # Every client: the first pick serves all.
        elif self._nothing_selected:
            clients = torch.arange(self.m, device=self._device)
        else:
            squares = self._squares(self._i.single[at], self._i.low[at], slice(0, self.m))[0]
            clients = (squares < self._limits()).nonzero()[:, 0]
            self.distances += self.m
        distances = pair_distances(self._j, clients, self._i, at)
        if not self._nothing_selected:
            closer = distances < self._minima[clients]
            clients, distances = clients[closer], distances[closer]
        return Served(clients, distances)

    def gain(self, served: Served) -> float:
        """See ``Evaluator``."""
        weights = self._weights[served.clients]
        if self._nothing_selected:
            return -float(weights @ served.distances)
        return float(weights @ (self._minima[served.clients] - served.distances))

    def add(self, served: Served, number: int) -> None:
        """See ``Evaluator``."""
        self._minima[served.clients] = served.distances
        self._owner[served.clients] = number
        self._nothing_selected = False
        # Compacting goes over all entries, as bounding every candidate would: hence only when picks have grown by half.
        if self._lists is None or number >= self._compact_at:
            self._compact_at = int(COMPACTED * number) + 1
            if self._lists is not None:
                self._lists.compact(self._minima)

    def add_initial(self) -> None:
        """See ``Evaluator``."""
        assert self._sides.initial is not None
        self._owner, self._minima = nearest(self._j, self._sides.initial)
        self._nothing_selected = False
        self.distances += self.m * self._sides.initial.n

    def total(self) -> float:
        """See ``Evaluator``."""
        return float(self._weights @ self._minima)

    def served_weights(self, size: int) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        # On the host, in the order of the clients: a GPU would add them in any.
        weights = np.bincount(self._owner.cpu().numpy(), weights=self._sides.weights, minlength=size)
        return weights[:size].astype(np.float64)

    def _limits(self) -> Tensor:
        return _up(self._minima.square() * LIMIT_ROUNDING)

    def _to(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)

    def _expected(self) -> float:
        """Predict how many entries the lists would have."""
        return self._sample.share_served(self._limits()) * self.n * self.m

    def lists_fit(self, selected: int) -> bool:
        """See ``Evaluator``."""
        most = self._capacity
        if most is None:
            most = int(LISTS_OF_FREE * free_bytes(self._device) / LONG_ENTRY_BYTES)
        return self._expected() <= most

    def write_lists(self) -> bool:
        """See ``Evaluator``."""
        limits = self._limits()
        # What the sample falls short by is in the prediction; a little more for very short lists.
        written = _Lists(self.n, int(1.05 * self._expected()) + 64 * self.n, float(self._minima.max()), self._device)
        able = None if self._sides.able.all() else self._to(self._sides.able)
        width = min(self.m, self._block_numbers())
        for some in _ranges(self.n, self._block_numbers() // width):
            parts = []
            for j in _ranges(self.m, width):
                squares = self._squares(self._i.single[some], self._i.low[some], j)
                hits = squares < limits[j]
                if able is not None:
                    hits &= able[some, None]
                candidate, client = hits.nonzero(as_tuple=True)
                parts.append((candidate, client + j.start, squares[candidate, client].clamp_(min=0).sqrt_()))
            candidate, client, lower = (torch.cat(part) for part in zip(*parts, strict=True))
            if len(parts) > 1:
                # Pairs come client range by client range where one range does not hold all: lists need them candidate
                # by candidate.
                order = torch.sort(candidate, stable=True).indices
                candidate, client, lower = candidate[order], client[order], lower[order]
            if not written.take(some, candidate, client, lower):
                return False
            self._check()
        self.distances += self.n * self.m
        self._lists = written
        return True

    def list_bounds(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        assert self._lists is not None
        bounds = np.empty(positions.size)
        for some in self._lists.cut(positions):
            part = self._lists.bounds(positions[some], self._minima, self._weights)
            bounds[some] = part.cpu().numpy()
        return bounds


class _Lists:
    """For every candidate the clients that it may serve, with lower bounds on their distances, on the device.

    Args:
        n: Candidates.
        capacity: Room for so many entries.
        largest: The largest minimum.
        device: Where.
    """

    def __init__(self, n: int, capacity: int, largest: float, device: torch.device) -> None:
        self.starts, self.lengths = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.clients = torch.empty(capacity, dtype=torch.int32, device=device)
        # In steps of the largest minimum over 65,535, rounded down; less 2^15, for int16 is what every device computes.
        self.steps = torch.empty(capacity, dtype=torch.int16, device=device)
        self.step = step_for(largest)
        self.entries = 0

    def take(self, block: slice, candidate: Tensor, client: Tensor, lower: Tensor) -> bool:
        """Write the lists of the next candidates, pairs in their order; return whether they fit."""
        count = candidate.shape[0]
        if self.entries + count > self.clients.shape[0]:
            return False
        lengths = torch.bincount(candidate, minlength=block.stop - block.start).cpu().numpy()
        at = slice(self.entries, self.entries + count)
        self.clients[at] = client
        steps = (lower * ((1 - 8 * UNIT_ROUNDOFF) / self.step)).floor_().clamp_(max=STEPS) - (STEPS + 1) // 2
        self.steps[at] = steps
        self.lengths[block] = lengths
        self.starts[block] = self.entries + np.cumsum(lengths) - lengths
        self.entries += count
        return True

    def cut(self, positions: NDArray[np.int64]) -> list[slice]:
        """Cut candidates into ranges whose lists have a limited number of entries in all."""
        # Lengths are kept on the host: cutting needs no word from the device.
        ends = np.cumsum(self.lengths[positions])
        ranges, first = [], 0
        while first < positions.size:
            before = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + ENTRIES_AT_A_TIME, side="right")))
            ranges.append(slice(first, last))
            first = last
        return ranges

    def _entries_of(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return where the candidates' entries are, and whose each is."""
        lengths = self.lengths[positions]
        total, device = int(lengths.sum()), self.clients.device
        begins = torch.from_numpy(self.starts[positions] - (np.cumsum(lengths) - lengths)).to(device)
        counts = torch.from_numpy(lengths).to(device)
        whose = torch.repeat_interleave(torch.arange(positions.size, device=device), counts, output_size=total)
        return begins[whose] + torch.arange(total, device=device), whose

    def _distances(self, at: Tensor | slice) -> Tensor:
        return (self.steps[at].double() + (STEPS + 1) // 2) * self.step

    def bounds(self, positions: NDArray[np.int64], minima: Tensor, weights: Tensor) -> Tensor:
        """Bound candidates' gains from above."""
        at, whose = self._entries_of(positions)
        clients = self.clients[at].long()
        saved = (minima[clients] - self._distances(at)).clamp_(min=0) * weights[clients]
        bounds = torch.zeros(positions.size, dtype=torch.float64, device=minima.device)
        # In any order on a GPU; in double precision that is off by far less than ROUNDING, and it only bounds.
        return bounds.index_add_(0, whose, saved) * (1 + ROUNDING)

    def clients_of(self, position: int, minima: Tensor) -> Tensor:
        """Return whom a candidate may serve."""
        at = slice(self.starts[position], self.starts[position] + self.lengths[position])
        clients = self.clients[at].long()
        return clients[self._distances(at) < minima[clients]]

    def compact(self, minima: Tensor) -> None:
        """Drop whom candidates can't serve any more, where the lists lie: what is kept only moves towards the front."""
        positions = np.arange(self.starts.size)
        self.entries = 0
        for some in self.cut(positions):
            begin, end = int(self.starts[some][0]), int(self.starts[some.stop - 1] + self.lengths[some.stop - 1])
            clients, steps = self.clients[begin:end], self.steps[begin:end]
            # Strictly below, as everywhere: whoever is as near to what is selected gains nothing.
            keep = self._distances(slice(begin, end)) < minima[clients.long()]
            total = torch.cat([torch.zeros(1, dtype=torch.int64, device=keep.device), keep.cumsum(0)])
            edges = np.append(self.starts[some], end) - begin
            lengths = np.diff(total[torch.from_numpy(edges).to(keep.device)].cpu().numpy())
            kept = slice(self.entries, self.entries + int(lengths.sum()))
            kept_clients, kept_steps = clients[keep], steps[keep]
            self.clients[kept], self.steps[kept] = kept_clients, kept_steps
            self.starts[some] = self.entries + np.cumsum(lengths) - lengths
            self.lengths[some] = lengths
            self.entries = kept.stop


def _ranges(n: int, step: int) -> list[slice]:
    step = max(1, step)
    return [slice(a, min(a + step, n)) for a in range(0, n, step)]


def _up(values: Tensor) -> Tensor:
    """Round to float32, upwards, positive numbers to at least ``LEAST``; 0 stays 0."""
    rounded = values.float()
    up = torch.nextafter(rounded, torch.full_like(rounded, torch.inf)).clamp_(min=LEAST)
    return torch.where(values == 0, torch.zeros_like(up), up)
