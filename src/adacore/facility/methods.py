"""The methods: exact, stochastic and sampled greedy on one set of points."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from adacore.facility.greedy import Greedy
from adacore.facility.outcome import Outcome, outcome_of
from adacore.facility.points import Points
from adacore.facility.workers import Workers

LEAST_SAMPLE = 50_000
SAMPLE_PER_PICK = 20

Reporter = Callable[[int], None]


def select_exact(points: Points, k: int, workers: Workers, report: Reporter) -> Outcome:
    """Select what naive greedy selects.

    Args:
        points: The points.
        k: How many.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome.
    """
    greedy = Greedy(points, workers, report)
    greedy.extend(k)
    return outcome_of(greedy, "exact")


def select_stochastic(
    points: Points, k: int, generator: np.random.Generator, epsilon: float, workers: Workers, report: Reporter
) -> Outcome:
    """For each pick, look at (n / k) ln(1 / epsilon) random candidates (Mirzasoleiman et al., 2015).

    Args:
        points: The points.
        k: How many.
        generator: Source of the samples.
        epsilon: What is given up of 1 - 1/e, in expectation.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome.
    """
    greedy = Greedy(points, workers, report)
    size = max(1, math.ceil(points.n / k * math.log(1 / epsilon)))
    position_of = np.empty(points.n, np.int64)
    position_of[greedy.tree.order] = np.arange(points.n)
    left = np.arange(points.n)
    while greedy.count < k and left.size and not greedy.exhausted:
        sample = generator.choice(left, min(size, left.size), replace=False)
        picked = greedy.extend_among(position_of[sample])
        if picked is None:
            # None of them gains anything, now or ever: look at others.
            left = np.setdiff1d(left, sample, assume_unique=True)
        else:
            left = left[left != greedy.tree.order[picked]]
        report(greedy.count)
    return outcome_of(greedy, "stochastic")


def select_sampled(
    points: Points, k: int, generator: np.random.Generator, workers: Workers, report: Reporter
) -> Outcome:
    """Run exact greedy on a uniform sample; weigh and evaluate on all points.

    Args:
        points: The points; if there are no more than the sample would hold, exact greedy runs on all.
        k: How many.
        generator: Source of the sample.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome; its lower bound is 0, for the sample bounds nothing.
    """
    size = max(LEAST_SAMPLE, SAMPLE_PER_PICK * k)
    if size >= points.n:
        return select_exact(points, k, workers, report)
    rows = np.sort(generator.choice(points.n, size, replace=False))
    small = Greedy(points.take(rows), workers, report)
    small.extend(k)
    whole = Greedy(points, workers)
    position_of = np.empty(points.n, np.int64)
    position_of[whole.tree.order] = np.arange(points.n)
    whole.restart(position_of[rows[small.tree.order[small.picks]]])
    whole.distances += small.distances
    return outcome_of(whole, "sampled", lower_bound=0.0)
