"""How far every point is from what is selected, and how far that reaches: the greedy algorithm's state."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiled import Array, inlined, kernel
from adacore.facility.lanes import lanes_below, lowest_lane, write_square
from adacore.facility.tree import LEAF, LEAVES, TILE, ULP, Tree, coarse_point, distance_to, point


class Cover(NamedTuple):
    """How far every point is from what is selected, and how far that reaches: the greedy algorithm's state.

    A candidate gains nothing in a leaf (tile) whose centroid is at least the leaf's (tile's) reach away.

    Attributes:
        minima: Distance to the nearest selected point, float64, shape (tiles, 512).
        coarse: The same, float32, rounded up, shape (tiles * 16, 32).
        owner: Pick number of the nearest selected point, int64, shape (tiles, 512).
        leaf_reach: float32, shape (tiles, 16).
        tile_reach: float32, shape (tiles,).
        tile_floor: Smallest reach of the tile's leaves, float32, shape (tiles,).
        tile_max: Largest minimum in the tile, float32, shape (tiles,).
        leaf_sums: Sum of masses times minima, float64, shape (tiles, 16).
    """

    minima: NDArray[np.float64]
    coarse: NDArray[np.float32]
    owner: NDArray[np.int64]
    leaf_reach: NDArray[np.float32]
    tile_reach: NDArray[np.float32]
    tile_floor: NDArray[np.float32]
    tile_max: NDArray[np.float32]
    leaf_sums: NDArray[np.float64]


def new_cover(tree: Tree, distance: float) -> Cover:
    """Return the state in which every point is the same distance from what is selected."""
    tiles = tree.masses.shape[0]
    cover = Cover(
        np.full((tiles, TILE), distance),
        np.empty((tiles * LEAVES, LEAF), np.float32),
        np.zeros((tiles, TILE), np.int64),
        np.empty((tiles, LEAVES), np.float32),
        np.empty(tiles, np.float32),
        np.empty(tiles, np.float32),
        np.empty(tiles, np.float32),
        np.empty((tiles, LEAVES)),
    )
    for t in range(tiles):
        measure_reach(tree, cover, t)
    return cover


@kernel
def measure_reach(tree: Tree, cover: Cover, t: int) -> None:
    """Bring what a tile's pruning rests on up to date with its minima."""
    d = tree.coarse.shape[1]
    slack = 1.0 + (d + 16) * ULP
    norm = 4.0 * ULP * tree.tile_norms[t]
    tile_reach, floor, largest = 0.0, np.inf, 0.0
    for leaf in range(LEAVES):
        reach, leaf_sum = 0.0, 0.0
        for p in range(leaf * LEAF, (leaf + 1) * LEAF):
            m = cover.minima[t, p]
            leaf_sum += tree.masses[t, p] * m
            cover.coarse[t * LEAVES + leaf, p - leaf * LEAF] = m * (1.0 + 2.0 * ULP)
            if m > 0.0:
                largest = max(largest, m)
                reach = max(reach, m + tree.leaf_distances[t, p])
                tile_reach = max(tile_reach, m + tree.tile_distances[t, p])
        if reach > 0.0:
            reach = reach * slack + norm
        floor = min(floor, reach)
        cover.leaf_reach[t, leaf] = reach
        cover.leaf_sums[t, leaf] = leaf_sum
    cover.tile_reach[t] = tile_reach * slack + norm if tile_reach > 0.0 else 0.0
    cover.tile_floor[t] = floor * (1.0 - 2.0 * ULP)
    cover.tile_max[t] = largest * (1.0 + 2.0 * ULP)


@kernel
def slack_of(tree: Tree, cover: Cover, t: int, norm: float) -> Any:
    """By how much a single-precision distance from a point of that norm into a tile may be too large."""
    d = tree.coarse.shape[1]
    return np.float32(1.01 * ULP * (2.0 * max(norm, tree.tile_norms[t]) + (0.5 * d + 8.0) * cover.tile_max[t]))


@inlined
def write_limits(cover: Cover, block: int, slack: Any, limits: Array) -> None:
    """Write the squares of single-precision distances from which on a candidate can't serve a leaf's points."""
    for p in range(LEAF):
        m = cover.coarse[block, p]
        limits[p] = (m + slack) * (m + slack) if m > 0 else np.float32(0)


@kernel
def tile_is_near(tree: Tree, cover: Cover, t: int, position: int) -> Any:
    """Whether a candidate may gain something in a tile, by the distance to its centroid."""
    s = np.float32(0)
    for k in range(tree.coarse.shape[1]):
        x = tree.tile_centers[k, t] - tree.coarse[position // LEAF, k, position % LEAF]
        s += x * x
    return np.sqrt(s) < cover.tile_reach[t]


@kernel
def add_pick(tree: Tree, cover: Cover, position: int, number: int) -> Any:
    """Select a point: lower the minima of those nearer to it than to what was selected.

    Returns the number of distances evaluated and by how much the sum of masses times minima fell.
    """
    tiles, d = tree.masses.shape[0], tree.exact.shape[1]
    x = np.empty(d)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    point(tree, position, x)
    norm = coarse_point(tree, position, coarse, 0)
    evaluated, gained = 0, 0.0
    for t in range(tiles):
        if not tile_is_near(tree, cover, t, position):
            continue
        changed, slack = False, slack_of(tree, cover, t, norm)
        for block in range(t * LEAVES, (t + 1) * LEAVES):
            write_limits(cover, block, slack, limits)
            write_square(tree.coarse, block, coarse, 0, 0, d, squares)
            near = lanes_below(squares, 0, limits)
            while near != 0:
                p = lowest_lane(near)
                near &= near - np.uint32(1)
                i = block % LEAVES * LEAF + p
                distance = distance_to(tree, x, t * TILE + i)
                if distance < cover.minima[t, i]:
                    gained += tree.masses[t, i] * (cover.minima[t, i] - distance)
                    cover.minima[t, i] = distance
                    cover.owner[t, i] = number
                    changed = True
        evaluated += TILE
        if changed:
            measure_reach(tree, cover, t)
    return evaluated, gained


@kernel
def count_served(tree: Tree, cover: Cover, positions: Array) -> Any:
    """Count the points to which these candidates are nearer than what is selected, within rounding."""
    d, total = tree.exact.shape[1], 0
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    for c in range(positions.size):
        norm = coarse_point(tree, positions[c], coarse, 0)
        for block in range(tree.exact.shape[0]):
            write_limits(cover, block, slack_of(tree, cover, block // LEAVES, norm), limits)
            write_square(tree.coarse, block, coarse, 0, 0, d, squares)
            for p in range(LEAF):
                total += squares[0, p] < limits[p]
    return total
