"""k-medoids: facility location improved by swaps (Kaufman and Rousseeuw, 1990; Schubert and Rousseeuw, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adacore.selectors.facility_location import FacilityLocation, Points


@dataclass(frozen=True)
class KMedoids(FacilityLocation):
    """Chooses k medoids: greedy facility location, improved by swaps.

    A pick is exchanged for another example as long as that makes L(S) smaller.

    Swaps are those of Kaufman and Rousseeuw (1990), done as fast as Schubert and Rousseeuw (2021) do.

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        weighting: ``"cluster"`` (sizes), ``"uniform"`` or ``"sqrt"``.
        points: What is compared: ``"gradients"``, or ``"features"``, which needs no targets.
        engine: How greedy runs before the swaps: ``"exact"``, ``"stochastic"`` or ``"sampled"``.
        refine: Whether to swap.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.

    Raises:
        ValueError: If a name is unknown.
        TypeError: If ``refine`` is neither true nor false.

    Example:
        >>> import numpy as np
        >>> from adacore.probing.snapshot import Snapshot
        >>> snapshot = Snapshot(4, proxies=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> KMedoids().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "k_medoids"

    points: Points = "gradients"
    refine: bool = True
