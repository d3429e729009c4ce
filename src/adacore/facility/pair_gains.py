"""Gains of all candidates at once: a pair of rows tells what the one gains from the other, and the other from the one.

Before the first lists, and again for a certificate, every row is a candidate and a client. Candidate by candidate each
distance is computed twice; here once, and its root serves both sides: half of the time of ``bound_gains``, where
few leaves can be left out (10,000 x 10: 23 for 44 ms on one core of an AMD EPYC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, bounding_kernel
from adacore.facility.distance_gains import FLUSH, GROUP, LEAST_WEIGHT, UNDERFLOW, flush
from adacore.facility.minima import Minima
from adacore.facility.simd import add_gains, add_gains_of_both, write_center_square, write_squares
from adacore.facility.tree import LEAF, LEAVES, ULP, Tree


@bounding_kernel
def bound_gains_of_all(
    tree: Tree,
    state: Minima,
    weights: Array,
    radii: Array,
    rest: Array,
    first: int,
    last: int,
    gains: Array,
    errors: Array,
) -> Any:
    """Evaluate all rows as candidates, for the pairs of leaves a <= b with a in [first, last), in single precision.

    Gains, and what they may be off, are those of ``distance_gains.bound_gains``, whose bounds hold here term by term:
    a candidate x is off by u (W ||x|| + R), summed over the leaves that it was compared with. Of a leaf, W is the
    weight, and R = ``rest_of_errors``.

    Args:
        tree: The rows.
        state: The minima.
        weights: Rounded up, float32, shape (leaves, 32).
        radii: Largest distance of a leaf's points to its centroid, float32, shape (tiles, 16).
        rest: R of each leaf, float64, shape (tiles, 16).
        first: The first leaf a.
        last: Where they end.
        gains: Added to, float64, shape (leaves, 32).
        errors: W V + R is added for every candidate of a leaf, where V is its tile's largest norm, at least ||x||;
            float64, shape (leaves,).

    Returns:
        The number of distances.
    """
    d, tiles = tree.tile_centers.shape
    x, center = np.empty((LEAF, d), np.float32), np.empty((1, d), np.float32)
    squares, total = np.empty((LEAF, LEAF), np.float32), np.zeros((LEAF, LEAF), np.float32)
    column, center_squares = np.empty((1, LEAF), np.float32), np.empty((1, LEAVES), np.float32)
    # Taken out of their tuples here: in a loop, each time would be counted as a reference, see ``borrowing_kernel``.
    coarse, tile_centers, leaf_centers, tile_radii = tree.coarse, tree.tile_centers, tree.leaf_centers, tree.tile_radii
    leaf_weights, tile_norms = tree.leaf_weights, tree.tile_norms
    coarse_minima, tile_reach, leaf_reach = state.coarse, state.tile_reach, state.leaf_reach
    # Squares of distances between centroids are off by (d + 6) u, reaches allow for (d + 16) u of their own; the rest
    # is to spare.
    spare = np.float32((1.0 + (2 * d + 32) * ULP) ** 2)
    evaluated = 0
    for a in range(first, last):
        s, own = a // LEAVES, a % LEAVES
        for k in range(d):
            center[0, k] = leaf_centers[s, k, own]
            for p in range(LEAF):
                x[p, k] = coarse[a, k, p]
        radius, reach = radii[s, own], leaf_reach[s, own]
        pending = 0
        for t in range(s, tiles):
            square = np.float32(0)
            for k in range(d):
                y = tile_centers[k, t] - center[0, k]
                square += y * y
            # With c and r the centroid and radius of a leaf or tile, a candidate x of the one is at least ||c - c'|| -
            # r from the centroid c' of the other, and gains nothing beyond that one's reach: see ``Minima``. A pair is
            # left out where neither side gains.
            most = max(tile_reach[t] + radius, reach + tile_radii[t])
            if not square < most * most * spare:
                continue
            write_center_square(leaf_centers, t, center, 0, 0, d, center_squares)
            for leaf in range(own if t == s else 0, LEAVES):
                most = max(leaf_reach[t, leaf] + radius, reach + radii[t, leaf])
                if not center_squares[0, leaf] < most * most * spare:
                    continue
                b = t * LEAVES + leaf
                column[:] = np.float32(0)
                for row in range(0, LEAF, GROUP):
                    write_squares(coarse, b, x, row, 0, d, squares)
                    for p in range(row, row + GROUP):
                        # On the diagonal both orders of a pair are among the 32 x 32.
                        if a == b:
                            add_gains(coarse_minima, weights, b, squares, p, total)
                        else:
                            add_gains_of_both(coarse_minima, weights, b, a, squares, p, total, column)
                if a != b:
                    for p in range(LEAF):
                        gains[b, p] += np.float64(column[0, p])
                    errors[b] += leaf_weights[s, own] * tile_norms[t] + rest[s, own]
                errors[a] += leaf_weights[t, leaf] * tile_norms[s] + rest[t, leaf]
                evaluated += LEAF * LEAF
                pending += 1
                # Lanes hold at most FLUSH * LEAVES = 64 terms in float32, the number in the error of a sum; a column
                # has 32.
                if pending == FLUSH * LEAVES:
                    flush(total, gains[a])
                    pending = 0
        flush(total, gains[a])
    return evaluated


def rest_of_errors(tree: Tree, state: Minima) -> NDArray[np.float64]:
    """Compute R = sum_i w_i ||x_i|| + (d / 2 + 9) sum_i w_i m_i, and what is not relative to anything, in units of u.

    Args:
        tree: The rows.
        state: The minima.

    Returns:
        R of each leaf, float64, shape (tiles, 16).
    """
    absolute = 2.0 * tree.tiny * tree.leaf_weights
    absolute += LEAF * (LEAST_WEIGHT * state.tile_max[:, None].astype(np.float64) + UNDERFLOW)
    rest: NDArray[np.float64] = tree.leaf_norms + (0.5 * tree.coarse.shape[1] + 9.0) * state.leaf_sums + absolute / ULP
    return rest


def upper_gains(gains: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn what ``bound_gains_of_all`` found into upper bounds.

    Args:
        gains: float64, shape (leaves, 32).
        errors: float64, shape (leaves,).

    Returns:
        float64, shape (leaves, 32).
    """
    # Sums in lanes are off as in ``distance_gains.bound_gains``.
    upper: NDArray[np.float64] = gains + 1.0001 * ULP * (errors[:, None] + (FLUSH * LEAVES + 8) * gains)
    return upper
