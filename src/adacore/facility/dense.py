"""Gains from whole distances: bounds in single precision, the deciding sums in double."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiled import Array, bounding_kernel, inlined, kernel
from adacore.facility.lanes import add_gains, add_squares, lanes_below, lowest_lane, write_square, write_squares
from adacore.facility.tree import HALVED, LEAF, LEAVES, TILE, Tree

GROUP = 4
ULP = 2.0**-24
FLUSH = 4
TESTS = 8 * LEAVES
CHECKS = 2048


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


@inlined
def center_distances(tree: Tree, candidate: Array, row: int, out: Array) -> None:
    """Write single-precision distances between a candidate and the tiles' centroids."""
    d, tiles = tree.tile_centers.shape
    for s in range(tiles):
        out[row, s] = np.float32(0)
    for k in range(d):
        c = candidate[row, k]
        for s in range(tiles):
            x = tree.tile_centers[k, s] - c
            out[row, s] += x * x
    for s in range(tiles):
        out[row, s] = np.sqrt(out[row, s])


@inlined
def mark_leaves(tree: Tree, cover: Cover, t: int, candidate: Array, row: int, squares: Array, wanted: Array) -> None:
    """Mark the leaves of a tile in which a candidate may gain something."""
    d = tree.coarse.shape[1]
    for leaf in range(LEAVES):
        squares[0, leaf] = np.float32(0)
    for k in range(d):
        c = candidate[row, k]
        for leaf in range(LEAVES):
            x = tree.leaf_centers[t, k, leaf] - c
            squares[0, leaf] += x * x
    for leaf in range(LEAVES):
        reach = cover.leaf_reach[t, leaf]
        # Without a branch, so that it is vectorized.
        wanted[leaf] |= squares[0, leaf] < reach * reach * np.float32(1.0 + 2.0**-21)


@inlined
def flush(total: Array, sums: Array) -> None:
    """Move the single-precision sums into double-precision ones."""
    for a in range(GROUP):
        s = 0.0
        for p in range(LEAF):
            s += np.float64(total[a, p])
            total[a, p] = np.float32(0)
        sums[a] += s


