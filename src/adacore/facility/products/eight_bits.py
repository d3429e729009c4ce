"""Rows in 8 bits, whose products an AVX-512 processor computes four times as fast as those in single precision.

Row y_i of the single-precision copy (see ``rows``) is moved to z_i = y_i - mean, which leaves distances as they are and
makes the sum of squared norms least, and rounded to z'_i = s_i q_i, with s_i = max_k |z_ik| / 127 and q_i whole numbers
from -127 to 127. With the remainders e_i = z_i - z'_i, by Cauchy and Schwarz,

    z_i . z_j <= z'_i . z'_j + |e_i| |z'_j| + |z'_i| |e_j| + |e_i| |e_j|,

and since 2 a b <= a^2 / t + t b^2 for any t > 0, twice the last three terms is at most c_i + c_j, where

    c_i = (1 + 1 / t) |e_i|^2 + t |z'_i|^2.

So low_i + low_j - 2 s_i s_j (q_i . q_j) with low_i = |z_i|^2 - c_i is at most the squared distance: as in ``rows``, the
norms carry the error, and bounding costs nothing in the loop over pairs. The best t for rows alike is |e_i| / |z'_i|;
one t must serve all, and the ratio of their root mean squares does.

q_i . q_j is a sum of whole numbers and exact in 32 bits up to 2^31 / 127^2 = 133,144 dimensions. What is computed from
it in float32 is off by its conversion, two multiplications, two additions and the root that is taken next: at most some
24 u (|z_i|^2 + |z_j|^2), u = 2^-24, where |z'_i|^2 may be up to three times |z_i|^2. (Roundings of c_i itself it
covers: with X the three terms, c_i + c_j is 2 X and what it exceeds that by.) Rounding x_i to y_i and y_i - mean to z_i
changes squared distances by at most 4 u (|y_i|^2 + |y_j|^2) and 4 u (|z_i|^2 + |z_j|^2). All of it is less than
gamma_32 (|y_i|^2 + |z_i|^2) for each of the two rows, which low_i is lowered by.

Sentence embeddings of 384 dimensions have |e_i| = 0.007 |z_i|: a squared distance is bounded from below to 1.4 % of the
norms. That is enough to tell who can't be served, and lists get some 20 % longer by it; decisions are made in double
precision, as ever.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.facility.products.rows import UNDERFLOW, Rows, gamma
from adacore.facility.products.sides import Sides

LARGEST = 127
"""-128 is not used: q and -q are then both there, and no processor's instruction treats the two differently."""

MOST_DIMENSIONS = (1 << 31) // LARGEST**2
"""Up to here a product fits 32 bits."""

LEAST_DIMENSIONS = 48
"""Below, converting a block's products takes what multiplying saves: 1.6 x as fast at 32, 2.3 x at 64, 3.7 x at 384
dimensions (512 x 512, one thread of an AMD EPYC with VNNI). Never 1: torch 2.13 multiplies such rows wrongly."""

EIGHT_BIT_ROUNDINGS = 32
"""Roundings in single precision; see the module's text."""

NUMBERS_IN_CACHE = 1 << 16
"""Numbers rounded at a time: half a MiB in double precision."""

LEAST_RATIO = 2.0**-30
"""t at least: t |z'_i|^2 is then below the rounding of single precision."""

SMALL = 2.0**-50
"""Rows all of whose numbers are below have a code of 0, and all of them is remainder: s_i s_j can't underflow then. The
largest distance is 2^-20 or more in the units of products."""


@dataclass(frozen=True, eq=False)
class EightBitRows:
    """Rows rounded to 8 bits.

    Attributes:
        codes: q_i, int8, shape (n, d), C-contiguous.
        scales: s_i, float32, shape (n,).
        low: low_i, float32, shape (n,); see the module's text.
    """

    codes: Tensor
    scales: NDArray[np.float32]
    low: NDArray[np.float32]


