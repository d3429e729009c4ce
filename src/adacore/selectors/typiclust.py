"""TypiClust: the most typical example of each cluster (Hacohen, Dekel and Weinshall, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.clustering import k_means
from adacore.selectors.settings import check_whole

_CELLS = 4_000_000
"""Distances computed at a time: 32 MB in double precision."""


@dataclass(frozen=True)
class TypiClust:
    """TypiClust: takes from each of k clusters of features the example that lies most densely among its neighbours.

    Typicality is one over the mean distance to the ``neighbours`` nearest examples of the same cluster. Made for few
    labels, where typical examples teach more than uncertain ones. Features are scaled to length one, as the authors'
    are. A pick's weight is its cluster's size; the largest clusters come first.

    The method is that of Hacohen, Dekel and Weinshall (ICML 2022).

    Args:
        neighbours: How many neighbours count, at most; half of a small cluster (20 in the paper).
        iterations: Rounds of k-means at most.

    Raises:
        ValueError: If a number is below 1; by ``select``, if a feature is not finite.
        TypeError: If a number is not whole.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]], np.float32)
        >>> TypiClust().select(Snapshot(4, features=features), 2, generator=np.random.default_rng(0)).indices
        array([1, 3])
    """

    name: ClassVar[str] = "typiclust"
    per: ClassVar[Per] = "data"
    traits: ClassVar[Traits] = Traits(equivariant=False, randomised=True, objective=False, statistics={"short": "sum"})

    neighbours: int = 20
    iterations: int = 20

    def __post_init__(self) -> None:
        check_whole("neighbours", self.neighbours)
        check_whole("iterations", self.iterations)

    def requirements(self) -> Requirements:
        """Penultimate activations; no targets."""
        return Requirements(features=True)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Cluster, and take the most typical of each; see ``Selector.select``. Duplicates may leave fewer."""
        budget = resolve_budget(snapshot.n, budget=budget)
        points = unit_rows(needed(snapshot.features, "features"))
        clusters, _ = k_means(points, budget, self.iterations, generator)
        sizes = np.bincount(clusters)
        picks = np.empty(len(sizes), np.int64)
        for cluster in range(len(sizes)):
            members = np.flatnonzero(clusters == cluster)
            picks[cluster] = members[_most_typical(points[members], self.neighbours)]
        largest_first = np.argsort(-sizes, kind="stable")
        return Coreset(
            picks[largest_first],
            sizes[largest_first].astype(np.float64),
            snapshot.n,
            statistics={"short": budget - len(sizes)},
        )


def unit_rows(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale rows to length one; rows of zeros stay.

    Args:
        features: Shape (n, h).

    Returns:
        float64, shape (n, h).

    Raises:
        ValueError: If a feature is not finite.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8], [0. , 0. ]])
    """
    rows = np.asarray(features, np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("a feature is nan or infinite: has the training diverged?")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.where(lengths > 0, lengths, 1.0)[:, None]


def _most_typical(points: NDArray[np.float64], neighbours: int) -> int:
    """Return the point with the smallest mean distance to its nearest neighbours, ties to the lower index."""
    n = len(points)
    # Of a small cluster half at most: with nearly all of it for neighbours every point would be about as typical.
    k = min(neighbours, max(n // 2, 1), n - 1)
    if k < 1:
        return 0
    # ||x||^2 + ||y||^2 - 2 x . y: rows are of length one, so that little cancels but between duplicates.
    squares = np.einsum("ij,ij->i", points, points)
    spread = np.empty(n)
    rows = max(1, _CELLS // n)
    for start in range(0, n, rows):
        chunk = points[start : start + rows]
        distances = squares[start : start + rows, None] + squares - 2 * chunk @ points.T
        distances[np.arange(len(chunk)), start + np.arange(len(chunk))] = np.inf  # no point is its own neighbour
        # The k smallest in any order: only their mean counts.
        nearest = np.partition(distances, k - 1, axis=1)[:, :k]
        # One over typicality, which is the mean distance: its minimum needs no division by 0 among duplicates.
        spread[start : start + rows] = np.sqrt(np.maximum(nearest, 0.0)).mean(1)
    return int(spread.argmin())
