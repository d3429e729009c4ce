"""Compare facility_location with naive greedy on random small problems.

    python benchmarks/fuzz_facility_location.py --seconds 120
    python benchmarks/fuzz_facility_location.py --problems 100000

The oracle holds all distances in float64 and looks at every candidate for every pick. A pick may differ from the
oracle's only where the two are a tie up to the rounding of the oracle's own sums. Every problem follows from its number
alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacore.facility import facility_location

TIE = 1e-12
ROUNDING = 1e-13


@dataclass(frozen=True)
class Problem:
    """Points, masses, classes and a budget."""

    kind: str
    x: NDArray[np.float64]
    masses: NDArray[np.float64] | None
    labels: NDArray[np.int64] | None
    budget: int


def make_problem(number: int) -> Problem:
    """Draw a problem: shapes, distributions and awkward points of every kind."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(1, 12)) if rng.random() < 0.3 else int(rng.integers(1, 120))
    if rng.random() < 0.02:
        n = int(rng.integers(200, 700))
    d = int(rng.integers(1, 6)) if rng.random() < 0.8 else int(rng.integers(6, 40))
    kinds = ["gaussian", "grid", "clusters", "heavy", "simplex", "line", "binary", "identical", "duplicates"]
    kind = str(rng.choice(kinds))
    if kind == "grid":
        x = rng.integers(0, int(rng.integers(2, 9)), (n, d)).astype(float)
    elif kind == "clusters":
        x = rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 10.0 ** -rng.integers(0, 9) * rng.normal(size=(n, d))
    elif kind == "heavy":
        x = rng.standard_t(0.7, (n, d))
    elif kind == "simplex":
        logits = rng.normal(size=(n, max(d, 2))) * rng.choice([0.1, 1.0, 5.0, 30.0])
        x = np.exp(logits - logits.max(axis=1, keepdims=True))
        x /= x.sum(axis=1, keepdims=True)
        x[np.arange(n), rng.integers(0, x.shape[1], n)] -= 1
    elif kind == "line":
        x = np.outer(rng.normal(size=n), rng.normal(size=d)) + rng.normal(size=d)
    elif kind == "binary":
        x = rng.integers(0, 2, (n, d)).astype(float)
    elif kind == "identical":
        x = np.repeat(rng.normal(size=(1, d)), n, axis=0)
    elif kind == "duplicates":
        x = rng.normal(size=(max(1, n // 4), d))[rng.integers(0, max(1, n // 4), n)]
    else:
        x = rng.normal(size=(n, d))
    if rng.random() < 0.1:
        x = x + 10.0 ** rng.integers(2, 9)
    if rng.random() < 0.2:
        x = x * rng.choice([1e-30, 1e30, 1e-150, 1e150])
    if rng.random() < 0.2:
        x = x.astype(np.float32).astype(np.float64) if np.abs(x).max(initial=0) < 1e38 else x
    masses = (
        rng.integers(0, 4, n).astype(float) + (rng.random(n) if rng.random() < 0.5 else 0)
        if rng.random() < 0.2
        else None
    )
    if masses is not None and masses.sum() == 0:
        masses = None
    labels = rng.integers(0, 4, n) if rng.random() < 0.15 and n >= 4 else None
    classes = 1 if labels is None else np.unique(labels).size
    return Problem(kind, x, masses, labels, int(rng.integers(classes, n + 1)))


def full_distances(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """All distances, scaled so that nothing over- or underflows, in units of the largest coordinate."""
    scale = np.abs(x).max()
    x = x / (np.exp2(np.floor(np.log2(scale))) if scale > 0 else 1.0)
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))


def check_greedy(distances: NDArray[np.float64], masses: NDArray[np.float64], picks: list[int], k: int) -> str | None:
    """Follow a selection with the oracle; return what is wrong with it, if anything."""
    minima = None
    # What the differences m - d lose to rounding, relative to the distances themselves.
    noise = 4e-16 * float(masses @ distances.max(axis=1, initial=0))
    for t in range(k):
        if minima is None:
            sums = masses @ distances
            allowed = np.flatnonzero(sums <= sums.min() * (1 + TIE))
            near = np.flatnonzero(sums <= sums.min() * (1 + TIE + ROUNDING) + noise)
        else:
            gains = masses @ np.maximum(0, minima[:, None] - distances)
            gains[picks[:t]] = 0
            if gains.max(initial=0) <= 0:
                return None if len(picks) == t else f"pick {t} gains nothing"
            allowed = np.flatnonzero(gains >= gains.max() * (1 - TIE))
            near = np.flatnonzero(gains >= gains.max() * (1 - TIE - ROUNDING) - noise)
            if t == len(picks):
                return None if gains.max() <= noise else f"stopped at {t} of {k} with {gains.max()} to gain"
        if picks[t] != allowed[0] and picks[t] not in near:
            return f"pick {t} is {picks[t]}, not {allowed[0]}"
        minima = distances[picks[t]] if minima is None else np.minimum(minima, distances[picks[t]])
    return None if len(picks) == k else f"{len(picks)} picks instead of {k}"


def check(problem: Problem) -> str | None:
    """Run a problem; return what is wrong, if anything."""
    n = problem.x.shape[0]
    coreset = facility_location(problem.x, budget=problem.budget, labels=problem.labels, weights=problem.masses)
    masses = np.ones(n) if problem.masses is None else problem.masses
    if abs(coreset.weights.sum() - masses.sum()) > 1e-9 * masses.sum():
        return f"weights sum to {coreset.weights.sum()}, not {masses.sum()}"
    if not 0 <= coreset.lower_bound <= coreset.objective * (1 + 1e-12):
        return f"lower bound {coreset.lower_bound} beside objective {coreset.objective}"
    if problem.labels is not None:
        owner = problem.labels[coreset.indices]
        if (np.diff(owner) < 0).any() or set(owner.tolist()) != set(problem.labels.tolist()):
            return "classes are not in ascending order, or one is missing"
        return None
    return check_greedy(full_distances(problem.x), masses, coreset.indices.tolist(), problem.budget)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare facility_location with naive greedy on small problems.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--problems", type=int, default=None, help="stop after so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    arguments = parser.parse_args()
    start, number, wrong = time.monotonic(), arguments.first, 0
    most = arguments.problems if arguments.problems is not None else sys.maxsize
    while number - arguments.first < most and time.monotonic() - start < arguments.seconds:
        problem = make_problem(number)
        complaint = check(problem)
        if complaint is not None:
            wrong += 1
            print(f"problem {number} ({problem.kind}, {problem.x.shape}, budget {problem.budget}): {complaint}")
        number += 1
    print(f"{number - arguments.first} problems, {wrong} wrong, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
