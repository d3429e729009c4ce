"""AdaCore: medoids of the preconditioned gradients (Pooladzandi, Davini and Mirzasoleiman, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.curvature import precondition
from adacore.errors import unknown_name
from adacore.selectors.base import Grain, Traits
from adacore.selectors.weighting import Weighting, check_weighting, reweight
from adacore.snapshot import Curvature, CurvatureKind, Proxy, Requirements, Scope, Snapshot


@dataclass(frozen=True)
class AdaCore:
    """Greedy facility location on x_i = g_i / (|H_i| + damping), Algorithm 1.

    L(S) = sum_i min_{j in S} ||x_i - x_j||, eq. (12); g by eq. (6) and (7), H by eq. (8) and (9).

    Args:
        proxy: Space of g and H, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes, the paper's), ``"uniform"`` or ``"sqrt"``.
        curvature: ``"exact"`` or ``"hutchinson"``.
        scope: One diagonal for each random ``"block"``, ``"global"``, or for each ``"example"``.
        block_size: b_H, examples in a block.
        beta1: Decay of the average of gradients over reselections, in [0, 1).
        beta2: Decay of the average of squared curvature over reselections, in [0, 1).
        average_gradient: Whether to average gradients, eq. (7).
        average_curvature: Whether to average curvature, eq. (9).
        damping: Added to |H|, above 0.
        probes: Rademacher vectors for each example (Hutchinson).

    Raises:
        ValueError: If a name is unknown or a number out of range.

    Example:
        >>> snapshot = Snapshot(
        ...     4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], np.float32), curvature=np.ones((4, 1), np.float32)
        ... )
        >>> AdaCore().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "adacore"
    traits: ClassVar[Traits] = Traits()
    grain: ClassVar[Grain] = "class"

    proxy: Proxy = "logits"
    weighting: Weighting = "cluster"
    curvature: CurvatureKind = "exact"
    scope: Scope = "block"
    block_size: int = 64
    beta1: float = 0.9
    beta2: float = 0.999
    average_gradient: bool = True
    average_curvature: bool = True
    damping: float = 1e-6
    probes: int = 1

    def __post_init__(self) -> None:
        for kind, value, names in (
            ("proxy", self.proxy, get_args(Proxy)),
            ("curvature", self.curvature, get_args(CurvatureKind)),
            ("scope", self.scope, get_args(Scope)),
        ):
            if value not in names:
                raise unknown_name(kind, value, names)
        check_weighting(self.weighting)
        for name in ("block_size", "probes"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ValueError(f"{name}={getattr(self, name)!r}: pass a whole number of at least 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is outside [0, 1): pass for example 0.9")
        if not self.damping > 0:
            raise ValueError(f"damping={self.damping} is not above 0: pass for example 1e-6")

    def requirements(self) -> Requirements:
        """Gradient proxies and curvature, each averaged if so set."""
        return Requirements(
            proxy=self.proxy,
            curvature=Curvature(self.curvature, self.scope, self.block_size, self.probes),
            beta1=self.beta1 if self.average_gradient else None,
            beta2=self.beta2 if self.average_curvature else None,
        )

    def _points(self, snapshot: Snapshot) -> NDArray[np.float32]:
        return precondition(snapshot.proxies, snapshot.curvature, self.damping)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose medoids; see ``Selector.select``."""
        from adacore.facility import facility_location

        return reweight(facility_location(self._points(snapshot), budget=budget), self.weighting)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """L(S), eq. (12), with preconditioned gradients."""
        from adacore.facility import facility_objective

        return facility_objective(self._points(snapshot), coreset.indices)
