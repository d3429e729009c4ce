"""Least confidence in the predicted class (Lewis and Gale, 1994; Coleman et al., ICLR 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.scores import Score, predicted


def doubt(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return ``1 - max_c p_c``, in [0, 1], shape (n,)."""
    # A softmax in float32 may round to just above 1, and a score below 0 could not be sampled by.
    return np.asarray(np.clip(1 - predicted(snapshot).max(1).astype(np.float64), 0.0, 1.0))


class LeastConfidence(Score, name="least_confidence", requirements=Requirements(probabilities=True), function=doubt):
    """Takes the examples whose likeliest class has the smallest probability, ``1 - max_c p_c``.

    The method is that of Lewis and Gale (1994), used for coresets by Coleman et al. (ICLR 2020).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, probabilities=np.array([[0.9, 0.1], [0.5, 0.5]], np.float32))
        >>> LeastConfidence().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """
