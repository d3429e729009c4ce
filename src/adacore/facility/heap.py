"""A heap of candidates, the one with the largest bound on top; among equal bounds the lowest row."""

from __future__ import annotations

from typing import Any

from adacore.facility.compiled import Array, kernel


@kernel
def above(keys: Array, rows: Array, positions: Array, a: int, b: int) -> Any:
    """Whether the entry at ``a`` belongs above the one at ``b``."""
    if keys[a] != keys[b]:
        return keys[a] > keys[b]
    return rows[positions[a]] < rows[positions[b]]


@kernel
def swap(keys: Array, positions: Array, a: int, b: int) -> None:
    """Exchange two entries."""
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
    swap(keys, positions, 0, size)
    sift_down(keys, positions, rows, size, 0)
    return size


@kernel
def pop_batch(keys: Array, positions: Array, rows: Array, size: int, threshold: float, most: int, out: Array) -> Any:
    """Remove at most so many of the top entries whose keys reach a threshold; return how many and the new size."""
    count = 0
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
        if new_keys[c] > 0.0:
            size = push(keys, positions, rows, size, new_keys[c], new_positions[c])
    return size
