"""One facility location problem, checked: who is to be served, who may be selected, who is selected already."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility.arrays import DenseRows, Rows, as_positions, as_rows, as_rows_of_both, as_weights
from adacore.facility.metrics import ROWS_AT_A_TIME, check_metric, units_of
from adacore.facility.sparse.compressed import CompressedRows

SPREAD_EXPONENT = 58
"""Distances of a problem are scaled to at most 2^59, so that their squares (2^118) fit float32 (2^128) with room for
sums, and distances down to 2^-62 have squares above float32's smallest normal number, 2^-126: 36 decimal orders of
magnitude between the largest distance and the smallest that single precision can tell from 0."""

LEAST_EXPONENT = -1000
"""Rows are multiplied by 2^-exponent, which must itself be a float64."""

LEAST_COSINE_EXPONENT = -59
"""Keeps what counts as 0, 2^-49, at most 2^10 in the engine's units; see ``floating_point.CAREFUL``."""

COMFORTABLE_EXPONENT = 20
"""Products of blocks compute in the caller's units where the largest distance is within 2^-20 to 2^20: squares are then
far from the limits of float32, 2^-126 and 2^128, and rows that need no scaling need no copy."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise L(S) = sum_i w_i min_{j in S or initial} d(x_i, x_j) over clients i, with S among the candidates.

    Distances are Euclidean between ``unit[i] * rows[i]``; the metric is in ``unit``. The engine works in units of its
    own, in which no square over- or underflows: distances are divided by 2^distance_exponent, weights by
    2^weight_exponent, both chosen for this problem's clients and candidates (so each stratum has its own). With the
    largest distance near 2^58 and 2^-1074 the least number of float64, differences 10^340 times smaller than the
    largest are lost; differences of float64 numbers about as large as the largest are 10^16 times smaller at most.

    Attributes:
        rows: All rows: those of ``x``, then those of ``clients=`` where given. float32 or float64, C-contiguous,
            shape (N, d), or compressed where they are sparse. The caller's own memory where possible; never written to.
        unit: Factor of each row, float64, shape (N,): 1, or 1 / ||x_i|| for the cosine metric.
        clients: Rows to be served, int64, ascending, shape (m,).
        weights: w of each client, float64, shape (m,), divided by 2^weight_exponent: the largest is in [1, 2).
        candidates: Rows that may be selected, int64, ascending, none of ``initial``, shape (c,).
        initial: Rows that are selected already, int64, in the caller's order, shape (r,).
        same: Distances up to this, in the caller's units, count as 0: 0, or 2^-49 for the cosine metric, where rounding
            of unit rows (a few 2^-53) must not part rows of one direction.
        distance_exponent: See above.
        weight_exponent: See above.
    """

    rows: Rows
    unit: NDArray[np.float64]
    clients: NDArray[np.int64]
    weights: NDArray[np.float64]
    candidates: NDArray[np.int64]
    initial: NDArray[np.int64]
    same: float = 0.0
    distance_exponent: int = 0
    weight_exponent: int = 0

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.rows.shape[1])

    def members(self) -> NDArray[np.int64]:
        """Return all rows that matter, int64: clients of positive weight first, then other candidates and initial."""
        # Rows that nobody weighs would still stretch tiles, and move the median.
        served = self.clients if self.weights.all() else self.clients[self.weights > 0]
        others = np.union1d(self.candidates, self.initial) if self.initial.size else self.candidates
        if np.array_equal(served, others):  # the usual case needs no sorting
            return served
        return np.concatenate([served, np.setdiff1d(others, served, assume_unique=True)])

    @property
    def sparse(self) -> bool:
        """Whether the rows are compressed: products of sparse rows compare them."""
        return isinstance(self.rows, CompressedRows)

    @property
    def product_exponent(self) -> int:
        """The exponent e with which products of blocks compute distances in units of 2^e of the caller's; mostly 0."""
        # In the caller's units the largest distance is near 2^(distance_exponent + SPREAD_EXPONENT).
        largest = self.distance_exponent + SPREAD_EXPONENT
        return largest if abs(largest) > COMFORTABLE_EXPONENT else 0

    def dense_rows(self) -> DenseRows:
        """Return the rows, of a problem that is not ``sparse``."""
        assert not isinstance(self.rows, CompressedRows)
        return self.rows

    def key(self, row: int) -> bytes:
        """Tell rows apart: rows with equal keys are equal, and so are all their distances."""
        own = self.rows.key(row) if isinstance(self.rows, CompressedRows) else self.rows[row].tobytes()
        return bytes(own + self.unit[row].tobytes())

    def scaled(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return dense rows in the engine's units, float64, shape (len(rows), d).

        Args:
            rows: Which, int64.
        """
        # One rounding at most: for the Euclidean metric the factor is a power of two and the product exact.
        factors = np.ldexp(self.unit[rows], -self.distance_exponent)
        scaled: NDArray[np.float64] = np.multiply(self.dense_rows()[rows], factors[:, None], dtype=np.float64)
        return scaled

    def scaled_same(self) -> float:
        """Return up to which distance, in the engine's units, two rows count as the same."""
        return math.ldexp(self.same, -self.distance_exponent)

    def loss_in_units(self, value: Any) -> Any:
        """Turn sums of weights times distances from the engine's units into the caller's.

        Args:
            value: A number or an array.
        """
        with np.errstate(over="ignore"):  # whoever asks looks whether it is finite
            return np.ldexp(value, self.distance_exponent + self.weight_exponent)

    def weights_in_units(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn weights from the engine's units into the caller's.

        Args:
            weights: The weights.
        """
        return np.ldexp(weights, self.weight_exponent)

    def in_own_units(self) -> Problem:
        """Choose the exponents: the problem with the largest distance near 2^58 and the largest weight in [1, 2)."""
        # Powers of two only: scaling by them rounds nothing, so that picks, gains and ties are those of the caller's
        # units.
        largest = float(self.weights.max(initial=0.0))
        shift = math.frexp(largest)[1] - 1 if largest > 0 else 0
        # A box around the members in place of the diameter: O(n d), and at most sqrt(d) times too large.
        half = _half_spread(self)
        exponent = 0
        if half > 0:  # two members differ by at most 2 half sqrt(d) < 2^(exponent + 59)
            exponent = math.frexp(half)[1] + math.frexp(math.sqrt(self.d))[1] - SPREAD_EXPONENT
        return replace(
            self,
            weights=np.ldexp(self.weights, -shift),
            # No further down than a factor 2^1000, which float64 holds: differences are then 2^-74 or more, and fit
            # float32.
            distance_exponent=max(exponent, LEAST_EXPONENT if self.same == 0 else LEAST_COSINE_EXPONENT),
            weight_exponent=self.weight_exponent + shift,
        )


def _half_spread(problem: Problem) -> float:
    """Find half of the largest difference between two members in one coordinate: the whole could overflow.

    Of sparse rows, at most twice as much: their largest number.
    """
    members = problem.members()
    scaled = bool((problem.unit != 1).any())
    lows, highs = np.full(problem.d, np.inf), np.full(problem.d, -np.inf)
    for first in range(0, members.size, ROWS_AT_A_TIME):
        some = members[first : first + ROWS_AT_A_TIME]
        if isinstance(problem.rows, CompressedRows):
            # Zeros lie in nearly every column: the largest number, with its sign, is the spread but for a factor of 2.
            largest = problem.rows.take(some).largest() * problem.unit[some]
            np.maximum(highs, largest.max(initial=0.0), out=highs)
            np.minimum(lows, -highs, out=lows)
            continue
        block = problem.rows[some]
        # For the Euclidean metric the units are 1, and the block need not be copied.
        if scaled:
            block = block * problem.unit[some, None]
        np.minimum(lows, block.min(axis=0), out=lows)
        np.maximum(highs, block.max(axis=0), out=highs)
    # Halved first: 1.7e308 and -1.7e308 are both finite, their difference is not.
    return float((highs / 2 - lows / 2).max(initial=0.0))


def check_problem(
    x: Any,
    *,
    weights: Any = None,
    initial: Any = None,
    candidates: Any = None,
    clients: Any = None,
    metric: str = "euclidean",
) -> Problem:
    """Check what was passed, and make one problem of it, over all strata and in the caller's units.

    Args:
        x: Rows, shape (n, d).
        weights: Of each client, shape (m,), at least 0; one each if None.
        initial: Positions or mask of rows of ``x`` that are selected already; none if None.
        candidates: Positions or mask of rows of ``x`` that may be selected; all if None.
        clients: Rows that are to be served, shape (m, d); those of ``x`` if None.
        metric: ``"euclidean"`` or ``"cosine"``.

    Returns:
        The problem, both exponents 0.

    Raises:
        ValueError: If a value, shape or name is not as described, or if nobody is left to select.
        TypeError: If a type is not.
    """
    check_metric(metric)
    # Clients of their own go behind the rows of x into one array, so that every engine sees one kind of row numbers.
    rows = as_rows(x, "x") if clients is None else as_rows_of_both(x, clients)
    n = rows.shape[0] if clients is None else x.shape[0] if hasattr(x, "shape") else len(x)
    served = np.arange(n) if clients is None else np.arange(n, rows.shape[0])
    name = "x" if clients is None else "clients"
    weighed = np.ones(served.size) if weights is None else as_weights(weights, served.size, name)
    selected = np.empty(0, np.int64) if initial is None else as_positions(initial, n, "initial")
    able = np.arange(n) if candidates is None else np.sort(as_positions(candidates, n, "candidates"))
    if able.size == 0:
        raise ValueError("candidates= names no row: pass at least one that may be selected, or leave it out for all")
    # An initial row has gain 0; as a candidate it could only be returned twice.
    able = np.setdiff1d(able, selected, assume_unique=True)
    if able.size == 0:
        raise ValueError("all that may be selected is in initial= already, nothing is left: name fewer rows there")
    # A factor for each row instead of a normalized copy: the caller's rows are read where they lie.
    unit, same = units_of(rows, n, metric)
    return Problem(rows, unit, served, weighed, able, selected, same=same)
