"""Gains from whole distances: bounds in single precision, the deciding sums in double."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiled import Array, bounding_kernel, inlined, kernel
from adacore.facility.cover import Cover, slack_of, tile_is_near, write_limits
from adacore.facility.lanes import add_gains, add_squares, lanes_below, lowest_lane, write_square, write_squares
from adacore.facility.tree import HALVED, LEAF, LEAVES, TILE, ULP, Tree, coarse_point, distance_to, point

GROUP = 4
FLUSH = 4
TESTS = 8 * LEAVES
CHECKS = 2048


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

    Writes for ``positions[first:last]`` a gain and how far from the true one it may be at most. Half of the dimensions
    come first: where they show that no point of a leaf is nearer to the candidate than to what is selected, whatever
    the rounding, the rest is spared, and there is no error. Elsewhere the error counts, for every point, the rounding
    of the coordinates (both norms), of their distance (relative d / 2 + 3; where it exceeds the minimum it counts no
    more than that), of the minimum and of the sums. Where few leaves are spared, none is tested. Returns the number of
    distances
    evaluated.
    """
    d, tiles = tree.tile_centers.shape
    x = np.empty((GROUP, d), np.float32)
    centers = np.empty((GROUP, tiles), np.float32)
    squares = np.empty((GROUP, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    total = np.zeros((GROUP, LEAF), np.float32)
    wanted = np.empty(LEAVES, np.bool_)
    sums, error = np.empty(GROUP), np.empty(GROUP)
    half = d // 2 if d >= HALVED else d
    evaluated, checked, missed = 0, 0, 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        norm = 0.0
        for a in range(GROUP):
            norm = max(norm, coarse_point(tree, positions[start + min(a, group - 1)], x, a))
            sums[a], error[a] = 0.0, 0.0
        for a in range(group):
            center_distances(tree, x, a, centers)
        pending = 0
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
            slack = slack_of(tree, cover, t, norm)
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                block = t * LEAVES + leaf
                rounding = (
                    tree.leaf_masses[t, leaf] * norm
                    + tree.leaf_norms[t, leaf]
                    + (0.5 * d + 9.0) * cover.leaf_sums[t, leaf]
                )
                if checked >= CHECKS and 5 * missed < 2 * checked:
                    write_squares(tree.coarse, block, x, 0, 0, d, squares)
                    for a in range(group):
                        add_gains(cover.coarse, masses, block, squares, a, total)
                        error[a] += rounding
                else:
                    write_limits(cover, block, slack, limits)
                    write_squares(tree.coarse, block, x, 0, 0, half, squares)
                    for a in range(group):
                        if lanes_below(squares, a, limits) == 0:
                            missed += 1
                            continue
                        add_squares(tree.coarse, block, x, a, half, d, squares)
                        if lanes_below(squares, a, limits) != 0:
                            add_gains(cover.coarse, masses, block, squares, a, total)
                            error[a] += rounding
                    checked += group
                count += LEAF
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
            errors[start + a] = 1.0001 * ULP * (error[a] + (FLUSH * LEAVES + 8) * sums[a])
    return evaluated


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
