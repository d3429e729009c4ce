"""Refinement among sparse rows: the swaps of ``facility.refinement``, on products instead of a tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adacore.facility.engines import start_greedy
from adacore.facility.outcome import Outcome, outcome_of
from adacore.facility.problem import Problem
from adacore.facility.sparse.rows import SparseRows, open_sparse_rows
from adacore.facility.workers import Workers


class Swaps:
    """The two selected rows nearest to every client, and what swaps change.

    Args:
        problem: The problem, in its own units, its rows compressed.
        rows: What is selected, initial rows first, int64.
        workers: Looked at for interruption.
    """

    def __init__(self, problem: Problem, rows: NDArray[np.int64], workers: Workers) -> None:
        self._take, self._workers = open_sparse_rows(problem), workers
        self._clients: SparseRows = self._take(problem.clients)
        self.rows, self._weights, self._before = rows.copy(), problem.weights, problem.initial.size
        m = problem.clients.size
        # Above every distance: twice the largest norm, and rounding. It stands for "there is no second".
        far = 2.1 * max(
            float(self._take(part).high.max()) ** 0.5 for part in (problem.clients, problem.candidates, rows)
        )
        self.first, self.second = np.full(m, far), np.full(m, far)
        self.first_of, self.second_of = np.zeros((2, m), np.int64)
        self._far = far
        selected = self._take(rows)
        for number in range(rows.size):
            self._enter(number, *selected.near(number, self._clients, self.second))
            workers.check()

    def _enter(self, number: int, clients: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Enter a selected row among the two nearest of some clients, all nearer to it than to their second."""
        nearest = distances < self.first[clients]
        moved = clients[nearest]
        self.second[moved], self.second_of[moved] = self.first[moved], self.first_of[moved]
        self.first[moved], self.first_of[moved] = distances[nearest], number
        others = clients[~nearest]
        self.second[others], self.second_of[others] = distances[~nearest], number

    def removal(self) -> NDArray[np.float64]:
        """Compute what the removal of each selected row costs: its clients go to their second nearest."""
        costs = self._weights * (self.second - self.first)
        removal = np.bincount(self.first_of, weights=costs, minlength=self.rows.size).astype(np.float64)
        # Initial rows stay: what costs infinitely much is never the cheapest to remove.
        removal[: self._before] = np.inf
        return removal

    def try_all(self, candidates: NDArray[np.int64], least: float, report: Callable[[int], None]) -> int:
        """Try candidates one after the other, and swap each at once where L falls by more than ``least``.

        Args:
            candidates: Rows, int64, ascending.
            least: In the units in which distances are compared.
            report: Called from time to time with the number of candidates tried.

        Returns:
            The number of swaps.
        """
        swaps, removal, points = 0, self.removal(), self._take(candidates)
        for position, row in enumerate(candidates):
            if position % 64 == 0:
                self._workers.check()
                report(position)
            if row in self.rows:
                continue
            clients, distances = points.near(position, self._clients, self.second)
            weights, first, second = self._weights[clients], self.first[clients], self.second[clients]
            # As in ``facility.refinement.swap_some``: L changes by change[j] - gain for the swap of the row for j.
            gain = float(weights @ np.maximum(0, first - distances))
            spared = weights * (second - np.maximum(first, distances))
            change = removal - np.bincount(self.first_of[clients], weights=spared, minlength=removal.size)
            out = int(np.argmin(change))
            if change[out] - gain < -least:
                self._replace(out, int(row), clients, distances)
                removal = self.removal()
                swaps += 1
        return swaps

    def _replace(self, out: int, row: int, clients: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        self.rows[out] = row
        lost = (self.first_of == out) | (self.second_of == out)
        # Both of their rows stay, and the new one may come before the second.
        stay = ~lost[clients]
        self._enter(out, clients[stay], distances[stay])
        # The third nearest is not kept: whoever loses one of its two looks at all.
        mine = np.flatnonzero(lost)
        self.first[mine], self.second[mine] = self._far, self._far
        selected, some = self._take(self.rows), self._clients.pick(mine)
        for number in range(self.rows.size):
            near, far = selected.near(number, some, self.second[mine])
            self._enter(number, mine[near], far)


def refined_sparse(
    problem: Problem,
    outcome: Outcome,
    workers: Workers,
    least: float,
    passes: int,
    report: Callable[[int], None],
) -> Outcome:
    """Lower L(S) by swaps; see ``facility.refinement.refined``.

    Args:
        problem: The problem, its rows compressed.
        outcome: What greedy selected.
        workers: Looked at for interruption.
        least: What a swap must gain, in the problem's units.
        passes: Over all candidates, at most.
        report: Called from time to time with the number of candidates that a pass has tried.

    Returns:
        The selection.
    """
    swaps = Swaps(problem, np.concatenate([problem.initial, outcome.rows]), workers)
    floor = float(np.ldexp(least, problem.distance_exponent - problem.product_exponent))
    for _ in range(passes):
        if swaps.try_all(problem.candidates, floor, report) == 0:
            break
    greedy = start_greedy(problem, workers)
    greedy.select_rows(swaps.rows[problem.initial.size :])
    return outcome_of(greedy, outcome.method, outcome.lower_bound)
