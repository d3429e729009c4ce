"""Points in the order of a ball tree of two levels: tiles of 512 points, each of 16 leaves of 32 points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiled import Array, kernel
from adacore.facility.points import Points

TILE = 512
LEAF = 32
LEAVES = TILE // LEAF
ULP = 2.0**-24
TILES_AT_A_TIME = 16
SAMPLE = 10_000
HALVED = 8


class Tree(NamedTuple):
    """Points grouped so that those near one another lie side by side, coordinate by coordinate within a tile.

    Positions count the points in this order; the last tile is filled up with copies of mass 0.

    Attributes:
        order: Row of the point at each position, int64, shape (n,).
        exact: Coordinates, leaf by leaf, float64, shape (tiles * 16, d, 32).
        coarse: Coordinates less their mean, turned into principal axes where there are many, float32, same shape.
        masses: Mass of each point, float64, shape (tiles, 512).
        leaf_centers: Mass-weighted centroid of each leaf of ``coarse``, float32, shape (tiles, d, 16).
        leaf_masses: Mass of each leaf, shape (tiles, 16).
        leaf_norms: Sum of masses times norms of ``coarse`` in each leaf, shape (tiles, 16).
        leaf_distances: Distance of each point to its leaf's centroid, float32, rounded up, shape (tiles, 512).
        tile_centers: As above for each tile, float32, shape (d, tiles).
        tile_masses: Shape (tiles,).
        tile_distances: Shape (tiles, 512).
        tile_radii: Largest of ``tile_distances`` in each tile, float32, shape (tiles,).
        tile_norms: Largest norm of ``coarse`` in each tile, float64, shape (tiles,).
    """

    order: NDArray[np.int64]
    exact: NDArray[np.float64]
    coarse: NDArray[np.float32]
    masses: NDArray[np.float64]
    leaf_centers: NDArray[np.float32]
    leaf_masses: NDArray[np.float64]
    leaf_norms: NDArray[np.float64]
    leaf_distances: NDArray[np.float32]
    tile_centers: NDArray[np.float32]
    tile_masses: NDArray[np.float64]
    tile_distances: NDArray[np.float32]
    tile_radii: NDArray[np.float32]
    tile_norms: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.order.size)


def build_tree(points: Points) -> Tree:
    """Group points.

    Args:
        points: The points.

    Returns:
        The tree.
    """
    n, d = points.rows.shape
    order = np.arange(n)
    sort_into_leaves(points.rows, order)
    tiles = -(-n // TILE)
    masses = np.zeros(tiles * TILE)
    masses[:n] = points.masses[order]
    exact, coarse = np.empty((tiles * LEAVES, d, LEAF)), np.empty((tiles * LEAVES, d, LEAF), np.float32)
    mean, axes = points.rows.mean(axis=0), principal_axes(points.rows)
    for first in range(0, tiles, TILES_AT_A_TIME):
        # What is left over holds copies of the last point, of mass 0.
        filled = np.minimum(np.arange(first * TILE, min(tiles, first + TILES_AT_A_TIME) * TILE), n - 1)
        rows = points.rows[order[filled]]
        leaves = slice(first * LEAVES, first * LEAVES + filled.size // LEAF)
        exact[leaves] = rows.reshape(-1, LEAF, d).transpose(0, 2, 1)
        rows -= mean
        coarse[leaves] = (rows if axes is None else rows @ axes).reshape(-1, LEAF, d).transpose(0, 2, 1)
    masses = masses.reshape(tiles, TILE)
    leaf_centers = np.empty((tiles, d, LEAVES), np.float32)
    tile_centers = np.empty((d, tiles), np.float32)
    leaf_stats, tile_stats = np.empty((2, tiles, LEAVES)), np.empty((3, tiles))
    leaf_distances, tile_distances = np.empty((tiles, TILE), np.float32), np.empty((tiles, TILE), np.float32)
    summarize(coarse, masses, leaf_centers, leaf_stats, leaf_distances, tile_centers, tile_stats, tile_distances)
    return Tree(
        order,
        exact,
        coarse,
        masses,
        leaf_centers,
        leaf_stats[0],
        leaf_stats[1],
        leaf_distances,
        tile_centers,
        tile_stats[0],
        tile_distances,
        tile_stats[1].astype(np.float32),
        tile_stats[2],
    )


def principal_axes(rows: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Find the directions in which points differ most, so that the first few coordinates tell most of a distance.

    Args:
        rows: The points, shape (n, d).

    Returns:
        Orthonormal columns, the direction of the largest variance first, shape (d, d); None where turning the points
        would not pay.
    """
    n, d = rows.shape
    if not HALVED <= d <= n // 2:
        return None
    sample = rows[:: -(-n // SAMPLE)]
    sample = sample - sample.mean(axis=0)
    _, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, ::-1])


