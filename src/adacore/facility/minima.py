"""The state of greedy: how far every client is from what is selected, and how far from a tile that can matter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, borrowing_kernel, inlined, kernel
from adacore.facility.distances import point, root_of, square_of
from adacore.facility.simd import lanes_below, lowest_lane, write_center_square, write_square
from adacore.facility.tree import LEAF, LEAVES, TILE, ULP, Tree, coarse_point

LEAST_MINIMUM = 2.0**-100
"""Smallest positive minimum in float32, far below ``Tree.tiny``: rounding a minimum to 0 would hide its client."""


class ReadyRows(NamedTuple):
    """Clients of the tile at hand in float64: a caller's rows lie anywhere in memory, and each is fetched once.

    Attributes:
        fetched: Rows in the engine's units, float64, shape (512, d).
        is_fetched: Which of them are there, shape (512,).
    """

    fetched: NDArray[np.float64]
    is_fetched: NDArray[np.bool_]


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
        leaf_across: Reach of each leaf's points around the tile's centroid: the tile's is the largest; float64, shape
            (tiles, 16).
        leaf_max: Largest minimum in each leaf, float64, shape (tiles, 16).
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
    leaf_across: NDArray[np.float64]
    leaf_max: NDArray[np.float64]
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
        np.empty((tiles, LEAVES)),
        np.empty((tiles, LEAVES)),
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
    for leaf in range(LEAVES):
        measure_leaf(tree, state, t, leaf)
    measure_tile(tree, state, t)


@borrowing_kernel
def measure_leaf(tree: Tree, state: Minima, t: int, leaf: int) -> None:
    """Bring what a leaf's pruning rests on up to date with its minima; ``measure_tile`` when all of a tile's are."""
    # Let x', x_i' be the float32 coordinates, V = ``tile_norms``. If x gains from i, ||x' - c|| <= ||x' - x_i'|| + r_i
    # <= m_i + u (||x'|| + ||x_i'||) + r_i, and ||x'|| <= V + ||x' - x_i'||, so that the rounding of coordinates is at
    # most u (2 V + m_i) but for terms of order u^2: 4 u V below, and one of the (d + 16) u. Computing ||x' - c|| in
    # float32 adds (d / 2 + 3) u of it, storing the reach u.
    slack = 1.0 + (tree.coarse.shape[1] + 16) * ULP
    norm = 4.0 * ULP * tree.tile_norms[t] + 2.0 * tree.tiny
    reach, across, largest, leaf_sum = 0.0, 0.0, 0.0, 0.0
    for p in range(LEAF):
        # One pass over a leaf's points brings everything up to date: they were just read by ``select_points`` and lie
        # in cache.
        i = leaf * LEAF + p
        m = state.minima[t, i]
        leaf_sum += tree.weights[t, i] * m
        # 0 marks a client that nobody can serve better; ``write_limits`` turns it into a limit that no square is below.
        state.coarse[t * LEAVES + leaf, p] = 0.0
        # Without this, a client that lies on a pick would hold the reach of its leaf up at r_i, for good.
        if m > 0.0:
            state.coarse[t * LEAVES + leaf, p] = max(m * (1.0 + 2.0 * ULP), LEAST_MINIMUM)
            largest = max(largest, m)
            reach = max(reach, m + tree.leaf_distances[t, i])
            across = max(across, m + tree.tile_distances[t, i])
    # A leaf of which all is served at distance 0 keeps reach 0: no distance is below it, and no candidate looks at it.
    state.leaf_reach[t, leaf] = reach * slack + norm if reach > 0.0 else 0.0
    state.leaf_across[t, leaf] = across * slack + norm if across > 0.0 else 0.0
    state.leaf_max[t, leaf] = largest
    state.leaf_sums[t, leaf] = leaf_sum


@borrowing_kernel
def measure_tile(tree: Tree, state: Minima, t: int) -> None:
    """Bring what a tile's pruning rests on up to date with its leaves."""
    across, floor, largest = 0.0, np.inf, 0.0
    for leaf in range(LEAVES):
        across = max(across, state.leaf_across[t, leaf])
        # The floor is compared with ||x' - c|| + radius: a leaf's centroid c_l is a mean of points within the radius of
        # c, so ||x' - c_l|| <= ||x' - c|| + radius. Below the smallest reach every leaf would pass its test, and none
        # is tested.
        floor = min(floor, state.leaf_reach[t, leaf])
        largest = max(largest, state.leaf_max[t, leaf])
    state.tile_reach[t] = across
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


