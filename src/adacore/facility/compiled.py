"""How the engine's kernels are compiled: once, kept on disk where that is possible, without holding the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile a function of arrays with numba: no GIL, no reordering of floating-point sums, cached on disk.

    Where no folder can be written to (a read-only installation without a home), it is compiled anew in each process.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    try:
        compiled: Kernel = numba.njit(function, nogil=True, cache=True, error_model="numpy")
    except (RuntimeError, OSError):
        compiled = numba.njit(function, nogil=True, error_model="numpy")
    return compiled
