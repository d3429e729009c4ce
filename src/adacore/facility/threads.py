"""Threads for numerical work, without oversubscribing the cores and without pools that break a fork."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import TypeVar

from adacore.facility.workers import Workers, enclosing_workers

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Number of threads that a call may use here: 1 inside ``run_in_threads``, else the cores that torch would use.

    Example:
        >>> thread_count() >= 1
        True
    """
    # Within ``side_by_side`` the other cores are taken.
    outside = enclosing_workers()
    if outside is not None:
        return outside.threads
    import torch  # 1 s, and not needed to import the engine

    # What this process may run on: in a container, or under taskset, that is less than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, torch.get_num_threads()))


def check_threads(threads: int | None) -> int:
    """Check a number of threads.

    Args:
        threads: What was passed; ``thread_count()`` if None.

    Returns:
        The number.

    Raises:
        ValueError: If it is below 1.
        TypeError: If it is no whole number.
    """
    if threads is None:
        return thread_count()
    if isinstance(threads, bool) or not isinstance(threads, Integral):
        raise TypeError(f"threads={threads!r} is not a whole number: pass an int >= 1, or None for all that torch uses")
    if threads < 1:
        raise ValueError(f"threads={threads} is below 1: pass an int >= 1, or None for all that torch uses")
    return int(threads)


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
    with Workers(thread_count() if threads is None else threads) as workers:
        return workers.side_by_side(lambda item, _: function(item), list(items))
