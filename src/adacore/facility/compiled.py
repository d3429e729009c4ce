"""How the engine's kernels are compiled: once, kept on disk where that is possible, without holding the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numpy.typing import NDArray

Array = NDArray[Any]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile a function of arrays with numba: no GIL, no reordering of floating-point sums, cached on disk.

    Where no folder can be written to (a read-only installation without a home), it is compiled anew in each process.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    return _compile(function, False)


def bounding_kernel(function: Kernel) -> Kernel:
    """Compile as ``kernel`` does, but let sums be reordered and products fused: for bounds, which decide nothing.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    return _compile(function, {"contract"})


def reordering_kernel(function: Kernel) -> Kernel:
    """Compile as ``bounding_kernel`` does, and let a sum in a loop be split into lanes, so that it is vectorized.

    Numbers must be finite. For bounds whose error holds for sums in any order.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    return _compile(function, {"contract", "reassoc", "nsz", "nnan", "ninf"})


def inlined(function: Kernel) -> Kernel:
    """Paste a function into the kernels that call it.

    A loop over scratch memory is only vectorized where the compiler sees that memory being allocated, and so knows that
    nothing else points to it.

    Args:
        function: What to paste.

    Returns:
        The function, for kernels to call.
    """
    pasted: Kernel = numba.njit(function, nogil=True, error_model="numpy", inline="always")
    return pasted


def _compile(function: Kernel, fastmath: bool | set[str]) -> Kernel:
    try:
        compiled: Kernel = numba.njit(function, nogil=True, cache=True, error_model="numpy", fastmath=fastmath)
    except (RuntimeError, OSError):
        compiled = numba.njit(function, nogil=True, error_model="numpy", fastmath=fastmath)
    return compiled
