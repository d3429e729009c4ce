"""What the kinds of floating-point numbers hold: where squares vanish, and what fits into float32."""

from __future__ import annotations

from typing import Any

import numpy as np

CAREFUL = 2.0**-960
"""Sums of squares below this may have lost terms to underflow, and are taken again, with differences times UP.

What is lost of a square is at most 2^-1074: of 2^-960 that is a share of 2^-114 a term, far below a rounding."""

UP, DOWN, SMALL = 2.0**600, 2.0**-600, 2.0**-480
"""Differences below SMALL are squared times UP: the largest, 2^120, is far from overflow; the smallest subnormal one,
2^-1074, becomes 2^-474, whose square is a normal number. DOWN takes the factor out of the root again, exactly."""

_EXACT_IN_FLOAT32 = {"float16", "float32", "bool", "int8", "uint8", "int16", "uint16"}


def float_kind(dtype: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    """Choose the kind of float that holds all numbers of a kind: float32 where it can, in half the memory.

    Args:
        dtype: Kind of number.

    Returns:
        The kind; distances are those of float64 either way.
    """
    return np.float32 if dtype.name in _EXACT_IN_FLOAT32 else np.float64
