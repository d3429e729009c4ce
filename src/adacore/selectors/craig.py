"""CRAIG: medoids of the gradients (Mirzasoleiman, Bilmes and Leskovec, ICML 2020)."""

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
class CRAIG:
    """Greedy facility location on the gradient proxies, L(S) = sum_i min_{j in S} ||g_i - g_j||.

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes), ``"uniform"`` or ``"sqrt"``.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> snapshot = Snapshot(4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> CRAIG().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "craig"
    traits: ClassVar[Traits] = Traits(compiled=True)
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

        return reweight(facility_location(needed(snapshot.proxies, "proxies"), budget=budget), self.weighting)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """L(S), eq. (12), with plain gradients."""
        from adacore.facility import facility_objective

        return facility_objective(needed(snapshot.proxies, "proxies"), coreset.indices)
