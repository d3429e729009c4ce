"""Candidates by their upper bounds: a heap, the largest bound on top; among equal bounds the lowest row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, kernel


@kernel
def above(keys: Array, rows: Array, positions: Array, a: int, b: int) -> Any:
    """Whether the entry at ``a`` belongs above the one at ``b``."""
    # Ties by row make the order total: what is popped does not depend on how the heap came about.
    if keys[a] != keys[b]:
        return keys[a] > keys[b]
    return rows[positions[a]] < rows[positions[b]]


@kernel
def swap(keys: Array, positions: Array, a: int, b: int) -> None:
    """Exchange two entries."""
    # Two arrays side by side rather than Python tuples in ``heapq``: kernels can take them without the GIL.
    keys[a], keys[b] = keys[b], keys[a]
    positions[a], positions[b] = positions[b], positions[a]


@kernel
def sift_down(keys: Array, positions: Array, rows: Array, size: int, i: int) -> None:
    """Let an entry sink to where it belongs."""
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and above(keys, rows, positions, child + 1, child):
            child += 1
        if not above(keys, rows, positions, child, i):
            return
        swap(keys, positions, i, child)
        i = child


@kernel
def heapify(keys: Array, positions: Array, rows: Array, size: int) -> None:
    """Make a heap of entries in any order."""
    # From the last parent up: linear in the size, where pushing one by one takes size log(size) steps.
    for i in range(size // 2 - 1, -1, -1):
        sift_down(keys, positions, rows, size, i)


@kernel
def push(keys: Array, positions: Array, rows: Array, size: int, key: float, position: int) -> Any:
    """Add an entry; return the new size."""
    i = size
    keys[i], positions[i] = key, position
    while i > 0:
        parent = (i - 1) // 2
        if not above(keys, rows, positions, i, parent):
            break
        swap(keys, positions, i, parent)
        i = parent
    return size + 1


@kernel
def pop(keys: Array, positions: Array, rows: Array, size: int) -> Any:
    """Remove the top entry, leaving it just behind the heap; return the new size."""
    size -= 1
    # The popped entry stays behind the heap, in room that is free: ``pop_batch`` reads the position before.
    swap(keys, positions, 0, size)
    sift_down(keys, positions, rows, size, 0)
    return size


@kernel
def pop_batch(keys: Array, positions: Array, rows: Array, size: int, threshold: float, most: int, out: Array) -> Any:
    """Remove at most so many of the top entries whose keys reach a threshold; return how many and the new size."""
    count = 0
    # A bound of 0 means that nothing is gained, now or later: such candidates never count as a pick.
    while size > 0 and count < most and keys[0] > 0.0 and keys[0] >= threshold:
        out[count] = positions[0]
        count += 1
        size = pop(keys, positions, rows, size)
    return count, size


@kernel
def push_batch(
    keys: Array, positions: Array, rows: Array, size: int, new_keys: Array, new_positions: Array, count: int
) -> Any:
    """Add entries, but for those with nothing to gain; return the new size."""
    for c in range(count):
        # Whoever has nothing to gain never will, by submodularity: forgotten for good.
        if new_keys[c] > 0.0:
            size = push(keys, positions, rows, size, new_keys[c], new_positions[c])
    return size


class CandidateQueue:
    """Candidates with something to gain, by upper bounds on their gains.

    By submodularity gains only fall as points are selected, so a bound that held once holds for good.

    Args:
        rows: Number of the row at each position, int64, shape (n,): among equal bounds the lowest comes first.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        # Room for all from the start: at most every row is in the queue, and kernels can't grow an array.
        self.bounds, self.positions = np.empty(rows.size), np.empty(rows.size, np.int64)
        self.size = 0

    def fill(self, positions: NDArray[np.int64], bounds: NDArray[np.float64]) -> None:
        """Start anew with these candidates, but for those that have nothing to gain."""
        useful = bounds > 0
        self.size = int(useful.sum())
        self.bounds[: self.size] = bounds[useful]
        self.positions[: self.size] = positions[useful]
        heapify(self.bounds, self.positions, self.rows, self.size)

    def largest(self) -> float:
        """Return the largest bound; 0 if nobody is left."""
        return float(self.bounds[0]) if self.size else 0.0

    def pop(self, threshold: float, most: int) -> NDArray[np.int64]:
        """Remove at most so many of the top candidates, as long as their bounds reach a threshold.

        Returns:
            Their positions, ascending, so that neighbours are evaluated together.
        """
        popped = np.empty(min(most, self.size), np.int64)
        count, self.size = pop_batch(self.bounds, self.positions, self.rows, self.size, threshold, popped.size, popped)
        return np.sort(popped[:count])

    def push(self, positions: NDArray[np.int64], bounds: NDArray[np.float64]) -> None:
        """Put candidates back, but for those that have nothing to gain."""
        self.size = push_batch(self.bounds, self.positions, self.rows, self.size, bounds, positions, positions.size)

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return copies of positions and bounds, in no order."""
        return self.positions[: self.size].copy(), self.bounds[: self.size].copy()
