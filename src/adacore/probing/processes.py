"""Processes that train together under ``torch.distributed``: who they are, and how they share results and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

Value = TypeVar("Value")

_PIECE = 16_000_000
"""Numbers that are added up over processes at a time: 64 MB in single precision, all that is copied at once."""


@dataclass(frozen=True)
class Processes:
    """The processes of the default group, or this one alone.

    Every method but those that share something out is a collective: all processes call it, in the same order. A single
    process does nothing.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.

    Example:
        >>> Processes.current()
        Processes(rank=0, size=1)
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        """Return the processes of ``torch.distributed``'s default group, where one is initialised."""
        # Asked each time and not kept: a loader may be made before init_process_group is called.
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, items: list[Value]) -> list[Value]:
        """Return every ``size``-th item, from number ``rank`` on.

        Example:
            >>> Processes(1, 3).share(["a", "b", "c", "d", "e"])
            ['b', 'e']
        """
        return items[self.rank :: self.size]

    def share_of_work(self, work: NDArray[np.float64]) -> list[int]:
        """Divide items among the processes, so that all have about as much to do; return this one's, ascending.

        The largest first, each to whoever has least so far: the longest share is then at most 4/3 of the best possible
        (Graham 1969).

        Args:
            work: What each item costs, in any unit, shape (items,); the same in every process.

        Example:
            >>> [Processes(rank, 2).share_of_work(np.array([5.0, 9.0, 4.0])) for rank in (0, 1)]
            [[1], [0, 2]]
        """
        loads, mine = np.zeros(self.size), list[int]()
        for item in np.argsort(-work, kind="stable"):
            rank = int(loads.argmin())
            loads[rank] += work[item]
            if rank == self.rank:
                mine.append(int(item))
        return sorted(mine)

    def gather(self, value: Value) -> list[Value]:
        """Return what every process passes, process by process, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _naming_the_lost():
            dist.all_gather_object(values, value)
        return values

    def add_up(self, array: NDArray[Any]) -> None:
        """Add up an array over all processes, in place. Where each row is zero but in one of them, that is exact.

        Args:
            array: Contiguous, of one shape and dtype in every process.
        """
        if self.size == 1:
            return
        flat = torch.from_numpy(array).view(-1)
        device = _device()
        # On the GPU (NCCL) a piece at a time is copied: the whole array may be larger than what is free there.
        for piece in torch.split(flat, _PIECE):
            moved = piece.to(device)
            with _naming_the_lost():
                dist.all_reduce(moved)
            piece.copy_(moved)

    def any(self, value: bool) -> bool:
        """Tell whether a value is true in some process."""
        count = np.array([value], dtype=np.int64)
        self.add_up(count)
        return bool(count[0])

    def from_the_first(self, value: Value) -> Value:
        """Return what process 0 passes, in every process."""
        if self.size == 1:
            return value
        box = [value if self.rank == 0 else None]
        with _naming_the_lost():
            dist.broadcast_object_list(box, src=0, device=_device())
        return box[0]  # type: ignore[return-value]

    def once(self, what: str, function: Callable[[], Value]) -> Value:
        """Call a function in process 0 alone, and return its result in every process; see ``together``."""
        result = self.together(what, lambda: None if self.rank else function())
        return self.from_the_first(result)  # type: ignore[return-value]

    def together(self, what: str, function: Callable[[], Value]) -> Value:
        """Call a function in every process; if it fails in one, raise in all of them, so that none waits for ever.

        Args:
            what: What it does, for the message.
            function: Must not call a collective.

        Returns:
            What it returns.

        Raises:
            RuntimeError: If it failed in another process; in this one the error itself is raised.
        """
        if self.size == 1:
            return function()
        error: Exception | None = None
        try:
            value = function()
        except Exception as raised:  # whatever it is, the other processes wait
            error = raised
        # All of them answer, failed or not: a process that raised at once would leave the others in a collective for
        # ever.
        messages = self.gather(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        failed = next((rank for rank, message in enumerate(messages) if message is not None), None)
        if failed is not None:
            raise RuntimeError(f"{what} failed in process {failed}: {messages[failed]}")
        return value


def _device() -> torch.device:
    """Return where tensors must be for the group's backend: NCCL takes those of the GPU only."""
    on_cpu = "cpu:" in str(dist.get_backend_config())
    return torch.device("cpu") if on_cpu else torch.device("cuda", torch.cuda.current_device())


@contextmanager
def _naming_the_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"process {dist.get_rank()} of {dist.get_world_size()} got no answer from the others: one has ended, or "
            "did not come to the same selection within the timeout= of init_process_group (10 minutes for NCCL and 30 "
            "for gloo, unless you passed another); look for its error"
        ) from error
