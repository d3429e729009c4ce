"""Hessian diagonals in the space of the proxies: computed, averaged over blocks and reselections, divided by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.probing.loss_derivatives import LocalLoss
from adacore.probing.proxies import Space
from adacore.probing.rademacher import signs
from adacore.probing.snapshot import Scope, Snapshot


def exact_diagonal(local: LocalLoss, space: Space) -> Tensor:
    """Return the diagonal of the Hessian of each example's loss, with respect to the coordinates of the proxies.

    Let u_i be the coordinates of example i (logits, penultimate activations, projected last-layer weights). The outputs
    of the last layer are linear in them, ``z_i = z_i0 + J_i u_i``, so that the chain rule has no second term::

        d loss_i / d u_i = J_i^T delta_i,   delta_i = d loss_i / d z_i
        d2 loss_i / d u_i^2 = J_i^T S_i J_i,  S_i = d2 loss_i / d z_i^2,

    which is the Hessian itself and not only its Gauss-Newton part. Entry r of its diagonal, which eq. (8) estimates, is
    the quadratic form ``j_r^T S_i j_r`` of column r of J_i. For softmax cross-entropy ``S_i = diag(p) - p p^T``: with
    respect to the logits the diagonal is ``p (1 - p)``; with respect to the activations it is the variance, under p, of
    each column of W.

    Args:
        local: The losses of a batch; S_i is the Hessian with respect to the outputs.
        space: The space of the proxies, which gives J_i.

    Returns:
        Shape (batch, d).

    Example:
        Two classes with equal logits: p = (1/2, 1/2), and p (1 - p) = 1/4. With W = [[1], [3]] the entry of the one
        activation is the variance of 1 and 3, which is 1.

        >>> from adacore.probing.losses import per_example
        >>> from adacore.probing.proxies import space_of
        >>> local = per_example(None).at(torch.zeros(1, 2), torch.tensor([0]))
        >>> exact_diagonal(local, space_of("logits"))
        tensor([[0.2500, 0.2500]])
        >>> weight, features = torch.tensor([[1.0], [3.0]]), torch.zeros(1, 1)
        >>> exact_diagonal(local, space_of("penultimate", weight=weight, features=features))
        tensor([[1.]])
    """
    # J_i = B diag(s_i) with the basis B and the scale s_i, so that j_r^T S_i j_r = s_ir^2 (b_r^T S_i b_r): the basis is
    # shared by all examples, and no J_i is formed.
    diagonal = local.quadratic(space.basis)
    return diagonal if space.scale is None else diagonal * space.scale.square()


def hutchinson_diagonal(local: LocalLoss, space: Space, *, samples: int, streams: NDArray[np.uint64]) -> Tensor:
    """Estimate the diagonal of each example's Hessian by E[v * (H v)], eq. (8), v Rademacher and drawn per example.

    ``(v * H v)_r = H_rr v_r^2 + sum_{s != r} H_rs v_r v_s``. Since ``v_r^2 = 1`` and ``E[v_r v_s] = 0``, the mean is
    H_rr, and the variance of one sample is ``sum_{s != r} H_rs^2``: nothing where H is diagonal. Only products H v are
    needed, one backward pass each, whatever d is (Bekas, Kokiopoulou and Saad, 2007; Yao et al., AdaHessian, 2021).

    Args:
        local: The losses of a batch.
        space: The space of the proxies.
        samples: Vectors drawn for each example; the error falls with the root of their number.
        streams: Of random bits, one for each row, see ``streams_of``; shape (batch,).

    Returns:
        Unbiased estimate, shape (batch, d).

    Example:
        The error against the exact diagonal, from 1 to 100 to 10,000 samples:

        >>> from adacore.probing.losses import per_example
        >>> from adacore.probing.proxies import space_of
        >>> from adacore.probing.rademacher import streams_of
        >>> local = per_example(None).at(torch.arange(6.0).reshape(2, 3), torch.tensor([0, 2]))
        >>> space = space_of("logits")
        >>> exact = exact_diagonal(local, space)
        >>> for samples in (1, 100, 10_000):
        ...     estimate = hutchinson_diagonal(local, space, samples=samples, streams=streams_of(0, np.arange(2)))
        ...     print(f"{float((estimate - exact).abs().max()):.4f}")
        0.2227
        0.0315
        0.0021
    """
    gradient = local.gradient()
    # Drawn by numpy, by the number of the example: neither the device, nor the cut into batches, changes them.
    drawn = signs(streams, samples, space.vjp(gradient[:1]).shape[1])
    total: Tensor | None = None
    for sample in drawn:
        # v * (J^T S (J v)), from right to left: a d x d Hessian is never formed.
        vectors = torch.from_numpy(sample).to(gradient.device, gradient.dtype)
        product = vectors * space.vjp(local.hessian_product(space.jvp(vectors)))
        total = product if total is None else total.add_(product)
    assert total is not None  # there is at least one sample
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
        # Means in float64: in float32 a sum of millions of terms loses the last digits of each.
        return np.broadcast_to(diagonals.mean(0, dtype=np.float64).astype(np.float32), diagonals.shape)
    n, d = diagonals.shape
    # Random blocks: data sets are often sorted by class, and a block of one class would say nothing of the others.
    order = generator.permutation(n)
    whole = n // block_size * block_size
    # Whole blocks, some 4,096 rows at a time: what is gathered stays in the cache, and no second (n, d) array is made.
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
        # One new array in all: |H|, then |H| + damping, then the quotient, each in place of the last.
        divided: NDArray[np.floating] = np.abs(curvature)
        divided += divided.dtype.type(damping)
        np.divide(proxies, divided, out=divided)
    if not np.isfinite(divided).all():
        raise _not_finite(proxies, curvature, damping)
    return divided


def _not_finite(proxies: NDArray[np.floating], curvature: NDArray[np.floating], damping: float) -> ValueError:
    for name, array in (("gradient proxy", proxies), ("curvature", curvature)):
        rows = np.flatnonzero(~np.isfinite(array).all(1))
        if len(rows):
            return ValueError(
                f"the {name} of example {rows[0]} is not finite: look at that example and at the loss's derivatives "
                "there, or use a selector that needs no curvature, such as CRAIG"
            )
    # Where H = 0 the quotient is g / damping: finite once damping > |g| / (largest float).
    enough = float(np.abs(proxies).max()) / float(np.finfo(proxies.dtype).max) * 10
    return ValueError(
        f"proxies / (|curvature| + damping) overflows with damping={damping}: raise the damping, for example to "
        f"{max(enough, 10 * damping, 1e-6):.0e}"
    )


@dataclass(frozen=True, eq=False)
class RunningAverages:
    """Exponential averages over reselections, bias-corrected, of every example's proxy and curvature.

    ``g_t = (1 - beta1) sum_i beta1^(t-i) g_i / (1 - beta1^t)``, eq. (7), and
    ``H_t = sqrt((1 - beta2) sum_i beta2^(t-i) H_i^2 / (1 - beta2^t))``, eq. (9).

    What is kept are the corrected averages themselves. With the share ``s_t = (1 - beta) / (1 - beta^t)`` of the newest
    (s_1 = 1, and 1 - beta in the end) they follow from the ones before::

        g_t = g_{t-1} + s_t (g - g_{t-1}),    H_t = hypot(sqrt(1 - s_t) H_{t-1}, sqrt(s_t) H),

    and no square is formed, which would leave float32 for curvatures below 1e-22 or above 1e19. The arrays are shared
    with the snapshot that ``update`` returns, so that averages cost no memory beside it: 4 n d bytes each, in a
    checkpoint too (d = 10 for ten logits; for a thousand classes, ``proxy="last_layer"`` has d = 64).

    Attributes:
        beta1: Decay for the proxies in [0, 1), or None to leave them as they are.
        beta2: Decay for the curvature in [0, 1), or None to leave it as it is.
        count: t, reselections so far.
        gradient: g_t, float32, shape (n, d).
        curvature: H_t, float32, shape (n, d), or (1, d) where all examples share it.

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
    curvature: NDArray[np.float32] | None = None

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

    def update(self, snapshot: Snapshot, *, overwrite: bool = False) -> tuple[RunningAverages, Snapshot]:
        """Take in a new snapshot.

        Args:
            snapshot: Proxies and curvature at this reselection.
            overwrite: Whether its arrays may be overwritten by the averages, to save memory.

        Returns:
            The new averages, and the snapshot with its proxies and curvature replaced by the averages.

        Raises:
            ValueError: If the number of examples or dimensions changed.
        """
        count = self.count + 1
        gradient, curvature = self.gradient, self.curvature
        if self.beta1 is not None and snapshot.proxies is not None:
            # Eq. (7) in the paper weighs by beta1 and corrects by beta2; only one beta for both makes the weights add
            # up to 1.
            gradient = _averaged(gradient, snapshot.proxies, _share(self.beta1, count), _mean, overwrite=overwrite)
            snapshot = replace(snapshot, proxies=gradient)
        if self.beta2 is not None and snapshot.curvature is not None:
            shape = snapshot.curvature.shape
            # One row behind a broadcast view, where all examples share a diagonal, is averaged as one row.
            shared = len(snapshot.curvature) > 0 and snapshot.curvature.strides[0] == 0
            new = snapshot.curvature[:1] if shared else snapshot.curvature
            curvature = _averaged(curvature, new, _share(self.beta2, count), _root_mean_square, overwrite=overwrite)
            snapshot = replace(snapshot, curvature=np.broadcast_to(curvature, shape) if shared else curvature)
        return replace(self, count=count, gradient=gradient, curvature=curvature), snapshot

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that ``torch.load(weights_only=True)`` takes; nothing is copied."""
        return {
            "beta1": self.beta1,
            "beta2": self.beta2,
            "count": self.count,
            "gradient": None if self.gradient is None else torch.from_numpy(self.gradient),
            "curvature": None if self.curvature is None else torch.from_numpy(self.curvature),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> RunningAverages:
        """Rebuild the averages from their ``state_dict()``."""
        names = ("gradient", "curvature")
        arrays = {name: None if state[name] is None else state[name].numpy().copy() for name in names}
        return cls(state["beta1"], state["beta2"], state["count"], **arrays)


def _share(beta: float, count: int) -> float:
    """Return the weight of the newest of ``count`` values: 1 of the first, 1 / count for beta near 1."""
    return (1 - beta) / (1 - beta**count)


def _mean(old: NDArray[np.float32], new: NDArray[np.float32], share: float, out: NDArray[np.float32]) -> None:
    np.multiply(new, np.float32(share), out=out)
    out += np.float32(1 - share) * old


def _root_mean_square(
    old: NDArray[np.float32], new: NDArray[np.float32], share: float, out: NDArray[np.float32]
) -> None:
    np.multiply(new, np.float32(math.sqrt(share)), out=out)
    np.hypot(out, np.float32(math.sqrt(1 - share)) * old, out=out)


_ROWS = 4096
"""Rows averaged at a time, so that what is computed on the way takes no memory to speak of."""


def _averaged(
    old: NDArray[np.float32] | None,
    new: NDArray[np.float32],
    share: float,
    combine: Callable[[NDArray[np.float32], NDArray[np.float32], float, NDArray[np.float32]], None],
    *,
    overwrite: bool,
) -> NDArray[np.float32]:
    if old is not None and old.shape != new.shape:
        # A last layer or data set of another size has other coordinates: averaging over both would mix what has nothing
        # in common.
        raise ValueError(f"the averages have shape {old.shape}, the snapshot {new.shape}: start new averages")
    # A broadcast view (scope="global") is read-only, and one row of it stands for n: it is never written to.
    averaged = new if overwrite and new.flags.writeable and new.dtype == np.float32 else np.empty(new.shape, np.float32)
    for start in range(0, len(new), _ROWS):
        rows = slice(start, start + _ROWS)
        # Of the first reselection the share s_1 is 1, so that what is averaged with it has no weight: zeros will do.
        before = np.zeros((1, 1), np.float32) if old is None else old[rows]
        combine(before, new[rows], share, averaged[rows])
    return averaged
