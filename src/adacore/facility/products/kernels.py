"""Compiled passes over blocks of products: root, comparison and sums of a pair while it is in a register.

A block holds products for some candidates i and some clients j: -2 y_i . y_j in float32, with scales of 1, or q_i . q_j
of rows in 8 bits (see ``eight_bits``), with scales of -2 s_i and s_j. ``low`` are squared norms less what rounding may
add, so that ``block[i, j] * (scales[i] * scales[j]) + (low[i] + low[j])`` is at most the squared distance: what is
computed from it are upper bounds on gains, lower bounds on sums of distances, and lists that leave nobody out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, inlined, kernel, reordering_kernel
from adacore.facility.floating_point import CAREFUL, DOWN, SMALL, UP
from adacore.facility.products.rows import SUMS, UNIT_ROUNDOFF

ZERO = np.float32(0)

TERMS = 512
"""So many terms, all at least 0, are summed in single precision, and such sums in double."""

SUM_ROUNDING = 1 + (TERMS + 24) * UNIT_ROUNDOFF
"""What such a sum may fall short by, in any order: gamma_512 = 3e-5, and the roundings of each term."""


class ExactRows(NamedTuple):
    """Rows in double precision: row i is factors[i] * exact[which[i]].

    Attributes:
        exact: float32 or float64, shape (N, d).
        which: int64, shape (n,).
        factors: float64, shape (n,).
        same: Distances up to this count as 0.
    """

    exact: NDArray[Any]
    which: NDArray[np.int64]
    factors: NDArray[np.float64]
    same: float


class Side(NamedTuple):
    """A range of clients.

    Attributes:
        low: Squared norms less the bound on rounding, float32.
        scales: See the module's text, float32.
        minima: Distances to what is selected, rounded up, float32.
        weights: Rounded up, float32.
    """

    low: NDArray[np.float32]
    scales: NDArray[np.float32]
    minima: NDArray[np.float32]
    weights: NDArray[np.float32]


@reordering_kernel
def add_gains(block: Array, low_i: Array, scales_i: Array, clients: Side, gains: Array) -> None:
    """Add to the candidates' gains sum_j w_j max(0, m_j - d_ij), from above but for the rounding of the sum."""
    rows, columns = block.shape
    low_j, scales_j, minima, weights = clients
    for i in range(rows):
        a, scale = low_i[i], scales_i[i]
        # The sum of so many float32 terms is off by gamma_512 of itself, for all are at least 0; ``SUM_ROUNDING`` makes
        # up for it.
        for first in range(0, columns, TERMS):
            # Slices, counted from 0: an index from ``first`` on might be negative and wrap around for all that the
            # compiler knows, and it vectorizes the loop with gathers: 2.0 for 0.2 ns a pair (AMD EPYC, AVX-512).
            some = slice(first, min(first + TERMS, columns))
            products, scales, low, least, weight = (
                block[i, some],
                scales_j[some],
                low_j[some],
                minima[some],
                weights[some],
            )
            gain = ZERO
            for j in range(products.size):
                # At most the true distance: so what is saved is at least the true w_j max(0, m_j - d_ij), with m and w
                # rounded upwards.
                square = np.float32(products[j]) * (scale * scales[j]) + (a + low[j])
                gain += weight[j] * max(least[j] - np.sqrt(max(square, ZERO)), ZERO)
            gains[i] += np.float64(gain)


@reordering_kernel
def add_gains_of_both(block: Array, i_side: Side, j_side: Side, gains_i: Array, gains_j: Array) -> None:
    """Add gains where candidates and clients are the same rows: a pair off the diagonal counts for both of them."""
    rows, columns = block.shape
    low_i, scales_i, minima_i, weights_i = i_side
    low_j, scales_j, minima_j, weights_j = j_side
    # One for each column, at most 512 rows deep: no more terms than a row's sum has. They stay in the first-level
    # cache.
    column_gains = np.zeros(columns, np.float32)
    for i in range(rows):
        a, scale, minimum, weight, gain = low_i[i], scales_i[i], minima_i[i], weights_i[i], ZERO
        for j in range(columns):
            square = np.float32(block[i, j]) * (scale * scales_j[j]) + (a + low_j[j])
            distance = np.sqrt(max(square, ZERO))
            gain += weights_j[j] * max(minima_j[j] - distance, ZERO)
            column_gains[j] += weight * max(minimum - distance, ZERO)
        gains_i[i] += np.float64(gain)
    for j in range(columns):
        gains_j[j] += np.float64(column_gains[j])