def round_sides(sides: Sides) -> tuple[EightBitRows, EightBitRows]:
    """Round candidates and clients to 8 bits and let their norms carry the error.

    Args:
        sides: Rows on a CPU, at most ``MOST_DIMENSIONS`` wide.

    Returns:
        Candidates and clients, one object where they are the same rows.

    Example:
        The bound of a pair of equal rows is at most 0.

        >>> from adacore.facility.problem import check_problem
        >>> from adacore.facility.products.sides import split_sides
        >>> x = np.random.default_rng(0).normal(size=(50, 64))
        >>> sides = split_sides(check_problem(x).in_own_units(), torch.device("cpu"))
        >>> rows, _ = round_sides(sides)
        >>> squares = rows.codes.float().square().sum(dim=1).numpy() * rows.scales**2
        >>> bool((2 * rows.low - 2 * squares).max() <= 0)
        True
    """
    # Any point will do, the same for both sides; of all points the mean makes the norms' squares least in sum.
    middle = sides.clients.single.mean(dim=0)
    candidates = _round(sides.candidates, middle)
    same = sides.clients is sides.candidates
    clients = candidates if same else _round(sides.clients, middle)
    # One t for both sides: each pair takes its term with 1 / t from one row, and that with t from the other.
    errors = float(candidates.errors.sum() + clients.errors.sum())
    norms = float(candidates.norms.sum() + clients.norms.sum())
    # Where nothing is lost, as good as nothing is taken off; rows of zeros have no ratio.
    t = max(math.sqrt(errors / norms), LEAST_RATIO) if norms > 0 else 1.0
    rounded = _with_error(sides.candidates, candidates, t)
    return rounded, rounded if same else _with_error(sides.clients, clients, t)


class _Rounded(NamedTuple):
    """q_i, s_i, |e_i|^2, |z'_i|^2 and |z_i|^2."""

    codes: Tensor
    scales: Tensor
    errors: Tensor
    norms: Tensor
    squares: Tensor


def _round(rows: Rows, middle: Tensor) -> _Rounded:
    n, d = rows.single.shape
    codes, scales = torch.empty((n, d), dtype=torch.int8), torch.empty(n, dtype=torch.float32)
    errors, norms, squares = torch.empty((3, n), dtype=torch.float64)
    # As many numbers as stay in a core's cache while they are read four times.
    step = max(1, NUMBERS_IN_CACHE // max(1, d))
    for first in range(0, n, step):
        some = slice(first, first + step)
        z = rows.single[some] - middle
        largest = torch.linalg.vector_norm(z, torch.inf, dim=1)
        scale = torch.where(largest < SMALL, 0.0, largest / LARGEST)
        # A scale of 0 leaves the whole row to the remainder.
        inverse = torch.where(scale == 0, 0.0, 1 / scale)
        # Quotients are rounded in float32 twice: whichever whole number comes out, the remainder is that of it.
        q = (z * inverse[:, None]).round_().clamp_(-LARGEST, LARGEST)
        codes[some], scales[some] = q, scale
        near = q.double().mul_(scale.double()[:, None])
        norms[some] = torch.linalg.vector_norm(near, dim=1).square_()
        errors[some] = torch.linalg.vector_norm(near.sub_(z), dim=1).square_()
        squares[some] = torch.linalg.vector_norm(z, dim=1, dtype=torch.float64).square_()
    return _Rounded(codes, scales, errors, norms, squares)


def _with_error(rows: Rows, rounded: _Rounded, t: float) -> EightBitRows:
    codes, scales, errors, norms, squares = rounded
    # In double precision, whose own rounding is below 1e-12 of a sum of so many squares; then downwards. ``high`` is at
    # least |y_i|^2.
    loss = ((1 + 1 / t) * errors + t * norms) * (1 + 1e-12)
    loss += gamma(EIGHT_BIT_ROUNDINGS) * (squares + rows.high.double()) + rows.d * UNDERFLOW + rows.same**2
    low = (squares - loss).float()
    low = torch.nextafter(low, torch.full_like(low, -torch.inf))
    return EightBitRows(codes, scales.numpy(), low.numpy())


def eight_bits_suit(d: int) -> bool:
    """Whether rows so wide are multiplied faster in 8 bits than in single precision on this machine.

    Args:
        d: Dimensions.
    """
    return LEAST_DIMENSIONS <= d <= MOST_DIMENSIONS and _multiplied_fast()


@functools.cache
def _multiplied_fast() -> bool:
    """Whether this machine multiplies whole numbers of 8 bits fast, and exactly: processors with AVX-512 VNNI do."""
    # Both are torch's own and undocumented: where they are missing or fail, single precision does the same work.
    supported = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (hasattr(torch, "_int_mm") and available and supported()):
        return False
    # Instructions older than VNNI add pairs of products in 16 bits, which the largest codes overflow: tried, not
    # trusted.
    # 2,099 numbers: their sums exceed 2^24, which whoever computes in float32 can't hold exactly.
    for rows, d in ((1, 67), (32, 67), (32, 2_099)):
        codes = torch.tensor([[LARGEST], [-LARGEST]], dtype=torch.int8).repeat(16, d)
        try:
            found = torch._int_mm(codes[:rows], codes.T)
        except RuntimeError:
            return False
        if not torch.equal(found.long(), codes[:rows].long() @ codes.long().T):
            return False
    return True
