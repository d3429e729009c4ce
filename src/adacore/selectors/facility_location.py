"""Facility location on features or gradients, with every setting of the engine; CRAIG and k-medoids are presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Proxy, Requirements, Snapshot, Targets
from adacore.selectors.base import Per, needed
from adacore.selectors.medoid_selector import Engine, Medoids
from adacore.selectors.settings import check_choice
from adacore.selectors.weighting import Weighting

Points = Literal["features", "gradients"]


def check_points(points: str, proxy: str, targets: str) -> None:
    """Check the settings that say which points a method compares.

    Args:
        points: ``"features"`` or ``"gradients"``.
        proxy: Space of the gradients.
        targets: Where the loss is taken.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> check_points("features", "logits", "given")
    """
    check_choice("points", points, get_args(Points))
    check_choice("proxy", proxy, get_args(Proxy))
    check_choice("targets", targets, get_args(Targets))


def points_required(points: Points, proxy: Proxy, targets: Targets) -> Requirements:
    """Return what must be measured of the examples to compare such points.

    Args:
        points: ``"features"`` for penultimate activations, ``"gradients"`` for gradient proxies.
        proxy: Space of the gradients.
        targets: Where the loss is taken.

    Example:
        >>> points_required("gradients", "logits", "predicted").targets
        'predicted'
    """
    # Features need no targets: what is asked for is just that, so that a pool without labels can be selected from.
    if points == "features":
        return Requirements(features=True)
    return Requirements(proxy=proxy, targets=targets)


def points_of(snapshot: Snapshot, points: Points) -> NDArray[np.float32]:
    """Return the points of a snapshot, shape (n, d).

    Args:
        snapshot: Of n examples.
        points: Which.

    Raises:
        ValueError: If the snapshot lacks them.

    Example:
        >>> points_of(Snapshot(1, features=np.array([[2.0]], np.float32)), "features")
        array([[2.]], dtype=float32)
    """
    if points == "features":
        return needed(snapshot.features, "features")
    return needed(snapshot.proxies, "proxies")


@dataclass(frozen=True)
class FacilityLocation(Medoids):
    """Chooses the examples that stand for all by what the model sees in them: medoids of penultimate activations.

    Args:
        proxy: Space of the gradients, where these are compared.
        weighting: ``"cluster"`` (sizes), ``"uniform"`` or ``"sqrt"``.
        points: What is compared: ``"features"``, which needs no targets, or ``"gradients"``.
        engine: ``"exact"``, ``"stochastic"`` or ``"sampled"``: ``method`` of ``adacore.facility_location``.
        refine: Whether picks are exchanged for other points afterwards, as long as that lowers L.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes (no labels needed).

    Raises:
        ValueError: If a name is unknown.
        TypeError: If ``refine`` is neither true nor false.

    Example:
        >>> snapshot = Snapshot(4, features=np.array([[0.0], [0.1], [5.0], [5.2]], dtype=np.float32))
        >>> FacilityLocation().select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([2., 2.])
    """

    name: ClassVar[str] = "facility_location"
    per: ClassVar[Per] = "class"

    proxy: Proxy = "logits"
    weighting: Weighting = "cluster"
    points: Points = "features"
    engine: Engine = "exact"
    refine: bool = False
    targets: Targets = "given"

    def __post_init__(self) -> None:
        check_points(self.points, self.proxy, self.targets)
        self._check_medoids()

    def requirements(self) -> Requirements:
        """Features, or gradient proxies."""
        return points_required(self.points, self.proxy, self.targets)

    def coordinates(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Return the features or the gradient proxies; see ``Medoids.coordinates``."""
        return points_of(snapshot, self.points)