@kernel
def farthest(rows: Array, order: Array, first: int, last: int, point: Array) -> Any:
    """Find the row of a range that is farthest from a point."""
    best, where = -1.0, first
    for i in range(first, last):
        s = 0.0
        for k in range(rows.shape[1]):
            t = rows[order[i], k] - point[k]
            s += t * t
        if s > best:
            best, where = s, i
    return order[where]


@kernel
def partition(keys: Array, order: Array, first: int, last: int, middle: int) -> None:
    """Quickselect: afterwards no key before ``middle`` exceeds one from it on."""
    low, high = first, last - 1
    while low < high:
        a, b, c = keys[low], keys[(low + high) // 2], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@kernel
def sort_into_leaves(rows: Array, order: Array) -> None:
    """Halve along the line through two points far apart, again and again, until a leaf is left."""
    n, d = rows.shape
    keys = np.empty(n)
    stack = np.empty((128, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, n
    depth = 1
    direction = np.empty(d)
    while depth > 0:
        depth -= 1
        first, last = stack[depth, 0], stack[depth, 1]
        size = last - first
        if size <= LEAF:
            continue
        unit = TILE if size > TILE else LEAF
        middle = first + unit * max(1, (size // 2 + unit // 2) // unit)
        if middle >= last:
            middle = first + unit * ((size - 1) // unit)
        a = farthest(rows, order, first, last, rows[order[first]])
        b = farthest(rows, order, first, last, rows[a])
        for k in range(d):
            direction[k] = rows[b, k] - rows[a, k]
        for i in range(first, last):
            s = 0.0
            for k in range(d):
                s += (rows[order[i], k] - rows[a, k]) * direction[k]
            keys[i] = s
        partition(keys, order, first, last, middle)
        stack[depth, 0], stack[depth, 1] = first, middle
        stack[depth + 1, 0], stack[depth + 1, 1] = middle, last
        depth += 2


@kernel
def centroid(coarse: Array, masses: Array, t: int, first: int, last: int, center: Array) -> Any:
    """Write the mass-weighted centroid of some points of a tile; return their mass."""
    total = 0.0
    for p in range(first, last):
        total += masses[t, p]
    for k in range(center.size):
        s = 0.0
        for p in range(first, last):
            s += (masses[t, p] if total > 0 else 1.0) * coarse[t * LEAVES + p // LEAF, k, p % LEAF]
        center[k] = s / (total if total > 0 else last - first)
    return total


@kernel
def spread(coarse: Array, t: int, first: int, last: int, center: Array, distances: Array) -> Any:
    """Write distances to a center, rounded up; return the largest."""
    largest = 0.0
    for p in range(first, last):
        s = 0.0
        for k in range(center.size):
            x = np.float64(coarse[t * LEAVES + p // LEAF, k, p % LEAF]) - np.float64(center[k])
            s += x * x
        distances[t, p] = np.sqrt(s) * (1.0 + 2.0**-22)
        largest = max(largest, distances[t, p])
    return largest


@kernel
def summarize(
    coarse: Array,
    masses: Array,
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
            mass = centroid(coarse, masses, t, first, first + LEAF, center)
            spread(coarse, t, first, first + LEAF, center, leaf_distances)
            leaf_centers[t, :, leaf] = center
            leaf_stats[0, t, leaf] = mass
            leaf_stats[1, t, leaf] = 0.0
        mass = centroid(coarse, masses, t, 0, TILE, center)
        radius = spread(coarse, t, 0, TILE, center, tile_distances)
        tile_centers[:, t] = center
        tile_stats[0, t] = mass
        tile_stats[1, t] = radius
        norm = 0.0
        for p in range(TILE):
            s = 0.0
            for k in range(d):
                s += np.float64(coarse[t * LEAVES + p // LEAF, k, p % LEAF]) ** 2
            leaf_stats[1, t, p // LEAF] += masses[t, p] * np.sqrt(s)
            norm = max(norm, s)
        tile_stats[2, t] = np.sqrt(norm)


@kernel
def point(tree: Tree, position: int, out: Array) -> None:
    """Copy a point's coordinates."""
    for k in range(out.size):
        out[k] = tree.exact[position // LEAF, k, position % LEAF]


@kernel
def coarse_point(tree: Tree, position: int, out: Array, row: int) -> Any:
    """Copy a point's single-precision coordinates into a row; return their norm."""
    s = 0.0
    for k in range(out.shape[1]):
        out[row, k] = tree.coarse[position // LEAF, k, position % LEAF]
        s += np.float64(out[row, k]) ** 2
    return np.sqrt(s)


@kernel
def distance_to(tree: Tree, x: Array, position: int) -> Any:
    """Distance in double precision, dimension after dimension."""
    s = 0.0
    for k in range(x.size):
        y = tree.exact[position // LEAF, k, position % LEAF] - x[k]
        s += y * y
    return np.sqrt(s)
