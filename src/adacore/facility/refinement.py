"""Refinement: swap selected points for others as long as that lowers L (FasterPAM's rule)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, kernel
from adacore.facility.distances import distance_or_zero, point
from adacore.facility.evaluation import Evaluation
from adacore.facility.minima import Minima, equal_minima, measure_reach, slack_of, tile_is_near, write_limits
from adacore.facility.outcome import Outcome
from adacore.facility.problem import Problem
from adacore.facility.simd import lanes_below, lowest_lane, write_square
from adacore.facility.tree import LEAF, LEAVES, TILE, Tree, coarse_point
from adacore.facility.workers import Workers

PASSES = 20
"""Passes over all candidates at most; from greedy's start, five suffice as a rule."""

LEAST_GAIN = 1e-9
"""Share of L that a swap must gain: rounding alone must not make it go round in circles."""

CANDIDATES_AT_A_TIME = 64
"""Candidates between two looks at whether the selection was interrupted."""


class Nearest(NamedTuple):
    """The two selected points nearest to every client.

    A candidate x changes something for client i only if ||x - x_i|| is below the distance to the second nearest: below
    the nearest it serves i, and in between it is there for i when the nearest goes. ``reach`` prunes by that.

    Attributes:
        first: Distance to the nearest, float64, shape (positions,).
        first_of: Its number, int64, shape (positions,).
        second: Distance to the second nearest, float64, shape (positions,); ``far`` if there is none.
        second_of: Its number, int64, shape (positions,).
        reach: The state of minima with ``second`` in place of the nearest.
    """

    first: NDArray[np.float64]
    first_of: NDArray[np.int64]
    second: NDArray[np.float64]
    second_of: NDArray[np.int64]
    reach: Minima


def refined(
    problem: Problem, outcome: Outcome, workers: Workers, report: Callable[[int], None] | None = None
) -> Outcome:
    """Lower L(S) by swaps, each the best one for the candidate at hand, until a whole pass finds none.

    For a candidate x the change of L by adding x and removing selected j is removal[j] - gain(x), corrected for the
    clients of j that x would serve (Schubert and Rousseeuw 2021). Initial rows stay.

    Args:
        problem: The problem.
        outcome: What greedy selected.
        workers: Looked at for interruption; swaps depend on one another and run on one thread.
        report: Called from time to time with the number of candidates that a pass has tried.

    Returns:
        A selection of the same size with at most the same L; gains are those of its picks in their order.
    """
    k = outcome.rows.size
    if k == 0 or k == problem.candidates.size or outcome.objective <= 0:
        return outcome
    from adacore.facility.sparse.refinement import refined_sparse  # here, for it loads torch

    least = LEAST_GAIN * outcome.objective
    found = (
        refined_sparse(problem, outcome, workers, least, PASSES, report or _silent)
        if problem.sparse
        else _refined_on_tree(problem, outcome, workers, least, report or _silent)
    )
    # Measured from the start: sums of changes have gathered rounding, and the promise is "at most the same L".
    if not found.objective < outcome.objective:
        return outcome
    return replace(
        found,
        lower_bound=outcome.lower_bound,
        distances=int(outcome.distances + found.distances),
        method=outcome.method,
    )


def _silent(done: int) -> None:
    pass


def _refined_on_tree(
    problem: Problem, outcome: Outcome, workers: Workers, least: float, report: Callable[[int], None]
) -> Outcome:
    before = problem.initial.size
    run = Evaluation(problem, workers)
    rows, tree = run.rows, run.tree
    medoids = tree.positions_of(np.concatenate([problem.initial, outcome.rows]))
    candidates = tree.positions_of(problem.candidates)
    size = run.weights.size
    # ``far`` exceeds every distance: until a second point is entered it stands for "there is none", and nothing is
    # pruned.
    nearest = Nearest(
        np.full(size, run.far), np.zeros(size, np.int64), np.full(size, run.far), np.zeros(size, np.int64),
        equal_minima(tree, run.far),
    )  # fmt: skip
    evaluated = 0
    for number, medoid in enumerate(medoids):
        evaluated += add_medoid(rows, tree, nearest, int(medoid), number)
        workers.check()
    is_medoid = np.zeros(size, np.bool_)
    is_medoid[medoids] = True
    # What removal costs is kept up to date, so that a candidate's swap with every selected point is judged in one pass
    # over the clients: n instead of n k distances for each candidate.
    removal = np.empty(medoids.size)
    fill_removal(run.weights, nearest, before, removal)
    # Candidates in the order of their rows, which no tree decides, each swapped at once where that pays: eager swaps,
    # FasterPAM's rule.
    for _ in range(PASSES):
        swaps = 0
        for first in range(0, candidates.size, CANDIDATES_AT_A_TIME):
            workers.check()
            report(first)
            some = candidates[first : first + CANDIDATES_AT_A_TIME]
            done, pairs = swap_some(
                rows, tree, nearest, run.weights, medoids, is_medoid, before, removal, some,
                least, run.far,
            )  # fmt: skip
            swaps += done
            evaluated += pairs
        if swaps == 0:
            break
    found = _evaluated(problem, medoids, workers)
    return replace(found, distances=int(evaluated + found.distances))


