"""Gains from whole distances: bounds in single precision, the deciding sums in double."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiling import Array, bounding_kernel, inlined, kernel
from adacore.facility.distances import distance_or_zero, point, root_of
from adacore.facility.minima import Minima, mark_leaves, slack_of, tile_is_near, write_limits
from adacore.facility.simd import add_gains, add_squares, lanes_below, lowest_lane, write_square, write_squares
from adacore.facility.tree import HALVED, LEAF, LEAVES, TILE, ULP, Tree, coarse_point

GROUP = 4
"""Candidates that share what is loaded of a leaf. Each takes the leaf's 32 sums, two AVX-512 or four AVX2 registers:
four candidates fill half of the 32, or all of the 16."""

FLUSH = 4
"""Tiles whose gains are summed in float32 before they go to float64. More make the error bound grow, (FLUSH * LEAVES +
8) u of the sum; fewer cost time."""

TESTS = 8 * LEAVES
CHECKS = 2048
"""Tests of leaves' centroids (and of first halves of dimensions) after which it is asked whether they pay."""

LEAST_WEIGHT = 2.0**-100
"""Smallest positive weight in float32, where the largest is near 1: the rest is error, LEAST_WEIGHT times a minimum."""

UNDERFLOW = 2.0**-124
"""What a product and a sum in float32 lose at most to underflow, also where subnormal numbers are flushed to 0."""


@inlined
def center_distances(tile_centers: Array, candidate: Array, row: int, out: Array) -> None:
    """Write single-precision distances between a candidate and the tiles' centroids."""
    d, tiles = tile_centers.shape
    # Centroids innermost: they are contiguous for each dimension, and the loop becomes vector instructions over tiles.
    for s in range(tiles):
        out[row, s] = np.float32(0)
    for k in range(d):
        c = candidate[row, k]
        for s in range(tiles):
            x = tile_centers[k, s] - c
            out[row, s] += x * x
    for s in range(tiles):
        # Roots, because radii are added to them (``tile_floor``); n / 512 of them for each candidate are little.
        out[row, s] = np.sqrt(out[row, s])


@inlined
def flush(total: Array, sums: Array) -> None:
    """Move the single-precision sums into double-precision ones."""
    for a in range(total.shape[0]):
        s = 0.0
        for p in range(LEAF):
            s += np.float64(total[a, p])
            total[a, p] = np.float32(0)
        sums[a] += s


