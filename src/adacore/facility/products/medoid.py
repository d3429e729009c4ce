"""Bounds on sums of distances from moments of all clients: few candidates are left that could be the medoid.

With c the weighted mean of the clients, delta_i = x_i - c and e = x - c, the squared distance from x to x_i is
u_i = |e|^2 - 2 e.delta_i + |delta_i|^2. Over the clients, with weights that sum to one,

    E u   = |e|^2 + E|delta|^2,
    Var u = Var|delta|^2 - 4 e.Cov(|delta|^2, delta) + 4 e^T Cov(delta) e,

and by Hoelder's inequality E sqrt(u) >= (E u)^(3/2) / (E u^2)^(1/2). In many dimensions u varies little, and the bound
lies below the sum by half a per cent or so, while the sums themselves vary by more: on 6,000 sentence embeddings of 384
dimensions 3 candidates are left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adacore.facility.products.rows import NUMBERS_AT_A_TIME, UNDERFLOW, UNIT_ROUNDOFF, Rows, gamma

CHUNK = 4096
"""Rows whose products are summed in single precision before they are added in double: gamma_4096 is 2.4e-4."""

LEAST_MEAN = 2.0**-90
"""Mean squared distances below this are not bounded: d squares of float32 may lose d 2^-126 by underflow, which is less
than gamma_8 of them up to d = 2^14."""

SQUARE_DIMENSIONS, ROWS_PER_DIMENSION = 1024, 4
"""The covariance of d x d numbers is made up to so many dimensions, where with what it is summed from it takes 12 MB,
and beyond where there are so many rows for each dimension: 12 d^2 bytes are then less than the rows' copy, 4 n d. At
2,000 x 5,000 it took 500 MB beside rows of 40 MB."""


def sum_bounds(clients: Rows, candidates: Rows, weights: Tensor) -> Tensor:
    """Bound every candidate's sum of weighted distances from below.

    Moments come from the single-precision copies, products and sums of d terms in single precision, sums over rows in
    double. With g = gamma_(d + 8) and V = E|delta|^2, squared norms are off by at most 2 g of themselves, which is
    taken off E u; Var u gains ``4 (gamma_4096 + 2 g) V |e|^2`` for the quadratic form, since ||Cov - fl(Cov)|| <=
    gamma_4096 V, and ``16 g (|e|^2 + V) (|e|^2 + max |delta|^2)`` for its other two terms. What the copies are off
    from the rows, 2^-24 of their norms, is taken off the bound.

    Args:
        clients: Rows to be served.
        candidates: Rows that may be selected.
        weights: Of the clients, float64, shape (m,).

    Returns:
        float64, shape (candidates,); 0 where there are fewer candidates than dimensions.
    """
    d, device = clients.d, weights.device
    # The covariance costs m d^2, products of all pairs n m d, and they tell more. At 2,000 x 8,315 it took 8 of the 10
    # CPU seconds of a selection.
    mass = weights.sum()
    # Where nobody weighs anything, every sum is 0.
    if candidates.n < d or mass == 0:
        return torch.zeros(candidates.n, dtype=torch.float64, device=device)
    share = weights / mass
    step = max(1, min(CHUNK, NUMBERS_AT_A_TIME // d))
    center = torch.zeros(d, dtype=torch.float64, device=device)
    for first in range(0, clients.n, step):
        some = slice(first, first + step)
        # Shares times n are near 1: shares themselves could be lost in float32 among many rows.
        center += ((share[some] * clients.n).float() @ clients.single[some]).double()
    # Any centre near the mean will do, for which E delta is not neglected below.
    middle = (center / clients.n).float()
    squares = torch.empty(clients.n, dtype=torch.float64, device=device)
    # Nothing of size d x d for wide rows: the covariance's trace, which is E|delta|^2, bounds what it is needed for.
    square = d <= max(SQUARE_DIMENSIONS, clients.n // ROWS_PER_DIMENSION)
    covariance = torch.zeros((d, d) if square else (0, 0), dtype=torch.float64, device=device)
    offset, toward = torch.zeros((2, d), dtype=torch.float64, device=device)
    roots = (share * clients.n).sqrt().float()
    for first in range(0, clients.n, step):
        some = slice(first, first + step)
        # About the centre, so that |delta|^2 are what they vary by, and not squared distances from the origin.
        delta = clients.single[some] - middle
        squares[some] = delta.square().sum(dim=1).double()
        # The square root on both sides of the product: Cov = (sqrt(w) delta)^T (sqrt(w) delta) is one product, and
        # symmetric.
        delta *= roots[some, None]
        # At most 4,096 rows in float32, then double: gamma_4096 and not gamma_n.
        if square:
            covariance += delta.T @ delta
        offset += (roots[some] @ delta).double()
        toward += ((roots[some] * squares[some].float()) @ delta).double()
    covariance = covariance.div_(clients.n).float()
    variance, farthest = share @ squares, squares.max()
    spread = share @ (squares - variance).square()
    offset, toward = offset / clients.n, toward / clients.n
    # Cov(|delta|^2, delta) = E(|delta|^2 delta) - E|delta|^2 E delta.
    skew = (toward - variance * offset).float()
    rounding = gamma(d + 8)
    slack = gamma(CHUNK) + 2 * rounding
    far = clients.high.double().max().sqrt()
    # For a start, e^T Cov e <= ||Cov||_F |e|^2: the Frobenius norm is at least the largest eigenvalue. By Jensen's
    # inequality the least sum is at most the least sqrt(E u); whoever's bound exceeds that, 9 of 10, needs no other.
    # Wide rows take the trace, which is at least the Frobenius norm.
    steepest = (covariance.norm(dtype=torch.float64) if square else variance) * (1 + slack)
    bounds = torch.empty(candidates.n, dtype=torch.float64, device=device)
    least = torch.tensor(torch.inf, dtype=torch.float64, device=device)

    def bound(at: Tensor, tight: bool) -> tuple[Tensor, Tensor]:
        e = candidates.single[at] - middle
        norms = e.square().sum(dim=1).double()
        quadratic = ((e @ covariance) * e).sum(dim=1).double() if tight else steepest * norms
        variances = (spread - 4 * (e @ skew).double() + 4 * quadratic).clamp(min=0)
        # Upwards: a larger variance makes Hoelder's bound smaller.
        variances += 4 * slack * variance * norms + 16 * rounding * (norms + variance) * (norms + farthest)
        # Clients whose shares, and terms whose products underflow in single precision: at most 2^-120 of the largest.
        variances += UNDERFLOW * (norms + farthest).square() * clients.n * d
        # E u = |e|^2 - 2 e.E delta + E|delta|^2, downwards; E delta is not quite 0 about a centre that was rounded.
        shifted = 2 * (e @ offset.float()).abs().double() * (1 + slack)
        mean = (norms + variance) * (1 - 2 * rounding) - shifted
        # By the triangle inequality the distance of copies is within u (|y| + max |y_i|) of that of the rows, for every
        # client.
        copies = 2 * UNIT_ROUNDOFF * (candidates.high[at].double().sqrt() + far)
        most = ((norms + variance) * (1 + 2 * rounding) + shifted + LEAST_MEAN).sqrt() + copies
        # Squares that are no more than their own underflow bound nothing: relative errors hold from here on only.
        mean[mean < LEAST_MEAN] = 0
        # (E u)^(3/2) / (E u^2)^(1/2) with E u^2 = (E u)^2 + Var u.
        lower = torch.nan_to_num(mean * (mean / (mean.square() + variances)).sqrt())
        # A distance that counts as 0 is at most ``same`` less than the norm of the difference.
        return (lower - copies - clients.same).clamp(min=0), most.amin()

    everyone = torch.arange(candidates.n, device=device)
    for at in torch.split(everyone, step):
        bounds[at], most = bound(at, False)
        least = torch.minimum(least, most)
    for at in torch.split((bounds <= least).nonzero()[:, 0], step) if square else ():
        bounds[at] = torch.maximum(bounds[at], bound(at, True)[0])
    # The mean times the mass is the sum; 1e-9 for everything in double precision.
    return bounds * mass * (1 - 1e-9)
