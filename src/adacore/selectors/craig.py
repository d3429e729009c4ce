"""CRAIG: medoids of the gradients (Mirzasoleiman, Bilmes and Leskovec, ICML 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adacore.selectors.facility_location import FacilityLocation, Points


@dataclass(frozen=True)
class CRAIG(FacilityLocation):
    """CRAIG: chooses the examples whose gradients are nearest to those of all examples.

    Greedy facility location on the gradient proxies makes L(S) = sum_i min_{j in S} ||g_i - g_j|| small. By the
    triangle inequality the coreset's weighted gradient differs from that of the full data by at most L(S).

    The method is that of Mirzasoleiman, Bilmes and Leskovec (ICML 2020).

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes), ``"uniform"`` or ``"sqrt"``.
        points: What is compared.
        engine: ``"exact"``, ``"stochastic"`` or ``"sampled"``: ``method`` of ``adacore.facility_location``.
        refine: Whether picks are exchanged afterwards, as long as that lowers L.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.

    Raises:
        ValueError: If a name is unknown.
        TypeError: If ``refine`` is neither true nor false.

    Example:
        >>> import numpy as np
        >>> from adacore.probing.snapshot import Snapshot
        >>> snapshot = Snapshot(4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> CRAIG().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "craig"

    points: Points = "gradients"