@bounding_kernel
def bound_gains(
    tree: Tree,
    state: Minima,
    weights: Array,
    positions: Array,
    first: int,
    last: int,
    gains: Array,
    errors: Array,
) -> Any:
    """Evaluate candidates in single precision: a gain, and how far from the true one it may be at most.

    A candidate x gains sum_i w_i max(0, m_i - ||x - x_i||). With u = 2^-24 and the bounds of ``tree``, each term is off
    by at most w_i times
    u (||x|| + ||x_i||), the rounding of coordinates; u (d / 2 + 9) m_i, that of the distance, where it is below m_i
    (elsewhere the term is at most that much above 0), of m_i and of w_i; and what underflows. Summed over a leaf that
    is W ||x|| + sum w ||x_i|| + (d / 2 + 9) sum w m in units of u. Sums of FLUSH * LEAVES terms add (FLUSH * LEAVES +
    8) u of themselves.

    Half of the dimensions come first: a partial sum of squares is a lower bound of the whole, and where no client of a
    leaf is below its limit (m + slack)^2, the rest is spared and there is no error. Where few leaves are spared,
    none is tested. Writes ``gains`` and ``errors`` of ``positions[first:last]``; returns the number of distances.
    """
    d, tiles = tree.tile_centers.shape
    x = np.empty((GROUP, d), np.float32)
    centers = np.empty((GROUP, tiles), np.float32)
    squares = np.empty((GROUP, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    total = np.zeros((GROUP, LEAF), np.float32)
    center_squares, wanted = np.empty((GROUP, LEAVES), np.float32), np.empty(LEAVES, np.bool_)
    sums, error = np.empty(GROUP), np.empty(GROUP)
    half = d // 2 if d >= HALVED else d
    # Taken out of their tuples here: in a loop, each time would be counted as a reference, see ``borrowing_kernel``.
    coarse, tile_centers, leaf_centers, tile_radii = tree.coarse, tree.tile_centers, tree.leaf_centers, tree.tile_radii
    leaf_weights, leaf_norms, coarse_minima, leaf_sums = (
        tree.leaf_weights,
        tree.leaf_norms,
        state.coarse,
        state.leaf_sums,
    )
    tile_reach, tile_floor, leaf_reach, tile_max = state.tile_reach, state.tile_floor, state.leaf_reach, state.tile_max
    evaluated, checked, missed = 0, 0, 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        # The largest norm of the group stands for all four in ``slack_of``: limits are then written once for the group,
        # and are a little too large for the others, which costs a look and no correctness.
        norm = 0.0
        for a in range(GROUP):
            # A short group is filled up with its last candidate, so that four rows can always be multiplied; the copies
            # are dropped.
            norm = max(norm, coarse_point(tree, positions[start + min(a, group - 1)], x, a))
            sums[a], error[a] = 0.0, 0.0
        for a in range(group):
            center_distances(tile_centers, x, a, centers)
        pending = 0
        looked_at, tested, skipped = 0, 0, 0
        # Tiles outside, candidates inside: a leaf is loaded once and used by all four candidates, and positions are
        # ascending (``CandidateQueue.pop``), so that the four are neighbours and want the same leaves.
        for t in range(tiles):
            near, whole = False, False
            for a in range(group):
                # ||x - c|| >= max_i (m_i + r_i) means ||x - x_i|| >= m_i for every client of the tile: nothing to gain;
                # see ``Minima``.
                if centers[a, t] < tile_reach[t]:
                    near = True
                    # Every leaf would pass its test, see ``measure_reach``.
                    if centers[a, t] + tile_radii[t] < tile_floor[t]:
                        whole = True
            if not near:
                continue
            if tested >= TESTS and 8 * skipped < tested:
                whole = True  # Testing leaves costs an eighth of looking at them all, or less.
            wanted[:] = whole
            if not whole:
                for a in range(group):
                    if centers[a, t] < tile_reach[t]:
                        mark_leaves(leaf_centers, leaf_reach, t, x, a, center_squares, wanted)
            count = 0
            slack = slack_of(tree, state, t, norm)
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                block = t * LEAVES + leaf
                # What is not relative to anything: distances below ``tiny``, minima and weights raised to 2^-100,
                # underflow.
                absolute = 2.0 * tree.tiny * leaf_weights[t, leaf] + LEAF * (LEAST_WEIGHT * tile_max[t] + UNDERFLOW)
                # In units of u, w ||x|| + w ||x_i|| + (d / 2 + 9) w m for each client, summed over the leaf beforehand.
                # For clients beyond their minimum it bounds what the term may be above 0, so that it need not be known
                # who they are.
                rounding = (
                    leaf_weights[t, leaf] * norm
                    + leaf_norms[t, leaf]
                    + (0.5 * d + 9.0) * leaf_sums[t, leaf]
                    + absolute / ULP
                )
                # Where fewer than two fifths of the first halves settle a leaf, whole distances at once are cheaper: no
                # limits to write, no comparison, and one pass over the leaf for all four.
                if checked >= CHECKS and 5 * missed < 2 * checked:
                    write_squares(coarse, block, x, 0, 0, d, squares)
                    for a in range(group):
                        add_gains(coarse_minima, weights, block, squares, a, total)
                        error[a] += rounding
                else:
                    write_limits(coarse_minima, block, slack, limits, 0)
                    # All of the sum's terms are squares, and rounding is monotone: the float32 sum over half of the
                    # dimensions is at most the float32 sum over all, so that whoever is not below its limit now will
                    # not be later.
                    write_squares(coarse, block, x, 0, 0, half, squares)
                    for a in range(group):
                        if lanes_below(squares, a, limits, 0) == 0:
                            missed += 1
                            continue
                        add_squares(coarse, block, x, a, half, d, squares)
                        # Nobody below (m + slack)^2: every true distance is at least m, the true gain in this leaf is
                        # 0, and so is the error.
                        if lanes_below(squares, a, limits, 0) != 0:
                            add_gains(coarse_minima, weights, block, squares, a, total)
                            error[a] += rounding
                    checked += group
                count += LEAF
            if not whole:
                tested += LEAVES
                skipped += LEAVES - count // LEAF
            looked_at += count
            pending += 1
            # Lanes hold at most FLUSH * LEAVES = 64 terms in float32, the number in the error below.
            if pending == FLUSH:
                flush(total, sums)
                pending = 0
        if pending > 0:
            flush(total, sums)
        evaluated += looked_at * group
        for a in range(group):
            gains[start + a] = sums[a]
            # gamma_m = m u / (1 - m u) with m = 72 is below 1.0001 m u; products of such errors are below that as well.
            errors[start + a] = 1.0001 * ULP * (error[a] + (FLUSH * LEAVES + 8) * sums[a])
    return evaluated


@kernel
def sum_lanes(lanes: Array) -> Any:
    """Sum partial sums from first to last."""
    s = 0.0
    for p in range(lanes.size):
        s += lanes[p]
    return s


@kernel
def exact_gains(rows: Array, tree: Tree, state: Minima, positions: Array, first: int, last: int, gains: Array) -> Any:
    """Evaluate candidates in double precision: 32 partial sums in a fixed order. Returns the number of distances."""
    tiles, d = tree.weights.shape[0], tree.coarse.shape[1]
    x, total = np.empty(d), np.empty(LEAF)
    coarse, squares = np.empty((1, d), np.float32), np.empty((1, LEAF), np.float32)
    limits = np.empty((1, LEAF), np.float32)
    evaluated = 0
    for c in range(first, last):
        point(rows, tree, positions[c], x)
        norm = coarse_point(tree, positions[c], coarse, 0)
        total[:] = 0.0
        # Tiles, leaves and points in ascending order, each point into the partial sum of its lane. What is passed by
        # adds 0 in exact arithmetic and nothing here. So the float64 gain is a fixed sum of terms that fall with the
        # minima, rounding is monotone, and a gain computed earlier bounds the one computed later to the last bit: no
        # margin is needed in the queue.
        for t in range(tiles):
            if not tile_is_near(tree, state, t, positions[c]):
                continue
            slack = slack_of(tree, state, t, norm)
            for block in range(t * LEAVES, (t + 1) * LEAVES):
                write_limits(state.coarse, block, slack, limits, 0)
                write_square(tree.coarse, block, coarse, 0, 0, d, squares)
                near = lanes_below(squares, 0, limits, 0)
                while near != 0:
                    p = lowest_lane(near)
                    near &= near - np.uint32(1)
                    i = block % LEAVES * LEAF + p
                    distance = distance_or_zero(rows, tree, x, t * TILE + i)
                    # Float32 only said who is looked at, with room for its error; whoever is not nearer after all adds
                    # 0.
                    total[p] += tree.weights[t, i] * max(0.0, state.minima[t, i] - distance)
            evaluated += TILE
        gains[c] = sum_lanes(total)
    return evaluated


@kernel
def exact_sums(rows: Array, tree: Tree, positions: Array, first: int, last: int, sums: Array) -> Any:
    """Sum weights times distances from candidates to all clients in float64. Returns the number of distances."""
    blocks, d = tree.coarse.shape[0], tree.coarse.shape[1]
    order, factors, weights, leaf_weights = tree.order, tree.factors, tree.weights, tree.leaf_weights
    same, n = tree.same[0], tree.order.size
    x, total = np.empty((last - first, d)), np.zeros((last - first, LEAF))
    leaf, squares = np.empty((d, LEAF)), np.empty(LEAF)
    for c in range(last - first):
        point(rows, tree, positions[first + c], x[c])
    # A leaf in double precision once for all candidates, dimension by dimension: 32 distances side by side, each the
    # sum of ``distances.square_of`` in its order. Pair by pair, each row of the
    # caller's would be converted and scaled again for every candidate.
    for block in range(blocks):
        # Rows that are candidates only lie behind the clients.
        if leaf_weights[block // LEAVES, block % LEAVES] == 0.0:
            continue
        for p in range(LEAF):
            i = min(block * LEAF + p, n - 1)  # copies of the last row fill up the last leaf, with weight 0
            for k in range(d):
                leaf[k, p] = rows[order[i], k] * factors[i]
        for c in range(last - first):
            squares[:] = 0.0
            for k in range(d):
                for p in range(LEAF):
                    y = leaf[k, p] - x[c, k]
                    squares[p] += y * y
            for p in range(LEAF):
                i = min(block * LEAF + p, n - 1)
                distance = root_of(squares[p], rows, order[i], factors[i], x[c])
                weight = weights[block // LEAVES, block % LEAVES * LEAF + p]
                total[c, p] += weight * (distance if distance > same else 0.0)
    for c in range(last - first):
        sums[first + c] = sum_lanes(total[c])
    return (last - first) * blocks * LEAF
