"""Entropy of the predicted probabilities (Settles, 2009; Coleman et al., ICLR 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.scores import Score, predicted


def entropy(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return ``-sum_c p_c log p_c`` in nats, with 0 log 0 = 0, shape (n,)."""
    p = predicted(snapshot).astype(np.float64)
    logs = np.log(np.where(p > 0, p, 1.0))
    # Rounding can leave -1e-17 where the model is certain; a score below 0 could not be sampled by.
    return np.asarray(np.maximum(-(p * logs).sum(1), 0.0))


class Entropy(Score, name="entropy", requirements=Requirements(probabilities=True), function=entropy):
    """Takes the examples of which the model is least sure by entropy, ``-sum_c p_c log p_c``.

    The method is described by Settles (2009), and for coresets by Coleman et al. (ICLR 2020).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, probabilities=np.array([[0.9, 0.1], [0.5, 0.5]], np.float32))
        >>> Entropy().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """
