"""What computes for the duration of one selection, a pool of threads or a GPU, and how it is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# For each thread apart: two strata side by side, and two callers in threads of their own, know nothing of each other.
_enclosing = threading.local()


class Workers:
    """Threads that share out ranges of work; the caller's thread is one of them.

    Nothing is left running when the block ends, whatever ended it: work comes in small pieces, and between two of them
    everyone looks whether someone was interrupted. The pool lives for this block only, so that no forked
    ``DataLoader`` worker inherits threads that do not exist there.

    Args:
        threads: How many.
        stop: Set when the work is to be given up; a new one if None.
        device: The GPU that computes; None for the CPU.
    """

    def __init__(self, threads: int, stop: threading.Event | None = None, device: torch.device | None = None) -> None:
        self.threads = threads
        self.device = device
        self.stop = stop or threading.Event()
        # One fewer, for the caller's thread works too; with one thread there is no pool and no switching.
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Before the pool is waited for: whoever is still at work then gives up at its next look.
        if kind is not None:
            self.stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        # Ctrl-C while numba loads a kernel from its cache: numba then returns with the interruption still pending, and
        # Python reports that as a SystemError.
        if isinstance(error, SystemError) and isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__

    def check(self) -> None:
        """Give up if someone was interrupted.

        Raises:
            CancelledError: If so.
        """
        if self.stop.is_set():
            raise CancelledError

    def share(self, work: Callable[[int, int], int], count: int, chunk: int) -> int:
        """Call ``work(first, last)`` for every chunk of ``range(count)``.

        Args:
            work: What to do with a range, without holding the GIL; its results do not depend on how ranges are cut.
            count: How many there are.
            chunk: How many at a time.

        Returns:
            The sum of what the calls returned.
        """
        # One iterator for all threads, which ``next`` advances atomically under the GIL: who is free takes the next
        # chunk.
        ranges = iter(range(0, count, chunk))

        def loop() -> int:
            total = 0
            for first in ranges:
                # Between chunks, which are cut to some 0.1 s: that is how long an interruption waits at most.
                self.check()
                total += work(first, min(first + chunk, count))
            return total

        # A single chunk is done sooner than another thread wakes up.
        if self._pool is None or count <= chunk:
            return loop()
        others = [self._pool.submit(loop) for _ in range(min(self.threads, -(-count // chunk)) - 1)]
        try:
            total = loop()
            return total + sum(other.result() for other in others)
        # KeyboardInterrupt is none of ``Exception``; it arrives in the main thread alone, and the others have to be
        # told.
        except BaseException:
            self.stop.set()
            raise

    def side_by_side(self, function: Callable[[Item, Workers], Result], items: Sequence[Item]) -> list[Result]:
        """Call ``function(item, workers)`` for every item, each on one thread, started in the order given.

        What a function starts by ``open_workers`` runs on its one thread and gives up with the others.

        Args:
            function: What to do; its workers are the calling thread alone.
            items: What to do it to; put the largest first.

        Returns:
            The results, in the order of the items.
        """
        # A single item may use all threads itself.
        if self.threads == 1 or len(items) <= 1:
            return [function(item, self) for item in items]

        def run(item: Item) -> Result:
            # Nested calls find these and stay on this thread: threads times threads would fight for the cores.
            alone = _enclosing.workers = Workers(1, self.stop, self.device)
            alone.check()
            return function(item, alone)

        # As many threads as workers: here the caller only waits, where an interruption reaches it, and does not work.
        with ThreadPoolExecutor(min(self.threads, len(items))) as pool:
            futures = [pool.submit(run, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self.stop.set()
                # What has not begun never will; what has, sees the event. The ``with`` block then waits for it.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def open_workers(threads: int, device: torch.device | None = None) -> Workers:
    """Make workers, to be used in a ``with`` block.

    Args:
        threads: How many; inside ``Workers.side_by_side``, one and the same as what runs there.
        device: The GPU that computes; None for the CPU. Work for one is done by one thread: it is the GPU that is busy.

    Returns:
        The workers.
    """
    outside = enclosing_workers()
    if outside is None:
        return Workers(threads if device is None else 1, device=device)
    return Workers(outside.threads, outside.stop, device)


def enclosing_workers() -> Workers | None:
    """Return the workers of the ``side_by_side`` that this thread works for, or None."""
    workers: Workers | None = getattr(_enclosing, "workers", None)
    return workers
