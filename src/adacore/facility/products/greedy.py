"""Exact greedy facility location in many dimensions: the state, and how it goes on.

What decides is a candidate's gain in double precision. Upper bounds on gains, which by submodularity only fall, wait
in a queue; those on top are bounded anew in single precision, by products with all clients; those which then are still
on top are evaluated in double precision. As soon as it fits in memory and pays, every candidate's list of the clients
that it may serve is written down, and no product is computed any more.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.facility.heap import CandidateQueue
from adacore.facility.list_gains import TIE, Goal
from adacore.facility.problem import Problem
from adacore.facility.products.choosing_evaluators import choose_evaluator
from adacore.facility.products.evaluators import Evaluator, PicksFromLists, Served
from adacore.facility.products.precision import full_precision
from adacore.facility.products.sides import split_sides
from adacore.facility.sparse.evaluator import SparseEvaluator
from adacore.facility.workers import Workers

LIST_PASS = 0.5
"""Cost of writing the lists, in evaluations of all candidates: one product serves both halves of a pair."""

GUESS = 0.05
"""Share of all candidates that an early pick bounds anew, as long as nothing is known: 1 to 25 % on text embeddings."""

ALL_ANEW = 0.3
"""Share of all candidates waiting to be bounded anew from which all are: that costs half as much for each of them, and
spares the picks after this one. On clustered unit vectors 0.3 to 0.6 save a sixth of all distances, 0.15 as much."""

NEARLY = 0.999
"""Who can't reach this share of the largest bound is bounded in 8 bits alone; bounds exceed gains by some 1e-4."""

PICKS_AT_A_TIME = 512
"""Picks from lists between two looks at whether the selection was interrupted."""