@bounding_kernel
def bound_gains(
    tree: Tree,
    cover: Cover,
    masses: Array,
    positions: Array,
    first: int,
    last: int,
    gains: Array,
    errors: Array,
) -> Any:
    """Evaluate candidates in single precision.

    Writes for ``positions[first:last]`` a gain and how far from the true one it may be at most. The error counts, for
    every point looked at: the rounding of the coordinates (both norms), of their distance (relative d / 2 + 3; where it
    exceeds the minimum it counts no more than that), of the minimum and of the sums. Returns the number of distances
    evaluated.
    """
    d, tiles = tree.tile_centers.shape
    x = np.empty((GROUP, d), np.float32)
    centers = np.empty((GROUP, tiles), np.float32)
    squares = np.empty((GROUP, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    total = np.zeros((GROUP, LEAF), np.float32)
    wanted = np.empty(LEAVES, np.bool_)
    sums = np.empty(GROUP)
    half = d // 2 if d >= HALVED else d
    evaluated, checked, missed = 0, 0, 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        norm = 0.0
        for a in range(GROUP):
            norm = max(norm, coarse_point(tree, positions[start + min(a, group - 1)], x, a))
            sums[a] = 0.0
        for a in range(group):
            center_distances(tree, x, a, centers)
        error, pending = 0.0, 0
        looked_at, tested, skipped = 0, 0, 0
        for t in range(tiles):
            near, whole = False, False
            for a in range(group):
                if centers[a, t] < cover.tile_reach[t]:
                    near = True
                    if centers[a, t] + tree.tile_radii[t] < cover.tile_floor[t]:
                        whole = True
            if not near:
                continue
            if tested >= TESTS and 5 * skipped < 2 * tested:
                whole = True  # Testing leaves costs two fifths of looking at them all.
            wanted[:] = whole
            if not whole:
                for a in range(group):
                    if centers[a, t] < cover.tile_reach[t]:
                        mark_leaves(tree, cover, t, x, a, squares, wanted)
            count = 0
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                block = t * LEAVES + leaf
                if checked >= CHECKS and 5 * missed < 2 * checked:
                    write_squares(tree.coarse, block, x, 0, 0, d, squares)
                    for a in range(group):
                        add_gains(cover.coarse, masses, block, squares, a, total)
                else:
                    for p in range(LEAF):
                        limits[p] = cover.coarse[block, p] * cover.coarse[block, p]
                    write_squares(tree.coarse, block, x, 0, 0, half, squares)
                    for a in range(group):
                        if lanes_below(squares, a, limits) == 0:
                            missed += 1
                            continue
                        add_squares(tree.coarse, block, x, a, half, d, squares)
                        add_gains(cover.coarse, masses, block, squares, a, total)
                    checked += group
                count += LEAF
                error += (
                    tree.leaf_masses[t, leaf] * norm
                    + tree.leaf_norms[t, leaf]
                    + (0.5 * d + 9.0) * cover.leaf_sums[t, leaf]
                )
            if not whole:
                tested += LEAVES
                skipped += LEAVES - count // LEAF
            looked_at += count
            pending += 1
            if pending == FLUSH:
                flush(total, sums)
                pending = 0
        if pending > 0:
            flush(total, sums)
        evaluated += looked_at * group
        for a in range(group):
            gains[start + a] = sums[a]
            errors[start + a] = 1.0001 * ULP * (error + (FLUSH * LEAVES + 8) * sums[a])
    return evaluated


@kernel
def point(tree: Tree, position: int, out: Array) -> None:
    """Copy a point's coordinates."""
    for k in range(out.size):
        out[k] = tree.exact[position // LEAF, k, position % LEAF]


@kernel
def distance_to(tree: Tree, x: Array, position: int) -> Any:
    """Distance in double precision, dimension after dimension."""
    s = 0.0
    for k in range(x.size):
        y = tree.exact[position // LEAF, k, position % LEAF] - x[k]
        s += y * y
    return np.sqrt(s)


@kernel
def coarse_point(tree: Tree, position: int, out: Array, row: int) -> Any:
    """Copy a point's single-precision coordinates into a row; return their norm."""
    s = 0.0
    for k in range(out.shape[1]):
        out[row, k] = tree.coarse[position // LEAF, k, position % LEAF]
        s += np.float64(out[row, k]) ** 2
    return np.sqrt(s)


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


@inlined
def exact_distances(exact: Array, leaf: int, x: Array, out: Array) -> None:
    """Write double-precision distances between a point and those of a leaf, dimension after dimension."""
    for p in range(LEAF):
        out[p] = 0.0
    for k in range(x.size):
        c = x[k]
        for p in range(LEAF):
            y = exact[leaf, k, p] - c
            out[p] += y * y
    for p in range(LEAF):
        out[p] = np.sqrt(out[p])


@kernel
def tile_is_near(tree: Tree, cover: Cover, t: int, position: int) -> Any:
    """Whether a candidate may gain something in a tile, by the distance to its centroid."""
    s = np.float32(0)
    for k in range(tree.coarse.shape[1]):
        x = tree.tile_centers[k, t] - tree.coarse[position // LEAF, k, position % LEAF]
        s += x * x
    return np.sqrt(s) < cover.tile_reach[t]


@kernel
def sum_lanes(lanes: Array) -> Any:
    """Sum partial sums from first to last."""
    s = 0.0
    for p in range(lanes.size):
        s += lanes[p]
    return s


@kernel
def exact_gains(tree: Tree, cover: Cover, positions: Array, first: int, last: int, gains: Array) -> Any:
    """Evaluate candidates in double precision: 32 partial sums in a fixed order. Returns the number of distances."""
    tiles, d = tree.masses.shape[0], tree.exact.shape[1]
    x, total = np.empty(d), np.empty(LEAF)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    evaluated = 0
    for c in range(first, last):
        point(tree, positions[c], x)
        norm = coarse_point(tree, positions[c], coarse, 0)
        total[:] = 0.0
        for t in range(tiles):
            if not tile_is_near(tree, cover, t, positions[c]):
                continue
            slack = slack_of(tree, cover, t, norm)
            for block in range(t * LEAVES, (t + 1) * LEAVES):
                write_limits(cover, block, slack, limits)
                write_square(tree.coarse, block, coarse, 0, 0, d, squares)
                near = lanes_below(squares, 0, limits)
                while near != 0:
                    p = lowest_lane(near)
                    near &= near - np.uint32(1)
                    i = block % LEAVES * LEAF + p
                    distance = distance_to(tree, x, t * TILE + i)
                    total[p] += tree.masses[t, i] * max(0.0, cover.minima[t, i] - distance)
            evaluated += TILE
        gains[c] = sum_lanes(total)
    return evaluated


@kernel
def exact_sums(tree: Tree, positions: Array, first: int, last: int, sums: Array) -> Any:
    """Sum the distances from candidates to all points in double precision. Returns the number of distances."""
    tiles, d = tree.masses.shape[0], tree.exact.shape[1]
    x, distances, total = np.empty(d), np.empty(LEAF), np.empty(LEAF)
    for c in range(first, last):
        point(tree, positions[c], x)
        total[:] = 0.0
        for t in range(tiles):
            for leaf in range(LEAVES):
                exact_distances(tree.exact, t * LEAVES + leaf, x, distances)
                for p in range(LEAF):
                    total[p] += tree.masses[t, leaf * LEAF + p] * distances[p]
        sums[c] = sum_lanes(total)
    return (last - first) * tiles * TILE


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
