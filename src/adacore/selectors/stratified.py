"""Stratified mini-batches: one example of each of b strata of similar gradients (Zhao and Zhang, 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import counted_by_caller, resolve_budget
from adacore.coreset import Coreset
from adacore.facility.strata import partition, run_strata
from adacore.facility.threads import thread_count
from adacore.facility.workers import open_workers
from adacore.probing.snapshot import CurvatureKind, Proxy, Requirements, Scope, Snapshot, Targets
from adacore.selectors.base import Per, Traits
from adacore.selectors.ordered_strata import Strata
from adacore.selectors.preconditioned import Preconditioned
from adacore.selectors.settings import check_choice, check_flag, check_whole
from adacore.selectors.weighting import equally_weighted

Order = Literal["tree", "classes", "facility"]


@dataclass(frozen=True)
class Stratified(Preconditioned):
    """Orders all examples by class and gradient, so that mini-batches can be drawn as stratified samples.

    Its answer is an order of the examples, ``strata``, not a coreset. A mini-batch takes one random example of each of
    b pieces of the order, with weights of one, see ``Strata.batches``. Its gradient is unbiased, and its variance is
    that of the gradients *within* the pieces: with pieces as alike as the order makes them, less than that of b random
    examples. Used as an ordinary selector it returns such a sample of ``budget`` examples.

    Stratified mini-batches are those of Zhao and Zhang (2014); the order by gradients is this library's own.

    Args:
        proxy: Space of the gradients that are compared, ``"last_layer"``, ``"penultimate"``, ``"logits"``, or
            ``"all_layers"``, which costs a backward pass through the model and has no curvature.
        order: ``"tree"``: within each class a balanced tree, halved at the median along the principal axis.
            ``"facility"``: within each class clusters about medoids, as AdaCore finds them. ``"classes"``: the classes
            alone, which needs no run of the model.
        curvature: None compares gradients; ``"exact"`` or ``"hutchinson"`` compares them divided by it, eq. (10).
        scope: One diagonal for each random ``"block"``, ``"global"``, or for each ``"example"``.
        block_size: b_H, examples in a block.
        beta1: Decay of the average of gradients over reselections, in [0, 1).
        beta2: Decay of the average of squared curvature over reselections, in [0, 1).
        average_gradient: Whether to average gradients, eq. (7).
        average_curvature: Whether to average curvature, eq. (9).
        damping: Added to |H|, above 0.
        samples: Rademacher vectors for each example (Hutchinson).
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.
        balanced: Whether batches are also balanced by the gradients, see ``adacore.selectors.balancing``.
        leaf_size: Most examples in a leaf of the tree, or on average in a cluster. Smaller than n / b it changes
            nothing in a batch of b.

    Raises:
        ValueError: If a name is unknown or a number out of range.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> gradients = np.array([[5.0], [0.0], [6.0], [1.0]], np.float32)
        >>> strata = Stratified(leaf_size=2).strata(Snapshot(4, proxies=gradients), generator=np.random.default_rng(0))
        >>> strata.order
        array([1, 3, 0, 2])
    """

    name: ClassVar[str] = "stratified"
    per: ClassVar[Per] = "data"

    proxy: Proxy = "last_layer"
    order: Order = "tree"
    # None and no averages: batches are to be stratified by the gradients that they are made of, and not by Newton's
    # steps.
    curvature: CurvatureKind | None = None
    scope: Scope = "block"
    block_size: int = 64
    beta1: float = 0.9
    beta2: float = 0.999
    average_gradient: bool = False
    average_curvature: bool = False
    damping: float = 1e-6
    samples: int = 1
    targets: Targets = "given"
    balanced: bool = True
    leaf_size: int = 32

    def __post_init__(self) -> None:
        check_choice("order", self.order, get_args(Order))
        check_whole("leaf_size", self.leaf_size)
        check_flag("balanced", self.balanced)
        self._check_preconditioning()

    @property
    def traits(self) -> Traits:
        """A random sample: unbiased, different at every draw."""
        return Traits(
            unbiased=True,
            equivariant=False,
            randomised=True,
            objective=False,
            compiled=self.order != "classes",
            orders=True,
        )

    def requirements(self) -> Requirements:
        """Gradient proxies, and curvature if so set; nothing where the classes alone count."""
        return Requirements() if self.order == "classes" else super().requirements()

    def strata(self, snapshot: Snapshot, *, generator: np.random.Generator) -> Strata:
        """Order all examples; see ``HasStrata.strata``."""
        resolve_budget(snapshot.n, budget=snapshot.n)  # refuses an empty snapshot
        if self.order == "classes":
            # Nothing is compared within a class: any array with n rows serves.
            points = np.zeros((snapshot.n, 1), np.float32)
        else:
            points = np.asarray(self.coordinates(snapshot))
            if not np.isfinite(points).all():
                raise ValueError("a proxy is nan or infinite: has the training diverged?")
        classes = partition(snapshot.strata, snapshot.n)
        with open_workers(thread_count()) as workers:
            # Halving m points again and again takes O(m log m): the classes' sizes tell the work well enough.
            parts = run_strata(
                lambda c, _: self._order_class(points[classes.rows[c]]), classes.counts.astype(np.float64), workers
            )
        starts = np.cumsum(classes.counts) - classes.counts
        return Strata(
            np.concatenate([row[order] for row, (order, _) in zip(classes.rows, parts, strict=True)]),
            np.concatenate([[0], *(start + bounds[1:] for start, (_, bounds) in zip(starts, parts, strict=True))]),
            self._balanced_by(points),
        )

    def _balanced_by(self, points: NDArray[np.floating]) -> NDArray[np.float32] | None:
        if self.order == "classes" or not self.balanced:
            return None
        from adacore.selectors.balancing import principal_coordinates

        return principal_coordinates(points)

    def _order_class(self, points: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order the examples of one class: an order, and the bounds of its leaves."""
        if self.order == "classes":
            return np.arange(len(points)), np.array([0, len(points)])
        from adacore.selectors.gradient_tree import gradient_tree  # compiles kernels: only for those who use them

        if self.order == "tree":
            return gradient_tree(points, self.leaf_size)
        from adacore.facility import assign, facility_location

        # Nobody asked for so many medoids: they only cut the order of all examples into leaves.
        with counted_by_caller():
            medoids = facility_location(points, budget=max(1, round(len(points) / self.leaf_size))).indices
        # The clusters themselves are ordered by a tree over their medoids, so that neighbours in the order are alike.
        between, _ = gradient_tree(points[medoids], 1)
        owners = assign(points, medoids[between]).owner
        return np.argsort(owners, kind="stable"), np.unique(np.concatenate([[0], np.cumsum(np.bincount(owners))]))

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Draw a stratified sample of ``budget`` examples, each of weight n / k; see ``Selector.select``."""
        budget = resolve_budget(snapshot.n, budget=budget)
        return equally_weighted(
            self.strata(snapshot, generator=generator).sample(budget, generator=generator), snapshot.n
        )
