"""Refinement: swap selected points for others as long as that lowers L (FasterPAM's rule)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from adacore.facility import sparse
from adacore.facility.compiled import Array, kernel
from adacore.facility.cover import Cover, measure_reach, new_cover, tile_is_near
from adacore.facility.dense import exact_distances
from adacore.facility.greedy import Greedy
from adacore.facility.outcome import Outcome
from adacore.facility.points import Points
from adacore.facility.tree import LEAF, LEAVES, TILE, Tree, point
from adacore.facility.workers import Workers

PASSES = 20
LEAST_GAIN = 1e-9
CANDIDATES_AT_A_TIME = 64


def refined(points: Points, outcome: Outcome, workers: Workers) -> Outcome:
    """Lower L(S) by swaps, each the best one for the candidate at hand, until a whole pass finds none.

    Args:
        points: The points.
        outcome: What greedy selected.
        workers: Looked at for interruption; swaps depend on one another and run on one thread.

    Returns:
        A selection of the same size with at most the same L; gains are those of its picks in their order.
    """
    k = outcome.indices.size
    if k == points.n or outcome.objective <= 0:
        return outcome
    run = Greedy(points, workers)
    tree = run.tree
    position_of = np.empty(points.n, np.int64)
    position_of[tree.order] = np.arange(points.n)
    medoids = position_of[outcome.indices]
    run.restart(medoids)
    nearest, owner = run.minima.copy(), run.owner.copy()
    second, second_owner = np.empty_like(nearest), np.empty_like(owner)
    reach = new_cover(tree, 0.0)
    evaluated = find_seconds(
        tree, reach, medoids, nearest, owner, second, second_owner, np.arange(tree.masses.shape[0])
    )
    is_medoid = np.zeros(points.n, np.bool_)
    is_medoid[medoids] = True
    removal = np.empty(k)
    fill_removal(run.masses, nearest, owner, second, removal)
    least = LEAST_GAIN * outcome.objective
    for _ in range(PASSES):
        swaps = 0
        for first in range(0, points.n, CANDIDATES_AT_A_TIME):
            workers.check()
            last = min(first + CANDIDATES_AT_A_TIME, points.n)
            done, pairs = swap_some(
                tree,
                reach,
                run.masses,
                medoids,
                is_medoid,
                nearest,
                owner,
                second,
                second_owner,
                removal,
                first,
                last,
                least,
            )
            swaps += done
            evaluated += pairs
        if swaps == 0:
            break
    again = Greedy(points, workers)
    again.restart(medoids)
    objective = float(sparse.sum_minima(again.masses, again.minima))
    if not objective < outcome.objective:
        return outcome
    return replace(
        outcome,
        indices=tree.order[medoids],
        weights=np.bincount(again.owner, weights=again.masses, minlength=k)[:k].astype(np.float64),
        gains=again.gains,
        objective=objective,
        distances=int(outcome.distances + evaluated + run.distances + again.distances),
    )


@kernel
def find_seconds(
    tree: Tree,
    reach: Cover,
    medoids: Array,
    nearest: Array,
    owner: Array,
    second: Array,
    second_owner: Array,
    tiles: Array,
) -> Any:
    """Find the nearest and second nearest medoid of all points of some tiles. Returns the number of distances."""
    d = tree.exact.shape[1]
    x, distances = np.empty(d), np.empty(LEAF)
    for t in tiles:
        first = t * TILE
        for i in range(first, first + TILE):
            nearest[i], second[i] = np.inf, np.inf
        for m in range(medoids.size):
            point(tree, medoids[m], x)
            for leaf in range(LEAVES):
                exact_distances(tree.exact, t * LEAVES + leaf, x, distances)
                for p in range(LEAF):
                    i = first + leaf * LEAF + p
                    if distances[p] < nearest[i]:
                        second[i], second_owner[i] = nearest[i], owner[i]
                        nearest[i], owner[i] = distances[p], m
                    elif distances[p] < second[i]:
                        second[i], second_owner[i] = distances[p], m
        spread_reach(tree, reach, nearest, second, t)
    return tiles.size * TILE * medoids.size


@kernel
def spread_reach(tree: Tree, reach: Cover, nearest: Array, second: Array, t: int) -> None:
    """A candidate matters to a point nearer to it than its second nearest medoid."""
    for p in range(TILE):
        value = second[t * TILE + p]
        reach.minima[t, p] = value if np.isfinite(value) else 1e9
    measure_reach(tree, reach, t)


@kernel
def fill_removal(masses: Array, nearest: Array, owner: Array, second: Array, removal: Array) -> None:
    """Write what the removal of each medoid costs."""
    removal[:] = 0.0
    for i in range(masses.size):
        if masses[i] > 0.0:
            removal[owner[i]] += masses[i] * (min(second[i], 1e9) - nearest[i])


@kernel
def swap_some(
    tree: Tree,
    reach: Cover,
    masses: Array,
    medoids: Array,
    is_medoid: Array,
    nearest: Array,
    owner: Array,
    second: Array,
    second_owner: Array,
    removal: Array,
    first: int,
    last: int,
    least: float,
) -> Any:
    """Try candidates as medoids, and swap each for the medoid whose loss it makes up for best, if L falls."""
    d, k, tiles = tree.exact.shape[1], medoids.size, tree.masses.shape[0]
    x, distances, change = np.empty(d), np.empty(tree.masses.size), np.empty(k)
    leaf_distances = np.empty(LEAF)
    near = np.empty(tiles, np.bool_)
    swaps, evaluated = 0, 0
    for c in range(first, last):
        if is_medoid[c]:
            continue
        point(tree, c, x)
        change[:] = removal
        gain = 0.0
        for t in range(tiles):
            near[t] = tile_is_near(tree, reach, t, c)
            if not near[t]:
                continue
            evaluated += TILE
            for leaf in range(LEAVES):
                exact_distances(tree.exact, t * LEAVES + leaf, x, leaf_distances)
                for p in range(LEAF):
                    i = t * TILE + leaf * LEAF + p
                    distance = leaf_distances[p]
                    distances[i] = distance
                    if distance < nearest[i]:
                        gain += masses[i] * (nearest[i] - distance)
                        change[owner[i]] -= masses[i] * (min(second[i], 1e9) - nearest[i])
                    elif distance < second[i]:
                        change[owner[i]] -= masses[i] * (min(second[i], 1e9) - distance)
        out = int(np.argmin(change))
        if change[out] - gain >= -least:
            continue
        is_medoid[medoids[out]], is_medoid[c] = False, True
        medoids[out] = c
        for t in range(tiles):
            evaluated += replace_in_tile(
                tree, reach, medoids, nearest, owner, second, second_owner, t, out, near[t], distances
            )
        fill_removal(masses, nearest, owner, second, removal)
        swaps += 1
    return swaps, evaluated


@kernel
def replace_in_tile(
    tree: Tree,
    reach: Cover,
    medoids: Array,
    nearest: Array,
    owner: Array,
    second: Array,
    second_owner: Array,
    t: int,
    out: int,
    near: bool,
    distances: Array,
) -> Any:
    """Bring a tile's nearest and second nearest medoids up to date after one was replaced."""
    d = tree.exact.shape[1]
    evaluated, changed = 0, False
    for i in range(t * TILE, (t + 1) * TILE):
        distance = distances[i] if near else np.inf
        if owner[i] == out or second_owner[i] == out:
            evaluated += medoids.size
            changed = True
            nearest[i], second[i] = np.inf, np.inf
            for m in range(medoids.size):
                s = 0.0
                for k in range(d):
                    y = tree.exact[i // LEAF, k, i % LEAF] - tree.exact[medoids[m] // LEAF, k, medoids[m] % LEAF]
                    s += y * y
                s = np.sqrt(s)
                if s < nearest[i]:
                    second[i], second_owner[i] = nearest[i], owner[i]
                    nearest[i], owner[i] = s, m
                elif s < second[i]:
                    second[i], second_owner[i] = s, m
        elif distance < nearest[i]:
            second[i], second_owner[i] = nearest[i], owner[i]
            nearest[i], owner[i] = distance, out
            changed = True
        elif distance < second[i]:
            second[i], second_owner[i] = distance, out
            changed = True
    if changed:
        spread_reach(tree, reach, nearest, second, t)
    return evaluated
