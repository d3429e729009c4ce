"""The clusters of a coreset as strata: mini-batches then hold random members of clusters, and not their medoids."""

from __future__ import annotations

import numpy as np

from adacore.coreset import Coreset
from adacore.probing.snapshot import Snapshot
from adacore.selectors import PerClass, Selector, Whole
from adacore.selectors.medoid_selector import Medoids
from adacore.selectors.ordered_strata import Strata


def medoids_of(selector: Selector) -> Medoids | None:
    """Return the method that chooses medoids inside a selector, or None where there is none, and so no clusters.

    Example:
        >>> from adacore.selectors import AdaCore, Random
        >>> medoids_of(PerClass(AdaCore())), medoids_of(Random())
        (AdaCore(...), None)
    """
    inner = selector.selector if isinstance(selector, PerClass | Whole) else selector
    return inner if isinstance(inner, Medoids) else None


def strata_of_clusters(medoids: Medoids, snapshot: Snapshot, coreset: Coreset, *, per_class: bool) -> Strata:
    """Order all examples by the cluster that they belong to, clusters class by class, and near ones side by side.

    Facility location serves each example by the nearest medoid, and gamma_j = how many medoid j serves. A batch along
    this order takes members of clusters in proportion to gamma, class by class: each example of the data with the same
    probability, so that it is unbiased, which a batch of medoids is not.

    Args:
        medoids: The method that chose the coreset.
        snapshot: What it was shown, of n examples.
        coreset: What it chose.
        per_class: Whether it chose within each of ``snapshot.strata``.

    Returns:
        An order of the n examples; its leaves are the clusters.
    """
    # These load and compile the engine's kernels: only for those who choose medoids.
    from adacore.facility import assign
    from adacore.selectors.gradient_tree import gradient_tree

    # The coordinates in which the medoids were chosen: in any other the clusters would be other ones.
    points = np.ascontiguousarray(medoids.coordinates(snapshot))
    groups = snapshot.strata if per_class and snapshot.strata is not None else np.zeros(snapshot.n, np.int64)
    orders, sizes = [], []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        # Positions in the data become positions within the group; `rows` is ascending, as flatnonzero gives it.
        picks = np.searchsorted(rows, np.sort(coreset.indices[groups[coreset.indices] == group]))
        # Leaves of one: the tree only orders the medoids, so that a stratum which spans two clusters spans two alike
        # ones.
        near_one_another, _ = gradient_tree(points[rows[picks]], 1)
        owner = assign(points[rows], picks[near_one_another]).owner
        orders.append(rows[np.argsort(owner, kind="stable")])
        sizes.append(np.bincount(owner))
    ends = np.cumsum(np.concatenate(sizes))
    # Of two medoids at one point the lower serves all examples: an empty cluster is no leaf.
    return Strata(np.concatenate(orders), np.unique(np.concatenate([[0], ends])))