def _evaluated(problem: Problem, medoids: NDArray[np.int64], workers: Workers) -> Outcome:
    """Select these points, initial rows first, and measure weights, gains and L."""
    # A new state: the one of ``refined`` holds second nearest distances.
    again, before = Evaluation(problem, workers), problem.initial.size
    gains = again.select(medoids, 0)
    if before == 0:
        gains[0] = np.nan
    served = np.bincount(again.owner, weights=again.weights, minlength=medoids.size)[: medoids.size]
    return Outcome(
        rows=again.tree.order[medoids[before:]],
        weights=served[before:].astype(np.float64),
        initial_weights=served[:before].astype(np.float64),
        gains=gains[before:],
        objective=again.total(),
        lower_bound=0.0,
        distances=again.distances,
        method="",
    )


@kernel
def add_medoid(rows: Array, tree: Tree, nearest: Nearest, medoid: int, number: int) -> Any:
    """Enter a point among the two nearest of every client. Returns the number of distances."""
    tiles, d = tree.weights.shape[0], tree.coarse.shape[1]
    x = np.empty(d)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    point(rows, tree, medoid, x)
    norm = coarse_point(tree, medoid, coarse, 0)
    evaluated = 0
    for t in range(tiles):
        # ``reach`` holds m_i = distance to the second nearest: pruning by it leaves nobody out who would change one of
        # the two.
        if not tile_is_near(tree, nearest.reach, t, medoid):
            continue
        evaluated += TILE
        changed, slack = False, slack_of(tree, nearest.reach, t, norm)
        for block in range(t * LEAVES, (t + 1) * LEAVES):
            write_limits(nearest.reach.coarse, block, slack, limits, 0)
            write_square(tree.coarse, block, coarse, 0, 0, d, squares)
            near = lanes_below(squares, 0, limits, 0)
            while near != 0:
                p = lowest_lane(near)
                near &= near - np.uint32(1)
                i = block * LEAF + p
                changed |= enter(nearest, i, number, distance_or_zero(rows, tree, x, i))
        if changed:
            measure_reach(tree, nearest.reach, t)
    return evaluated


