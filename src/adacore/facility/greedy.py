"""Exact greedy facility location on one set of points: the state, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adacore.facility import dense, heap, medoid, sparse
from adacore.facility.cover import add_pick, count_served, new_cover
from adacore.facility.planning import ENTRIES_PER_POINT, LEAST_ENTRIES, MOST_ENTRIES
from adacore.facility.points import Points
from adacore.facility.sparse import TIE
from adacore.facility.tree import LEAF, build_tree
from adacore.facility.workers import Workers

FIRST_BATCH = 32
PAIRS_AT_A_TIME = 20_000_000
SERIAL_PAIRS = 300_000
SAMPLE = 32
PICKS_AT_A_TIME = 512
OVERHEAD_PAIRS = 300_000

Reporter = Callable[[int], None]


class Greedy:
    """Lazy greedy selection that can be continued.

    What decides is a candidate's gain in double precision. Upper bounds on gains, which by submodularity only fall,
    wait in a heap; those on top are evaluated in single precision with a rigorous error; those which that leaves in
    question, in double precision. While few points are selected, gains are sums over all distances, without the tiles
    and leaves that are too far away ("dense"). As soon as it fits in memory and pays, every candidate's list of the
    points that it would serve is written down, and gains are sums over lists ("sparse").

    Args:
        points: The points.
        workers: Threads to share the work.
        report: Called with the number of picks from time to time.
    """

    def __init__(self, points: Points, workers: Workers, report: Reporter | None = None) -> None:
        self.tree = build_tree(points)
        self.workers = workers
        self.report = report or (lambda picks: None)
        self.n = points.n
        self.masses = self.tree.masses.reshape(-1)
        self._masses32 = np.nextafter(self.masses.astype(np.float32), np.float32(np.inf)).reshape(-1, LEAF)
        self._masses32[self.masses.reshape(-1, LEAF) == 0] = 0
        self._all = np.arange(self.n)
        self._far = 2.1 * float(self.tree.tile_norms.max())
        self.cover = new_cover(self.tree, self._far)
        self.minima = self.cover.minima.reshape(-1)
        self.owner = self.cover.owner.reshape(-1)
        self.picks: NDArray[np.int64] = np.empty(0, np.int64)
        self.gains: NDArray[np.float64] = np.empty(0)
        self.total = np.inf
        self.exhausted = False
        self.distances = 0
        self._keys, self._positions, self._size = np.empty(self.n), np.empty(self.n, np.int64), 0
        self._lists: sparse.Lists | None = None
        self._sampling = False
        self._bounds_of = np.full(self.n, np.inf)
        self._sparse_at = 1.0
        self._last_cost = 0, 0
        self._looked_at = float(self.n)

    @property
    def count(self) -> int:
        """Number of picks."""
        return int(self.picks.size)

    def extend(self, limit: int, *, floor: float = 0.0, target: float = -1.0) -> None:
        """Go on selecting.

        Args:
            limit: Stop at so many picks.
            floor: Stop before a pick whose gain is at most this.
            target: Stop once the sum of masses times distances is at most this.
        """
        if self.count == 0:
            self._pick_medoid()
        while self.count < limit and self.total > target and not self.exhausted:
            if self._lists is None and self._lists_pay(limit):
                self._write_lists()
            if self._lists is not None:
                if self._extend_from_lists(self._lists, min(limit, self.count + PICKS_AT_A_TIME), floor, target):
                    self._finish(floor)
                    return
            else:
                found = self._best(floor)
                if found is None:
                    self._finish(floor)
                    return
                self.add(*found)
                if self.total <= target + self._margin:
                    self.total = float(sparse.sum_minima(self.masses, self.minima))
            self.report(self.count)
            self.workers.check()
        self._finish(floor)

    def _finish(self, floor: float) -> None:
        """Note whether anything is left to gain, and the total without the rounding of a running sum."""
        self.total = float(sparse.sum_minima(self.masses, self.minima))
        self.exhausted = self.exhausted or self.count == self.n or (floor <= 0 and self._size == 0) or self.total <= 0

    def _pick_medoid(self) -> None:
        lower = np.empty(self.n)
        tree, moments = self.tree, medoid.measure_moments(self.tree)
        self._share(lambda a, b: medoid.sum_bounds(tree, moments, a, b, lower), self.n, tree.masses.shape[0])
        mass = float(self.masses.sum())
        keys = np.maximum(self._far * mass - lower, 0) * (1 + 1e-11) + 1e-300
        self._fill(self._all, keys)
        found = self._best(0.0, medoid=True)
        position = 0 if found is None else found[0]
        self.add(position, np.nan)
        if not self.exhausted:
            self.bound_all()

    def _fill(self, positions: NDArray[np.int64], keys: NDArray[np.float64]) -> None:
        useful = keys > 0
        self._size = int(useful.sum())
        self._keys[: self._size] = keys[useful]
        self._positions[: self._size] = positions[useful]
        heap.heapify(self._keys, self._positions, self.tree.order, self._size)

    def _share(self, work: Callable[[int, int], int], count: int, pairs_each: int) -> None:
        pairs_each = max(1, pairs_each)
        if count * pairs_each <= SERIAL_PAIRS:
            self.distances += work(0, count)
            return
        chunk = min(PAIRS_AT_A_TIME // pairs_each, count // (4 * self.workers.threads))
        chunk = max(dense.GROUP, chunk // dense.GROUP * dense.GROUP)
        self.distances += self.workers.share(work, count, chunk)

    def _bounds(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate candidates in single precision: gains and errors."""
        gains, errors = np.empty(positions.size), np.empty(positions.size)
        tree, cover, masses = self.tree, self.cover, self._masses32
        before = self.distances
        self._share(
            lambda a, b: dense.bound_gains(tree, cover, masses, positions, a, b, gains, errors),
            positions.size,
            self.n,
        )
        self._looked_at = max(1.0, (self.distances - before) / max(1, positions.size))
        return gains, errors

    def _exact(self, positions: NDArray[np.int64], *, medoid: bool) -> NDArray[np.float64]:
        """Evaluate candidates in double precision."""
        values = np.empty(positions.size)
        tree, cover = self.tree, self.cover
        if medoid:
            self._share(lambda a, b: dense.exact_sums(tree, positions, a, b, values), positions.size, self.n)
            return values
        self._share(lambda a, b: dense.exact_gains(tree, cover, positions, a, b, values), positions.size, self.n)
        return values

    def _best(self, floor: float, *, medoid: bool = False) -> tuple[int, float] | None:
        """Find the candidate with the largest gain, ties to the lowest row; None if none gains more than ``floor``."""
        order, most, low = self.tree.order, FIRST_BATCH, floor
        tried: list[NDArray[np.int64]] = []
        tried_gains: list[NDArray[np.float64]] = []
        tried_errors: list[NDArray[np.float64]] = []
        while True:
            batch = np.empty(min(most, self._size), np.int64)
            count, self._size = heap.pop_batch(
                self._keys, self._positions, order, self._size, low * (1 - TIE), batch.size, batch
            )
            if count == 0:
                break
            batch = np.sort(batch[:count])
            gains, errors = self._bounds(batch)
            low = max(low, float((gains - errors).max()))
            tried.append(batch)
            tried_gains.append(gains)
            tried_errors.append(errors)
            most *= 4
        if not tried:
            return None
        positions = np.concatenate(tried)
        upper = np.concatenate(tried_gains) + np.concatenate(tried_errors)
        contenders = np.flatnonzero(upper >= low * (1 - TIE))
        values = self._exact(positions[contenders], medoid=medoid)
        if medoid:
            ties = np.flatnonzero(values <= values.min() * (1 + TIE))
            upper[contenders] = np.inf
        else:
            upper[contenders] = values
            best = float(values.max(initial=0.0))
            ties = np.flatnonzero(values >= best * (1 - TIE)) if best > floor else np.empty(0, np.int64)
        winner = -1
        if ties.size:
            at = ties[np.argmin(order[positions[contenders[ties]]])]
            winner = contenders[at]
        rest = np.arange(positions.size) != winner
        self._size = heap.push_batch(
            self._keys, self._positions, order, self._size, upper[rest], positions[rest], int(rest.sum())
        )
        return (int(positions[winner]), float(values[at])) if ties.size else None

    def add(self, position: int, gain: float | None) -> None:
        """Select a point.

        Args:
            position: Which.
            gain: What it gains, nan for the first; measured if None.
        """
        distances, gained = add_pick(self.tree, self.cover, position, self.count)
        self.distances += distances
        first = self.count == 0
        self.picks = np.append(self.picks, position)
        self.gains = np.append(self.gains, (np.nan if first else gained) if gain is None else gain)
        if first:
            self.total = self._first_total = float(sparse.sum_minima(self.masses, self.minima))
            self._margin = 1e-9 * self._first_total
            self.exhausted = self.total <= 0
        else:
            self.total -= self.gains[-1]

    def restart(self, picks: NDArray[np.int64]) -> None:
        """Select points that were chosen elsewhere, before any other.

        Args:
            picks: Their positions, in order.
        """
        for position in picks:
            self.add(int(position), None)
            self.workers.check()
        self.total = float(sparse.sum_minima(self.masses, self.minima))

    def bound_all(self) -> None:
        """Evaluate all candidates anew."""
        others = np.setdiff1d(self._all, self.picks)
        gains, errors = self._bounds(others)
        self._fill(others, gains + errors)

    def largest_bound(self) -> float:
        """Return an upper bound on what the next pick gains."""
        return float(self._keys[0]) if self._size else 0.0

    def extend_among(self, positions: NDArray[np.int64]) -> int | None:
        """Select the best of some candidates, ties to the lowest row.

        Args:
            positions: The candidates.

        Returns:
            The position selected, or None if none of them gains anything.
        """
        self._sampling = True
        self._fill(positions, self._bounds_of[positions])
        found = self._best(0.0, medoid=self.count == 0)
        if self.count > 0:
            self._bounds_of[self._positions[: self._size]] = self._keys[: self._size]
        if found is None:
            return None
        self.add(found[0], np.nan if self.count == 0 else found[1])
        return found[0]

    def _capacity(self) -> int:
        return min(max(ENTRIES_PER_POINT * self.n, LEAST_ENTRIES), MOST_ENTRIES, self.n * self.n // 40)

    def _lists_pay(self, limit: int) -> bool:
        """Whether writing the lists fits in memory and costs less than going on without is likely to."""
        if self.count < self._sparse_at:
            return False
        self._sparse_at = max(self.count + 1, 1.3 * self.count)
        if self.count < 3 or self._cost_of_going_on(limit) < self._cost_of_lists():
            return False
        sample = np.linspace(0, self.n - 1, min(SAMPLE, self.n)).astype(np.int64)
        entries = count_served(self.tree, self.cover, sample) / sample.size * self.n
        self.distances += sample.size * self.n
        return bool(1.3 * entries <= self._capacity())

    def _cost_of_going_on(self, limit: int) -> float:
        """Predict the distances evaluated until the last pick, from those for the picks since the last prediction."""
        picks, spent = self._last_cost
        self._last_cost = self.count, self.distances
        each = (self.distances - spent) / max(1, self.count - picks) + OVERHEAD_PAIRS
        return each * (limit - self.count)

    def _cost_of_lists(self) -> float:
        """Predict the distances evaluated for all lists, from the last candidates evaluated."""
        return self._looked_at * self.n

    def _write_lists(self) -> None:
        """Write every candidate's list, and evaluate all from them."""
        tree, cover = self.tree, self.cover
        parts = self.workers.threads
        # Threads do unequal parts of the work; what is never written to takes up no memory.
        share = self._capacity() * min(parts, 8) // parts
        lists = sparse.Lists(
            np.zeros(self.n, np.int64),
            np.zeros(self.n, np.int64),
            np.empty(parts * share, np.int32),
            np.empty(parts * share),
        )
        chunk = max(dense.GROUP, min(256, self.n // (8 * parts) // dense.GROUP * dense.GROUP))
        ends = [part * share for part in range(parts)]
        free = list(range(parts))

        def work(first: int, last: int) -> int:
            part = free.pop()
            if ends[part] >= 0:
                ends[part], evaluated = sparse.list_served(
                    tree, cover, first, last, ends[part], (part + 1) * share, lists
                )
            else:
                evaluated = 0
            free.append(part)
            return int(evaluated)

        self.distances += self.workers.share(work, self.n, chunk)
        if min(ends) < 0:
            return
        self._lists = lists
        gains = np.empty(self.n)
        minima, masses = self.minima, self.masses
        everyone = self._all
        self.workers.share(
            lambda a, b: sparse.list_gains(everyone, a, b, lists, minima, masses, gains),
            self.n,
            4096,
        )
        self._fill(everyone, gains)

    def _extend_from_lists(self, lists: sparse.Lists, limit: int, floor: float, target: float) -> bool:
        """Select from the lists; returns whether to stop."""
        picks, gains = np.empty(limit, np.int64), np.empty(limit)
        picks[: self.count], gains[: self.count] = self.picks, self.gains
        count, self._size, self.total, done = sparse.pick_from_lists(
            self._keys, self._positions, self.tree.order, self._size, lists, self.minima, self.owner, self.masses,
            picks, gains, self.count, limit, floor, target, self.total, self._margin,
        )  # fmt: skip
        self.picks, self.gains = picks[:count], gains[:count]
        return bool(done)

    def refreshed_bounds(self, most: float) -> NDArray[np.float64]:
        """Bring upper bounds on the gains of what is left up to date.

        Args:
            most: How many distances may be evaluated; from lists, none are.

        Returns:
            The bounds, float64, shape (candidates with something to gain,).
        """
        keys, positions = self._keys[: self._size].copy(), self._positions[: self._size].copy()
        if not self.exhausted and self._sampling:
            self.bound_all()
            return self._keys[: self._size].copy()
        if self._lists is not None:
            minima, masses, lists = self.minima, self.masses, self._lists
            self.workers.share(
                lambda a, b: sparse.list_gains(positions, a, b, lists, minima, masses, keys), positions.size, 4096
            )
            return keys
        count = min(int(most / self._looked_at), positions.size)
        if count:
            top = np.argpartition(keys, positions.size - count)[positions.size - count :]
            gains, errors = self._bounds(positions[top])
            keys[top] = np.minimum(keys[top], gains + errors)
        return keys
