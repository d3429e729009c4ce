"""The state of greedy: how far every client is from what is selected, and how far from a tile that can matter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, inlined, kernel
from adacore.facility.distances import distance_or_zero, point
from adacore.facility.simd import lanes_below, lowest_lane, write_square
from adacore.facility.tree import LEAF, LEAVES, TILE, ULP, Tree, coarse_point

LEAST_MINIMUM = 2.0**-100
"""Smallest positive minimum in float32, far below ``Tree.tiny``: rounding a minimum to 0 would hide its client."""


class Minima(NamedTuple):
    """Distances m_i of clients to what is selected, and reaches: within which distance a candidate can gain anything.

    A candidate x gains from client i only if ||x - x_i|| < m_i. With c the centroid of a leaf (or tile) and
    r_i = ||x_i - c||, the triangle inequality gives ||x - c|| <= ||x - x_i|| + r_i < m_i + r_i. So a candidate gains
    nothing in a leaf with ||x - c|| >= max_i (m_i + r_i), its reach. Reaches are rounded up by the float32 error of
    ||x - c|| (see ``tree``): relatively (d + 16) u, and 4 u times the largest norm of the tile.

    Attributes:
        minima: m, float64, shape (tiles, 512).
        coarse: m rounded up, float32, shape (tiles * 16, 32).
        owner: Number of the nearest selected point, in the order of selection, int64, shape (tiles, 512).
        leaf_reach: float32, shape (tiles, 16).
        tile_reach: float32, shape (tiles,).
        tile_floor: Smallest reach of the tile's leaves, float32, shape (tiles,).
        tile_max: Largest minimum in the tile, float32, shape (tiles,).
        leaf_sums: Sum of weights times minima, float64, shape (tiles, 16).

    Example:
        Two clients on a line, at 0 and 2, and what is selected is 3 away from both. Their centroid is 1, r = 1, so the
        reach is 3 + 1, plus some 1e-6 for rounding. A candidate at 5 or beyond serves neither: its distance to the
        centroid is 4 or more, and so its distance to each client is at least 3.

        >>> from adacore.facility.problem import check_problem
        >>> from adacore.facility.tree import build_tree
        >>> problem = check_problem(np.array([[0.0], [2.0]])).in_own_units()
        >>> state = equal_minima(build_tree(problem), np.ldexp(3.0, -problem.distance_exponent))
        >>> reach = float(np.ldexp(state.tile_reach[0], problem.distance_exponent))
        >>> 4.0 < reach < 4.0001
        True
    """

    minima: NDArray[np.float64]
    coarse: NDArray[np.float32]
    owner: NDArray[np.int64]
    leaf_reach: NDArray[np.float32]
    tile_reach: NDArray[np.float32]
    tile_floor: NDArray[np.float32]
    tile_max: NDArray[np.float32]
    leaf_sums: NDArray[np.float64]


def equal_minima(tree: Tree, distance: float) -> Minima:
    """Return the state in which every client is the same distance from what is selected."""
    tiles = tree.weights.shape[0]
    state = Minima(
        np.full((tiles, TILE), distance),
        np.empty((tiles * LEAVES, LEAF), np.float32),
        np.zeros((tiles, TILE), np.int64),
        np.empty((tiles, LEAVES), np.float32),
        np.empty(tiles, np.float32),
        np.empty(tiles, np.float32),
        np.empty(tiles, np.float32),
        np.empty((tiles, LEAVES)),
    )
    # Rows that nobody weighs have nothing to gain: they extend no reach.
    # A term w_i max(0, m_i - d) with w_i = 0 is 0 whatever m_i is; with m_i = 0 it is also never looked at.
    state.minima[tree.weights == 0] = 0
    for t in range(tiles):
        measure_reach(tree, state, t)
    return state


@kernel
def measure_reach(tree: Tree, state: Minima, t: int) -> None:
    """Bring what a tile's pruning rests on up to date with its minima."""
    d = tree.coarse.shape[1]
    # Let x', x_i' be the float32 coordinates, V = ``tile_norms``. If x gains from i, ||x' - c|| <= ||x' - x_i'|| + r_i
    # <= m_i + u (||x'|| + ||x_i'||) + r_i, and ||x'|| <= V + ||x' - x_i'||, so that the rounding of coordinates is at
    # most u (2 V + m_i) but for terms of order u^2: 4 u V below, and one of the (d + 16) u. Computing ||x' - c|| in
    # float32 adds (d / 2 + 3) u of it, storing the reach u.
    slack = 1.0 + (d + 16) * ULP
    norm = 4.0 * ULP * tree.tile_norms[t] + 2.0 * tree.tiny
    tile_reach, floor, largest = 0.0, np.inf, 0.0
    for leaf in range(LEAVES):
        reach, leaf_sum = 0.0, 0.0
        for p in range(leaf * LEAF, (leaf + 1) * LEAF):
            # One pass over a tile's points brings everything up to date: they were just read by ``select_point`` and
            # lie in cache.
            m = state.minima[t, p]
            leaf_sum += tree.weights[t, p] * m
            # 0 marks a client that nobody can serve better; ``write_limits`` turns it into a limit that no square is
            # below.
            state.coarse[t * LEAVES + leaf, p - leaf * LEAF] = 0.0
            # Without this, a client that lies on a pick would hold the reach of its leaf up at r_i, for good.
            if m > 0.0:
                state.coarse[t * LEAVES + leaf, p - leaf * LEAF] = max(m * (1.0 + 2.0 * ULP), LEAST_MINIMUM)
                largest = max(largest, m)
                reach = max(reach, m + tree.leaf_distances[t, p])
                tile_reach = max(tile_reach, m + tree.tile_distances[t, p])
        # A leaf of which all is served at distance 0 keeps reach 0: no distance is below it, and no candidate looks at
        # it.
        if reach > 0.0:
            reach = reach * slack + norm
        # The floor is compared with ||x' - c|| + radius: a leaf's centroid c_l is a mean of points within the radius of
        # c, so ||x' - c_l|| <= ||x' - c|| + radius. Below the smallest reach every leaf would pass its test, and none
        # is tested.
        floor = min(floor, reach)
        state.leaf_reach[t, leaf] = reach
        state.leaf_sums[t, leaf] = leaf_sum
    state.tile_reach[t] = tile_reach * slack + norm if tile_reach > 0.0 else 0.0
    # Down and up by more than the rounding u to float32. The floor only saves tests; the maximum is part of a bound.
    state.tile_floor[t] = floor * (1.0 - 2.0 * ULP)
    state.tile_max[t] = largest * (1.0 + 2.0 * ULP)


