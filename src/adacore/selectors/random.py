"""Random: a fresh uniform subset at every reselection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits
from adacore.selectors.weighting import equally_weighted


@dataclass(frozen=True)
class Random:
    """Draws examples at random, without replacement; every weight is n / k. The baseline that a method has to beat.

    In a ``CoresetLoader`` it is drawn anew whenever a selection is due, like any other method: in every epoch with
    ``every=1``, the default. Compare with that one, which sees more of the data and costs nothing. With ``every=20`` it
    keeps its subset for 20 epochs, and is a weaker baseline. ``adacore compare`` draws it anew in every epoch, unless
    it is asked for ``random(every=R)``.

    Example:
        >>> coreset = Random().select(Snapshot(10), 4, generator=np.random.default_rng(0))
        >>> len(coreset), coreset.weights[0]
        (4, np.float64(2.5))
    """

    name: ClassVar[str] = "random"
    # P(i in S) = k / n and the weight n / k: on average each example counts once.
    traits: ClassVar[Traits] = Traits(unbiased=True, equivariant=False, randomised=True, objective=False)
    per: ClassVar[Per] = "class"

    def requirements(self) -> Requirements:
        """Nothing is needed."""
        return Requirements()

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Draw ``budget`` examples; see ``Selector.select``."""
        budget = resolve_budget(snapshot.n, budget=budget)
        return equally_weighted(generator.choice(snapshot.n, size=budget, replace=False), snapshot.n)
