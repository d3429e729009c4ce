"""k-means: seeding by squared distances (Arthur and Vassilvitskii, 2007) and Lloyd's iterations.

scikit-learn has both, but it is no part of the core, and its first import draws from Python's global random stream,
which selecting must leave alone. With one implementation the same seed also gives the same clusters everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adacore.selectors.distances import distances_among
from adacore.selectors.interruption import check_interrupted

_CELLS = 4_000_000
"""Distances computed at a time: 32 MB in double precision."""


def seeds_by_distance(
    n: int,
    k: int,
    distances: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    generator: np.random.Generator,
    *,
    first: int | None = None,
    trials: int = 1,
) -> NDArray[np.int64]:
    """Draw k of n points one after another, each with probability in proportion to its squared distance to the nearest.

    The expected sum of squared distances is at most 8 (ln k + 2) times the smallest possible for k centres.

    Args:
        n: How many points there are.
        k: How many to draw at most, in [1, n].
        distances: Returns the squared distances of all points to some of them, given their positions, float64, shape
            (positions, n); exactly 0 between duplicates.
        generator: The only source of randomness.
        first: The first point; None to draw it uniformly.
        trials: How many points to draw at each step, of which the one is kept that lowers the sum most.

    Returns:
        Positions in the order of their picks, int64; fewer than k where all others are duplicates of these.

    Example:
        >>> x = np.array([[0.0], [0.0], [9.0]])
        >>> picks = seeds_by_distance(3, 3, lambda rows: (x[rows] - x.T) ** 2, np.random.default_rng(0))
        >>> sorted(x[picks, 0])
        [np.float64(0.0), np.float64(9.0)]
    """
    picks = [int(generator.integers(n)) if first is None else first]
    # Only the distance to the nearest pick is kept, n numbers: each further pick can only lower it.
    nearest = distances(np.array(picks))[0]
    while len(picks) < k and nearest.max() > 0:
        check_interrupted()
        shares = np.cumsum(nearest / nearest.max())  # divided first, so that the sum does not overflow
        # side="right": a point at distance 0 has an interval of length 0, which is then never hit.
        drawn = np.searchsorted(shares, generator.random(trials) * shares[-1], side="right")
        drawn = np.minimum(drawn, n - 1)
        # All that were drawn at once: one product of matrices reads the points once for all of them.
        options = np.minimum(nearest, distances(drawn))
        # Greedy k-means++: of the points drawn, the one that leaves the smallest sum.
        best = int(np.argmin(options.sum(1)))
        picks.append(int(drawn[best]))
        nearest = options[best].copy()  # without the others, which would stay in memory
    return np.array(picks, dtype=np.int64)


def assign_to_centers(
    points: NDArray[np.float64], centers: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the nearest centre of each point.

    Args:
        points: float64, shape (n, d).
        centers: float64, shape (k, d).

    Returns:
        Its position, ties to the earlier one, int64, shape (n,), and the squared distance to it, float64, shape (n,).

    Example:
        >>> assign_to_centers(np.array([[1.0], [4.0]]), np.array([[0.0], [6.0]]))
        (array([0, 1]), array([1., 4.]))
    """
    squares = np.einsum("ij,ij->i", centers, centers)
    # At least one point at a time, however many centres there are.
    rows = max(1, _CELLS // len(centers))
    clusters, nearest = np.empty(len(points), np.int64), np.empty(len(points))
    for start in range(0, len(points), rows):
        chunk = points[start : start + rows]
        products = chunk @ centers.T
        products *= -2
        products += squares  # ||x - c||^2 less ||x||^2, which is the same for all centres
        own = products.argmin(1)
        clusters[start : start + rows] = own
        own_squares = np.einsum("ij,ij->i", chunk, chunk)
        # ||x||^2 + ||c||^2 - 2 x . c rounds to below zero where x lies on c.
        nearest[start : start + rows] = np.maximum(products[np.arange(len(chunk)), own] + own_squares, 0.0)
    return clusters, nearest


def k_means(
    points: NDArray[np.float64], k: int, iterations: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cluster points about k centres, making the sum of squared distances small.

    Args:
        points: float64, finite, shape (n, d).
        k: How many clusters at most, in [1, n].
        iterations: Rounds at most of assigning points to the nearest centre and moving centres to their points' mean.
        generator: The only source of randomness.

    Returns:
        The cluster of each point, int64, shape (n,), and the centres, shape (clusters, d). There are fewer than k where
        fewer points are distinct; none is empty.

    Example:
        >>> x = np.array([[0.0], [1.0], [8.0], [9.0]])
        >>> clusters, centers = k_means(x, 2, 10, np.random.default_rng(0))
        >>> bool(clusters[0] == clusters[1]), np.sort(centers, axis=0).ravel()
        (True, array([0.5, 8.5]))
    """
    # Trying several points at each step costs that much more time and spares Lloyd most of its bad local optima.
    trials = 2 + int(math.log(k))
    seeds = seeds_by_distance(len(points), k, distances_among(points), generator, trials=trials)
    centers = points[seeds]
    clusters = np.full(len(points), -1)
    for _ in range(iterations):
        check_interrupted()
        before, (clusters, nearest) = clusters, assign_to_centers(points, centers)
        # The same clusters have the same means: every further round would repeat this one.
        if np.array_equal(before, clusters):
            break
        counts = np.bincount(clusters, minlength=len(centers))
        for empty in np.flatnonzero(counts == 0):  # a centre that lost all its points goes to the farthest point
            far = int(nearest.argmax())
            # Its distance counts as 0 now, so that another empty centre goes to another point.
            counts[clusters[far]] -= 1
            clusters[far], nearest[far], counts[empty] = empty, 0.0, 1
        # reduceat adds up one after another, in the order of the points: sums do not depend on the number of threads.
        # No cluster is empty here, so that each begins where the ones before it end.
        order = np.argsort(clusters, kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        centers = np.add.reduceat(points[order], starts, axis=0) / counts[:, None]
    filled, clusters = np.unique(clusters, return_inverse=True)
    return clusters.astype(np.int64), centers[filled]


def nearest_to_centers(
    points: NDArray[np.float64], clusters: NDArray[np.int64], centers: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the point of each cluster that is nearest to its centre.

    Args:
        points: float64, shape (n, d).
        clusters: The cluster of each point, none empty, int64, shape (n,).
        centers: Shape (clusters, d).

    Returns:
        Positions, and sizes of their clusters, the largest cluster first, int64, shape (clusters,).

    Example:
        >>> nearest_to_centers(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1]), np.array([[0.2], [5.0]]))
        (array([0, 2]), array([2, 1]))
    """
    # From differences, not products: the nearest of several near points is told by digits that a product would cancel.
    differences = points - centers[clusters]
    distances = np.einsum("ij,ij->i", differences, differences)
    order = np.lexsort((distances, clusters))  # stable: ties in distance go to the lower index
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    largest_first = np.argsort(-sizes, kind="stable")
    return order[starts[largest_first]], sizes[largest_first]
