"""Compiling what selects before anything is timed."""

from __future__ import annotations

import functools
import time

import numpy as np

from adacore.facility.selection import facility_location

ROWS = 1_500
PICKS = 150
"""Large enough for the tree, for products and for lists; the few rows of the second problem go to the matrix."""


@functools.cache
def prepare_kernels() -> float:
    """Compile the kernels of exact selection, or load them from disk where an earlier process has compiled them.

    Solves small problems, once in each process, so that no later selection waits for the compiler.

    Returns:
        Seconds that it took.

    Example:
        >>> prepare_kernels() >= 0
        True
    """
    start = time.perf_counter()
    for dtype in (np.float32, np.float64):
        # Both kinds of rows, for numba compiles a kernel for each type of argument; what follows reaches all three
        # engines.
        wide = np.random.default_rng(0).normal(size=(ROWS, 24)).astype(dtype)
        x = np.ascontiguousarray(wide[:, :3])
        facility_location(x, budget=PICKS, refine=True)
        facility_location(x[:100], budget=2)
        facility_location(wide, budget=PICKS)
        # Without lists, as many rows begin: their kernels would be compiled in a thread that hears no Ctrl-C.
        facility_location(wide, budget=2)
        facility_location(wide, budget=2, method="stochastic", seed=0)
    return time.perf_counter() - start
