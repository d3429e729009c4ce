"""Farthest-first traversal: the greedy 2-approximation of the k-center problem (Gonzalez, 1985)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.selectors.interruption import check_interrupted

_ROWS = 4096


def squared_distances(points: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute ``||x_i - c||^2`` from differences, which do not cancel, a few thousand rows at a time.

    Args:
        points: x, float64, shape (n, d).
        center: c, float64, shape (d,).

    Returns:
        float64, shape (n,).

    Example:
        >>> squared_distances(np.array([[0.0], [3.0]]), np.array([1.0]))
        array([1., 4.])
    """
    squares = np.empty(len(points))
    for start in range(0, len(points), _ROWS):
        differences = points[start : start + _ROWS] - center
        squares[start : start + _ROWS] = np.einsum("ij,ij->i", differences, differences)
    return squares


def farthest_first(points: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Pick the point nearest to the mean, then again and again the point farthest from all picked.

    The largest distance to a pick is at most twice the smallest possible for as many picks. Stops when every point is a
    duplicate of a pick. Ties go to the lower index, and a point belongs to the first of its nearest picks.

    Args:
        points: float64, shape (n, d).
        k: How many to pick at most, in [1, n].

    Returns:
        The picks in order, int64, shape (m,); how many points belong to each, int64, shape (m,); the largest distance.

    Example:
        >>> farthest_first(np.array([[0.0], [1.0], [5.0]]), 2)
        (array([1, 2]), array([2, 1]), 1.0)
    """
    # Any first point keeps the factor of 2; the one nearest to the mean does not depend on the order of the points.
    picks = [int(squared_distances(points, points.mean(0)).argmin())]
    nearest = squared_distances(points, points[picks[0]])
    owners = np.zeros(len(points), dtype=np.int64)
    while len(picks) < k and nearest.max() > 0:
        check_interrupted()
        picks.append(int(nearest.argmax()))
        distances = squared_distances(points, points[picks[-1]])
        # Strictly: a point at the same distance of two picks stays with the earlier one.
        closer = distances < nearest
        owners[closer] = len(picks) - 1
        np.minimum(nearest, distances, out=nearest)
    return np.array(picks), np.bincount(owners, minlength=len(picks)), float(np.sqrt(nearest.max()))


def largest_distance(points: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    """Compute ``max_i min_{j in S} ||x_i - x_j||``.

    Args:
        points: float64, shape (n, d).
        chosen: S, int64, shape (k,), k at least 1.

    Returns:
        The radius that covers all points.

    Example:
        >>> largest_distance(np.array([[0.0], [1.0], [5.0]]), np.array([1, 2]))
        1.0
    """
    nearest = np.full(len(points), np.inf)
    for row in chosen:
        np.minimum(nearest, squared_distances(points, points[row]), out=nearest)
    return float(np.sqrt(nearest.max()))
