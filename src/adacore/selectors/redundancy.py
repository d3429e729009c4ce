"""Semantic redundancy: one example of each cluster of features (Birodkar, Mobahi and Bengio, 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.clustering import k_means, nearest_to_centers
from adacore.selectors.distances import squared_distances
from adacore.selectors.settings import check_whole
from adacore.selectors.typiclust import unit_rows


@dataclass(frozen=True)
class Redundancy:
    """Leaves near-duplicates out: takes one example of each of k clusters of penultimate activations.

    It is the example nearest to the cluster's centre, weighted by the cluster's size.
    Activations are scaled to unit length, so that clusters gather what points in one direction. The paper clusters
    hierarchically, which takes n x n distances; k-means takes O(n k h) time and O(n h) memory.

    The method is that of Birodkar, Mobahi and Bengio (2019).

    Args:
        iterations: Rounds of k-means at most.

    Raises:
        ValueError: If iterations is below 1.
        TypeError: If iterations is no whole number.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], np.float32)
        >>> chosen = Redundancy().select(Snapshot(3, features=features), 2, generator=np.random.default_rng(0))
        >>> np.sort(chosen.weights)
        array([1., 2.])
    """

    name: ClassVar[str] = "redundancy"
    traits: ClassVar[Traits] = Traits(equivariant=False, randomised=True, statistics={"short": "sum"})
    per: ClassVar[Per] = "class"

    iterations: int = 20

    def __post_init__(self) -> None:
        check_whole("iterations", self.iterations)

    def requirements(self) -> Requirements:
        """Penultimate activations."""
        return Requirements(features=True)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Cluster, and keep one of each; see ``Selector.select``. Duplicates may leave fewer than asked for."""
        budget = resolve_budget(snapshot.n, budget=budget)
        # |x - y|^2 = 2 - 2 cos(x, y) for rows of length one: Euclidean k-means then clusters by angle.
        points = unit_rows(needed(snapshot.features, "features"))
        clusters, centers = k_means(points, budget, self.iterations, generator)
        chosen, sizes = nearest_to_centers(points, clusters, centers)
        return Coreset(chosen, sizes.astype(np.float64), snapshot.n, statistics={"short": budget - len(chosen)})

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Sum of squared distances of the unit-length activations to the nearest chosen one."""
        points = unit_rows(needed(snapshot.features, "features"))
        nearest = np.full(snapshot.n, np.inf)
        for row in coreset.indices:
            np.minimum(nearest, squared_distances(points, points[row]), out=nearest)
        return float(nearest.sum())