@kernel
def enter(nearest: Nearest, i: int, number: int, distance: float) -> Any:
    """Enter a selected point at some distance among the two nearest of a client; returns whether that changed them."""
    if distance < nearest.first[i]:
        nearest.second[i], nearest.second_of[i] = nearest.first[i], nearest.first_of[i]
        nearest.first[i], nearest.first_of[i] = distance, number
    elif distance < nearest.second[i]:
        nearest.second[i], nearest.second_of[i] = distance, number
    else:
        return False
    nearest.reach.minima[i // TILE, i % TILE] = nearest.second[i]
    return True


@kernel
def fill_removal(weights: Array, nearest: Nearest, before: int, removal: Array) -> None:
    """Write what the removal of each selected point costs: its clients go to their second nearest."""
    removal[:] = 0.0
    # Initial rows stay: what costs infinitely much is never the cheapest to remove.
    removal[:before] = np.inf
    for i in range(weights.size):
        if weights[i] > 0.0:
            removal[nearest.first_of[i]] += weights[i] * (nearest.second[i] - nearest.first[i])


@kernel
def swap_some(
    rows: Array,
    tree: Tree,
    nearest: Nearest,
    weights: Array,
    medoids: Array,
    is_medoid: Array,
    before: int,
    removal: Array,
    candidates: Array,
    least: float,
    far: float,
) -> Any:
    """Try candidates, and swap each for the selected point whose loss it makes up for best, if L falls by enough."""
    d, tiles = tree.coarse.shape[1], tree.weights.shape[0]
    x, distances, change = np.empty(d), np.empty(weights.size), np.empty(medoids.size)
    served = np.empty(weights.size, np.int64)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    swaps, evaluated = 0, 0
    for c in candidates:
        if is_medoid[c]:
            continue
        point(rows, tree, c, x)
        norm = coarse_point(tree, c, coarse, 0)
        # change[j] becomes removal[j] less what x spares j's clients: if d < first_i, i goes to x and not to its second
        # nearest, -w_i (second_i - first_i); if first_i <= d < second_i, it goes to x in place of the second nearest,
        # -w_i (second_i - d).
        change[:] = removal
        gain, count = 0.0, 0
        for t in range(tiles):
            if not tile_is_near(tree, nearest.reach, t, c):
                continue
            evaluated += TILE
            slack = slack_of(tree, nearest.reach, t, norm)
            for block in range(t * LEAVES, (t + 1) * LEAVES):
                write_limits(nearest.reach.coarse, block, slack, limits, 0)
                write_square(tree.coarse, block, coarse, 0, 0, d, squares)
                near = lanes_below(squares, 0, limits, 0)
                while near != 0:
                    p = lowest_lane(near)
                    near &= near - np.uint32(1)
                    i = block * LEAF + p
                    distance = distance_or_zero(rows, tree, x, i)
                    served[count], distances[count] = i, distance
                    count += distance < nearest.second[i]
                    # gain is what x brings whoever is removed: w_i (first_i - d). So L changes by change[j] - gain for
                    # the swap x for j.
                    if distance < nearest.first[i]:
                        gain += weights[i] * (nearest.first[i] - distance)
                        change[nearest.first_of[i]] -= weights[i] * (nearest.second[i] - nearest.first[i])
                    elif distance < nearest.second[i]:
                        change[nearest.first_of[i]] -= weights[i] * (nearest.second[i] - distance)
        # The best partner of x; ties go to the first, so that the result is the same everywhere.
        out = int(np.argmin(change))
        if not change[out] - gain < -least:
            continue
        is_medoid[medoids[out]], is_medoid[c] = False, True
        medoids[out] = c
        evaluated += replace_medoid(rows, tree, nearest, medoids, out, served[:count], distances[:count], far)
        # O(n) anew after each swap: swaps are few beside candidates that are tried, and differences would gather
        # rounding.
        fill_removal(weights, nearest, before, removal)
        swaps += 1
    return swaps, evaluated


@kernel
def replace_medoid(
    rows: Array, tree: Tree, nearest: Nearest, medoids: Array, out: int, served: Array, distances: Array, far: float
) -> Any:
    """Bring the two nearest up to date after one selected point was replaced. Returns the number of distances.

    Clients that lost one of their two nearest look at all selected points; the others at the new one, as far as it is
    near (``served`` and ``distances``).
    """
    x = np.empty(tree.coarse.shape[1])
    evaluated = 0
    changed = np.zeros(tree.weights.shape[0], np.bool_)
    for c in range(served.size):
        i = served[c]
        # Both of its points stay, and x may come before the second. Whoever loses one is recomputed below.
        if nearest.first_of[i] != out and nearest.second_of[i] != out:
            changed[i // TILE] |= enter(nearest, i, out, distances[c])
            # What was entered just now must not be taken for the point that left.
            distances[c] = -1.0
    fresh = np.zeros(nearest.first.size, np.bool_)
    for c in range(served.size):
        fresh[served[c]] |= distances[c] < 0.0
    for i in range(nearest.first.size):
        if fresh[i] or tree.weights[i // TILE, i % TILE] == 0.0:
            continue
        if nearest.first_of[i] != out and nearest.second_of[i] != out:
            continue
        # The third nearest is not kept: whoever loses one of its two looks at all. That is n / k of the clients twice
        # over, k distances each: about 2 n for a swap, as much as a few candidates.
        evaluated += medoids.size
        changed[i // TILE] = True
        point(rows, tree, i, x)
        nearest.first[i], nearest.second[i] = far, far
        for m in range(medoids.size):
            enter(nearest, i, m, distance_or_zero(rows, tree, x, medoids[m]))
    for t in range(changed.size):
        if changed[t]:
            measure_reach(tree, nearest.reach, t)
    return evaluated
