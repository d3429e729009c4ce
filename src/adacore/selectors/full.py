"""Full: all examples, each with weight one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits


@dataclass(frozen=True)
class Full:
    """Takes all examples, whatever the budget: the full data, which every coreset is compared with.

    Example:
        >>> len(Full().select(Snapshot(10), 4, generator=np.random.default_rng(0)))
        10
    """

    name: ClassVar[str] = "full"
    traits: ClassVar[Traits] = Traits(unbiased=True, objective=False, ignores_budget=True)
    per: ClassVar[Per] = "data"

    def requirements(self) -> Requirements:
        """Nothing is needed."""
        return Requirements()

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Take all examples; see ``Selector.select``."""
        return Coreset(np.arange(snapshot.n), np.ones(snapshot.n), snapshot.n)
