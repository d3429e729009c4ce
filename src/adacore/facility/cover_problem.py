"""The cover problem (13): as few as bring L(S) to a tolerance, over all strata together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from adacore.facility.engines import Greedy, start_greedy
from adacore.facility.outcome import Outcome, outcome_of
from adacore.facility.problem import Problem
from adacore.facility.workers import Workers

Reporter = Callable[[int, int], None]

NEGLIGIBLE = 1e-9
"""Share of L below which the floor on gains is lowered to 0 at once instead of halved once more."""


def select_within_tolerance(
    problems: Sequence[Problem], tolerance: float, workers: Workers, report: Reporter
) -> list[Outcome]:
    """Run greedy over the union of the strata, each starting from its medoid, until L(S) is at most the tolerance.

    Greedy over the union takes picks of all strata in the order of their gains. So each stratum is run down to a floor
    on gains, the floor is lowered until the total is small enough, and then the least gains are handed back.

    Args:
        problems: The problem of each stratum, in its own units.
        tolerance: Sum of L over the strata at which to stop, in the caller's units.
        workers: All threads.
        report: Called with a stratum and its number of picks from time to time.

    Returns:
        What was selected in each stratum; L stays above the tolerance where the candidates can't reach it.
    """
    runs = [
        start_greedy(problem, workers, lambda picks, c=c: report(c, picks))  # type: ignore[misc]
        for c, problem in enumerate(problems)
    ]
    # With one stratum there is nothing to interleave: greedy simply stops at the target.
    if len(runs) == 1:
        exponent = problems[0].distance_exponent + problems[0].weight_exponent
        runs[0].extend(problems[0].candidates.size, target=float(np.ldexp(tolerance, -exponent)))
        return [outcome_of(runs[0], "exact")]
    for run in runs:
        # Every stratum needs one pick before its L is finite, whatever the gains elsewhere.
        if not run.problem.initial.size and run.problem.candidates.size:
            run.extend(1)
    # Half of the largest gain to come, so that each round takes the picks of one factor of two in gains: the last round
    # overshoots by about those at most, and what was too much is handed back.
    floor = max(_in_units(run, run.largest_bound()) for run in runs) / 2
    while _total(runs) > tolerance and not all(run.exhausted for run in runs):
        for run in runs:
            # Each stratum has units of its own; the floor is one number in the caller's.
            exponent = run.problem.distance_exponent + run.problem.weight_exponent
            run.extend(run.problem.candidates.size, floor=float(np.ldexp(floor, -exponent)))
        # Down to 0 everything that gains was taken. A run that took all its candidates does not call itself exhausted.
        if floor == 0:
            break
        # Halving would go on for a thousand rounds where the tolerance can't be reached.
        floor = floor / 2 if floor > NEGLIGIBLE * _total(runs) else 0.0
    keep = _cut(runs, tolerance)
    return [_first_picks(run, k, workers) for run, k in zip(runs, keep, strict=True)]


def _in_units(run: Greedy, value: float) -> float:
    return float(run.problem.loss_in_units(value))


def _total(runs: Sequence[Greedy]) -> float:
    return sum(_in_units(run, run.total) for run in runs)


def _cut(runs: Sequence[Greedy], tolerance: float) -> list[int]:
    """Count the picks of each stratum that greedy over the union takes until the total is at most the tolerance."""
    # The medoids are kept whatever happens, and their gains are nan: they take no part.
    medoids = [int(not run.problem.initial.size and run.count > 0) for run in runs]
    gains = np.concatenate([run.problem.loss_in_units(run.gains[m:]) for run, m in zip(runs, medoids, strict=True)])
    owners = np.concatenate([np.full(run.count - m, c) for c, (run, m) in enumerate(zip(runs, medoids, strict=True))])
    # Within a stratum gains fall, so that the first picks of the merged order are first picks of every stratum.
    order = np.lexsort((owners, -gains))
    # Summed from the far end, where gains are small, so that rounding does not decide.
    totals = _total(runs) + np.concatenate([np.cumsum(gains[order][::-1])[::-1], [0.0]])
    taken = int(np.argmax(totals <= tolerance)) if (totals <= tolerance).any() else gains.size
    return [m + int((owners[order[:taken]] == c).sum()) for c, m in enumerate(medoids)]


def _first_picks(run: Greedy, k: int, workers: Workers) -> Outcome:
    """Sum up the first picks of a run; where there were more, by selecting them anew."""
    if k == run.count:
        return outcome_of(run, "exact")
    again = start_greedy(run.problem, workers)
    # A run can't be undone pick by pick; its state is O(n) and selecting known rows costs no search.
    again.select_rows(run.selected[:k])
    again.bound_all()
    outcome = outcome_of(again, "exact")
    return replace(outcome, distances=outcome.distances + run.distances)
