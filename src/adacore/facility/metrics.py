"""The metrics, by name: how far two rows are from each other.

The engine knows one distance, the Euclidean one. A metric is a factor for each row, so that its distance is the
Euclidean one of ``unit[i] * rows[i]``, with a distance up to which two rows count as the same. A metric that can be
written so is a line in ``METRICS`` and a branch in ``units_of``.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unknown_name
from adacore.facility.arrays import Rows
from adacore.facility.sparse.compressed import CompressedRows

Metric = Literal["cosine", "euclidean"]

METRICS: tuple[str, ...] = get_args(Metric)

SHORTEST = 1e-270
"""Rows without a larger coordinate are refused by the cosine metric: 1 / ||x|| times 2^60 must be a float64."""

ROWS_AT_A_TIME = 16_384
"""Rows that are converted to float64 at once: 13 MB of scratch memory at d = 100."""


def check_metric(metric: str) -> None:
    """Refuse a name that is no metric's.

    Args:
        metric: The name.

    Raises:
        ValueError: If it is unknown.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)


def units_of(rows: Rows, n: int, metric: str) -> tuple[NDArray[np.float64], float]:
    """Find the factor of each row, and up to which distance two rows count as the same.

    Args:
        rows: Shape (N, d): those of ``x``, then those of ``clients=`` where given.
        n: How many are of ``x``, to name a row by in errors.
        metric: ``"euclidean"``: factors of 1. ``"cosine"``: 1 / ||x_i||, which gives the distance
            sqrt(2 - 2 cos); rounding of unit rows, a few 2^-53, must not part rows of one direction.

    Returns:
        Factors, float64, shape (N,), and the distance, in the caller's units.

    Raises:
        ValueError: If a row has no direction, and the metric is ``"cosine"``.
    """
    if metric == "euclidean":
        return np.ones(rows.shape[0]), 0.0
    # Coordinates of a unit row are off by 3 or 4 times 2^-53, and those of rows that someone has scaled by as much
    # again: in 60,000 random problems rows of one direction came out up to 1.3e-15 apart. 2^-49 is 1.8e-15.
    return _inverse_lengths(rows, n), 2.0**-49


def _inverse_lengths(rows: Rows, n: int) -> NDArray[np.float64]:
    """Compute 1 / ||x_i||, without overflow where squares would."""
    inverse = np.empty(rows.shape[0])
    if isinstance(rows, CompressedRows):
        from adacore.facility.sparse.kernels import inverse_lengths  # here, for it loads the compiler

        largest = rows.largest()
        _check_directions(largest, 0, n)
        inverse_lengths(rows, np.ldexp(1.0, -np.frexp(largest)[1]), inverse)
        return inverse
    for first in range(0, rows.shape[0], ROWS_AT_A_TIME):
        block = rows[first : first + ROWS_AT_A_TIME].astype(np.float64)
        # Squares of 1e200 overflow and those of 1e-200 underflow: the largest coordinate is brought near 1 by a power
        # of two.
        largest = np.abs(block).max(axis=1)
        _check_directions(largest, first, n)
        exponents = np.frexp(largest)[1]
        block = np.ldexp(block, -exponents[:, None])
        # NumPy's sum along rows is pairwise: its error does not grow with d. That of einsum grows as sqrt(d), so that
        # rows of one direction came out 2.5 times as far apart as ``Problem.same`` at d = 4,096; now 0.4 times.
        squares = np.square(block, out=block).sum(axis=1)
        inverse[first : first + len(block)] = np.ldexp(1 / np.sqrt(squares), -exponents)
    return inverse


def _check_directions(largest: NDArray[np.float64], first: int, n: int) -> None:
    """Refuse rows without a direction, from the largest coordinate of each row from ``first`` on."""
    if (largest < SHORTEST).any():
        row = first + int(np.argmin(largest))
        name = f"x[{row}]" if row < n else f"clients[{row - n}]"
        raise ValueError(f"{name} has length 0 and no direction: drop such rows, or pass metric='euclidean'")
