"""The methods: exact, stochastic and sampled greedy on one problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adacore.facility.engines import start_greedy
from adacore.facility.outcome import Outcome, outcome_of
from adacore.facility.problem import Problem
from adacore.facility.workers import Workers

LEAST_SAMPLE = 50_000
SAMPLE_PER_PICK = 20
"""The sampled method looks at max(50,000, 20 k) rows: with fewer than 20 for each pick, picks fit the sample and not
what it stands for (L 1.4 % above exact at n = 100,000, k = 1,000; see docs/benchmarks.md)."""

Reporter = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Request:
    """How to select, checked.

    Attributes:
        method: ``"exact"``, ``"stochastic"`` or ``"sampled"``.
        epsilon: What the stochastic method gives up of 1 - 1/e, in expectation.
    """

    method: str
    epsilon: float


def select(
    problem: Problem, k: int, request: Request, generator: np.random.Generator, workers: Workers, report: Reporter
) -> Outcome:
    """Select within one problem.

    Args:
        problem: The problem, in its own units.
        k: How many.
        request: How.
        generator: Source of what is random.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome.
    """
    if request.method == "stochastic":
        return select_stochastic(problem, k, generator, request.epsilon, workers, report)
    if request.method == "sampled":
        return select_sampled(problem, k, generator, workers, report)
    return select_exact(problem, k, workers, report)


def select_exact(problem: Problem, k: int, workers: Workers, report: Reporter) -> Outcome:
    """Select what naive greedy selects.

    Args:
        problem: The problem.
        k: How many.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome.
    """
    greedy = start_greedy(problem, workers, report)
    greedy.extend(k)
    return outcome_of(greedy, "exact")


def select_stochastic(
    problem: Problem, k: int, generator: np.random.Generator, epsilon: float, workers: Workers, report: Reporter
) -> Outcome:
    """For each pick, look at (c / k) ln(1 / epsilon) random candidates of c (Mirzasoleiman et al., 2015).

    Args:
        problem: The problem.
        k: How many.
        generator: Source of the samples.
        epsilon: What is given up of 1 - 1/e, in expectation.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome.
    """
    greedy = start_greedy(problem, workers, report)
    left = problem.candidates
    # A sample of (c / k) ln(1 / epsilon) misses all of the k best with probability (1 - k / c)^size <= epsilon.
    size = max(1, math.ceil(left.size / k * math.log(1 / epsilon)))
    while greedy.count < k and left.size and not greedy.exhausted:
        sample = generator.choice(left, min(size, left.size), replace=False)
        picked = greedy.extend_among(sample)
        # Where none of them gains anything, none ever will: look at others.
        left = np.setdiff1d(left, sample, assume_unique=True) if picked is None else left[left != picked]
        report(greedy.count)
    # No further pick: this sums L anew, and notices if nothing is left to gain.
    greedy.extend(greedy.count)
    return outcome_of(greedy, "stochastic")


def select_sampled(
    problem: Problem, k: int, generator: np.random.Generator, workers: Workers, report: Reporter
) -> Outcome:
    """Run exact greedy on a uniform sample of clients and candidates; weigh and evaluate on all clients.

    Args:
        problem: The problem; if there are no more rows than the sample would hold, exact greedy runs on all.
        k: How many.
        generator: Source of the sample.
        workers: Threads.
        report: Called with the number of picks from time to time.

    Returns:
        The outcome; its lower bound is 0, for the sample bounds nothing.
    """
    size = max(LEAST_SAMPLE, SAMPLE_PER_PICK * k)
    if size >= max(problem.clients.size, problem.candidates.size):
        return select_exact(problem, k, workers, report)
    # Clients without weight would take places in the sample and say nothing of L.
    clients = _sample(np.flatnonzero(problem.weights > 0), size, generator)
    drawn = problem.clients[clients]
    same = np.intersect1d(drawn, problem.candidates, assume_unique=True)
    # Candidates among the sampled clients, as long as they are enough; others where candidates are few or elsewhere.
    candidates = same if same.size >= SAMPLE_PER_PICK * k else _sample(problem.candidates, size, generator)
    small = start_greedy(
        replace(problem, clients=drawn, weights=problem.weights[clients], candidates=candidates), workers, report
    )
    small.extend(k)
    # L, weights and gains are those of all clients: only the choice came from the sample.
    everyone = start_greedy(problem, workers, report)
    everyone.select_rows(small.selected)
    found = outcome_of(everyone, "sampled", lower_bound=0.0)
    return replace(found, distances=found.distances + small.distances)


def _sample(values: NDArray[np.int64], size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if size >= values.size:
        return values
    return np.sort(generator.choice(values, size, replace=False))
