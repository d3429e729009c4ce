"""Gradient proxies of a batch: low-dimensional stand-ins for the examples' loss gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.probing.snapshot import Proxy


@dataclass(frozen=True)
class Space:
    """The space of a proxy, through the linear map J_i from its coordinates to the outputs z of the last layer.

    ``J_i[c, r] = basis[c, r] * scale[i, r]``, so that the gradient is ``J_i^T (d loss_i / d z_i)`` and, z being linear
    in the coordinates, the Hessian is ``J_i^T S_i J_i`` exactly.

    Attributes:
        basis: Shape (outputs, d), or None for the identity.
        scale: Shape (batch, d), or None for ones.
    """

    basis: Tensor | None = None
    scale: Tensor | None = None

    def vjp(self, vectors: Tensor) -> Tensor:
        """Return J_i^T u_i for vectors of shape (batch, outputs): shape (batch, d)."""
        product = vectors if self.basis is None else vectors @ self.basis
        return product if self.scale is None else product * self.scale

    def jvp(self, vectors: Tensor) -> Tensor:
        """Return J_i v_i for vectors of shape (batch, d): shape (batch, outputs)."""
        scaled = vectors if self.scale is None else vectors * self.scale
        return scaled if self.basis is None else scaled @ self.basis.T


@dataclass(frozen=True)
class Projection:
    """A random projection of rank-one matrices ``delta h^T`` that never forms them.

    Coordinate r is ``(a_r . delta) (b_r . h) / sqrt(k)`` with random a_r, b_r of ``E a a^T = I``: inner products are
    unbiased, ``E <P(delta h^T), P(delta' h'^T)> = (delta . delta') (h . h')``. Up to as many a_r (and b_r) as there are
    dimensions are orthogonal to each other, which halves the variance of independent Rademacher vectors where k is at
    most the number of features.

    Attributes:
        left: a_r, shape (k, outputs).
        right: b_r / sqrt(k), shape (k, features).
    """

    left: Tensor
    right: Tensor

    def space(self, features: Tensor) -> Space:
        """Return the space of the projected last-layer gradients at features of shape (batch, features)."""
        # b_r . h_i differs by example and a_r does not: J_i[c, r] = a_rc (b_r . h_i), a basis times a scale.
        return Space(self.left.T, features @ self.right.T)


# Every batch asks for it, and the QR decompositions are worth doing once. Four: more models than that are seldom probed
# in turn.
@lru_cache(maxsize=4)
def projection(
    outputs: int, features: int, dimension: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Projection:
    """Draw the projection of a seed: always the same one, so that proxies of several reselections can be averaged.

    Args:
        outputs: Rows of the last layer's weight.
        features: Its columns.
        dimension: k, to which their product is reduced, at least 1.
        seed: Seed.
        dtype: Of the result.
        device: Of the result.

    Returns:
        The projection.

    Raises:
        ValueError: If the dimension is below 1.

    Example:
        >>> p = projection(10, 64, 16, 0, torch.float32, torch.device("cpu"))
        >>> tuple(p.left.shape), tuple(p.right.shape)
        ((16, 10), (16, 64))
    """
    if dimension < 1:
        raise ValueError(f"projection={dimension} is below 1: pass for example 64")
    # A stream of its own (0x9A): blocks and Rademacher vectors are drawn from the same seed.
    generator = np.random.default_rng([seed, 0x9A])

    def directions(columns: int) -> Tensor:
        return torch.from_numpy(orthogonal_rows(dimension, columns, generator)).to(device=device, dtype=dtype)

    return Projection(directions(outputs), directions(features) / math.sqrt(dimension))


def orthogonal_rows(rows: int, columns: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw rows x with E x x^T = I: uniform on the sphere of radius sqrt(columns), orthogonal in blocks of ``columns``.

    Args:
        rows: How many.
        columns: Their dimension.
        generator: Source of randomness.

    Returns:
        float64, shape (rows, columns).

    Example:
        >>> x = orthogonal_rows(2, 3, np.random.default_rng(0))
        >>> np.allclose(x @ x.T, 3 * np.eye(2))
        True
    """
    # No more than ``columns`` vectors can be orthogonal: more rows are drawn in blocks. E x x^T = I holds for each row
    # by itself, whatever the others are, since it is a uniform direction of length sqrt(columns).
    height = min(rows, columns)
    # Q of a Gaussian matrix is uniform over orthonormal frames once R's diagonal is made positive (Mezzadri, 2007):
    # LAPACK chooses its signs in a way that depends on the matrix.
    q, r = np.linalg.qr(generator.standard_normal((-(-rows // height), columns, height)))
    q *= np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]  # makes it uniform
    return np.asarray(math.sqrt(columns) * q.swapaxes(1, 2).reshape(-1, columns)[:rows])


def space_of(
    proxy: Proxy, *, weight: Tensor | None = None, features: Tensor | None = None, dimension: int = 64, seed: int = 0
) -> Space:
    """Make the space of a proxy for one batch.

    With respect to the logits J is the identity; to the penultimate activations, the last layer's weight W; to that
    weight, projected, see ``Projection``.

    Args:
        proxy: ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weight: W, shape (outputs, features); not needed for logits.
        features: h, shape (batch, features); not needed for logits.
        dimension: Of the projected last-layer gradients.
        seed: Seed of the projection.

    Returns:
        The space; its ``vjp`` turns output gradients of shape (batch, outputs) into proxies of shape (batch, d).

    Raises:
        ValueError: If the weight or the features are missing.

    Example:
        >>> space_of("penultimate", weight=torch.ones(3, 5), features=torch.ones(2, 5)).vjp(torch.ones(2, 3)).shape
        torch.Size([2, 5])
    """
    if proxy == "logits":
        return Space()
    if weight is None or features is None:
        raise ValueError(f"proxy={proxy!r} needs the last layer's weight and its inputs")
    if proxy == "penultimate":
        # z = W h + bias, so that J = W: d loss / d h = W^T (p - y), the paper's other proxy.
        return Space(weight)
    drawn = projection(weight.shape[0], weight.shape[1], dimension, seed, weight.dtype, weight.device)
    return drawn.space(features)
