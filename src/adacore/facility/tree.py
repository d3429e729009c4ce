"""Rows in the order of a ball tree of two levels: tiles of 512 points, each of 16 leaves of 32 points.

A position counts rows in this order. The engine bounds distances in float32, on coordinates that are centred, scaled
and, from 8 dimensions on, turned into principal axes. Distances that decide are taken in float64 from the rows given.

Why a float32 distance is off by so little. Let u = 2^-24, x and y rows in the engine's units, x' and y' their float32
coordinates. Rounding each coordinate gives ||x' - x|| <= u ||x'|| (1 + u), so the distance between x' and y' differs
from that between x and y by at most u (||x'|| + ||y'||) (1 + u). Each of the d differences and squares is rounded once
or twice and their sum d times: at most (d + 3) u relative to the square, (d / 2 + 2) u relative to its root, and the
root rounds once more. Squares that underflow, also where a processor flushes subnormal numbers to 0, lose at most
2^-126 each: sqrt(d) 2^-63 in the distance (``tiny``).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, kernel
from adacore.facility.problem import Problem
from adacore.facility.sorting import sort_by_place

TILE = 512
LEAF = 32
LEAVES = TILE // LEAF
"""A leaf's 32 points are two AVX-512 or four AVX2 registers of float32. A tile's 16 leaves and their centroids stay in
the second-level cache up to d = 100 (512 d 4 bytes)."""

ULP = 2.0**-24
"""u, half the distance of neighbouring float32 numbers: the relative error of one rounding."""

TILES_AT_A_TIME = 16
"""Tiles that are gathered in float64 at once: 8,192 rows, 6.5 MB at d = 100."""

AXES_SAMPLE = 10_000
"""Rows from which principal axes are estimated. They only order coordinates, so the estimate need not be good."""

CENTRE_SAMPLE = 1_001
"""Rows whose coordinatewise median is subtracted. A mean would follow outliers and leave the bulk of the rows with
large coordinates, hence a large error u ||x'||. Odd, so that equal rows give exactly themselves."""

HALVED = 8
"""From so many dimensions on, rows are turned into principal axes and distances looked at in two halves: below, the
second half costs less than asking for it."""