@reordering_kernel
def add_distances(block: Array, low_i: Array, low_j: Array, weights: Array, sums: Array) -> None:
    """Add to the candidates' sums sum_j w_j d_ij, from below but for the rounding of the sum."""
    rows, columns = block.shape
    for i in range(rows):
        a = low_i[i]
        for first in range(0, columns, TERMS):
            # Slices for the reason given in ``add_gains``.
            some = slice(first, min(first + TERMS, columns))
            products, low, weight = block[i, some], low_j[some], weights[some]
            total = ZERO
            for j in range(products.size):
                # From below, but weights were rounded upwards: ``lower_sums`` takes both off.
                total += weight[j] * np.sqrt(max(products[j] + (a + low[j]), ZERO))
            sums[i] += np.float64(total)


@kernel
def scaled_row(rows: ExactRows, position: int, out: Array) -> None:
    """Write a row in double precision."""
    row, factor = rows.which[position], rows.factors[position]
    for k in range(out.size):
        out[k] = np.float64(rows.exact[row, k]) * factor


@inlined
def sum_squares(x: Array, exact: Array, row: int, factor: float, up: float, sums: Array) -> Any:
    """Sum (up (x_k - factor y_k))^2 over all k in the order of ``rows.fold_``, to the last bit."""
    d = x.size
    width, whole = min(SUMS, d), d // SUMS * SUMS
    for k in range(width):
        y = (x[k] - np.float64(exact[row, k]) * factor) * up
        sums[k] = y * y
    # As many numbers as eight vectors of AVX-512 hold, which stay in the first-level cache. Squares that are written
    # down first and then folded leave it when d is in the thousands.
    for first in range(SUMS, whole, SUMS):
        for k in range(SUMS):
            y = (x[first + k] - np.float64(exact[row, first + k]) * factor) * up
            sums[k] += y * y
    for k in range(max(whole, SUMS), d):
        y = (x[k] - np.float64(exact[row, k]) * factor) * up
        sums[k - whole] += y * y
    while width > 1:
        half = (width + 1) // 2
        for k in range(width - half):
            sums[k] += sums[half + k]
        width = half
    return sums[0]


@kernel
def small_distance(x: Array, exact: Array, row: int, factor: float) -> Any:
    """Compute a distance where squares may underflow, scaled as ``rows.small_distances`` scales."""
    largest = 0.0
    for k in range(x.size):
        largest = max(largest, abs(x[k] - np.float64(exact[row, k]) * factor))
    up, down = (UP, DOWN) if largest < SMALL else (1.0, 1.0)
    return np.sqrt(sum_squares(x, exact, row, factor, up, np.empty(SUMS))) * down


@inlined
def distance_to(x: Array, rows: ExactRows, position: int, sums: Array) -> Any:
    """Compute a distance in double precision, equal to ``rows.pair_distances`` bit by bit; ``sums`` has room for 64."""
    exact, row, factor = rows.exact, rows.which[position], rows.factors[position]
    s = sum_squares(x, exact, row, factor, 1.0, sums)
    distance = np.sqrt(s) if s >= CAREFUL else small_distance(x, exact, row, factor)
    # One comparison for each pair, beside d differences; nothing is below ``same`` but what counts as 0.
    return distance if distance > rows.same else 0.0


@kernel
def serve(
    squares: Array, limits: Array, minima: Array, first: int, x: Array, clients: ExactRows, served: Array,
    distances: Array,
) -> Any:  # fmt: skip
    """List the clients that a candidate x serves, with their distances in double precision; return how many.

    Clients are those from ``first`` on whose squared distances are bounded. Single precision spares the distance of
    whoever is provably nearer to what is selected.
    """
    count = 0
    sums = np.empty(SUMS)
    for j in range(squares.size):
        # ``squares`` is at most d^2, ``limits`` at least m^2: d < m implies that this holds, and nobody is left out.
        if squares[j] < limits[j]:
            distance = distance_to(x, clients, first + j, sums)
            if distance < minima[first + j]:
                served[count], distances[count] = first + j, distance
                count += 1
    return count
