"""Forgetting events: examples that were learnt and lost again (Toneva et al., ICLR 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import needed
from adacore.selectors.scores import Score


def forgetting_events(snapshot: Snapshot) -> NDArray[np.floating]:
    """Return how often each example was forgotten, shape (n,); those never learnt come before all others."""
    return needed(snapshot.forgetting, "forgetting events").astype(np.float64)


class Forgetting(Score, name="forgetting", requirements=Requirements(forgetting=True), function=forgetting_events):
    """Takes the examples that training has forgotten most often: right once, and wrong at a later look.

    ``CoresetLoader.observe(logits, targets)`` counts after each batch of a loop; until then all scores are 0. As
    Toneva et al. do, an example that was trained on and never classified right ranks before all that were forgotten.

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, forgetting=np.array([0, 3]))
        >>> Forgetting().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """
