"""The protocol that every selection method follows, and what it declares about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.facility.strata import Combine
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.ordered_strata import Strata

Per = Literal["class", "batch", "data"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Traits:
    """What a method promises; the invariant suite tests each promise.

    Attributes:
        sums_to_population: The weights sum to the number of examples chosen from.
        unbiased: Every example's weight, 0 where it is not chosen, is 1 on average over the generator's draws.
        equivariant: Permuting the examples permutes the answer, up to ties.
        randomised: The answer depends on the generator.
        fills_budget: As many examples are chosen as asked for, unless examples are duplicates.
        ignores_budget: Everything is chosen, whatever the budget.
        objective: The method makes a number small, ``objective(snapshot, coreset)``.
        compiled: It runs facility location's kernels, which are compiled when first needed on a machine.
        orders: It has ``strata``, an order along which mini-batches are drawn: see ``HasStrata``.
        statistics: How each entry of ``Coreset.statistics`` combines over strata: a radius by its ``"maximum"``, say.
    """

    sums_to_population: bool = True
    unbiased: bool = False
    equivariant: bool = True
    randomised: bool = False
    fills_budget: bool = True
    ignores_budget: bool = False
    objective: bool = True
    compiled: bool = False
    orders: bool = False
    statistics: Mapping[str, Combine] = field(default_factory=dict)


@runtime_checkable
class Selector(Protocol):
    """A method that turns what is known about the examples into a coreset: a pure function of arrays.

    Attributes:
        name: Its name on the command line.
        traits: What it promises.
        per: What it is run on unless told otherwise: each ``"class"``, mini-batches (``"batch"``), or the whole
            ``"data"``.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def traits(self) -> Traits: ...  # noqa: D102

    @property
    def per(self) -> Per: ...  # noqa: D102

    def requirements(self) -> Requirements:
        """Return what ``select`` needs to know about the examples."""
        ...

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose at most ``budget`` of the snapshot's examples.

        Args:
            snapshot: What was required, of n examples.
            budget: How many to choose at most, in [1, n].
            generator: The only source of randomness.

        Returns:
            Indices into the snapshot's rows, and weights.

        Raises:
            ValueError: If the budget is out of range, or the snapshot lacks what was required.
        """
        ...


@runtime_checkable
class HasObjective(Protocol):
    """A selector whose traits promise an objective."""

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Return the number that the method makes small: lower is better."""
        ...


@runtime_checkable
class HasResidual(Protocol):
    """A selector that leaves a vector over, whose norm it reports as the statistic ``"residual"``.

    The residual of the whole data is the norm of the *sum* of the strata's vectors; from their norms it can't be told.
    """

    def residual(self, snapshot: Snapshot, coreset: Coreset) -> NDArray[np.float64]:
        """Return the vector that the coreset leaves over, float64, shape (d,)."""
        ...


@runtime_checkable
class HasStrata(Protocol):
    """A selector that can order all examples by their gradients, for stratified mini-batches.

    Whoever draws mini-batches asks ``isinstance(selector, HasStrata)``. If so, it calls ``strata`` in place of
    ``select`` at every reselection and draws each epoch's batches with ``Strata.batches``. The selector handles classes
    by itself: ``snapshot.strata`` are the groups that the order keeps together.
    """

    def strata(self, snapshot: Snapshot, *, generator: np.random.Generator) -> Strata:
        """Order all examples.

        Args:
            snapshot: What was required, of n examples.
            generator: The only source of randomness.

        Returns:
            An order of the n examples.

        Raises:
            ValueError: If the snapshot lacks what was required, or holds numbers that are not finite.
        """
        ...


def needed(value: Value | None, name: str) -> Value:
    """Return a part of a snapshot that a selector cannot do without.

    Args:
        value: The part, or None where the snapshot lacks it.
        name: Its name in ``Snapshot``.

    Returns:
        The part.

    Raises:
        ValueError: If it is None.

    Example:
        >>> needed(Snapshot(2, losses=np.ones(2, np.float32)).losses, "losses")
        array([1., 1.], dtype=float32)
    """
    if value is None:
        raise ValueError(f"the snapshot has no {name}: probe with the selector's requirements(), or pass {name}=")
    return value
