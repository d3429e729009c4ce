"""Rows as the engine compares them: in single precision for bounds, in double precision for what decides.

**The bound.** With y_i the single-precision copy of row x_i (its distances unchanged by a common shift),

    |y_i - y_j|^2 = a_i + a_j - 2 y_i . y_j,        a_i = |y_i|^2.

A product of d terms in single precision, summed in any order, fused or not, satisfies (Higham, Accuracy and Stability
of Numerical Algorithms, 3.1)

    |fl(y_i . y_j) - y_i . y_j| <= gamma_d |y_i| |y_j| <= gamma_d (a_i + a_j) / 2,
    gamma_d = d u / (1 - d u),  u = 2^-24.

Twice that is gamma_d (a_i + a_j). Adding the three terms loses at most 5 u (a_i + a_j) more; rounding x_i to y_i,
relative u in every coordinate, changes |y_i - y_j| by at most u (|y_i| + |y_j|), and its square by at most 4 u (a_i +
a_j); the root that is taken next may be off by a unit in the last place, 2 u, and its square by 4 u of at most 2 (a_i
+ a_j). All of it is less than gamma_(d + 24) (a_i + a_j), so that with

    low_i = a_i (1 - gamma_(d + 24)),    high_i = a_i (1 + gamma_(d + 24)),

rounded outwards, ``low_i + low_j - 2 fl(y_i . y_j)``, computed in single precision in any order, is at most the true
squared distance of x_i and x_j, and the same with ``high`` is at least that. The error is carried by the norms:
bounding costs nothing in the loop over pairs.

**What counts as 0.** For the cosine metric, distances up to ``same`` count as 0, and lower bounds must not be above
that. With same^2 taken off every low_i, ``low_i + low_j - 2 fl(y_i . y_j)`` is at most |x_i - x_j|^2 - 2 same^2, which
is negative for such pairs. Upper bounds stay above what only became less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.facility.floating_point import CAREFUL, DOWN, SMALL, UP

UNIT_ROUNDOFF = 2.0**-24
"""u of float32: rounding to nearest is off by at most this, relative."""

ROUNDINGS = 24
"""Roundings besides those of the product itself; see the module's text (5 + 4 + 8, and some to spare)."""

UNDERFLOW = 2.0**-120
"""What a term of a product may lose by underflow is below 2^-126; this is for each dimension, with room."""

LIMIT_ROUNDING = 1 + 4 * UNIT_ROUNDOFF
"""A squared minimum is enlarged by this before it is compared in float32."""

LEAST = 2.0**-60
"""What is rounded to float32 upwards becomes at least this unless it is 0. A product of two such numbers does not
underflow, and nobody who gains anything has a bound of 0."""

SUMS = 64
"""Running sums of an exact distance: eight vectors of AVX-512, enough to hide that an addition takes four cycles."""

NUMBERS_AT_A_TIME = 1 << 22
"""Numbers that are converted to float64 at once: 32 MiB, well below what a block of products takes."""


class Comparable(Protocol):
    """Rows that can be multiplied in single and compared in double precision: dense ones, here, or sparse ones."""

    @property
    def n(self) -> int:
        """Number of rows."""

    @property
    def low(self) -> Tensor:
        """|y_i|^2 less what rounding may add, float32, shape (n,); see the module's text."""

    @property
    def high(self) -> Tensor:
        """The same, more than what rounding may take away."""

    @property
    def same(self) -> float:
        """Distances up to this count as 0."""

    def take(self, at: Tensor) -> Self:
        """Return some of the rows, by position."""

    def products(self, some: slice, others: Self, those: slice, norms: Tensor) -> Tensor:
        """Compute norms_j - 2 y_i . y_j for some of the rows and some of the others, float32."""

    def distances(self, i: Tensor, others: Self, j: Tensor) -> Tensor:
        """Compute distances of pairs in double precision; see ``pair_distances``."""

    def distances_to_mean(self) -> Tensor:
        """Compute every row's distance to the mean of all, in double precision."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows x_i = factors[i] * exact[index[i]], and their single-precision copy.

    Attributes:
        exact: The caller's rows, float32 or float64, shape (N, d), C-contiguous.
        index: Which of them, int64, shape (n,).
        factors: float64, shape (n,).
        single: x_i - shift in float32, shape (n, d), C-contiguous; where nothing is shifted or scaled, ``exact``
        itself. low: |single_i|^2 less what rounding may add, float32, shape (n,); see the module's text.
        high: The same, more than what rounding may take away.
        same: Distances up to this count as 0; see ``Problem.same``.
    """

    exact: Tensor
    index: Tensor
    factors: Tensor
    single: Tensor
    low: Tensor
    high: Tensor
    same: float = 0.0

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.index.shape[0])

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return int(self.exact.shape[1])

    def take(self, at: Tensor) -> Rows:
        """Return some of the rows, by position."""
        return Rows(
            self.exact, self.index[at], self.factors[at], self.single[at], self.low[at], self.high[at], self.same
        )

    def products(self, some: slice, others: Rows, those: slice, norms: Tensor) -> Tensor:
        """Compute norms_j - 2 y_i . y_j for some of the rows and some of the others."""
        return torch.addmm(norms, self.single[some], others.single[those].T, alpha=-2)

    def distances(self, i: Tensor, others: Rows, j: Tensor) -> Tensor:
        """Compute distances of pairs in double precision; see ``pair_distances``."""
        return pair_distances(self, i, others, j)

    def distances_to_mean(self) -> Tensor:
        """Compute every row's distance to the mean of all, in double precision."""
        step = max(1, NUMBERS_AT_A_TIME // self.d)
        mean = torch.zeros(self.d, dtype=torch.float64, device=self.single.device)
        for first in range(0, self.n, step):
            some = slice(first, first + step)
            mean += (self.exact[self.index[some]].double() * self.factors[some, None]).sum(dim=0)
        mean /= self.n
        distances = torch.empty(self.n, dtype=torch.float64, device=self.single.device)
        for first in range(0, self.n, step):
            some = slice(first, first + step)
            block = (self.exact[self.index[some]].double() * self.factors[some, None]).sub_(mean)
            distances[some] = torch.linalg.vector_norm(block, dim=1)
        return distances


def gamma(terms: int) -> float:
    """Bound the relative rounding of a sum of so many products, gamma_m = m u / (1 - m u), u = 2^-24.

    Args:
        terms: m.

    Returns:
        The bound.

    Example:
        >>> 384 * 2.0**-24 < gamma(384) < 385 * 2.0**-24
        True
    """
    return terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF)


