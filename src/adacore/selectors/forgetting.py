"""Forgetting events: examples that were learnt and lost again (Toneva et al., ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import needed
from adacore.selectors.scores import Score


@dataclass(frozen=True)
class Forgetting(Score):
    """The most often forgotten examples, counted in training whenever a batch is observed.

    In an ordinary training loop ``CoresetLoader.observe(logits, targets)`` counts them; until then all scores are 0.

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in q, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, forgetting=np.array([0, 3]))
        >>> Forgetting().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """

    name: ClassVar[str] = "forgetting"

    def requirements(self) -> Requirements:
        """Forgetting events."""
        return Requirements(forgetting=True)

    def scores(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Number of forgetting events; see ``Score.scores``."""
        return needed(snapshot.forgetting, "forgetting events").astype(np.float64)
