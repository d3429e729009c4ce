"""k-center: the examples that cover all within the smallest radius (Gonzalez, 1985; Sener and Savarese, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import counted_by_caller
from adacore.coreset import Coreset
from adacore.probing.snapshot import Proxy, Requirements, Snapshot, Targets
from adacore.selectors.base import Per, Traits
from adacore.selectors.facility_location import Points, check_points, points_of, points_required


@dataclass(frozen=True)
class KCenter:
    """Chooses examples so that no example is far from a chosen one: k-center, farthest first.

    The largest distance, ``max_i min_{j in S} ||g_i - g_j||``, is at most twice the smallest possible. Weights are the
    sizes of the clusters about the chosen examples.

    The algorithm is that of Gonzalez (1985); Sener and Savarese (ICLR 2018) choose by it what to label.

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        points: What is covered: ``"gradients"``, or ``"features"``, which needs no targets.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> snapshot = Snapshot(3, proxies=np.array([[0.0], [1.0], [5.0]], np.float32))
        >>> KCenter().select(snapshot, 2, generator=np.random.default_rng(0)).indices
        array([1, 2])
    """

    name: ClassVar[str] = "k_center"
    traits: ClassVar[Traits] = Traits(statistics={"radius": "maximum", "seconds": "sum"})
    per: ClassVar[Per] = "class"

    proxy: Proxy = "logits"
    points: Points = "gradients"
    targets: Targets = "given"

    def __post_init__(self) -> None:
        check_points(self.points, self.proxy, self.targets)

    def requirements(self) -> Requirements:
        """Gradient proxies, or features."""
        return points_required(self.points, self.proxy, self.targets)

    def _coordinates(self, snapshot: Snapshot) -> NDArray[np.float64]:
        # A traversal compares distances that may agree in all digits of float32; a tie there would go by rounding.
        points = np.asarray(points_of(snapshot, self.points), np.float64)
        if not np.isfinite(points).all():
            raise ValueError("a proxy or feature is nan or infinite: has the training diverged?")
        return points

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Cover the examples; see ``Selector.select``. ``radius`` in the statistics is the largest distance."""
        # Loading the engine takes as long as the rest of the package; most selectors never do.
        from adacore.facility import k_center

        # Of one class, mostly: see ``Medoids.select``.
        with counted_by_caller():
            return k_center(self._coordinates(snapshot), budget=budget)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Largest distance of an example to the nearest chosen one."""
        from adacore.facility import assign  # as above

        return float(assign(self._coordinates(snapshot), coreset.indices).distances.max())
