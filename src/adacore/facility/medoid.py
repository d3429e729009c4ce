"""Bounds on sums of distances, from centroids alone: what spares most candidates a look when the medoid is sought."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiled import Array, bounding_kernel
from adacore.facility.dense import ULP
from adacore.facility.tree import LEAF, LEAVES, Tree


@bounding_kernel
def tile_sum_bounds(tree: Tree, first: int, last: int, lower: Array, upper: Array) -> Any:
    """Bound sums of distances from points to all points, by tiles.

    Around a centroid c with mean squared distance v, by Jensen's inequality twice:
    |x - c| <= mean |x - x_i| <= sqrt(|x - c|^2 + v). Returns the number of distances evaluated.
    """
    d, tiles = tree.tile_centers.shape
    squares = np.empty(tiles, np.float32)
    slack = (d + 12.0) * ULP
    for j in range(first, last):
        squares[:] = np.float32(0)
        norm = 0.0
        for k in range(d):
            x = tree.coarse[j // LEAF, k, j % LEAF]
            norm += np.float64(x) * np.float64(x)
            for t in range(tiles):
                y = tree.tile_centers[k, t] - x
                squares[t] += y * y
        norm = np.sqrt(norm)
        low, high = 0.0, 0.0
        for t in range(tiles):
            square = np.float64(squares[t])
            error = 4.0 * ULP * (norm + tree.tile_norms[t])
            low += tree.tile_masses[t] * max(0.0, np.sqrt(square) * (1.0 - slack) - error)
            high += tree.tile_masses[t] * (np.sqrt(square + tree.tile_variances[t]) * (1.0 + slack) + error)
        lower[j], upper[j] = low * (1.0 - 1e-12), high * (1.0 + 1e-12)
    return (last - first) * tiles


@bounding_kernel
def leaf_sum_bounds(tree: Tree, positions: Array, first: int, last: int, lower: Array, upper: Array) -> Any:
    """As ``tile_sum_bounds``, by leaves, for some candidates."""
    d, tiles = tree.tile_centers.shape
    squares = np.empty(LEAVES, np.float32)
    x = np.empty(d, np.float32)
    slack = (d + 12.0) * ULP
    for c in range(first, last):
        j = positions[c]
        norm = 0.0
        for k in range(d):
            x[k] = tree.coarse[j // LEAF, k, j % LEAF]
            norm += np.float64(x[k]) * np.float64(x[k])
        norm = np.sqrt(norm)
        low, high = 0.0, 0.0
        for t in range(tiles):
            error = 4.0 * ULP * (norm + tree.tile_norms[t])
            for leaf in range(LEAVES):
                squares[leaf] = np.float32(0)
            for k in range(d):
                for leaf in range(LEAVES):
                    y = tree.leaf_centers[t, k, leaf] - x[k]
                    squares[leaf] += y * y
            for leaf in range(LEAVES):
                square = np.float64(squares[leaf])
                mass = tree.leaf_masses[t, leaf]
                low += mass * max(0.0, np.sqrt(square) * (1.0 - slack) - error)
                high += mass * (np.sqrt(square + tree.leaf_variances[t, leaf]) * (1.0 + slack) + error)
        lower[c], upper[c] = low * (1.0 - 1e-12), high * (1.0 + 1e-12)
    return (last - first) * tiles * LEAVES
