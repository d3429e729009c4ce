"""What all methods share that choose medoids by facility location."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import counted_by_caller
from adacore.coreset import Coreset
from adacore.facility.strata import Combine
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Traits
from adacore.selectors.settings import check_choice, check_flag
from adacore.selectors.weighting import Weighting, reweight

_STATISTICS: dict[str, Combine] = {"distances": "sum", "method": "same", "seconds": "sum"}

Engine = Literal["exact", "stochastic", "sampled"]


class Medoids(ABC):
    """Greedy facility location: makes L(S) = sum_i min_{j in S} ||x_i - x_j||, eq. (12), small.

    The first pick is the medoid of all points; each further pick is the point that lowers L most. A pick's weight
    gamma_j is the number of points that are nearest to it, so that sum_j gamma_j x_j approximates sum_i x_i: the error
    is at most sum_i ||x_i - x_{nearest(i)}|| = L(S), by the triangle inequality.

    A subclass is a frozen dataclass that says which points are compared and declares the settings below as fields.

    Attributes:
        weighting: ``"cluster"`` (gamma, the paper's), ``"uniform"`` (all alike) or ``"sqrt"`` (in between).
        engine: How greedy runs: ``"exact"``; ``"stochastic"`` (looks at random candidates for each pick); ``"sampled"``
            (exact on a uniform sample, evaluated on all); see ``adacore.facility_location``.
        refine: Whether picks are then exchanged for other points as long as that lowers L.
    """

    weighting: Weighting
    engine: Engine
    refine: bool

    @property
    def traits(self) -> Traits:
        """Only exact greedy without exchanges is independent of the order of the examples and of chance."""
        exact = self.engine == "exact"
        return Traits(
            equivariant=exact and not self.refine, randomised=not exact, compiled=True, statistics=_STATISTICS
        )

    def _check_medoids(self) -> None:
        check_choice("weighting", self.weighting, get_args(Weighting))
        check_choice("engine", self.engine, get_args(Engine))
        check_flag("refine", self.refine)

    @abstractmethod
    def requirements(self) -> Requirements:
        """What the points are made of."""

    @abstractmethod
    def coordinates(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Return the points that are compared.

        Args:
            snapshot: What was required, of n examples.

        Returns:
            Shape (n, d).

        Raises:
            ValueError: If the snapshot lacks what was required.
        """

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose medoids; see ``Selector.select``."""
        # Loading the engine compiles nothing but takes as long as the rest of the package; most selectors never do.
        from adacore.facility import facility_location

        points = self.coordinates(snapshot)
        # Of one class, mostly: whoever asked for the coreset is told how many there are of all.
        with counted_by_caller():
            found = facility_location(points, budget=budget, method=self.engine, refine=self.refine, seed=generator)
        # Greedy never looks at weights gamma: any weighting is a second step on the same picks.
        return reweight(found, self.weighting)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """L(S), eq. (12)."""
        from adacore.facility import facility_objective

        return facility_objective(self.coordinates(snapshot), coreset.indices)
