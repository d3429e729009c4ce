"""EL2N: norm of the error of the predicted probabilities (Paul, Ganguli and Dziugaite, NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import needed
from adacore.selectors.scores import Score, predicted


@dataclass(frozen=True)
class EL2N(Score):
    """The examples with the largest error ``||p_i - y_i||_2``, y one-hot.

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in q, in [0, 1].

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

    name: ClassVar[str] = "el2n"

    def requirements(self) -> Requirements:
        """Predicted probabilities; the classes come with them."""
        return Requirements(probabilities=True)

    def scores(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Norm of the error; see ``Score.scores``."""
        p, labels = predicted(snapshot).astype(np.float64), needed(snapshot.targets, "targets")
        if labels.min() < 0 or labels.max() >= p.shape[1]:
            raise ValueError(
                f"targets run from {labels.min()} to {labels.max()}, the model predicts {p.shape[1]} classes: "
                "EL2N needs the classes that the model predicts"
            )
        p[np.arange(snapshot.n), labels] -= 1
        return np.asarray(np.sqrt(np.square(p).sum(1)))
