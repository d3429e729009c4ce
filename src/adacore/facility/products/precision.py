"""Settings of torch that hold while products are computed, and leave no trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_restore: Callable[[], None] | None = None


@contextmanager
def full_precision() -> Iterator[None]:
    """Let a product use one thread, and float32 in full.

    TF32 and bfloat16 products, which torch may be told to compute, keep 10 and 7 bits: the bound on rounding does not
    cover them. The engine shares blocks among threads of its own; a product that used more would fight them for cores.
    All these settings are the whole process': the first to enter notes them, the last to leave puts them back.
    """
    global _inside, _restore
    # Strata run in threads, each of which enters: counted, so that the first to leave changes nothing under the others.
    with _lock:
        if _inside == 0:
            _restore = _set()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _restore is not None:
                _restore()


def _set() -> Callable[[], None]:
    """Change the settings; return what puts them back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # What decides is whether torch has the newer setting: where it has, the older functions raise once both are used.
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # since torch 2.9; mixing it with the older names fails
        backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
        kept = [backend.fp32_precision for backend in backends]
        for backend in backends:
            backend.fp32_precision = "ieee"

        def restore() -> None:
            torch.set_num_threads(threads)
            for backend, precision in zip(backends, kept, strict=True):
                backend.fp32_precision = precision

        return restore
    precision, allowed = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    torch.set_float32_matmul_precision("highest")

    def restore_older() -> None:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cuda.matmul.allow_tf32 = allowed

    return restore_older
