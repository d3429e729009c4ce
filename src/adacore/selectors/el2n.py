"""EL2N: norm of the error of the predicted probabilities (Paul, Ganguli and Dziugaite, NeurIPS 2021)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import needed
from adacore.selectors.scores import Score, predicted


def error_norms(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return ``||p_i - y_i||_2``, y the one-hot targets of the loss (not the strata), shape (n,)."""
    p, targets = predicted(snapshot).astype(np.float64), needed(snapshot.targets, "targets")
    if targets.min() < 0 or targets.max() >= p.shape[1]:
        raise ValueError(
            f"targets run from {targets.min()} to {targets.max()}, the model predicts {p.shape[1]} classes: "
            "EL2N needs targets among the classes that the model predicts"
        )
    # In place of a one-hot matrix: p is a copy in float64 already.
    p[np.arange(snapshot.n), targets] -= 1
    return np.asarray(np.sqrt(np.square(p).sum(1)))


class EL2N(Score, name="el2n", requirements=Requirements(probabilities=True), function=error_norms):
    """EL2N: takes the examples whose probabilities are farthest from the truth, ``||p_i - y_i||_2``, y one-hot.

    The method is that of Paul, Ganguli and Dziugaite (NeurIPS 2021).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(
        ...     2, targets=np.array([0, 0]), probabilities=np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
        ... )
        >>> EL2N().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """
