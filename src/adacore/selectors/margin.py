"""Margin between the two likeliest classes (Scheffer et al., 2001; Coleman et al., ICLR 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.scores import Score, predicted


def narrowness(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return ``1 - (p_(1) - p_(2))``, with the likeliest two classes, in [0, 1], shape (n,)."""
    p = predicted(snapshot)
    # Two entries of each row in their final place: sorting all classes would cost log C times as much.
    likeliest = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:].astype(np.float64)
    return np.clip(1 - (likeliest[:, 1] - likeliest[:, 0]), 0.0, 1.0)


class Margin(Score, name="margin", requirements=Requirements(probabilities=True), function=narrowness):
    """Takes the examples whose likeliest two classes are nearest to each other, ``1 - (p_(1) - p_(2))``.

    The method is that of Scheffer et al. (2001), used for coresets by Coleman et al. (ICLR 2020).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, probabilities=np.array([[0.9, 0.1], [0.5, 0.5]], np.float32))
        >>> Margin().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """
