"""k-means: the example nearest to each of k centres (Lloyd, 1982; Arthur and Vassilvitskii, 2007)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Proxy, Requirements, Snapshot, Targets
from adacore.selectors.base import Per, Traits
from adacore.selectors.clustering import assign_to_centers, k_means, nearest_to_centers
from adacore.selectors.facility_location import Points, check_points, points_of, points_required
from adacore.selectors.settings import check_whole


@dataclass(frozen=True)
class KMeans:
    """Takes the example nearest to the centre of each of k clusters (k-means), weighted by the cluster's size.

    Makes sum_i min_{j in S} ||x_i - x_j||^2 small: squared distances, in place of facility location's plain ones.

    The algorithm is that of Lloyd (1982), started as Arthur and Vassilvitskii (2007) do.

    Args:
        proxy: Space of the gradients, where these are clustered.
        points: What is clustered: ``"features"``, which needs no targets, or ``"gradients"``.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.
        iterations: Rounds of k-means at most.

    Raises:
        ValueError: If a name is unknown or ``iterations`` below 1; by ``select``, if a point is not finite.
        TypeError: If ``iterations`` is no whole number.

    Example:
        >>> snapshot = Snapshot(4, features=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> KMeans().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "k_means"
    per: ClassVar[Per] = "class"
    traits: ClassVar[Traits] = Traits(equivariant=False, randomised=True, statistics={"short": "sum"})

    proxy: Proxy = "logits"
    points: Points = "features"
    targets: Targets = "given"
    iterations: int = 20

    def __post_init__(self) -> None:
        check_points(self.points, self.proxy, self.targets)
        check_whole("iterations", self.iterations)

    def requirements(self) -> Requirements:
        """Features, or gradient proxies."""
        return points_required(self.points, self.proxy, self.targets)

    def _coordinates(self, snapshot: Snapshot) -> NDArray[np.float64]:
        points = np.asarray(points_of(snapshot, self.points), np.float64)
        if not np.isfinite(points).all():
            raise ValueError("a proxy or feature is nan or infinite: has the training diverged?")
        return points

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Cluster, and keep one of each; see ``Selector.select``. Duplicates may leave fewer than asked for."""
        budget = resolve_budget(snapshot.n, budget=budget)
        points = self._coordinates(snapshot)
        clusters, centers = k_means(points, budget, self.iterations, generator)
        chosen, sizes = nearest_to_centers(points, clusters, centers)
        return Coreset(chosen, sizes.astype(np.float64), snapshot.n, statistics={"short": budget - len(chosen)})

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Sum of squared distances to the nearest chosen example."""
        points = self._coordinates(snapshot)
        return float(assign_to_centers(points, points[coreset.indices])[1].sum())