class Tree(NamedTuple):
    """Rows grouped so that those near one another lie side by side, coordinate by coordinate within a leaf.

    Clients come first; rows that are only candidates or initial follow with weight 0. The last tile is filled up with
    copies of the last row, of weight 0.

    Attributes:
        order: Number of the row at each position, int64, shape (n,).
        factors: What the caller's row is multiplied by, float64, shape (n,).
        coarse: Coordinates less their median, in principal axes where there are many, float32, shape (tiles * 16, d,
            32).
        weights: Weight of each point, float64, shape (tiles, 512).
        leaf_centers: Weighted centroid of each leaf of ``coarse``, float32, shape (tiles, d, 16).
        leaf_weights: Weight of each leaf, float64, shape (tiles, 16).
        leaf_norms: Sum of weights times norms of ``coarse`` in each leaf, float64, shape (tiles, 16).
        leaf_distances: Distance of each point to its leaf's centroid, float32, rounded up, shape (tiles, 512).
        tile_centers: Weighted centroid of each tile, float32, shape (d, tiles).
        tile_weights: Weight of each tile, float64, shape (tiles,).
        tile_distances: Distance of each point to its tile's centroid, float32, rounded up, shape (tiles, 512).
        tile_radii: Largest of ``tile_distances`` in each tile, float32, shape (tiles,).
        tile_norms: Largest norm of ``coarse`` in each tile, float64, shape (tiles,).
        tiny: By how much underflow (and ``same``) may make a float32 distance wrong.
        same: Distances up to this count as 0, float64, shape (1,).
    """

    order: NDArray[np.int64]
    factors: NDArray[np.float64]
    coarse: NDArray[np.float32]
    weights: NDArray[np.float64]
    leaf_centers: NDArray[np.float32]
    leaf_weights: NDArray[np.float64]
    leaf_norms: NDArray[np.float64]
    leaf_distances: NDArray[np.float32]
    tile_centers: NDArray[np.float32]
    tile_weights: NDArray[np.float64]
    tile_distances: NDArray[np.float32]
    tile_radii: NDArray[np.float32]
    tile_norms: NDArray[np.float64]
    tiny: float
    same: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.order.size)

    def positions_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find where rows stand.

        Args:
            rows: Their numbers, int64, all in the tree.

        Returns:
            Positions, int64, same shape.
        """
        if rows.size == 0:
            return np.empty(0, np.int64)
        by_row = np.argsort(self.order)
        positions: NDArray[np.int64] = by_row[np.searchsorted(self.order, rows, sorter=by_row)]
        return positions


def build_tree(problem: Problem) -> Tree:
    """Group the rows of a problem.

    Args:
        problem: The problem, in its own units.

    Returns:
        The tree.
    """
    # Clients first: gains are sums over clients, and tiles of nothing but candidates have weight 0, minima 0 and reach
    # 0, so that loops over tiles pass them by after the test of the tile's centroid.
    members = problem.members()
    n, d = members.size, problem.d
    order = np.arange(n)  # numbers of members, sorted in place below
    served = int((problem.weights > 0).sum())
    tiles = -(-n // TILE)
    # Coordinate by coordinate within a leaf: dimension k of its 32 points is one contiguous load of 128 bytes, and 32
    # squared distances grow in registers while k runs. Row by row, each distance would end in a sum across lanes.
    coarse = np.empty((tiles * LEAVES, d, LEAF), np.float32)
    centre = median_row(problem, members)
    # While rows are sorted they stand here row by row, and move with their numbers: every scan reads memory in order.
    # In float32, for a row's place decides no bound and no pick; centred, so that rows far from the origin stay apart.
    moving = coarse.reshape(-1, d)[:n]
    for first in range(0, n, TILES_AT_A_TIME * TILE):
        some = slice(first, first + TILES_AT_A_TIME * TILE)
        np.subtract(problem.scaled(members[some]), centre, out=moving[some], casting="same_kind")
    # Each part by itself, so that at most one leaf mixes clients with rows that nobody weighs.
    sort_by_place(moving, order, 0, served, TILE, LEAF)
    sort_by_place(moving, order, served, n, TILE, LEAF)
    weights = np.zeros((tiles, TILE))
    weights.reshape(-1)[:served] = problem.weights[problem.weights > 0][order[:served]]
    order = members[order]
    axes = principal_axes(problem, order)
    # A power of two moves only the exponent: the float64 rows stay exact in the engine's units.
    factors = np.ldexp(problem.unit[order], -problem.distance_exponent)
    # Centred and turned in float64, rounded to float32 once at the end: the error u ||x'|| of a coordinate is that of
    # the centred row, however far from the origin the rows lie. Turning changes no distance, ||A^T (x - y)|| = ||x -
    # y||.
    for first in range(0, tiles, TILES_AT_A_TIME):
        # Positions beyond the last repeat the last row: a finite copy needs no test in the kernels, and its weight 0
        # and minimum 0 keep it out of every sum.
        filled = np.minimum(np.arange(first * TILE, min(tiles, first + TILES_AT_A_TIME) * TILE), n - 1)
        rows = problem.scaled(order[filled])
        rows -= centre
        leaves = slice(first * LEAVES, first * LEAVES + filled.size // LEAF)
        coarse[leaves] = (rows if axes is None else rows @ axes).reshape(-1, LEAF, d).transpose(0, 2, 1)
    leaf_centers = np.empty((tiles, d, LEAVES), np.float32)
    tile_centers = np.empty((d, tiles), np.float32)
    leaf_stats, tile_stats = np.empty((2, tiles, LEAVES)), np.empty((3, tiles))
    leaf_distances, tile_distances = np.empty((tiles, TILE), np.float32), np.empty((tiles, TILE), np.float32)
    summarize(coarse, weights, leaf_centers, leaf_stats, leaf_distances, tile_centers, tile_stats, tile_distances)
    return Tree(
        order,
        factors,
        coarse,
        weights,
        leaf_centers,
        leaf_stats[0],
        leaf_stats[1],
        leaf_distances,
        tile_centers,
        tile_stats[0],
        tile_distances,
        tile_stats[1].astype(np.float32),
        tile_stats[2],
        # d squares of a candidate's distance and d of a centroid's may each have lost 2^-126: a root of d 2^-126 is
        # sqrt(d) 2^-63, doubled. A distance up to ``same`` counts as 0 in float64 and not in float32, hence the second
        # term.
        math.sqrt(d) * 2.0**-62 + problem.scaled_same(),
        np.array([problem.scaled_same()]),
    )


def median_row(problem: Problem, order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find the coordinatewise median of a sample of rows, in the engine's units.

    Subtracting any row whatever moves all points alike, so its own rounding is of no account.

    Args:
        problem: The problem.
        order: Rows to sample from.

    Returns:
        float64, shape (d,).
    """
    # Drawn, for rows at even steps may all be of one kind where a caller's rows come in turns.
    sample = order
    if order.size > CENTRE_SAMPLE:
        sample = order[np.random.default_rng(0).integers(0, order.size, CENTRE_SAMPLE)]
    centre: NDArray[np.float64] = np.median(problem.scaled(sample), axis=0)
    return centre