class ProductGreedy:
    """Lazy greedy selection by products, which can be continued; equal to ``TreeGreedy`` pick by pick.

    From |x - y|^2 = |x|^2 + |y|^2 - 2 x.y a product of two matrices gives the distances between all their rows, at the
    speed of BLAS. In float32 it cancels, and what is computed is off by up to gamma_(d + 24) (|x|^2 + |y|^2), see
    ``rows``. So the norms are lowered by as much beforehand: every distance is then at most the true one, every
    gain sum_i w_i max(0, m_i - d_ij) at least the true one, and lazy greedy needs no more than that of whoever is not
    picked. Gains of those on top are summed in float64, from differences.

    Args:
        problem: The problem, in its own units.
        workers: Threads to share the work, or the GPU that computes.
        report: Called with the number of picks from time to time.
        compiled: Whether compiled passes or torch compute; if None, the former on the CPU.

    Example:
        The same points, picks and gains as in the example of ``TreeGreedy``.

        >>> from adacore.facility.problem import check_problem
        >>> problem = check_problem(np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])).in_own_units()
        >>> with Workers(1) as workers:
        ...     greedy = ProductGreedy(problem, workers)
        ...     greedy.extend(3)
        >>> greedy.selected, problem.loss_in_units(greedy.gains)
        (array([2, 3, 0]), array([nan, 14.,  2.]))
    """

    def __init__(
        self,
        problem: Problem,
        workers: Workers,
        report: Callable[[int], None] | None = None,
        compiled: bool | None = None,
    ) -> None:
        self.problem = problem
        self.workers = workers
        self.report = report or (lambda picks: None)
        self.picks: NDArray[np.int64] = np.empty(0, np.int64)
        self._gains: NDArray[np.float64] = np.empty(0)
        self._total = math.inf
        self._margin = 0.0
        self.exhausted = problem.candidates.size == 0
        self._bounded = False
        self._sampling = False
        self._evaluated, self._looked_at = 0, 0
        with full_precision():
            # Within ``full_precision``: the sample of pairs and the distances to initial rows are products too.
            if problem.sparse:
                sparse = SparseEvaluator(problem, workers)
                self.rows, able, self._exponent = problem.candidates, np.ones(sparse.n, np.bool_), sparse.exponent
                self._evaluator: Evaluator = sparse
            else:
                sides = split_sides(problem, workers.device or torch.device("cpu"))
                self.rows, able, self._exponent = sides.candidate_rows, sides.able, sides.exponent
                self._evaluator = choose_evaluator(sides, workers, compiled)
            self.candidates = np.flatnonzero(able)
            # Candidates ascend by row, so that positions break ties as rows do.
            self.queue = CandidateQueue(np.arange(self.rows.size))
            self._last_bounds = np.full(self.rows.size, np.inf)
            if problem.initial.size:
                self._evaluator.add_initial()
                self._measure_total()

    @property
    def count(self) -> int:
        """Number of picks."""
        return int(self.picks.size)

    @property
    def selected(self) -> NDArray[np.int64]:
        """Rows of the picks, int64, in the order of selection."""
        return self.rows[self.picks]

    @property
    def distances(self) -> int:
        """Number of distances evaluated, in 8 bits, in single or in double precision."""
        return int(self._evaluator.distances)

    @property
    def gains(self) -> NDArray[np.float64]:
        """What each pick gained, in the problem's units, float64, shape (count,); nan for the first of all."""
        return np.ldexp(self._gains, self._exponent)

    @property
    def total(self) -> float:
        """L of what is selected, in the problem's units; infinite where nothing is."""
        return float(np.ldexp(self._total, self._exponent))

    def served_weights(self) -> NDArray[np.float64]:
        """Sum the weights of the clients nearest to each: first the initial rows, then the picks; ties to the earlier.

        Returns:
            float64, shape (initial rows + picks,).
        """
        return self._evaluator.served_weights(self._numbered())

    def extend(self, limit: int, *, floor: float = 0.0, target: float = -1.0) -> None:
        """Go on selecting.

        Args:
            limit: Stop at so many picks.
            floor: Stop before a pick whose gain is at most this.
            target: Stop once L is at most this.
        """
        # Distances here are in units of their own, a power of two from the problem's.
        floor, target = (float(np.ldexp(value, -self._exponent)) for value in (floor, target))
        with full_precision():
            if self._numbered() == 0 and limit > 0 and not self.exhausted:
                self._add(*self._medoid(self.candidates))
            going = True
            while going and self.count < limit and self._total > target and not self.exhausted:
                going = self._go_on(limit, floor, target)
                self.report(self.count)
                self.workers.check()
        # A running sum gathers rounding: what is compared and reported is summed anew.
        self._measure_total()
        # Picking from lists ends at the target as well, where candidates still have something to gain.
        spent = not going and floor <= 0 and self._total > target
        self.exhausted = self.exhausted or spent or self.count == self.candidates.size or self._total <= 0

    def _go_on(self, limit: int, floor: float, target: float) -> bool:
        """Select one example, or several from lists; return whether there may be more."""
        listed = self._evaluator.listed or self._write_lists(limit)
        if listed and isinstance(self._evaluator, PicksFromLists):
            return self._extend_from_lists(self._evaluator, min(limit, self.count + PICKS_AT_A_TIME), floor, target)
        if not self._bounded:
            self._bound_all()
        found = self._best(floor)
        if found is None:
            return False
        self._add(*found)
        if self._total <= target + self._margin:
            self._measure_total()
        return True

    def _numbered(self) -> int:
        """Count what is selected, initial rows included."""
        return int(self.problem.initial.size + self.count)

    def _left(self) -> NDArray[np.int64]:
        return np.setdiff1d(self.candidates, self.picks, assume_unique=True)

    def _measure_total(self) -> None:
        self._total = self._evaluator.total()
        # How far the running total may be off: picks number at most 10^6 or so, each adds 2^-53 of it.
        self._margin = max(self._margin, 1e-9 * self._total)
        self.exhausted = self.exhausted or self._total <= 0

    def _key(self, position: int) -> bytes:
        """Tell rows apart: equal rows have equal gains, and only the lowest of them can be picked."""
        return self.problem.key(int(self.rows[position]))

    def _medoid(self, positions: NDArray[np.int64]) -> tuple[int, Served, float]:
        """Find the candidate with the least sum of distances, ties to the lowest row.

        Bounds from moments leave few candidates, products fewer, and sums in double precision decide.
        """
        evaluator = self._evaluator
        bounds = evaluator.sum_bounds()[positions]
        # The most promising first: once a bound on the sum exceeds the best sum known, so do all that follow.
        order = np.argsort(bounds, kind="stable")
        positions, bounds = positions[order], bounds[order]
        best, sums = math.inf, dict[int, float]()
        known: dict[bytes, float] = {}
        first, (size, largest) = 0, evaluator.batches
        while first < positions.size and bounds[first] <= best * (1 + TIE):
            batch = positions[first : first + size]
            batch = batch[bounds[first : first + size] <= best * (1 + TIE)]
            # Three sieves, each a lower bound on the sum and each dearer: moments O(d^2), products O(m d) in float32,
            # float64.
            lower = evaluator.lower_sums(batch)
            for c in np.argsort(lower, kind="stable"):
                # Sorted: nobody after this one can win or tie.
                if lower[c] > best * (1 + TIE):
                    break
                position, key = int(batch[c]), self._key(int(batch[c]))
                # Equal rows have equal sums to the last bit; one of them is enough.
                if key not in known:
                    known[key] = -evaluator.gain(evaluator.served(position))
                sums[position] = known[key]
                best = min(best, known[key])
            first, size = first + batch.size, min(2 * size, largest)
            self.workers.check()
        winner = min(position for position, value in sums.items() if value <= best * (1 + TIE))
        return winner, evaluator.served(winner), math.nan

    def _best(self, floor: float) -> tuple[int, Served, float] | None:
        """Find the candidate with the largest gain, ties to the lowest row; None if none gains more than ``floor``."""
        evaluator, queue = self._evaluator, self.queue
        best, largest_bound, all_anew, (size, largest) = 0.0, 0.0, False, evaluator.batches
        # A heap, for there may be hundreds of thousands: the negative bound, and whose it is.
        fresh: list[tuple[float, int]] = []
        exact: dict[int, tuple[float, Served]] = {}
        known: dict[bytes, tuple[float, Served]] = {}
        while True:
            # Bounds in the queue hold from earlier picks, by submodularity; below best (1 - TIE) nobody can win or tie.
            batch = queue.pop(max(floor, best * (1 - TIE)), size)
            if batch.size == 0:
                break
            self._looked_at += int(batch.size)
            upper = evaluator.upper_gains(batch, NEARLY * largest_bound)
            largest_bound = max(largest_bound, float(upper.max()))
            for entry in zip((-upper).tolist(), batch.tolist(), strict=True):
                heapq.heappush(fresh, entry)
            # Once a pick: where nearly all gain the same, bounding anew settles nothing.
            reached = max(best, -fresh[0][0] if fresh else 0.0) * (1 - TIE)
            waiting_there = int((queue.bounds[: queue.size] >= reached).sum())
            if not (all_anew or evaluator.listed) and waiting_there > ALL_ANEW * self.candidates.size:
                all_anew = True
                waiting = np.array([*exact, *(position for _, position in fresh)], np.int64)
                left = np.setdiff1d(self._left(), waiting, assume_unique=True)
                queue.fill(left, evaluator.upper_gains_of_all()[left])
            # Whoever is on top now, and of those left in the queue too, is evaluated at once: it may end the search.
            while fresh and -fresh[0][0] > floor and -fresh[0][0] >= max(best * (1 - TIE), queue.largest()):
                position = heapq.heappop(fresh)[1]
                key = self._key(position)
                # In data with many duplicates the whole batch may be one row over and over.
                if key not in known:
                    served = evaluator.served(position)
                    known[key] = evaluator.gain(served), served
                exact[position] = known[key]
                best = max(best, exact[position][0])
            size = min(2 * size, largest)
            self.workers.check()
        winner = -1
        if best > floor:
            # Whoever is not in ``exact`` has a bound below best (1 - TIE) or at most the floor: all ties are here.
            winner = min(position for position, (gain, _) in exact.items() if gain >= best * (1 - TIE))
        rest = [(-bound, position) for bound, position in fresh] + [
            (gain, position) for position, (gain, _) in exact.items() if position != winner
        ]
        if rest:
            queue.push(np.array([p for _, p in rest], np.int64), np.array([b for b, _ in rest]))
        return None if winner < 0 else (winner, exact[winner][1], exact[winner][0])

    def _add(self, position: int, served: Served, gain: float) -> None:
        """Select a candidate."""
        # Whom it serves was computed to find its gain, and is not computed again.
        self._evaluator.add(served, self._numbered())
        self.picks = np.append(self.picks, position)
        self._gains = np.append(self._gains, gain)
        if self._numbered() == 1:
            self._measure_total()
        else:
            self._total -= gain

    def select_rows(self, rows: NDArray[np.int64]) -> None:
        """Select rows that were chosen elsewhere, before any other; ``bound_all`` before going on from there.

        Args:
            rows: Which, in order.
        """
        with full_precision():
            for position in np.searchsorted(self.rows, rows):
                served = self._evaluator.served(int(position))
                self._add(int(position), served, self._evaluator.gain(served) if self._numbered() else math.nan)
                self.workers.check()
        self._measure_total()

    def bound_all(self) -> None:
        """Evaluate all candidates anew."""
        with full_precision():
            self._bound_all()

    def _bound_all(self, *, closely: bool = False) -> None:
        left = self._left()
        self.queue.fill(left, self._evaluator.upper_gains_of_all(closely=closely)[left])
        self._bounded = True

    def largest_bound(self) -> float:
        """Return an upper bound on what the next pick gains, in the problem's units."""
        if not self._bounded and not self.exhausted:
            self.bound_all()
        return float(np.ldexp(self.queue.largest(), self._exponent))

    def extend_among(self, rows: NDArray[np.int64]) -> int | None:
        """Select the best of some candidates, ties to the lowest row.

        Args:
            rows: The candidates.

        Returns:
            The row selected, or None if none of them gains anything.
        """
        self._sampling = True
        positions = np.searchsorted(self.rows, np.sort(rows))
        with full_precision():
            if self._numbered() == 0:
                self._add(*self._medoid(positions))
                return int(self.rows[self.picks[-1]])
            self.queue.fill(positions, self._last_bounds[positions])
            found = self._best(0.0)
        left, bounds = self.queue.entries()
        self._last_bounds[left] = bounds
        if found is None:
            return None
        self._add(*found)
        return int(self.rows[found[0]])

    def _write_lists(self, limit: int) -> bool:
        """Write every candidate's list where that pays and fits; return whether they are written."""
        evaluator = self._evaluator
        looked_at = self._looked_at - self._evaluated
        self._evaluated = self._looked_at
        # What the last pick bounded anew predicts the next ones; early on one number says little, hence a guess that
        # falls as 1 / picks.
        each = max(looked_at, GUESS * self.candidates.size / max(1, self.count))
        if each * (limit - self.count) < LIST_PASS * self.candidates.size or not evaluator.lists_fit(limit):
            return False
        if not evaluator.write_lists():
            return False
        # Picks have a list too, and nothing to gain.
        left = self._left()
        self.queue.fill(left, evaluator.list_bounds(left))
        self._bounded = True
        return True

    def _extend_from_lists(self, evaluator: PicksFromLists, limit: int, floor: float, target: float) -> bool:
        picks, gains = np.empty(limit - self.count, np.int64), np.empty(limit - self.count)
        count, self._total, finished = evaluator.pick_from_lists(
            self.queue, picks, gains, self._total, Goal(self._numbered(), floor, target, self._margin)
        )
        self.picks = np.concatenate([self.picks, picks[:count]])
        self._gains = np.concatenate([self._gains, gains[:count]])
        return not finished

    def remaining_bounds(self, most: float) -> NDArray[np.float64]:
        """Bring upper bounds on the gains of what is left up to date, as far as that is cheap.

        Args:
            most: How many distances may be evaluated; from lists, none are.

        Returns:
            The bounds, in the problem's units, float64, shape (candidates with something to gain,).
        """
        if self.exhausted:
            return np.empty(0)
        with full_precision():
            if self._sampling or not self._bounded:
                # What is certified is told to the user: as tight as it can be.
                self._bound_all(closely=True)
                bounds = self.queue.entries()[1]
            else:
                positions, bounds = self.queue.entries()
                if self._evaluator.listed:
                    # The smaller of two upper bounds is one as well.
                    bounds = np.minimum(bounds, self._evaluator.list_bounds(positions))
                else:
                    count = min(int(most / self._evaluator.m), positions.size)
                    if count:
                        top = np.argpartition(bounds, positions.size - count)[positions.size - count :]
                        # In batches: a product of thousands of candidates would take 100 MB.
                        for some in np.array_split(top, math.ceil(count / self._evaluator.batches[1])):
                            bounds[some] = np.minimum(bounds[some], self._evaluator.upper_gains(positions[some]))
        return np.ldexp(bounds, self._exponent)