def round_up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32, upwards, positive numbers to at least ``LEAST``; 0 stays 0.

    Args:
        values: Minima, weights or squares, at least 0.
    """
    with np.errstate(over="ignore"):
        rounded = np.nextafter(values.astype(np.float32), np.float32(np.inf))
    return np.where(values == 0, np.float32(0), np.maximum(rounded, np.float32(LEAST)))


def choose_shift(exact: Tensor, index: Tensor, factors: Tensor) -> Tensor | None:
    """Choose what to subtract from rows that lie far from the origin; None if that would gain little.

    The bound on rounding is proportional to squared norms: it is worth a copy of the rows where shifting them halves
    the norm of the median row. The shift is the median of a sample, coordinate by coordinate, which few far rows do
    not move.

    Args:
        exact: float32 or float64, shape (N, d).
        index: Which rows matter, int64, shape (n,).
        factors: float64, shape (n,).

    Returns:
        The shift, float64, shape (d,), or None.
    """
    # Evenly spaced and not drawn: the same rows give the same shift in every run, and so the same number of distances.
    at = torch.linspace(
        0, index.shape[0] - 1, min(512, index.shape[0]), dtype=torch.float64, device=index.device
    ).long()
    sample = exact[index[at]].double() * factors[at, None]
    shift = sample.median(dim=0).values
    # Medians of the norms too: one far row must not decide whether all are moved.
    before, after = (rows.square().sum(dim=1).median() for rows in (sample, sample - shift))
    return shift if bool(after < before / 2) else None


def make_rows(exact: Tensor, index: Tensor, factors: Tensor, shift: Tensor | None, same: float = 0.0) -> Rows:
    """Make the single-precision copy, and the norms that carry its error.

    Args:
        exact: float32 or float64, shape (N, d), C-contiguous.
        index: Which rows, int64, shape (n,).
        factors: float64, shape (n,).
        shift: What to subtract, float64, shape (d,), or None.
        same: Distances up to this count as 0.

    Returns:
        The rows.
    """
    n, d = int(index.shape[0]), int(exact.shape[1])
    # Where the rows are used as they are, indexing would copy them for nothing.
    whole = n == exact.shape[0] and bool((index == torch.arange(n, device=index.device)).all())
    # float32 rows that need neither shift nor factor are their own single-precision copy: n d 4 bytes spared.
    shared = whole and exact.dtype == torch.float32 and shift is None and bool((factors == 1).all())
    single = exact if shared else torch.empty((n, d), dtype=torch.float32, device=exact.device)
    squares = torch.empty(n, dtype=torch.float64, device=exact.device)
    step = max(1, NUMBERS_AT_A_TIME // d)
    for first in range(0, n, step):
        some = slice(first, first + step)
        if not shared:
            # Scaled and shifted in double precision, rounded once: y_i is within u |y_i| of x_i - shift, as the bound
            # has it.
            block = (exact[some] if whole else exact[index[some]]).double() * factors[some, None]
            single[some] = block if shift is None else block - shift
        # Norms of the copies and not of the rows, in double precision: their own rounding is nothing beside gamma_(d +
        # 24).
        squares[some] = single[some].double().square().sum(dim=1)
    error = gamma(d + ROUNDINGS)
    # |y_i - y_j|^2 is at least this sum less the product; where the rows are near one another it may be negative, and
    # whoever takes a root clamps it at 0 first.
    low = (squares * (1 - error) - d * UNDERFLOW - same * same).float()
    high = (squares * (1 + error) + d * UNDERFLOW).float()
    # ``float()`` rounds to nearest, perhaps inwards; the neighbour is outwards for certain.
    low = torch.nextafter(low, torch.full_like(low, -torch.inf))
    high = torch.nextafter(high, torch.full_like(high, torch.inf))
    return Rows(exact, index, factors, single, low, high, same)


def fold_(squares: Tensor) -> Tensor:
    """Sum each row's numbers in an order that depends on their count alone: the order of every exact distance.

    Number k is added to running sum k modulo 64, k ascending; then the upper half of these sums is added onto the
    lower (the odd one in the middle left alone), again and again. ``kernels.sum_squares`` does just this. Sums of a
    tensor's own kind are cut up as suits its shape and device; two of them over equal numbers may differ in the last
    bit, and a row equal to a selected one would seem to gain something. Elementwise additions do not.

    Args:
        squares: float64, shape (n, d); overwritten.

    Returns:
        The sums, shape (n,), a view.

    Example:
        >>> fold_(torch.arange(200, dtype=torch.float64)[None])
        tensor([19900.], dtype=torch.float64)
    """
    sums = squares[:, :SUMS]
    for first in range(SUMS, squares.shape[1], SUMS):
        part = squares[:, first : first + SUMS]
        sums[:, : part.shape[1]] += part
    width = sums.shape[1]
    while width > 1:
        half = (width + 1) // 2
        sums[:, : width - half] += sums[:, half:width]
        width = half
    return sums[:, 0]


def root_(squares: Tensor) -> Tensor:
    """Take roots in double precision, correctly rounded: on a CPU, torch's own are not always.

    Args:
        squares: float64; may be overwritten.

    Returns:
        The roots.
    """
    # CUDA rounds float64 roots correctly; torch's vector code on a CPU may be off by one unit in the last place.
    if squares.device.type != "cpu":
        return squares.sqrt()
    return torch.from_numpy(np.sqrt(squares.numpy()))


def small_distances(differences: Tensor) -> Tensor:
    """Compute the lengths of differences whose squares may underflow; see ``distances.small_distance``.

    Args:
        differences: float64, shape (pairs, d); overwritten.

    Returns:
        The lengths, shape (pairs,).

    Example:
        >>> small_distances(torch.tensor([[3e-200, 4e-200], [0.0, 0.0]], dtype=torch.float64))
        tensor([5.0000e-200, 0.0000e+00], dtype=torch.float64)
    """
    below = differences.abs().amax(dim=1) < SMALL
    # Powers of two: they round nothing.
    up, down = (torch.ones_like(differences[:, 0]).masked_fill_(below, power) for power in (UP, DOWN))
    return root_(fold_(differences.mul_(up[:, None]).square_())) * down


def _differences(a: Rows, i: Tensor, b: Rows, j: Tensor) -> Tensor:
    # Product and difference are operations of their own: nothing is fused, so that every device rounds alike.
    block = a.exact[a.index[i]].double().mul_(a.factors[i, None])
    block -= b.exact[b.index[j]].double().mul_(b.factors[j, None])
    return block


def pair_distances(a: Rows, i: Tensor, b: Rows, j: Tensor) -> Tensor:
    """Compute distances of pairs of rows in double precision, from differences, which do not cancel.

    What counts as 0 is 0. Equal to the last bit on every device, in batches of every size, and to what the compiled
    kernels compute.

    Args:
        a: Rows.
        i: Positions in them, int64, shape (pairs,).
        b: Rows.
        j: Positions in them, int64, shape (pairs,), or one for all, shape (1,).

    Returns:
        float64, shape (pairs,).
    """
    distances = torch.empty(i.shape[0], dtype=torch.float64, device=i.device)
    step = max(1, NUMBERS_AT_A_TIME // a.d)
    if i.is_cuda:
        step *= 16  # 512 MiB at a time: launches, not memory, are short there
    for first in range(0, i.shape[0], step):
        some = i[first : first + step]
        others = j if j.shape[0] == 1 else j[first : first + step]
        squares = fold_(_differences(a, some, b, others).square_())
        found = root_(squares)
        # Equal rows are among them: a row is compared with itself as a rule.
        small = (squares < CAREFUL).nonzero()[:, 0]
        if small.shape[0]:
            found[small] = small_distances(
                _differences(a, some[small], b, others if len(others) == 1 else others[small])
            )
        distances[first : first + step] = found
    if a.same > 0:  # one comparison for each pair, beside d differences
        distances[distances <= a.same] = 0.0
    return distances
