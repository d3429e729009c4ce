"""Gains from whole distances: bounds in single precision, the deciding sums in double."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiled import Array, bounding_kernel, inlined, kernel
from adacore.facility.tree import LEAF, LEAVES, TILE, Tree

GROUP = 4
ULP = 2.0**-24
FLUSH = 4
TESTS = 8 * LEAVES


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
def square(x: Any) -> Any:
    """Keep float32 what ``x ** 2`` would make float64."""
    return x * x


@inlined
def add_squares(coarse: Array, leaf: int, x: Array, squares: Array) -> None:
    """Write squared distances between four candidates and a leaf's points.

    Four candidates and three dimensions at a time, so that what is loaded once is used again.
    """
    d = coarse.shape[1]
    a0, b0, c0, e0 = x[0, 0], x[1, 0], x[2, 0], x[3, 0]
    for p in range(LEAF):
        y0 = coarse[leaf, 0, p]
        squares[0, p] = square(y0 - a0)
        squares[1, p] = square(y0 - b0)
        squares[2, p] = square(y0 - c0)
        squares[3, p] = square(y0 - e0)
    k = 1
    while k + 3 <= d:
        a0, a1, a2 = x[0, k], x[0, k + 1], x[0, k + 2]
        b0, b1, b2 = x[1, k], x[1, k + 1], x[1, k + 2]
        c0, c1, c2 = x[2, k], x[2, k + 1], x[2, k + 2]
        e0, e1, e2 = x[3, k], x[3, k + 1], x[3, k + 2]
        for p in range(LEAF):
            y0, y1, y2 = coarse[leaf, k, p], coarse[leaf, k + 1, p], coarse[leaf, k + 2, p]
            # One after another, so that each addition is fused with a product.
            squares[0, p] = squares[0, p] + square(y0 - a0) + square(y1 - a1) + square(y2 - a2)
            squares[1, p] = squares[1, p] + square(y0 - b0) + square(y1 - b1) + square(y2 - b2)
            squares[2, p] = squares[2, p] + square(y0 - c0) + square(y1 - c1) + square(y2 - c2)
            squares[3, p] = squares[3, p] + square(y0 - e0) + square(y1 - e1) + square(y2 - e2)
        k += 3
    while k < d:
        a0, b0, c0, e0 = x[0, k], x[1, k], x[2, k], x[3, k]
        for p in range(LEAF):
            y0 = coarse[leaf, k, p]
            squares[0, p] += square(y0 - a0)
            squares[1, p] += square(y0 - b0)
            squares[2, p] += square(y0 - c0)
            squares[3, p] += square(y0 - e0)
        k += 1


@inlined
def add_gains(minima: Array, masses: Array, leaf: int, squares: Array, total: Array) -> None:
    """Add four candidates' gains among a leaf's points to ``total``, point by point."""
    zero = np.float32(0)
    for p in range(LEAF):
        m, w = minima[leaf, p], masses[leaf, p]
        total[0, p] += w * max(zero, m - np.sqrt(squares[0, p]))
        total[1, p] += w * max(zero, m - np.sqrt(squares[1, p]))
        total[2, p] += w * max(zero, m - np.sqrt(squares[2, p]))
        total[3, p] += w * max(zero, m - np.sqrt(squares[3, p]))


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
    total = np.zeros((GROUP, LEAF), np.float32)
    wanted = np.empty(LEAVES, np.bool_)
    sums = np.empty(GROUP)
    evaluated = 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        norm = 0.0
        for a in range(GROUP):
            position = positions[start + min(a, group - 1)]
            s = 0.0
            for k in range(d):
                x[a, k] = tree.coarse[position // LEAF, k, position % LEAF]
                s += np.float64(x[a, k]) ** 2
            norm = max(norm, np.sqrt(s))
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
                if wanted[leaf]:
                    add_squares(tree.coarse, t * LEAVES + leaf, x, squares)
                    add_gains(cover.coarse, masses, t * LEAVES + leaf, squares, total)
                    count += LEAF
                    error += (
                        tree.leaf_masses[t, leaf] * norm
                        + tree.leaf_norms[t, leaf]
                        + (0.5 * d + 8.0) * cover.leaf_sums[t, leaf]
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
    x, distances, total = np.empty(d), np.empty(LEAF), np.empty(LEAF)
    evaluated = 0
    for c in range(first, last):
        point(tree, positions[c], x)
        total[:] = 0.0
        for t in range(tiles):
            if tile_is_near(tree, cover, t, positions[c]):
                for leaf in range(LEAVES):
                    exact_distances(tree.exact, t * LEAVES + leaf, x, distances)
                    for p in range(LEAF):
                        i = leaf * LEAF + p
                        total[p] += tree.masses[t, i] * max(0.0, cover.minima[t, i] - distances[p])
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
    x, distances = np.empty(d), np.empty(LEAF)
    point(tree, position, x)
    evaluated, gained = 0, 0.0
    for t in range(tiles):
        if tile_is_near(tree, cover, t, position):
            changed = False
            for leaf in range(LEAVES):
                exact_distances(tree.exact, t * LEAVES + leaf, x, distances)
                for p in range(LEAF):
                    i = leaf * LEAF + p
                    if distances[p] < cover.minima[t, i]:
                        gained += tree.masses[t, i] * (cover.minima[t, i] - distances[p])
                        cover.minima[t, i] = distances[p]
                        cover.owner[t, i] = number
                        changed = True
            evaluated += TILE
            if changed:
                measure_reach(tree, cover, t)
    return evaluated, gained
