"""Sorting rows by place, so that those near one another lie side by side: in leaves, and leaves in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.facility.compiling import Array, kernel


@kernel
def farthest(rows: Array, first: int, last: int, a: int) -> Any:
    """Find the row of a range that is farthest from row ``a``."""
    # Below every square, so that a range of equal rows still yields a position.
    best, where = -1.0, first
    for i in range(first, last):
        s = 0.0
        for k in range(rows.shape[1]):
            t = np.float64(rows[i, k]) - np.float64(rows[a, k])
            s += t * t
        if s > best:
            best, where = s, i
    return where


@kernel
def partition(keys: Array, rows: Array, order: Array, first: int, last: int, middle: int) -> None:
    """Quickselect rows by their keys: afterwards no key before ``middle`` exceeds one from it on."""
    # Selection of the middle is linear in the range, where sorting would add a factor log n at every level of the tree.
    low, high = first, last - 1
    while low < high:
        a, b, c = keys[low], keys[(low + high) // 2], keys[high]
        # The median of three: keys that are sorted already, as when the caller sorted the rows, do not make it
        # quadratic.
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        # Both scans stop at keys equal to the pivot, so that many equal keys (duplicates among the rows) are cut in
        # halves too.
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                order[i], order[j] = order[j], order[i]
                for k in range(rows.shape[1]):
                    rows[i, k], rows[j, k] = rows[j, k], rows[i, k]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@kernel
def sort_by_place(rows: Array, order: Array, begin: int, end: int, tile: int, leaf: int) -> None:
    """Halve a range along the line through two points far apart, again and again, until leaves are left.

    The two points: the one farthest from the first, and the one farthest from that. Cuts fall on multiples of a tile
    (of a leaf, within a tile) from where the range begins. Moves the rows, and their numbers in ``order``.
    """
    d = rows.shape[1]
    keys = np.empty(end)
    # Ranges are about halved, so that there are fewer than 64 levels for any int64, and depth first each leaves one
    # waiting.
    stack = np.empty((128, 2), np.int64)
    stack[0, 0], stack[0, 1] = begin, end
    depth = 1
    origin, direction = np.empty(d), np.empty(d)
    while depth > 0:
        depth -= 1
        first, last = stack[depth, 0], stack[depth, 1]
        size = last - first
        if size <= leaf:
            continue
        # The halves hold whole tiles (leaves), so that no tile straddles a cut and only the last one of a range is
        # short.
        unit = tile if size > tile else leaf
        middle = first + unit * max(1, (size // 2 + unit // 2) // unit)
        if middle >= last:
            middle = first + unit * ((size - 1) // unit)
        # Two scans find a pair at least half the diameter apart (triangle inequality through the first row), in O(n d);
        # principal directions of every range would cost O(n d^2).
        a = farthest(rows, first, last, first)
        b = farthest(rows, first, last, a)
        for k in range(d):
            origin[k] = rows[a, k]
            direction[k] = rows[b, k] - origin[k]
        # Projections decide only which leaf a row goes to. Their rounding changes no bound and no pick.
        for i in range(first, last):
            s = 0.0
            for k in range(d):
                s += (rows[i, k] - origin[k]) * direction[k]
            keys[i] = s
        partition(keys, rows, order, first, last, middle)
        stack[depth, 0], stack[depth, 1] = first, middle
        stack[depth + 1, 0], stack[depth + 1, 1] = middle, last
        depth += 2
