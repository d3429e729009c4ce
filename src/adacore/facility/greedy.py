"""Exact greedy facility location by bounds on a tree of rows: lazy, and able to go on where it stopped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adacore.facility import list_gains
from adacore.facility.evaluation import Evaluation
from adacore.facility.heap import CandidateQueue
from adacore.facility.list_gains import TIE
from adacore.facility.list_writing import ListDecision, write_lists
from adacore.facility.problem import Problem
from adacore.facility.workers import Workers

FIRST_BATCH = 32
"""Candidates evaluated at first for a pick, four times as many from batch to batch: enough to share among cores, and
few where the first suffice."""

MOST_OF_ALL = 0.6
"""Share of the rows that are candidates from which all are bounded at once: pair by pair each takes half."""

PICKS_AT_A_TIME = 512
"""Picks from lists between two looks at whether the selection was interrupted."""

LIST_GAINS_AT_A_TIME = 4096
"""Lists summed at a time by one thread: some milliseconds."""

Reporter = Callable[[int], None]


class TreeGreedy:
    """Lazy greedy selection that can be continued.

    Greedy takes the candidate j with the largest gain(j | S) = sum_i w_i max(0, m_i - d(x_i, x_j)), where m_i =
    min_{s in S} d(x_i, x_s). With every pick the m_i fall, and with them each term: gain(j | S + s) <= gain(j | S),
    which is submodularity of F = C1 - L (Nemhauser, Wolsey and Fisher 1978). So a gain that was computed once bounds
    all later gains of j, and whoever is below the best of those looked at need not be looked at (lazy evaluation,
    Minoux 1978): the picks are those of naive greedy, for a small part of its k n^2 distances.

    What decides is a candidate's gain in double precision. Upper bounds on gains, which by submodularity only fall,
    wait in a queue; those on top are evaluated in single precision with a rigorous error (``Evaluation.bounds``); those
    which that leaves in question, in double precision. While few points are selected, gains are sums over all clients
    but those too far away. As soon as it fits in memory and pays (``ListDecision``), every candidate's list of the
    clients that it would serve is written down, and gains are sums over lists.

    Args:
        problem: The problem, in its own units.
        workers: Threads to share the work.
        report: Called with the number of picks from time to time.

    Example:
        Five points on a line. The medoid, 2, leaves L = 18; of the others 9 lowers it most, then 0 and 1 by 2 each.

        >>> from adacore.facility.problem import check_problem
        >>> problem = check_problem(np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])).in_own_units()
        >>> with Workers(1) as workers:
        ...     greedy = TreeGreedy(problem, workers)
        ...     greedy.extend(3)
        >>> greedy.selected
        array([2, 3, 0])
        >>> problem.loss_in_units(greedy.gains)
        array([nan, 14.,  2.])
        >>> float(problem.loss_in_units(greedy.total))
        2.0
    """

    def __init__(self, problem: Problem, workers: Workers, report: Reporter | None = None) -> None:
        self.problem = problem
        self.workers = workers
        self.report = report or (lambda picks: None)
        self.evaluation = Evaluation(problem, workers)
        self.rows = self.evaluation.tree.order
        # Ascending positions: candidates that are evaluated together then lie in the same leaves.
        everyone = problem.candidates.size == self.rows.size  # the usual case needs no search: 0.3 s at n = 1,000,000
        self.candidates = (
            np.arange(self.rows.size) if everyone else np.sort(self.evaluation.tree.positions_of(problem.candidates))
        )
        self.queue = CandidateQueue(self.rows)
        self.decision = ListDecision(self.evaluation)
        self.lists: list_gains.Lists | None = None
        self.picks: NDArray[np.int64] = np.empty(0, np.int64)
        self.gains: NDArray[np.float64] = np.empty(0)
        self.total = np.inf
        self.exhausted = False
        self._sampling = False
        # For ``extend_among`` only: a bound found in one sample holds, by submodularity, in every later one.
        self._last_bounds = np.full(self.rows.size, np.inf)
        self.evaluation.select(self.evaluation.tree.positions_of(problem.initial), 0)
        # Before the first measurement there is no running total that could be off.
        self._margin = 0.0
        # Without initial rows L is infinite (nobody is served) until the medoid is in, hence ``total`` = inf above.
        if problem.initial.size:
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
        """Number of distances evaluated."""
        return int(self.evaluation.distances)

    def served_weights(self) -> NDArray[np.float64]:
        """Sum the weights of the clients nearest to each: first the initial rows, then the picks; ties to the earlier.

        Returns:
            float64, shape (initial rows + picks,).
        """
        size = self.problem.initial.size + self.count
        return np.bincount(self.evaluation.owner, weights=self.evaluation.weights, minlength=size)[:size].astype(
            np.float64
        )

    def extend(self, limit: int, *, floor: float = 0.0, target: float = -1.0) -> None:
        """Go on selecting.

        Args:
            limit: Stop at so many picks.
            floor: Stop before a pick whose gain is at most this.
            target: Stop once L is at most this.
        """
        if self.count == 0 and self.total > target and not self.exhausted:
            if self.problem.initial.size:
                self.bound_all()
            else:
                self._pick_medoid()
        going = True
        while going and self.count < limit and self.total > target and not self.exhausted:
            # Asked before each pick, answered from two numbers most of the time: see ``ListDecision``.
            if self.lists is None and self.decision.pay(self.candidates, self._numbered(), limit):
                self._write_lists()
            if self.lists is not None:
                going = self._extend_from_lists(self.lists, min(limit, self.count + PICKS_AT_A_TIME), floor, target)
            else:
                found = self._best(floor)
                going = found is not None
                if found is not None:
                    self._add(*found)
                    # A pick too many or too few would be an error, so that close to the target L is summed anew: n
                    # terms, once or twice.
                    if self.total <= target + self._margin:
                        self._measure_total()
            self.report(self.count)
            self.workers.check()
        # A running sum gathers rounding: what is compared and reported is summed anew.
        self._measure_total()
        spent = not going and floor <= 0
        self.exhausted = self.exhausted or spent or self.count == self.candidates.size or self.total <= 0

    def _numbered(self) -> int:
        """Count what is selected, initial rows included."""
        return int(self.problem.initial.size + self.count)

    def _measure_total(self) -> None:
        self.total = self.evaluation.total()
        # How far the running total may be off: picks number at most 10^6 or so, each adds 2^-53 of it.
        self._margin = max(self._margin, 1e-9 * self.total)
        self.exhausted = self.exhausted or self.total <= 0

    def _pick_medoid(self) -> None:
        """Select the candidate with the least sum of distances: bounds from moments leave few to look at."""
        evaluation = self.evaluation
        # With every minimum at ``far``, a gain is far W - sum: bounds on sums turn into bounds on gains.
        # ``far`` exceeds every distance, so that max(0, far - d) = far - d and the gain of {j} is exactly far W -
        # L({j}).
        most = evaluation.far * float(evaluation.weights.sum()) - evaluation.least_sums(self.candidates)
        # 1e-11 for the rounding of W and of n products; 1e-300 keeps a bound of 0 in the queue, which drops what gains
        # nothing.
        self.queue.fill(self.candidates, np.maximum(most, 0) * (1 + 1e-11) + 1e-300)
        found = self._best(0.0, medoid=True)
        # Where all rows are equal, every bound may be 0: then the lowest row is it.
        # By row and not by position: ties go to the lowest row, and positions follow the tree.
        self._add(self.candidates[np.argmin(self.rows[self.candidates])] if found is None else found[0], np.nan)
        if not self.exhausted:
            self.bound_all()

    def _best(self, floor: float, *, medoid: bool = False) -> tuple[int, float] | None:
        """Find the candidate with the largest gain, ties to the lowest row; None if none gains more than ``floor``."""
        most, low = FIRST_BATCH, floor
        tried: list[NDArray[np.int64]] = []
        tried_gains: list[NDArray[np.float64]] = []
        tried_errors: list[NDArray[np.float64]] = []
        # Invariant: every bound left in the queue is an upper bound, and ``low`` is at most the largest gain. Whoever
        # is left with a bound below low (1 - TIE) neither wins nor ties, and is not evaluated for this pick.
        while (batch := self.queue.pop(low * (1 - TIE), most)).size:
            gains, errors = self.evaluation.bounds(batch)
            # The true gain is at least the float32 gain less its error, for the best of the batch as for any.
            low = max(low, float((gains - errors).max()))
            tried.append(batch)
            tried_gains.append(gains)
            tried_errors.append(errors)
            # A search that the first batch does not end has loose bounds, and needs many more evaluations: few, large
            # batches.
            most *= 4
        if not tried:
            return None
        positions = np.concatenate(tried)
        upper = np.concatenate(tried_gains) + np.concatenate(tried_errors)
        # Whoever is below the best lower bound can't win or tie; the rest is decided in double precision.
        contenders = np.flatnonzero(upper >= low * (1 - TIE))
        # In terms of sums, where the least wins: far W - L({j}) would lose digits to cancellation, and ties could turn.
        if medoid:
            values = self.evaluation.exact_sums(positions[contenders])
            ties = np.flatnonzero(values <= values.min() * (1 + TIE))
            # They have not been bounded as gains given the medoid; whoever goes on fills the queue anew.
            upper[contenders] = np.inf
        else:
            values = self.evaluation.exact_gains(positions[contenders])
            upper[contenders] = values
            # A candidate outside ``contenders`` gains at most upper < low (1 - TIE) <= best (1 - TIE): all ties are
            # among them.
            best = float(values.max(initial=0.0))
            ties = np.flatnonzero(values >= best * (1 - TIE)) if best > floor else np.empty(0, np.int64)
        # What was learnt is put back: exact gains and fresh bounds are tighter than the ones that were popped.
        if not ties.size:
            self.queue.push(positions, upper)
            return None
        at = ties[np.argmin(self.rows[positions[contenders[ties]]])]
        rest = np.arange(positions.size) != contenders[at]
        self.queue.push(positions[rest], upper[rest])
        return int(positions[contenders[at]]), float(values[at])

    def _add(self, position: int, gain: float) -> None:
        """Select a point; the gain of a medoid is nan."""
        self.evaluation.select(np.array([position]), self._numbered())
        # The gain of the first pick is inf - L: nan, and L is summed.
        first = self.count == 0 and not self.problem.initial.size
        self.picks = np.append(self.picks, position)
        self.gains = np.append(self.gains, gain)
        if first:
            self._measure_total()
        else:
            self.total -= self.gains[-1]

    def select_rows(self, rows: NDArray[np.int64]) -> None:
        """Select rows that were chosen elsewhere, before any other; ``bound_all`` before going on from there.

        Args:
            rows: Which, in order.
        """
        positions = self.evaluation.tree.positions_of(rows)
        gains = self.evaluation.select(positions, self._numbered())
        # The gain of the first is inf - L.
        gains[:1] = gains[:1] if self.problem.initial.size else np.nan
        self.picks, self.gains = positions, gains
        self._measure_total()

    def bound_all(self) -> None:
        """Evaluate all candidates anew."""
        # Picks gain 0 for good; leaving them out spares their evaluation.
        others = np.setdiff1d(self.candidates, self.picks, assume_unique=True)
        if others.size < MOST_OF_ALL * self.rows.size:
            gains, errors = self.evaluation.bounds(others)
            self.queue.fill(others, gains + errors)
        else:
            self.queue.fill(others, self.evaluation.bounds_of_all()[others])

    def largest_bound(self) -> float:
        """Return an upper bound on what the next pick gains."""
        return 0.0 if self.exhausted else self.queue.largest()

    def extend_among(self, rows: NDArray[np.int64]) -> int | None:
        """Select the best of some candidates, ties to the lowest row.

        Args:
            rows: The candidates.

        Returns:
            The row selected, or None if none of them gains anything.
        """
        # The queue holds one sample from now on: bounds of all candidates have to be asked for, see
        # ``remaining_bounds``.
        self._sampling = True
        positions = self.evaluation.tree.positions_of(rows)
        self.queue.fill(positions, self._last_bounds[positions])
        medoid = self._numbered() == 0
        found = self._best(0.0, medoid=medoid)
        # At the medoid bounds are on far W - L({j}), and the queue holds infinities: nothing worth keeping.
        if not medoid:
            left, bounds = self.queue.entries()
            self._last_bounds[left] = bounds
        if found is None:
            return None
        self._add(found[0], np.nan if medoid else found[1])
        return int(self.rows[found[0]])

    def _write_lists(self) -> None:
        """Write every candidate's list, and evaluate all from them."""
        others = np.setdiff1d(self.candidates, self.picks, assume_unique=True)
        self.lists = write_lists(self.evaluation, others)
        if self.lists is not None:
            self.queue.fill(others, self._list_gains(self.lists, others))

    def _list_gains(self, written: list_gains.Lists, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        gains, minima, weights = np.empty(positions.size), self.evaluation.minima, self.evaluation.weights
        self.workers.share(
            # Threads drop entries of different candidates' lists, which never overlap: nothing to lock.
            lambda a, b: list_gains.list_gains(positions, a, b, written, minima, weights, gains),
            positions.size,
            LIST_GAINS_AT_A_TIME,
        )
        return gains

    def _extend_from_lists(self, written: list_gains.Lists, limit: int, floor: float, target: float) -> bool:
        """Select from the lists; returns whether there may be more."""
        picks, gains = np.empty(limit - self.count, np.int64), np.empty(limit - self.count)
        queue, evaluation = self.queue, self.evaluation
        # Compiled and on one thread: a pick from lists takes microseconds, less than sharing it would.
        count, queue.size, self.total, done = list_gains.pick_from_lists(
            queue.bounds, queue.positions, self.rows, queue.size, written, evaluation.minima, evaluation.owner,
            evaluation.weights, picks, gains, self.total,
            list_gains.Goal(self._numbered(), floor, target, self._margin),
        )  # fmt: skip
        self.picks = np.concatenate([self.picks, picks[:count]])
        self.gains = np.concatenate([self.gains, gains[:count]])
        return not done

    def remaining_bounds(self, most: float) -> NDArray[np.float64]:
        """Bring upper bounds on the gains of what is left up to date, as far as that is cheap.

        Args:
            most: How many distances may be evaluated; from lists, none are.

        Returns:
            The bounds, float64, shape (candidates with something to gain,).
        """
        if not self.exhausted and self._sampling:
            self.bound_all()
            # A random sample's queue says nothing of the candidates outside it.
            return self.queue.entries()[1]
        positions, bounds = self.queue.entries()
        if self.lists is not None:
            return self._list_gains(self.lists, positions)
        # The largest bounds matter to the sum of the k largest: they are brought up to date first.
        count = min(int(most / self.evaluation.distances_each), positions.size)
        if count:
            top = np.argpartition(bounds, positions.size - count)[positions.size - count :]
            gains, errors = self.evaluation.bounds(positions[top])
            bounds[top] = np.minimum(bounds[top], gains + errors)
        return bounds
