"""BADGE: diverse and uncertain examples by k-means++ on gradients (Ash et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot, Targets
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.clustering import seeds_by_distance
from adacore.selectors.settings import check_choice
from adacore.selectors.weighting import equally_weighted


@dataclass(frozen=True)
class Badge:
    """BADGE: draws examples of which the model is unsure and which differ from one another.

    It is k-means++ seeding on the last layer's gradients at the model's own predictions: each draw has a probability in
    proportion to the squared distance to the nearest gradient that was drawn before.
    The gradient of example i is the matrix a_i h_i^T, a_i = p_i - y_i, with h_i the activations that the last layer
    sees. It is long where the model is uncertain, so that the draws prefer uncertain examples, and far from the others
    where the example is of another kind. Distances come from the factors, |a h^T - b k^T|^2 = |a|^2 |h|^2 + |b|^2
    |k|^2 - 2 (a . b) (h . k), without the matrices and without a projection. The longest gradient is drawn first, as
    the authors do. All weights are n / k.

    The method is that of Ash et al. (ICLR 2020).

    Args:
        targets: Gradients at the model's own ``"predicted"`` classes, for which no labels are needed, or at those
            ``"given"``.

    Raises:
        ValueError: If the name is unknown; by ``select``, if something is not finite.

    Example:
        >>> snapshot = Snapshot(
        ...     3,
        ...     proxies=np.array([[0.1, -0.1], [0.5, -0.5], [0.5, -0.5]], np.float32),
        ...     features=np.array([[1.0], [1.0], [1.0]], np.float32),
        ... )
        >>> Badge().select(snapshot, 2, generator=np.random.default_rng(0)).indices
        array([1, 0])
    """

    name: ClassVar[str] = "badge"
    per: ClassVar[Per] = "data"
    # No objective is promised: draws by distance prefer the rim, and where few are drawn of few the sum of squared
    # distances is not always below that of random subsets.
    traits: ClassVar[Traits] = Traits(equivariant=False, randomised=True, objective=False, statistics={"short": "sum"})

    targets: Targets = "predicted"

    def __post_init__(self) -> None:
        check_choice("targets", self.targets, get_args(Targets))

    def requirements(self) -> Requirements:
        """The two factors of the last layer's gradients."""
        return Requirements(proxy="logits", features=True, targets=self.targets)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Draw one after another; see ``Selector.select``. Fewer where the rest are duplicates of those chosen."""
        budget = resolve_budget(snapshot.n, budget=budget)
        distances, squares = _distances(snapshot)
        # One trial at each step: drawing several and keeping the best would make the draws less random, and other than
        # the paper's.
        picks = seeds_by_distance(snapshot.n, budget, distances, generator, first=int(squares.argmax()))
        return equally_weighted(picks, snapshot.n, {"short": budget - len(picks)})


def _distances(
    snapshot: Snapshot,
) -> tuple[Callable[[NDArray[np.int64]], NDArray[np.float64]], NDArray[np.float64]]:
    """Return what gives the squared distances of all gradients to some of them, and their squared lengths."""
    # In float64: the distance of two long gradients that nearly agree is a small difference of large products.
    errors = np.asarray(needed(snapshot.proxies, "proxies"), np.float64)
    features = np.asarray(needed(snapshot.features, "features"), np.float64)
    if not (np.isfinite(errors).all() and np.isfinite(features).all()):
        raise ValueError("a gradient or feature is nan or infinite: has the training diverged?")
    # |a h^T|_F^2 = |a|^2 |h|^2 and <a h^T, b k^T>_F = (a . b) (h . k).
    squares = np.einsum("ij,ij->i", errors, errors) * np.einsum("ij,ij->i", features, features)

    def to(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        products = (errors[rows] @ errors.T) * (features[rows] @ features.T)
        lengths = squares[rows, None] + squares
        distances = lengths - 2 * products
        # Differences of large numbers: what is below their rounding is a duplicate, at distance 0.
        distances[distances < 1e-12 * lengths] = 0.0
        return np.asarray(distances)

    return to, squares
