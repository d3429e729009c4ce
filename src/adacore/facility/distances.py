"""Distances in double precision, from the caller's rows: these decide."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiling import Array, inlined, kernel
from adacore.facility.floating_point import CAREFUL, DOWN, SMALL, UP
from adacore.facility.tree import Tree


@inlined
def point(rows: Array, tree: Tree, position: int, out: Array) -> None:
    """Write the row at a position in the engine's units."""
    row, factor = tree.order[position], tree.factors[position]
    for k in range(out.size):
        out[k] = rows[row, k] * factor


@kernel
def small_distance(rows: Array, row: int, factor: float, x: Array) -> Any:
    """Compute ||x - y|| where squares may underflow: the rare part of ``distance_to``."""
    s, largest = 0.0, 0.0
    for k in range(x.size):
        # The largest difference decides: below SMALL every square is safe after scaling, and sqrt(s UP^2) DOWN is exact
        # but for the root, for UP is a power of two. Above it, what underflows is below 2^-62 of the largest square and
        # is not missed.
        y = rows[row, k] * factor - x[k]
        largest = max(largest, abs(y))
    up, down = (UP, DOWN) if largest < SMALL else (1.0, 1.0)
    for k in range(x.size):
        y = (rows[row, k] * factor - x[k]) * up
        s += y * y
    return np.sqrt(s) * down


@inlined
def square_of(rows: Array, row: int, factor: float, x: Array) -> Any:
    """Compute ||x - y||^2 dimension after dimension, y being a factor times a row; for ``root_of``."""
    # One dimension after the other, neither reordered nor fused (``kernel``): the same number on every machine, and in
    # either order of the two rows, for (x - y)^2 = (y - x)^2 to the last bit. Equal rows give exactly 0.
    s = 0.0
    for k in range(x.size):
        y = rows[row, k] * factor - x[k]
        s += y * y
    return s


@inlined
def root_of(square: float, rows: Array, row: int, factor: float, x: Array) -> Any:
    """Return the distance that belongs to a ``square_of`` these, which may have underflowed."""
    return np.sqrt(square) if square >= CAREFUL else small_distance(rows, row, factor, x)


@inlined
def distance_to(rows: Array, tree: Tree, x: Array, position: int) -> Any:
    """Compute ||x - y||, y being the row at a position."""
    row, factor = tree.order[position], tree.factors[position]
    return root_of(square_of(rows, row, factor, x), rows, row, factor, x)


@inlined
def distance_or_zero(rows: Array, tree: Tree, x: Array, position: int) -> Any:
    """Compute ||x - y||, or 0 where it counts as 0.

    Apart from ``distance_to``: asked there, the question makes writing lists take 1.8 times as long (10,000 x 10).
    """
    near = distance_to(rows, tree, x, position)
    return near if near > tree.same[0] else 0.0
