"""Distances in double precision, from the caller's rows: these decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiled import Array, inlined, kernel
from adacore.facility.tree import UNDERFLOWING, Tree

UP, DOWN = 2.0**600, 2.0**-600


@kernel
def point(rows: Array, tree: Tree, position: int, out: Array) -> None:
    """Write the row at a position in the engine's units."""
    row, factor = tree.order[position], tree.factors[position]
    for k in range(out.size):
        out[k] = rows[row, k] * factor


@kernel
def small_distance(rows: Array, row: int, factor: float, x: Array, s: float, same: float) -> Any:
    """Compute ||x - y|| from its square s: anew where squares underflow, and 0 where it counts as 0.

    Apart from ``distance_to``, which is pasted into every kernel.
    """
    near = np.sqrt(s)
    if s < UNDERFLOWING:
        s = 0.0
        for k in range(x.size):
            y = (rows[row, k] * factor - x[k]) * UP
            s += y * y
        near = np.sqrt(s) * DOWN
    return near if near > same else 0.0


@inlined
def distance_to(rows: Array, tree: Tree, x: Array, position: int) -> Any:
    """Compute ||x - y|| dimension after dimension, y being the row at a position."""
    row, factor = tree.order[position], tree.factors[position]
    s = 0.0
    for k in range(x.size):
        y = rows[row, k] * factor - x[k]
        s += y * y
    return np.sqrt(s) if s >= tree.careful else small_distance(rows, row, factor, x, s, tree.same)
