"""Distances in double precision, from the caller's rows: these decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiled import Array, inlined, kernel
from adacore.facility.tree import Tree

UNDERFLOWING = 2.0**-960
"""Sums of squares below this may have lost terms to underflow. They are taken again with differences times 2^600: the
largest, 2^-480, is then 2^120; the smallest subnormal one, 2^-1074, is 2^-474, whose square is a normal number."""

UP, DOWN = 2.0**600, 2.0**-600


@kernel
def point(rows: Array, tree: Tree, position: int, out: Array) -> None:
    """Write the row at a position in the engine's units."""
    row, factor = tree.order[position], tree.factors[position]
    for k in range(out.size):
        out[k] = rows[row, k] * factor


@kernel
def small_distance(rows: Array, row: int, factor: float, x: Array) -> Any:
    """Compute ||x - y|| where squares underflow; apart from ``distance_to``, for that is pasted."""
    s = 0.0
    for k in range(x.size):
        y = (rows[row, k] * factor - x[k]) * UP
        s += y * y
    return np.sqrt(s) * DOWN


@inlined
def distance_to(rows: Array, tree: Tree, x: Array, position: int) -> Any:
    """Compute ||x - y|| dimension after dimension, y being the row at a position."""
    row, factor = tree.order[position], tree.factors[position]
    s = 0.0
    for k in range(x.size):
        y = rows[row, k] * factor - x[k]
        s += y * y
    return np.sqrt(s) if s >= UNDERFLOWING else small_distance(rows, row, factor, x)
