"""Threads for numerical work, without oversubscribing the cores and without pools that break a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_inside = threading.local()


def thread_count() -> int:
    """Number of threads that a call may use here: 1 inside ``run_in_threads``, else the cores that torch would use.

    Example:
        >>> thread_count() >= 1
        True
    """
    if getattr(_inside, "active", False):
        return 1
    import torch

    return max(
        1, min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 64, torch.get_num_threads())
    )


def run_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> list[Result]:
    """Apply a function that releases the GIL to every item, items started in the order given.

    The pool lives for this call only: nothing is left behind that a forked ``DataLoader`` worker could trip over.

    Args:
        function: What to do; nested calls of ``thread_count()`` in it return 1.
        items: What to do it to; put the largest first.
        threads: How many threads; ``thread_count()`` if None.

    Returns:
        The results, in the order of the items.

    Example:
        >>> run_in_threads(abs, [-3, 2])
        [3, 2]
    """
    work = list(items)
    threads = min(len(work), thread_count() if threads is None else threads)
    if threads <= 1:
        return [function(item) for item in work]

    def enter() -> None:
        _inside.active = True

    with ThreadPoolExecutor(threads, initializer=enter) as pool:
        return list(pool.map(function, work))
