"""Loss: the examples that the model gets most wrong (Loshchilov and Hutter, ICLR workshop 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import needed
from adacore.selectors.scores import Score, smoothed
from adacore.selectors.settings import check_number


def losses(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return the loss of each example, shape (n,)."""
    return needed(snapshot.losses, "losses")


@dataclass(frozen=True)
class Loss(Score, name="loss", requirements=Requirements(losses=True), function=losses):
    """Takes the examples of highest loss, or draws them by the rank of their loss.

    With ``mode="sample"``, ``q`` decays exponentially with the rank r of the loss, ``q ~ pressure^(-r / n)``, as in
    online batch selection, mixed with the uniform distribution.

    The method is that of Loshchilov and Hutter (ICLR workshop 2016).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].
        pressure: How many times likelier the highest loss is drawn than the lowest, at least 1.

    Raises:
        ValueError: If the mode is unknown or a number out of range.
        TypeError: If a number is none.

    Example:
        >>> snapshot = Snapshot(3, losses=np.array([0.1, 2.0, 0.5], np.float32))
        >>> Loss().select(snapshot, 2, generator=np.random.default_rng(0)).indices
        array([1, 2])
    """

    reaches_all: ClassVar[bool] = True

    smoothing: float = 0.0
    pressure: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("pressure", self.pressure, least=1.0, example=100.0)

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Decay with the rank; see ``Score.probabilities``. Equal losses share their ranks' mean."""
        # Losses have no scale that lasts through a training; their ranks do.
        _, group, counts = np.unique(-scores, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts + 1) / 2)[group]
        decay: NDArray[np.float64] = np.exp(-np.log(self.pressure) * ranks / len(scores))
        return smoothed(decay, self.smoothing)