def principal_axes(problem: Problem, order: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Find the directions in which rows differ most, so that the first few coordinates tell most of a distance.

    Args:
        problem: The problem.
        order: Rows to sample from, shape (n,).

    Returns:
        Orthonormal columns, the direction of the largest variance first, shape (d, d); None where turning the rows
        would not pay: in few dimensions, or with so few rows that their axes cost more than they spare.
    """
    n, d = order.size, problem.d
    # The eigenvectors cost d^3, turning costs n d^2, and one pass over the pairs n^2 d: below n = 2 d the first two are
    # no longer less than a pass or two.
    if not HALVED <= d <= n // 2:
        return None
    sample = problem.scaled(order[:: -(-n // AXES_SAMPLE)])
    sample -= sample.mean(axis=0)
    # ``eigh`` sorts variances upwards; the largest come first, so that the first half of the dimensions carries most of
    # a squared distance and exceeds the limit (m + slack)^2 as often as it can.
    _, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, ::-1])


@kernel
def centroid(coarse: Array, weights: Array, t: int, first: int, last: int, center: Array) -> Any:
    """Write the weighted centroid of some points of a tile; return their weight."""
    total = 0.0
    for p in range(first, last):
        total += weights[t, p]
    for k in range(center.size):
        s = 0.0
        for p in range(first, last):
            # Any centre gives valid reaches, by the triangle inequality; the mean keeps the r_i, and so the reaches,
            # small.
            s += (weights[t, p] if total > 0 else 1.0) * coarse[t * LEAVES + p // LEAF, k, p % LEAF]
        center[k] = s / (total if total > 0 else last - first)
    return total


@kernel
def spread(coarse: Array, t: int, first: int, last: int, center: Array, distances: Array) -> Any:
    """Write distances to a center, rounded up; return the largest."""
    largest = 0.0
    for p in range(first, last):
        s = 0.0
        for k in range(center.size):
            # Distances between the float32 numbers as they are stored, centre included: what rounding did to them is
            # accounted for in ``measure_reach``, once, and not here.
            x = np.float64(coarse[t * LEAVES + p // LEAF, k, p % LEAF]) - np.float64(center[k])
            s += x * x
        # 4 u: float64's error is far below u, and the assignment to float32 may round down by u.
        distances[t, p] = np.sqrt(s) * (1.0 + 2.0**-22)
        largest = max(largest, distances[t, p])
    return largest


@kernel
def summarize(
    coarse: Array,
    weights: Array,
    leaf_centers: Array,
    leaf_stats: Array,
    leaf_distances: Array,
    tile_centers: Array,
    tile_stats: Array,
    tile_distances: Array,
) -> None:
    """Write the centroids of leaves and tiles, and what bounds rest on."""
    d, tiles = tile_centers.shape
    center = np.empty(d, np.float32)
    for t in range(tiles):
        for leaf in range(LEAVES):
            first = leaf * LEAF
            weight = centroid(coarse, weights, t, first, first + LEAF, center)
            spread(coarse, t, first, first + LEAF, center, leaf_distances)
            leaf_centers[t, :, leaf] = center
            leaf_stats[0, t, leaf] = weight
            leaf_stats[1, t, leaf] = 0.0
        weight = centroid(coarse, weights, t, 0, TILE, center)
        radius = spread(coarse, t, 0, TILE, center, tile_distances)
        tile_centers[:, t] = center
        tile_stats[0, t] = weight
        tile_stats[1, t] = radius
        norm = 0.0
        for p in range(TILE):
            s = 0.0
            for k in range(d):
                s += np.float64(coarse[t * LEAVES + p // LEAF, k, p % LEAF]) ** 2
            # sum w_i ||x_i|| of a leaf, the term of ``bound_gains`` that comes from rounding the clients' coordinates.
            leaf_stats[1, t, p // LEAF] += weights[t, p] * np.sqrt(s)
            norm = max(norm, s)
        tile_stats[2, t] = np.sqrt(norm)


@kernel
def coarse_point(tree: Tree, position: int, out: Array, row: int) -> Any:
    """Copy a point's single-precision coordinates into a row; return their norm."""
    s = 0.0
    for k in range(out.shape[1]):
        # Gathered once for each candidate: its coordinates lie 128 bytes apart in the tree, and are read by every leaf.
        out[row, k] = tree.coarse[position // LEAF, k, position % LEAF]
        s += np.float64(out[row, k]) ** 2
    return np.sqrt(s)