@inlined
def mark_leaves(
    leaf_centers: Array, leaf_reach: Array, t: int, candidate: Array, row: int, squares: Array, wanted: Array
) -> None:
    """Mark the leaves of a tile in which a candidate may gain something; ``squares`` has rows of 16."""
    write_center_square(leaf_centers, t, candidate, row, 0, leaf_centers.shape[1], squares)
    for leaf in range(LEAVES):
        reach = leaf_reach[t, leaf]
        # Without a branch, so that it is vectorized.
        # 2^-21 = 8 u: the product of two float32 reaches, its rounding, and to spare. The reach holds the rest of the
        # error.
        wanted[leaf] |= squares[row, leaf] < reach * reach * np.float32(1.0 + 2.0**-21)


@borrowing_kernel
def serve_near(
    rows: Array, tree: Tree, state: Minima, ready: ReadyRows, x: Array, block: int, near: Any, number: int
) -> Any:
    """Lower the minima of those of a leaf's clients that are nearer to a point x than to what was selected.

    Float32 found who may be (bits of ``near``), float64 says who is. Returns by how much the sum of weights times
    minima fell.
    """
    order, factors, weights, minima = tree.order, tree.factors, tree.weights, state.minima
    fetched, is_fetched = ready
    t, gained = block // LEAVES, 0.0
    while near != 0:
        i = block % LEAVES * LEAF + lowest_lane(near)
        near &= near - np.uint32(1)
        row, factor = order[t * TILE + i], factors[t * TILE + i]
        if not is_fetched[i]:
            for k in range(x.size):
                fetched[i, k] = rows[row, k] * factor
            is_fetched[i] = True
        distance = root_of(square_of(fetched, i, 1.0, x), rows, row, factor, x)
        if not distance > tree.same[0]:
            distance = 0.0
        # Strictly: among equal distances the client stays with what was selected first, as the weights are defined.
        if distance < minima[t, i]:
            gained += weights[t, i] * (minima[t, i] - distance)
            minima[t, i] = distance
            state.owner[t, i] = number
    return gained


@kernel
def select_points(
    rows: Array, tree: Tree, state: Minima, positions: Array, number: int, first: int, last: int, gained: Array
) -> Any:
    """Select points one after another within some tiles: lower the minima of the clients nearer to one than before.

    Points are numbered from ``number`` on. Adds to ``gained`` by how much each lowers the sum of weights times minima
    of these tiles, given those before it; returns the number of distances evaluated.
    """
    count, d = positions.size, tree.coarse.shape[1]
    points, coarse_points, norms = np.empty((count, d)), np.empty((count, d), np.float32), np.empty(count)
    for c in range(count):
        point(rows, tree, positions[c], points[c])
        norms[c] = coarse_point(tree, positions[c], coarse_points, c)
    x, coarse, center = np.empty(d), np.empty((1, d), np.float32), np.empty(d, np.float32)
    squares, limits = np.empty((1, LEAF), np.float32), np.empty((1, LEAF), np.float32)
    center_squares = np.empty((1, LEAVES), np.float32)
    wanted, is_fetched = np.empty(LEAVES, np.bool_), np.empty(TILE, np.bool_)
    ready = ReadyRows(np.empty((TILE, d)), is_fetched)
    # Taken out of their tuples here: in a loop, each time would be counted as a reference, see ``borrowing_kernel``.
    tree_coarse, leaf_centers, tile_centers = tree.coarse, tree.leaf_centers, tree.tile_centers
    coarse_minima, leaf_reach, tile_reach = state.coarse, state.leaf_reach, state.tile_reach
    evaluated = 0
    # Tiles outside, points inside: what is read of a tile is read once for all points. Each point gains in a tile what
    # it would gain with the loops the other way round, for the minima of a tile depend on no other tile.
    for t in range(first, last):
        is_fetched[:] = False
        for k in range(d):
            center[k] = tile_centers[k, t]
        for c in range(count):
            s = np.float32(0)
            for k in range(d):
                y = center[k] - coarse_points[c, k]
                s += y * y
            if not np.sqrt(s) < tile_reach[t]:
                continue
            for k in range(d):
                x[k], coarse[0, k] = points[c, k], coarse_points[c, k]
            wanted[:] = False
            mark_leaves(leaf_centers, leaf_reach, t, coarse, 0, center_squares, wanted)
            slack, gain = slack_of(tree, state, t, norms[c]), 0.0
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                block = t * LEAVES + leaf
                evaluated += LEAF
                write_limits(coarse_minima, block, slack, limits, 0)
                write_square(tree_coarse, block, coarse, 0, 0, d, squares)
                near = lanes_below(squares, 0, limits, 0)
                # Minima only fall, so that old reaches stay valid; new ones prune more. Where nothing changed, they
                # are new.
                if near != 0:
                    gain += serve_near(rows, tree, state, ready, x, block, near, number + c)
                    measure_leaf(tree, state, t, leaf)
            if gain > 0.0:
                gained[c] += gain
                measure_tile(tree, state, t)
    return evaluated


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
