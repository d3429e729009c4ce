"""Compiled passes over sparse rows: products in single precision for bounds, distances in double precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, bounding_kernel, kernel
from adacore.facility.floating_point import CAREFUL, DOWN, UP
from adacore.facility.sparse.compressed import CompressedRows

ZERO = np.float32(0)


class ByColumn(NamedTuple):
    """The entries of rows, column after column (CSC): who has something in a column is found without looking at others.

    Attributes:
        values: float32, shape (entries,).
        rows: The row of each, int32, ascending within a column.
        starts: Where each column begins, int64, shape (width + 1,).
    """

    values: NDArray[np.float32]
    rows: NDArray[np.int32]
    starts: NDArray[np.int64]


class ExactRows(NamedTuple):
    """Rows in double precision: row i is factors[i] times row which[i].

    Attributes:
        rows: All rows.
        which: int64, shape (n,).
        factors: float64, shape (n,).
        same: Distances up to this count as 0.
    """

    rows: CompressedRows
    which: NDArray[np.int64]
    factors: NDArray[np.float64]
    same: float


@kernel
def sort_by_column(rows: CompressedRows, values: Array, row_of: Array, starts: Array) -> None:
    """Write the entries column after column: a counting sort, each entry moved once; ``starts`` holds zeros."""
    for e in range(rows.columns.size):
        starts[rows.columns[e] + 1] += 1
    for k in range(1, starts.size):
        starts[k] += starts[k - 1]
    at = starts.copy()
    # Row after row, so that rows ascend within every column.
    for i in range(rows.starts.size - 1):
        for e in range(rows.starts[i], rows.starts[i + 1]):
            k = rows.columns[e]
            values[at[k]], row_of[at[k]] = rows.values[e], i
            at[k] += 1


@bounding_kernel
def multiply(rows: CompressedRows, which: Array, others: ByColumn, first: int, last: int, out: Array) -> None:
    """Write -2 x_i . y_j for some rows i and the others from ``first`` to ``last``, shape (rows, last - first).

    Each product sums as many terms as the two rows have columns in common, in single precision.
    """
    for p in range(which.size):
        for j in range(last - first):
            out[p, j] = ZERO
        i = which[p]
        for e in range(rows.starts[i], rows.starts[i + 1]):
            k = rows.columns[e]
            begin, end = others.starts[k], others.starts[k + 1]
            if first > 0:
                # By bisection: others ascend within a column.
                high = end
                while begin < high:
                    middle = (begin + high) // 2
                    if others.rows[middle] < first:
                        begin = middle + 1
                    else:
                        high = middle
            # A power of two: it rounds nothing.
            value = np.float32(-2) * rows.values[e]
            while begin < end and others.rows[begin] < last:
                out[p, others.rows[begin] - first] += value * others.values[begin]
                begin += 1


@kernel
def square_between(rows: CompressedRows, i: int, u: float, j: int, v: float, up: float) -> Any:
    """Sum (up (u x_ik - v x_jk))^2 over all columns k, in their order: those that neither row has would add 0."""
    columns, values = rows.columns, rows.values
    a, a_end, b, b_end = rows.starts[i], rows.starts[i + 1], rows.starts[j], rows.starts[j + 1]
    s = 0.0
    # Differences, not |x|^2 + |y|^2 - 2 x.y, which cancels: equal rows are at distance 0 exactly. Ascending columns in
    # either order of the two rows: the same bits, for (x - y)^2 = (y - x)^2.
    while a < a_end and b < b_end:
        if columns[a] == columns[b]:
            y = values[a] * u - values[b] * v
            a += 1
            b += 1
        elif columns[a] < columns[b]:
            y = values[a] * u
            a += 1
        else:
            y = values[b] * v
            b += 1
        y *= up
        s += y * y
    while a < a_end:
        y = values[a] * u * up
        s += y * y
        a += 1
    while b < b_end:
        y = values[b] * v * up
        s += y * y
        b += 1
    return s


@kernel
def distance_between(rows: CompressedRows, i: int, u: float, j: int, v: float, same: float) -> Any:
    """Compute ||u x_i - v x_j||, 0 where it counts as 0."""
    s = square_between(rows, i, u, j, v, 1.0)
    # Where squares underflow, differences are enlarged first; see ``floating_point.CAREFUL``.
    distance = np.sqrt(s) if s >= CAREFUL else np.sqrt(square_between(rows, i, u, j, v, UP)) * DOWN
    return distance if distance > same else 0.0


@kernel
def pair_distances(a: ExactRows, i: Array, b: ExactRows, j: Array, out: Array) -> None:
    """Write the distances of pairs: row i[p] of ``a``, row j[p] of ``b`` (j[0] where that is one for all)."""
    for p in range(i.size):
        x, y = i[p], j[p % j.size]
        out[p] = distance_between(a.rows, a.which[x], a.factors[x], b.which[y], b.factors[y], a.same)


@kernel
def serve(
    squares: Array, limits: Array, minima: Array, candidate: int, candidates: ExactRows, clients: ExactRows,
    served: Array, distances: Array,
) -> Any:  # fmt: skip
    """List the clients that are nearer to a candidate than to what is selected; return how many."""
    row, factor, count = candidates.which[candidate], candidates.factors[candidate], 0
    for j in range(squares.size):
        # ``squares`` is at most d^2 and ``limits`` at least m^2: d < m implies that this holds.
        if squares[j] < limits[j]:
            distance = distance_between(clients.rows, row, factor, clients.which[j], clients.factors[j], clients.same)
            if distance < minima[j]:
                served[count], distances[count] = j, distance
                count += 1
    return count


@kernel
def find_served(
    squares: Array, limits: Array, first: int, steps: Any, candidates: Array, lengths: Array, clients: Array,
    lower: Array,
) -> Any:  # fmt: skip
    """Write the lists of a block's candidates, one after the other, as in ``Part``; return how many, and their pairs.

    Whoever's squared distance, from below, is under its limit may be served. A lower bound on the distance is counted
    in whole ``steps``, rounded down.
    """
    lists, count = 0, 0
    for p in range(squares.shape[0]):
        begin = count
        for c in range(squares.shape[1]):
            if squares[p, c] < limits[c]:
                clients[count] = first + c
                lower[count] = np.int32(steps * np.sqrt(max(squares[p, c], ZERO)))
                count += 1
        if count > begin:
            candidates[lists], lengths[lists] = p, count - begin
            lists += 1
    return lists, count


@kernel
def inverse_lengths(rows: CompressedRows, scales: Array, out: Array) -> None:
    """Write 1 / ||x_i||, each row times scales[i] meanwhile, a power of two by which no square over- or underflows."""
    for i in range(out.size):
        scale = scales[i]
        # Compensated (Neumaier 1974), so that its error does not grow with the number of entries: rows of one direction
        # must come out within ``Problem.same``.
        total, lost = 0.0, 0.0
        for e in range(rows.starts[i], rows.starts[i + 1]):
            y = rows.values[e] * scale
            square = y * y
            sum_ = total + square
            lost += (total - sum_) + square if total >= square else (square - sum_) + total
            total = sum_
        out[i] = scale / np.sqrt(total + lost)


@kernel
def add_columns(exact: ExactRows, sums: Array) -> None:
    """Add up the rows, column by column."""
    rows = exact.rows
    for p in range(exact.which.size):
        i = exact.which[p]
        for e in range(rows.starts[i], rows.starts[i + 1]):
            sums[rows.columns[e]] += rows.values[e] * exact.factors[p]


@kernel
def distances_to_point(exact: ExactRows, point: Array, out: Array) -> None:
    """Write ||x_i - point|| for all rows and one dense point."""
    rows, square = exact.rows, 0.0
    for k in range(point.size):
        square += point[k] * point[k]
    for p in range(exact.which.size):
        i, factor = exact.which[p], exact.factors[p]
        own, covered = 0.0, 0.0
        for e in range(rows.starts[i], rows.starts[i + 1]):
            y = point[rows.columns[e]]
            covered += y * y
            y = rows.values[e] * factor - y
            own += y * y
        rest = square - covered
        # |point|^2 less what lies in the row's own columns cancels where these hold nearly all of it.
        if rest < 0.01 * square:
            rest, e = 0.0, rows.starts[i]
            for k in range(point.size):
                if e < rows.starts[i + 1] and rows.columns[e] == k:
                    e += 1
                else:
                    rest += point[k] * point[k]
        out[p] = np.sqrt(own + rest)