@kernel
def slack_of(tree: Tree, state: Minima, t: int, norm: float) -> Any:
    """Bound by how much a float32 distance that is below a minimum of the tile may be too large.

    With v the candidate's norm and V the tile's largest: u (v + V) <= 2 u max(v, V) for the coordinates, and relatively
    (d / 2 + 8) u of at most the largest minimum for the arithmetic; a hundredth more for terms of order u^2.
    """
    d = tree.coarse.shape[1]
    # Relative to m, of the (d / 2 + 8) u: (d / 2 + 2) u for differences, squares and their sum, 1.5 u for rounding m +
    # slack and its square downwards in ``write_limits``; the rest is to spare.
    rounding = 2.0 * max(norm, tree.tile_norms[t]) + (0.5 * d + 8.0) * state.tile_max[t]
    return np.float32(1.01 * ULP * rounding + 2.0 * tree.tiny)


@inlined
def write_limits(coarse: Array, block: int, slack: Any, limits: Array, line: int) -> None:
    """Write (m + slack)^2 for a leaf into a line: who is not nearer than that, squared in float32, can't be served."""
    for p in range(LEAF):
        # Squares are compared and not roots: one multiplication for each client and tile in place of a root for each
        # pair.
        m = coarse[block, p]
        limits[line, p] = (m + slack) * (m + slack) if m > 0 else np.float32(0)


