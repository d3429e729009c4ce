"""How kernels are compiled: once, without holding the GIL, and kept on disk until a source of them changes."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
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
    # Only fused products: they change a result by one rounding less, and every bound on rounding holds with and
    # without.
    return _compile(function, {"contract"})


def reordering_kernel(function: Kernel) -> Kernel:
    """Compile as ``bounding_kernel`` does, and let a sum in a loop be split into lanes, so that it is vectorized.

    Numbers must be finite. For bounds whose error holds for sums in any order.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    # A sum in one accumulator waits for each addition; with ``reassoc`` it becomes several sums side by side. Without
    # ``nnan`` and ``ninf`` the compiler must keep max(x, 0) as a comparison that honours nan. gamma_d holds in any
    # order.
    return _compile(function, {"contract", "reassoc", "nsz", "nnan", "ninf"})


def borrowing_kernel(function: Kernel) -> Kernel:
    """Compile as ``kernel`` does, for a function that makes no array: it borrows its caller's, and counts nothing.

    Args:
        function: What to compile.

    Returns:
        The compiled function.
    """
    # numba counts a reference whenever an array is taken out of a tuple, in loops too, by two atomic additions. Where
    # nothing is allocated, nothing need be counted: ``list_gains.list_served`` takes 63 in place of 78 ms so (10,000 x
    # 10, k = 1,000, one core of an AMD EPYC).
    return _compile(function, False, counting=False)


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


def _compile(function: Kernel, fastmath: bool | set[str], *, counting: bool = True) -> Kernel:
    # error_model "numpy": a division by zero gives inf and no exception, whose check would stop vectorization.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    if not counting:
        options["_nrt"] = False
    try:
        compiled: Kernel = numba.njit(function, cache=True, **options)
        # numba looks only whether the file of this very function changed. But functions of other files are compiled
        # into it, and so are their constants: what is on disk is valid for the content of all of them, or not at all.
        compiled._cache._cache_file._source_stamp = sources_digest(function)  # type: ignore[attr-defined]
    except (RuntimeError, OSError, AttributeError, TypeError, KeyError):  # no folder, or numba changed inside
        options.pop("_nrt", None)
        compiled = numba.njit(function, **options)
    return compiled


def sources_digest(function: Callable[..., Any]) -> str:
    """Digest the sources that a kernel may be made of: the engine's modules with kernels, and those of its own folder.

    Args:
        function: The kernel.

    Returns:
        A text that differs whenever one of them does.
    """
    # Kernels of other rooms (convex losses) are built of their own folder's sources as well.
    return _digest(Path(__file__).parent) + _digest(Path(inspect.getfile(function)).parent)


@functools.cache
def _digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        # Sources and not times: a checkout or an installation changes times and no code.
        content = path.read_bytes()
        if b"facility.compiling import" in content or path == Path(__file__):
            digest.update(f"{path.relative_to(folder)}\0".encode() + content)
    return digest.hexdigest()
