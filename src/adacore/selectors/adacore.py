"""AdaCore: medoids of the preconditioned gradients (Pooladzandi, Davini and Mirzasoleiman, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.probing.curvature import precondition
from adacore.probing.snapshot import Curvature, CurvatureKind, Proxy, Requirements, Scope, Snapshot
from adacore.selectors.base import Grain, Traits, needed
from adacore.selectors.settings import check_choice, check_flag, check_number, check_whole
from adacore.selectors.weighting import Weighting, reweight


@dataclass(frozen=True)
class AdaCore:
    """Greedy facility location on x_i = g_i / (|H_i| + damping), Algorithm 1.

    L(S) = sum_i min_{j in S} ||x_i - x_j||, eq. (12); g by eq. (6) and (7), H by eq. (8) and (9).

    Ablations: ``curvature=None`` compares the gradients alone, x_i = g_i (with ``average_gradient=False`` that is
    CRAIG); ``gradient=False`` compares the curvature alone, x_i = H_i.

    Args:
        proxy: Space of g and H, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes, the paper's), ``"uniform"`` or ``"sqrt"``.
        curvature: ``"exact"``, ``"hutchinson"`` or None for none.
        scope: One diagonal for each random ``"block"``, ``"global"``, or for each ``"example"``.
        block_size: b_H, examples in a block.
        beta1: Decay of the average of gradients over reselections, in [0, 1).
        beta2: Decay of the average of squared curvature over reselections, in [0, 1).
        average_gradient: Whether to average gradients, eq. (7).
        average_curvature: Whether to average curvature, eq. (9).
        damping: Added to |H|, above 0.
        samples: Rademacher vectors for each example (Hutchinson).
        gradient: Whether gradients are compared; False for the curvature alone.

    Raises:
        ValueError: If a name is unknown or a number out of range, or neither gradient nor curvature is used.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> snapshot = Snapshot(
        ...     4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], np.float32), curvature=np.ones((4, 1), np.float32)
        ... )
        >>> AdaCore().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "adacore"
    traits: ClassVar[Traits] = Traits(compiled=True)
    grain: ClassVar[Grain] = "class"

    proxy: Proxy = "logits"
    weighting: Weighting = "cluster"
    curvature: CurvatureKind | None = "exact"
    scope: Scope = "block"
    block_size: int = 64
    beta1: float = 0.9
    beta2: float = 0.999
    average_gradient: bool = True
    average_curvature: bool = True
    damping: float = 1e-6
    samples: int = 1
    gradient: bool = True

    def __post_init__(self) -> None:
        check_choice("proxy", self.proxy, get_args(Proxy))
        check_choice("weighting", self.weighting, get_args(Weighting))
        if self.curvature is not None:
            check_choice("curvature", self.curvature, get_args(CurvatureKind))
        check_choice("scope", self.scope, get_args(Scope))
        check_whole("block_size", self.block_size)
        check_whole("samples", self.samples)
        check_number("beta1", self.beta1, below=1.0, example=0.9)
        check_number("beta2", self.beta2, below=1.0, example=0.999)
        check_number("damping", self.damping, above=0.0, example=1e-6)
        for flag in ("average_gradient", "average_curvature", "gradient"):
            check_flag(flag, getattr(self, flag))
        if self.curvature is None and not self.gradient:
            raise ValueError("curvature=None and gradient=False leave nothing to compare: change one of them")
        if not self.gradient and self.scope == "global":
            raise ValueError('gradient=False with scope="global" makes all examples alike: pass scope="block"')

    def requirements(self) -> Requirements:
        """Gradient proxies and curvature, each averaged if so set."""
        kind = self.curvature
        return Requirements(
            proxy=self.proxy,
            curvature=None if kind is None else Curvature(kind, self.scope, self.block_size, self.samples),
            beta1=self.beta1 if self.average_gradient and self.gradient else None,
            beta2=self.beta2 if self.average_curvature and kind is not None else None,
        )

    def _points(self, snapshot: Snapshot) -> NDArray[np.floating]:
        if self.curvature is None:
            return needed(snapshot.proxies, "proxies")
        curvature = needed(snapshot.curvature, "curvature")
        if not self.gradient:
            return curvature
        return precondition(needed(snapshot.proxies, "proxies"), curvature, self.damping)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose medoids; see ``Selector.select``."""
        from adacore.facility import facility_location

        return reweight(facility_location(self._points(snapshot), budget=budget), self.weighting)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """L(S), eq. (12), with preconditioned gradients."""
        from adacore.facility import facility_objective

        return facility_objective(self._points(snapshot), coreset.indices)
