"""Squared distances of many points to one, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
