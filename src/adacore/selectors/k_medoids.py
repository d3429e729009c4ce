"""k-medoids: facility location improved by swaps (Kaufman and Rousseeuw, 1990; Schubert and Rousseeuw, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np

from adacore.coreset import Coreset
from adacore.probing.snapshot import Proxy, Requirements, Snapshot
from adacore.selectors.base import Grain, Traits, needed
from adacore.selectors.settings import check_choice
from adacore.selectors.weighting import Weighting, reweight


@dataclass(frozen=True)
class KMedoids:
    """Greedy facility location on the gradient proxies, then swaps as long as one makes L(S) smaller.

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes), ``"uniform"`` or ``"sqrt"``.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> snapshot = Snapshot(4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> KMedoids().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "k_medoids"
    traits: ClassVar[Traits] = Traits(equivariant=False, compiled=True)  # the order of swaps decides
    grain: ClassVar[Grain] = "class"

    proxy: Proxy = "logits"
    weighting: Weighting = "cluster"

    def __post_init__(self) -> None:
        check_choice("proxy", self.proxy, get_args(Proxy))
        check_choice("weighting", self.weighting, get_args(Weighting))

    def requirements(self) -> Requirements:
        """Gradient proxies."""
        return Requirements(proxy=self.proxy)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose medoids; see ``Selector.select``."""
        from adacore.facility import facility_location

        proxies = needed(snapshot.proxies, "proxies")
        return reweight(facility_location(proxies, budget=budget, refine=True), self.weighting)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """L(S), eq. (12), with plain gradients."""
        from adacore.facility import facility_objective

        return facility_objective(needed(snapshot.proxies, "proxies"), coreset.indices)
