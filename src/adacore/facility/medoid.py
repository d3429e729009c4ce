"""Bounds on sums of distances, from moments of tiles: what spares most candidates a look when the medoid is sought."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, bounding_kernel
from adacore.facility.tree import LEAF, TILE, ULP, Tree

MOST_DIMENSIONS = 64
ROUNDING = 2.0**-48


class Moments(NamedTuple):
    """What determines mean and variance of the squared distances from anywhere to the points of a tile.

    With c the centroid, delta_i = x_i - c and e = x - c, |x - x_i|^2 = |e|^2 - 2 e delta_i + |delta_i|^2. So its mean
    is |e|^2 + E|delta|^2, and its variance Var|delta|^2 - 4 e Cov(|delta|^2, delta) + 4 e^T Cov(delta) e, which is a
    quadratic polynomial in x.

    Attributes:
        centers: Weighted centroids, float64, shape (d, tiles).
        variances: E|delta|^2, shape (tiles,).
        polynomials: Coefficients of x_k x_l for k <= l, then of x_k, then of 1, shape ((d + 1)(d + 2) / 2, tiles);
            without rows where d exceeds 64.
        norms: Var|delta|^2, |Cov(|delta|^2, delta)| and the Frobenius norm of Cov(delta), shape (3, tiles).
    """

    centers: NDArray[np.float64]
    variances: NDArray[np.float64]
    polynomials: NDArray[np.float64]
    norms: NDArray[np.float64]


def measure_moments(tree: Tree) -> Moments:
    """Measure the tiles' moments.

    Args:
        tree: The points.

    Returns:
        The moments.
    """
    d, tiles = tree.tile_centers.shape
    first, second = np.triu_indices(d)
    # 4 e^T Cov e written out: off the diagonal every product x_k x_l occurs twice.
    twice = np.where(first == second, 4.0, 8.0)
    # (d + 1)(d + 2) / 2 float64 coefficients for each tile of 512 d float32 numbers: at d = 64 an eighth of the rows'
    # memory, and as many multiplications for each tile and candidate.
    few = d <= MOST_DIMENSIONS
    moments = Moments(
        np.empty((d, tiles)),
        np.empty(tiles),
        np.empty((first.size + d + 1 if few else 0, tiles)),
        np.empty((3, tiles)),
    )
    # Moments of the float32 coordinates, on which the bound is evaluated; what they are off is taken off the bound
    # below.
    rows = tree.coarse.reshape(tiles, -1, d, tree.coarse.shape[2])
    for t in range(tiles):
        points = rows[t].transpose(0, 2, 1).reshape(TILE, d).astype(np.float64)
        total = tree.weights[t].sum()
        # A tile without weight counts for nothing below; these weights only keep its moments finite.
        weights = tree.weights[t] / total if total > 0 else np.full(TILE, 1 / TILE)
        center = weights @ points
        points -= center
        squares = np.einsum("ik,ik->i", points, points)
        moments.centers[:, t] = center
        moments.variances[t] = weights @ squares
        squares -= moments.variances[t]
        skew = (weights * squares) @ points
        variance = weights @ np.square(squares)
        weighted = points * np.sqrt(weights)[:, None]
        # ||A^T A||_F = ||A A^T||_F: the smaller of the two, for where d exceeds 512 only the norm is asked for.
        covariance = weighted.T @ weighted if d <= TILE else weighted @ weighted.T
        moments.norms[:, t] = variance, np.linalg.norm(skew), np.linalg.norm(covariance)
        if few:
            toward = covariance @ center
            # With e = x - c: -4 e.skew + 4 e^T Cov e + Var = 4 x^T Cov x - (4 skew + 8 Cov c).x + 4 c.(skew + Cov c) +
            # Var.
            moments.polynomials[: first.size, t] = twice * covariance[first, second]
            moments.polynomials[first.size : -1, t] = -4 * skew - 8 * toward
            moments.polynomials[-1, t] = variance + 4 * center @ (skew + toward)
    return moments


@bounding_kernel
def sum_bounds(tree: Tree, moments: Moments, positions: Array, first: int, last: int, lower: Array) -> Any:
    """Bound sums of distances from points to all points from below.

    For u = |x - x_i|^2 in a tile, by Hoelder's inequality E sqrt(u) >= (E u)^(3/2) / (E u^2)^(1/2), and by Jensen's
    E |x - x_i| >= |x - c|. Returns how many distances could have been evaluated meanwhile.
    """
    d, tiles = moments.centers.shape
    polynomials = moments.polynomials
    x, squares, variances = np.empty(d), np.empty(tiles), np.empty(tiles)
    for c in range(first, last):
        j = positions[c]
        # In float64: Var u is a small difference of large numbers, and a bound in float32 would be worth nothing.
        squares[:] = 0.0
        norm = 0.0
        for k in range(d):
            x[k] = tree.coarse[j // LEAF, k, j % LEAF]
            norm += x[k] * x[k]
            # Tiles innermost in every loop: coefficients lie side by side for all tiles, and additions become vector
            # instructions.
            for t in range(tiles):
                y = moments.centers[k, t] - x[k]
                squares[t] += y * y
        norm = np.sqrt(norm)
        if polynomials.shape[0] > 0:
            feature = polynomials.shape[0] - 1
            for t in range(tiles):
                variances[t] = polynomials[feature, t]
            feature = 0
            for k in range(d):
                for m in range(k, d):
                    product = x[k] * x[m]
                    for t in range(tiles):
                        variances[t] += product * polynomials[feature, t]
                    feature += 1
            for k in range(d):
                for t in range(tiles):
                    variances[t] += x[k] * polynomials[feature, t]
                feature += 1
        else:
            for t in range(tiles):
                # Cauchy-Schwarz: |e.Cov(|delta|^2, delta)| <= |e| |Cov(|delta|^2, delta)|, and e^T Cov e <= |e|^2
                # ||Cov||_F. An upper bound on Var u, which is what a lower bound on E sqrt(u) needs.
                s = squares[t]
                variances[t] = (
                    moments.norms[0, t] + 4.0 * np.sqrt(s) * moments.norms[1, t] + 4.0 * s * moments.norms[2, t]
                )
        low = 0.0
        for t in range(tiles):
            # Every |x - x_i|, |e| and |delta_i| is at most this (twice, for |delta_i|): rounding is measured in its
            # powers.
            reach = norm + tree.tile_norms[t]
            loss = ROUNDING * (d + 4.0) * reach * reach
            # Rounded down, and the variance up: m^(3/2) / (m^2 + v)^(1/2) rises with m and falls with v.
            mean = max(0.0, squares[t] + moments.variances[t] - loss)
            variance = max(0.0, variances[t]) + (d + 4.0) * loss * reach * reach
            spread = mean * mean + variance
            bound = mean * np.sqrt(mean / spread) if spread > 0.0 else 0.0
            # Jensen: |x - c| = |E (x - x_i)| <= E |x - x_i|. The better one where x is far from a tile that is not
            # round.
            bound = max(bound, np.sqrt(max(0.0, squares[t] - loss)))
            # u (|x| + |x_i|) <= 4 u reach lies between the distance of the float32 coordinates and that of the rows.
            low += tree.tile_weights[t] * max(0.0, bound - 4.0 * ULP * reach - tree.tiny)
        # The sum over tiles in float64: 1e-12 would take 9,000 tiles, 4 million rows, all rounded the same way.
        lower[c] = low * (1.0 - 1e-12)
    return (last - first) * tiles
