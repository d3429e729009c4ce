"""Selection within classes: which run side by side, and one tolerance over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacore.facility.greedy import Greedy
from adacore.facility.methods import select_exact, select_sampled, select_stochastic
from adacore.facility.outcome import Outcome, outcome_of
from adacore.facility.points import Points
from adacore.facility.refinement import refined
from adacore.facility.workers import Workers

Reporter = Callable[[int, int], None]

NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Request:
    """What is asked for, checked.

    Attributes:
        method: Name of the method.
        generator: Source of randomness.
        refine: Whether to swap afterwards.
        epsilon: Of the stochastic method.
        target: L(S) at which to stop, over all classes, in units of the engine; None if there are budgets.
    """

    method: str
    generator: np.random.Generator
    refine: bool
    epsilon: float
    target: float | None


def select_in_classes(
    parts: Sequence[Points], budgets: NDArray[np.int64], request: Request, threads: int, report: Reporter
) -> list[Outcome]:
    """Select in every class.

    A class that outweighs a thread's share of the work is run on all threads by itself, the rest side by side, the
    largest first.

    Args:
        parts: Points of each class, none empty.
        budgets: How many to select in each.
        request: What is asked for.
        threads: How many threads to use.
        report: Called with a class and its number of picks from time to time.

    Returns:
        What was selected in each class.
    """
    generators = request.generator.spawn(len(parts))

    def select(c: int, workers: Workers) -> Outcome:
        def report_class(picks: int) -> None:
            report(c, picks)

        if request.target is not None:
            return cover[c]
        k = int(budgets[c])
        if request.method == "stochastic":
            outcome = select_stochastic(parts[c], k, generators[c], request.epsilon, workers, report_class)
        elif request.method == "sampled":
            outcome = select_sampled(parts[c], k, generators[c], workers, report_class)
        else:
            outcome = select_exact(parts[c], k, workers, report_class)
        return refined(parts[c], outcome, workers) if request.refine else outcome

    with Workers(threads) as workers:
        if request.target is not None:
            cover = select_cover(parts, request.target, workers, report)
            return (
                [refined(part, o, workers) for part, o in zip(parts, cover, strict=True)] if request.refine else cover
            )
        return run_classes(select, np.array([part.n for part in parts]), workers)


def run_classes(
    select: Callable[[int, Workers], Outcome], counts: NDArray[np.int64], workers: Workers
) -> list[Outcome]:
    """Call ``select`` for every class; see ``select_in_classes``.

    Args:
        select: What to do with a class.
        counts: Points in each class.
        workers: All threads.

    Returns:
        The results, class by class.
    """
    work = counts.astype(np.float64) ** 2
    largest_first = [int(c) for c in np.argsort(-work, kind="stable")]
    alone = [c for c in largest_first if work[c] * workers.threads > work.sum()]
    together = largest_first[len(alone) :]
    done = {c: select(c, workers) for c in alone}
    if together:
        done.update(zip(together, workers.side_by_side(select, together), strict=True))
    return [done[c] for c in range(counts.size)]


def select_cover(parts: Sequence[Points], target: float, workers: Workers, report: Reporter) -> list[Outcome]:
    """Solve the cover problem (13) over all classes: greedy over their union, each class starting from its medoid.

    Greedy takes picks of all classes in the order of their gains. So each class is run down to a floor on gains, which
    is lowered until the total is small enough, and then the least gains are handed back.

    Args:
        parts: Points of each class.
        target: Sum of L over the classes at which to stop.
        workers: All threads.
        report: Called with a class and its number of picks from time to time.

    Returns:
        What was selected in each class.
    """
    runs = [Greedy(part, workers, lambda picks, c=c: report(c, picks)) for c, part in enumerate(parts)]  # type: ignore[misc]
    if len(runs) == 1:
        runs[0].extend(parts[0].n, target=target)
        return [outcome_of(runs[0], "exact")]
    for run in runs:
        run.extend(1)
    floor = max(run.largest_bound() for run in runs) / 2
    while sum(run.total for run in runs) > target and not all(run.exhausted for run in runs):
        for run in runs:
            run.extend(run.n, floor=floor)
        floor = floor / 2 if floor > NEGLIGIBLE * sum(run.total for run in runs) else 0.0
    keep = _cut(runs, target)
    return [
        outcome_of(run if keep[c] == run.count else replay(parts[c], run.picks[: keep[c]], run, workers), "exact")
        for c, run in enumerate(runs)
    ]


def _cut(runs: Sequence[Greedy], target: float) -> list[int]:
    """Count the picks of each class that greedy over the union takes until the total is at most the target."""
    gains = np.concatenate([run.gains[1:] for run in runs])
    owners = np.concatenate([np.full(run.count - 1, c) for c, run in enumerate(runs)])
    order = np.lexsort((owners, -gains))
    # Summed from the far end, where gains are small, so that rounding does not decide.
    totals = sum(run.total for run in runs) + np.concatenate([np.cumsum(gains[order][::-1])[::-1], [0.0]])
    taken = int(np.argmax(totals <= target)) if (totals <= target).any() else gains.size
    return [1 + int((owners[order[:taken]] == c).sum()) for c in range(len(runs))]


def replay(points: Points, picks: NDArray[np.int64], run: Greedy, workers: Workers) -> Greedy:
    """Rebuild the state after the first picks of a run."""
    again = Greedy(points, workers)
    again.restart(picks)
    again.bound_all()
    again.distances += run.distances
    return again
