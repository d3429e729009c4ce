"""AdaCore: medoids of the preconditioned gradients (Pooladzandi, Davini and Mirzasoleiman, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adacore.probing.snapshot import CurvatureKind, Proxy, Scope, Targets
from adacore.selectors.base import Per
from adacore.selectors.medoid_selector import Engine, Medoids
from adacore.selectors.preconditioned import Preconditioned
from adacore.selectors.weighting import Weighting


@dataclass(frozen=True)
class AdaCore(Preconditioned, Medoids):
    """AdaCore: chooses the examples whose gradients, divided by curvature, are nearest to those of all (Algorithm 1).

    Greedy facility location on the preconditioned gradients x_i = g_i / (|H_i| + damping) makes
    L(S) = sum_i min_{j in S} ||x_i - x_j||, eq. (12), small, with g by eq. (6) and (7) and H by eq. (8) and (9).
    Why x: Newton's step for example i is H_i^-1 g_i, so that a coreset which represents the x_i represents the steps
    that a second-order method would take, eq. (5) and (10). With ``curvature=None`` and ``average_gradient=False`` it
    is CRAIG.

    The method is that of Pooladzandi, Davini and Mirzasoleiman (ICML 2022), whose equations these are.

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
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes (no labels needed).
        engine: ``"exact"``, ``"stochastic"`` or ``"sampled"``: ``method`` of ``adacore.facility_location``.
        refine: Whether picks are exchanged afterwards as long as that lowers L.

    Raises:
        ValueError: If a name is unknown or a number out of range.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> from adacore.probing.snapshot import Snapshot
        >>> snapshot = Snapshot(
        ...     4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], np.float32), curvature=np.ones((4, 1), np.float32)
        ... )
        >>> AdaCore().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "adacore"
    per: ClassVar[Per] = "class"

    # Eq. (6) bounds the distance of two preconditioned gradients by that of their parts with respect to the input of
    # the softmax, p - y: no backward pass through the model is needed.
    proxy: Proxy = "logits"
    weighting: Weighting = "cluster"
    curvature: CurvatureKind | None = "exact"
    scope: Scope = "block"
    block_size: int = 64
    # The paper gives no values: these are Adam's. In 200 epochs with R = 20 there are ten reselections: the last one
    # has a share s_10 of 0.154 in eq. (7) and of 0.1004 in eq. (9), which is nearly a plain mean.
    beta1: float = 0.9
    beta2: float = 0.999
    average_gradient: bool = True
    average_curvature: bool = True
    # Above what rounding leaves of p (1 - p), about 2^-24: where a class is certain, g / |H| would be a quotient of two
    # roundings.
    damping: float = 1e-6
    samples: int = 1
    targets: Targets = "given"
    engine: Engine = "exact"
    refine: bool = False

    def __post_init__(self) -> None:
        self._check_preconditioning()
        self._check_medoids()