@kernel
def tile_is_near(tree: Tree, state: Minima, t: int, position: int) -> Any:
    """Say whether a candidate may gain something in a tile, by the distance to its centroid."""
    # The layout serves ``center_distances``, which asks for all tiles of every candidate; here numbers lie a row of
    # tiles apart, but only picks and the few contenders that are decided in float64 ask.
    s = np.float32(0)
    for k in range(tree.coarse.shape[1]):
        x = tree.tile_centers[k, t] - tree.coarse[position // LEAF, k, position % LEAF]
        s += x * x
    return np.sqrt(s) < state.tile_reach[t]


@kernel
def select_point(rows: Array, tree: Tree, state: Minima, position: int, number: int) -> Any:
    """Select a point: lower the minima of the clients that are nearer to it than to what was selected.

    Float32 finds who may be nearer, float64 says who is. Returns the number of distances evaluated and by how much the
    sum of weights times minima fell.
    """
    tiles, d = tree.weights.shape[0], tree.coarse.shape[1]
    x = np.empty(d)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    point(rows, tree, position, x)
    norm = coarse_point(tree, position, coarse, 0)
    evaluated, gained = 0, 0.0
    # In the order of positions, on one thread: L and the gains then are the same sums in the same order on every
    # machine.
    for t in range(tiles):
        if not tile_is_near(tree, state, t, position):
            continue
        changed, slack = False, slack_of(tree, state, t, norm)
        for block in range(t * LEAVES, (t + 1) * LEAVES):
            write_limits(state.coarse, block, slack, limits, 0)
            # All 32 in float32 first: a float64 distance gathers d numbers from the caller's rows, and few clients need
            # one.
            write_square(tree.coarse, block, coarse, 0, 0, d, squares)
            near = lanes_below(squares, 0, limits, 0)
            while near != 0:
                p = lowest_lane(near)
                near &= near - np.uint32(1)
                i = block % LEAVES * LEAF + p
                distance = distance_or_zero(rows, tree, x, t * TILE + i)
                # Strictly: among equal distances the client stays with what was selected first, as the weights are
                # defined.
                if distance < state.minima[t, i]:
                    gained += tree.weights[t, i] * (state.minima[t, i] - distance)
                    state.minima[t, i] = distance
                    state.owner[t, i] = number
                    changed = True
        evaluated += TILE
        # Minima only fall, so that old reaches stay valid; new ones prune more. Nothing to do for tiles without a
        # change.
        if changed:
            measure_reach(tree, state, t)
    return evaluated, gained


@kernel
def count_served(tree: Tree, state: Minima, positions: Array) -> Any:
    """Count the clients to which these candidates are nearer than what is selected, within rounding."""
    d, total = tree.coarse.shape[1], 0
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    for c in range(positions.size):
        norm = coarse_point(tree, positions[c], coarse, 0)
        for block in range(tree.coarse.shape[0]):
            write_limits(state.coarse, block, slack_of(tree, state, block // LEAVES, norm), limits, 0)
            write_square(tree.coarse, block, coarse, 0, 0, d, squares)
            for p in range(LEAF):
                # Counts those within the slack too: the lists are predicted a little too long, never too short.
                total += squares[0, p] < limits[0, p]
    return total


@kernel
def sum_minima(weights: Array, minima: Array) -> Any:
    """Sum weights times minima: tile by tile, in a fixed order."""
    total = 0.0
    for first in range(0, weights.size, TILE):
        # A partial sum for each tile: the error of n terms falls from n 2^-53 to (512 + n / 512) 2^-53 of the sum.
        s = 0.0
        for i in range(first, min(first + TILE, weights.size)):
            s += weights[i] * minima[i]
        total += s
    return total
