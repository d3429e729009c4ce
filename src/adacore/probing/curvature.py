"""Hessian diagonals in the space of the proxies: exact, by Hutchinson; pooled over blocks; averaged; divided by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.probing.losses import LocalLoss
from adacore.probing.proxies import Space
from adacore.probing.snapshot import Scope, Snapshot


def exact_diagonal(local: LocalLoss, space: Space) -> Tensor:
    """Return diag(J_i^T S_i J_i) of each example.

    Args:
        local: The losses of a batch; S_i is the Hessian with respect to the outputs.
        space: The space of the proxies, which gives J_i.

    Returns:
        Shape (batch, d).
    """
    diagonal = local.quadratic(space.basis)
    return diagonal if space.scale is None else diagonal * space.scale.square()


def hutchinson_diagonal(local: LocalLoss, space: Space, *, samples: int, generator: np.random.Generator) -> Tensor:
    """Estimate diag(J_i^T S_i J_i) of each example by E[v * (H v)], eq. (8), v Rademacher and drawn per example.

    Args:
        local: The losses of a batch.
        space: The space of the proxies.
        samples: Vectors drawn for each example.
        generator: Source of the vectors; how the examples are cut into batches does not matter.

    Returns:
        Unbiased estimate, shape (batch, d).
    """
    gradient = local.gradient()
    size, d = space.vjp(gradient).shape
    drawn = generator.random((size, samples, d), dtype=np.float32) < 0.5
    signs = torch.from_numpy(drawn).to(gradient.device).to(gradient.dtype).mul_(2).sub_(1)
    total = torch.zeros_like(signs[:, 0])
    for sample in range(samples):
        vectors = signs[:, sample]
        total += vectors * space.vjp(local.hessian_product(space.jvp(vectors)))
    return total / samples


def pool(
    diagonals: NDArray[np.float32], scope: Scope, block_size: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Average the examples' diagonals over what shares one: diag(H_B) = mean_{i in B} diag(H_i).

    Args:
        diagonals: One for each example, float32, shape (n, d); overwritten for ``scope="block"``.
        scope: ``"block"``: random blocks of ``block_size`` (the last may be smaller); ``"global"``; ``"example"``.
        block_size: b_H.
        generator: Draws the blocks.

    Returns:
        The diagonal that each example takes, float32, shape (n, d); a read-only broadcast view for ``"global"``.

    Example:
        >>> pool(np.array([[1.0], [3.0]], dtype=np.float32), "global", 64, np.random.default_rng(0))[:, 0]
        array([2., 2.], dtype=float32)
    """
    if scope == "example":
        return diagonals
    if scope == "global":
        return np.broadcast_to(diagonals.mean(0, dtype=np.float64).astype(np.float32), diagonals.shape)
    n, d = diagonals.shape
    order = generator.permutation(n)
    whole = n // block_size * block_size
    step = max(1, 4096 // block_size) * block_size
    for start in range(0, whole, step):
        rows = order[start : min(start + step, whole)]
        means = diagonals[rows].reshape(-1, block_size, d).mean(1, dtype=np.float64)
        diagonals[rows] = np.repeat(means.astype(np.float32), block_size, axis=0)
    if whole < n:
        diagonals[order[whole:]] = diagonals[order[whole:]].mean(0, dtype=np.float64)
    return diagonals


def precondition(
    proxies: NDArray[np.floating], curvature: NDArray[np.floating], damping: float
) -> NDArray[np.floating]:
    """Divide the proxies by the curvature: ``x_i = g_i / (|H_i| + damping)``, the vectors of eq. (10).

    Args:
        proxies: g, shape (n, d).
        curvature: Hessian diagonals, shape (n, d).
        damping: Added to |H|, at least 0.

    Returns:
        x, shape (n, d).

    Raises:
        ValueError: If the damping is negative or too small to keep the result finite, or the shapes differ.

    Example:
        >>> precondition(np.array([[1.0]]), np.array([[-0.25]]), 0.25)
        array([[2.]])
    """
    if not damping >= 0:
        raise ValueError(f"damping={damping} is below 0: pass for example 1e-6")
    if proxies.shape != curvature.shape:
        raise ValueError(f"proxies have shape {proxies.shape}, the curvature {curvature.shape}: they must be equal")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        divided: NDArray[np.floating] = np.abs(curvature)
        divided += divided.dtype.type(damping)
        np.divide(proxies, divided, out=divided)
    if not np.isfinite(divided).all():
        raise ValueError(f"proxies / (|curvature| + {damping}) is not finite: raise the damping, for example to 1e-6")
    return divided


@dataclass(frozen=True, eq=False)
class RunningAverages:
    """Exponential averages over reselections, bias-corrected, of every example's proxy and curvature.

    ``g_t = (1 - beta1) sum_i beta1^(t-i) g_i / (1 - beta1^t)``, eq. (7), and
    ``H_t = sqrt((1 - beta2) sum_i beta2^(t-i) H_i^2 / (1 - beta2^t))``, eq. (9).

    Attributes:
        beta1: Decay for the proxies in [0, 1), or None to leave them as they are.
        beta2: Decay for the curvature in [0, 1), or None to leave it as it is.
        count: t, reselections so far.
        gradient: The sum in eq. (7) times (1 - beta1), float32, shape (n, d).
        square: The sum in eq. (9) times (1 - beta2), float32, shape (n, d), or (1, d) where all examples share it.

    Example:
        >>> first, second = (Snapshot(1, proxies=np.full((1, 1), g, np.float32)) for g in (1.0, 3.0))
        >>> averages, _ = RunningAverages.init(0.5, None).update(first)
        >>> round(float(averages.update(second)[1].proxies[0, 0]), 4)  # (0.5 * 1 + 1 * 3) / (0.5 + 1)
        2.3333
    """

    beta1: float | None
    beta2: float | None
    count: int = 0
    gradient: NDArray[np.float32] | None = None
    square: NDArray[np.float32] | None = None

    @classmethod
    def init(cls, beta1: float | None, beta2: float | None) -> RunningAverages:
        """Start with nothing averaged.

        Args:
            beta1: Decay for the proxies, or None.
            beta2: Decay for the curvature, or None.

        Returns:
            Averages of zero reselections.

        Raises:
            ValueError: If a decay is outside [0, 1).
        """
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if beta is not None and not 0 <= beta < 1:
                raise ValueError(f"{name}={beta} is outside [0, 1): pass for example 0.9, or None for no average")
        return cls(beta1, beta2)

    def update(self, snapshot: Snapshot) -> tuple[RunningAverages, Snapshot]:
        """Take in a new snapshot.

        Args:
            snapshot: Proxies and curvature at this reselection.

        Returns:
            The new averages, and the snapshot with its proxies and curvature replaced by the averages.

        Raises:
            ValueError: If the number of examples or dimensions changed.
        """
        count = self.count + 1
        gradient, square = self.gradient, self.square
        if self.beta1 is not None and snapshot.proxies is not None:
            gradient = _decay(gradient, snapshot.proxies, self.beta1)
            corrected = gradient / np.float32(1 - self.beta1**count)
            snapshot = replace(snapshot, proxies=corrected)
        if self.beta2 is not None and snapshot.curvature is not None:
            shape = snapshot.curvature.shape
            shared = len(snapshot.curvature) > 0 and snapshot.curvature.strides[0] == 0
            curvature = snapshot.curvature[:1] if shared else snapshot.curvature
            square = _decay(square, np.square(curvature), self.beta2)
            root = np.sqrt(square / np.float32(1 - self.beta2**count))
            snapshot = replace(snapshot, curvature=np.broadcast_to(root, shape) if shared else root)
        return replace(self, count=count, gradient=gradient, square=square), snapshot

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that ``torch.load(weights_only=True)`` takes."""
        return {
            "beta1": self.beta1,
            "beta2": self.beta2,
            "count": self.count,
            "gradient": None if self.gradient is None else torch.from_numpy(self.gradient.copy()),
            "square": None if self.square is None else torch.from_numpy(self.square.copy()),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> RunningAverages:
        """Rebuild the averages from their ``state_dict()``."""
        arrays = {name: None if state[name] is None else state[name].numpy().copy() for name in ("gradient", "square")}
        return cls(state["beta1"], state["beta2"], state["count"], **arrays)


def _decay(average: NDArray[np.float32] | None, new: NDArray[np.float32], beta: float) -> NDArray[np.float32]:
    if average is None:
        return np.multiply(new, np.float32(1 - beta))
    if average.shape != new.shape:
        raise ValueError(f"the averages have shape {average.shape}, the snapshot {new.shape}: start new averages")
    result = np.multiply(average, np.float32(beta))
    result += np.float32(1 - beta) * new
    return result
