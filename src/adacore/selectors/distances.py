"""Squared distances of many points to one or a few, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096

_CANCELLED = 1e-9
"""A squared distance from products below this share of |x|^2 + |y|^2 is computed again from the difference: the
products' rounding, some d * 1e-16 of the same, is then at most a millionth of what is kept."""


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


def distances_among(points: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Return what computes squared distances from some of the points to all of them.

    ``||x - y||^2 = ||x||^2 + ||y||^2 - 2 x . y`` takes one product of matrices, a tenth of the time of differences at
    384 dimensions. Where it cancels (near points, and duplicates, at distance exactly 0) differences are taken.

    Args:
        points: x, float64, shape (n, d).

    Returns:
        A function of m positions, which returns float64, shape (m, n).

    Example:
        >>> distances_among(np.array([[0.0], [3.0], [3.0]]))(np.array([1]))
        array([[9., 0., 0.]])
    """
    # About their mean, distances are what they were and lengths are smaller: less cancels.
    centred = points - points.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred)

    def to(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        lengths = squares[rows, None] + squares
        distances = centred[rows] @ centred.T
        distances *= -2
        distances += lengths
        which, near = np.nonzero(distances <= _CANCELLED * lengths)
        for start in range(0, len(near), _ROWS):  # few, but where most points are duplicates
            part = slice(start, start + _ROWS)
            differences = points[near[part]] - points[rows[which[part]]]
            distances[which[part], near[part]] = np.einsum("ij,ij->i", differences, differences)
        return np.asarray(distances)

    return to
