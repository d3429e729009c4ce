"""Whom candidates may serve: found in a block of products, and written down list after list."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, borrowing_kernel, bounding_kernel, kernel
from adacore.facility.simd import VECTOR, append_below

ZERO = np.float32(0)


class Reach(NamedTuple):
    """A range of rows as candidates, and as clients that others may reach.

    Attributes:
        low: Squared norms less the bound on rounding, float32.
        scales: See ``kernels``, float32.
        limits: Squared distances to what is selected, rounded up, float32; at least to the end of the last vector of
            16, whatever comes after the last row.
        able: Which may be selected.
    """

    low: NDArray[np.float32]
    scales: NDArray[np.float32]
    limits: NDArray[np.float32]
    able: NDArray[np.bool_]


class Found(NamedTuple):
    """Room for pairs of a row and a column of a block, row after row, and a vector more: it is filled by whole vectors.

    Attributes:
        columns: uint16.
        squares: Lower bounds on squared distances, float32.
        ends: Where the pairs of each row end, int64, shape (rows,).
    """

    columns: NDArray[np.uint16]
    squares: NDArray[np.float32]
    ends: NDArray[np.int64]


class Part(NamedTuple):
    """Lists of some candidates, as far as the clients of one block go; whoever serves none of them has no list.

    Attributes:
        first_client: Where the block of clients begins.
        candidates: Which candidates of their block have a list, ascending, uint16, shape (lists,).
        lengths: How long it is, uint16, shape (lists,).
        clients: Which clients of their block are in the lists, one list after the other, a whole number, shape
            (pairs,).
        lower: Lower bounds on the distances, in steps, uint16, shape (pairs,).
    """

    first_client: int
    candidates: NDArray[np.uint16]
    lengths: NDArray[np.uint16]
    clients: NDArray[Any]
    lower: NDArray[np.uint16]


def make_room(rows: int, columns: int) -> Found:
    """Make room for all pairs of a block; memory that is never written to is never taken."""
    pairs = rows * columns + VECTOR
    return Found(np.empty(pairs, np.uint16), np.empty(pairs, np.float32), np.empty(rows, np.int64))


@bounding_kernel
def find_served(block: Array, i_side: Reach, j_side: Reach, both: bool, found: Found, found_for_columns: Found) -> None:
    """Find the pairs in which a client may be nearer to a candidate than to what is selected.

    Args:
        block: Products of rows and columns, float32 or int32, shape (rows, columns); see ``kernels``.
        i_side: The rows, candidates.
        j_side: The columns, their clients.
        both: Whether columns are candidates and rows their clients too.
        found: Filled with what the rows may serve.
        found_for_columns: Filled with what the columns may serve, if ``both``; whether a column may be selected is not
            asked.
    """
    rows, columns = block.shape
    # A row of the block at a time, filled up to whole vectors with what is below no limit. Not ``np.full``: the
    # compiler must see that nothing else points here, see ``compiling.inlined``.
    squares = np.empty((columns + VECTOR - 1) // VECTOR * VECTOR, np.float32)
    squares[columns:] = np.float32(np.inf)
    limit = np.empty(VECTOR, np.float32)
    count, count_for_columns = 0, 0
    for i in range(rows):
        a, scale = i_side.low[i], i_side.scales[i]
        for j in range(columns):
            squares[j] = np.float32(block[i, j]) * (scale * j_side.scales[j]) + (a + j_side.low[j])
        # ``squares`` is at most d_ij^2, ``limits`` at least m_j^2: d_ij < m_j implies that it is below.
        if i_side.able[i]:
            for first in range(0, columns, VECTOR):
                count = append_below(squares, first, j_side.limits, first, found.columns, found.squares, count)
        found.ends[i] = count
        if both:
            # As a column's client, the row has one limit: its own minimum.
            limit[:] = i_side.limits[i]
            for first in range(0, columns, VECTOR):
                count_for_columns = append_below(
                    squares, first, limit, 0, found_for_columns.columns, found_for_columns.squares, count_for_columns
                )
            found_for_columns.ends[i] = count_for_columns


@bounding_kernel
def count_steps(squares: Array, steps: Any) -> Any:
    """Return distances in whole steps, rounded down, uint16: a list's distances must not exceed the true ones.

    Args:
        squares: Lower bounds on squared distances, float32.
        steps: Steps for each unit of distance, float32.
    """
    # Here and not where pairs are found: the root is taken of those alone, 16 at a time.
    counted = np.empty(squares.size, np.uint16)
    for c in range(squares.size):
        counted[c] = np.int32(steps * np.sqrt(max(squares[c], ZERO)))
    return counted


@kernel
def lists_of_rows(found: Found, rows: int, steps: Any) -> Any:
    """Return what rows were found to serve as the last four fields of a ``Part``."""
    candidates, lengths = np.empty(rows, np.uint16), np.empty(rows, np.uint16)
    lists, begin = 0, 0
    for i in range(rows):
        end = found.ends[i]
        # Written always, counted if there is anything: no branch.
        candidates[lists], lengths[lists] = i, end - begin
        lists += end > begin
        begin = end
    clients, lower = found.columns[:begin].copy(), count_steps(found.squares[:begin], steps)
    return candidates[:lists].copy(), lengths[:lists].copy(), clients, lower


@kernel
def lists_of_columns(found: Found, rows: int, able: Array, steps: Any) -> Any:
    """Return what columns were found to serve as the last four fields of a ``Part``; only the able have lists."""
    total = found.ends[rows - 1]
    columns, counted = found.columns[:total], count_steps(found.squares[:total], steps)
    # A counting sort by column, stable: clients ascend within each list. Where each goes next:
    at = np.zeros(able.size, np.int64)
    for c in range(total):
        at[columns[c]] += 1
    candidates, lengths = np.empty(able.size, np.uint16), np.empty(able.size, np.uint16)
    lists, begin = 0, 0
    for j in range(able.size):
        length = at[j] if able[j] else 0
        candidates[lists], lengths[lists] = j, length
        lists += length > 0
        at[j] = begin
        begin += length
    clients, lower = np.empty(begin, np.uint16), np.empty(begin, np.uint16)
    first = 0
    for i in range(rows):
        for c in range(first, found.ends[i]):
            j = columns[c]
            if able[j]:
                clients[at[j]], lower[at[j]] = i, counted[c]
                at[j] += 1
        first = found.ends[i]
    return candidates[:lists].copy(), lengths[:lists].copy(), clients, lower


@kernel
def add_lengths(part: Part, lengths: Array) -> None:
    """Add the lengths of a part's lists to those of their candidates."""
    for c in range(part.candidates.size):
        lengths[part.candidates[c]] += part.lengths[c]


@borrowing_kernel
def copy_lists(part: Part, starts: Array, clients: Array, lower: Array) -> None:
    """Write a part's lists where they start; ``starts`` move to their ends."""
    first = part.first_client
    begin = 0
    for c in range(part.candidates.size):
        length, at = part.lengths[c], starts[part.candidates[c]]
        # Slices are counted from 0, so that the loops are vectorized; see ``kernels.add_gains``.
        given, to = part.clients[begin : begin + length], clients[at : at + length]
        for p in range(length):
            to[p] = first + given[p]
        bounds, bounds_to = part.lower[begin : begin + length], lower[at : at + length]
        for p in range(length):
            bounds_to[p] = bounds[p]
        begin += length
        starts[part.candidates[c]] = at + length
