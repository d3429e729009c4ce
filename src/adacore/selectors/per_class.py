"""Selecting per class or from the whole data: wrappers that run any selector and that no selector knows of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.facility.strata import join, partition, run_strata
from adacore.facility.threads import thread_count
from adacore.facility.workers import Workers, open_workers
from adacore.probing.processes import Processes
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import HasObjective, HasResidual, Per, Selector, Traits

_FEW = 1000
"""Examples below which starting threads takes longer than it saves."""


@dataclass(frozen=True)
class Wrapper:
    """What all wrappers share: they are called what the wrapped method is called and need what it needs."""

    selector: Selector

    @property
    def name(self) -> str:
        """Name of the wrapped method."""
        return self.selector.name

    @property
    def traits(self) -> Traits:
        """Traits of the wrapped method."""
        return self.selector.traits

    def requirements(self) -> Requirements:
        """What the wrapped method needs."""
        return self.selector.requirements()


@dataclass(frozen=True)
class Whole(Wrapper):
    """Lets another selector choose from the whole data at once, whatever the classes.

    Args:
        selector: The method.

    Example:
        >>> from adacore.selectors import Random
        >>> len(Whole(Random()).select(Snapshot(10), 4, generator=np.random.default_rng(0)))
        4
    """

    per: ClassVar[Per] = "data"

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose from all examples; see ``Selector.select``."""
        return self.selector.select(snapshot, budget, generator=generator)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Objective of the wrapped method."""
        return objective_of(self.selector, snapshot, coreset)


@dataclass(frozen=True, eq=False)
class Part:
    """What was chosen within one class.

    Attributes:
        coreset: Its indices count from the first example of the class.
        residual: The vector that is left over, where the method has one; see ``HasResidual``.
    """

    coreset: Coreset
    residual: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class PerClass(Wrapper):
    """Lets another selector choose within each class, with budgets in proportion to the classes' sizes.

    More precisely, within each of ``snapshot.strata``: these are the classes unless the user names other groups. Of a
    validation set, each class sees its own examples, or all where none is of that class.

    Args:
        selector: The method that chooses within a class; it knows nothing of classes.

    Raises:
        ValueError: By ``select``, if the snapshot has no strata or the budget is below their number.

    Example:
        >>> from adacore.selectors import Random
        >>> snapshot = Snapshot(4, strata=np.array([7, 3, 3, 3]))
        >>> PerClass(Random()).select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([3., 1.])
    """

    per: ClassVar[Per] = "class"

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose within every class; see ``Selector.select``. Indices come class by class, ascending."""
        return self.join(snapshot, self.select_parts(snapshot, budget, generator=generator))

    def select_parts(
        self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator, processes: Processes | None = None
    ) -> dict[int, Part]:
        """Choose within the classes that fall to this process.

        Args:
            snapshot: As for ``select``.
            budget: Of all classes together.
            generator: In the same state in every process.
            processes: Those among which the classes are divided; None for this one alone.

        Returns:
            What was chosen, by number of the class.
        """
        classes, rows = split_classes(snapshot)
        counts = np.array([len(row) for row in rows])
        budgets = split_budget(counts, resolve_budget(snapshot.n, budget=budget))
        generators = generator.spawn(len(rows))  # a stream for each class: the schedule of threads must not matter
        # Greedy compares every example of a class with every other, so that its time grows with the square.
        mine = (processes or Processes()).share_of_work(counts.astype(np.float64) ** 2)

        def select_class(number: int, _: Workers) -> Part:
            c = mine[number]
            # Copied when its turn comes and dropped after it: all classes' copies at once would double the snapshot.
            part = _take_class(snapshot, rows[c], classes[c])
            coreset = self.selector.select(part, int(budgets[c]), generator=generators[c])
            residual = self.selector.residual(part, coreset) if isinstance(self.selector, HasResidual) else None
            return Part(coreset, residual)

        with open_workers(thread_count()) as workers:
            parts = run_strata(select_class, counts[mine].astype(np.float64), workers, least=_FEW)
        return dict(zip(mine, parts, strict=True))

    def join(self, snapshot: Snapshot, parts: Mapping[int, Part]) -> Coreset:
        """Join what was chosen within every class, in whichever process.

        Args:
            snapshot: As for ``select``.
            parts: Of all classes, by number.

        Returns:
            The coreset of all examples, class by class.
        """
        _, rows = split_classes(snapshot)
        chosen = [parts[c].coreset for c in range(len(rows))]
        # The norms of the classes' residuals don't add; the vectors do.
        residuals = [part.residual for _, part in sorted(parts.items()) if part.residual is not None]
        return join(chosen, rows, snapshot.n, self.selector.traits.statistics, residuals)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Objective of the wrapped method, summed over the classes that examples were chosen of."""
        total = 0.0
        weights = np.full(snapshot.n, np.nan)  # nan: not chosen; a chosen example may have weight 0
        weights[coreset.indices] = coreset.weights
        for label, row in zip(*split_classes(snapshot), strict=True):
            chosen = np.flatnonzero(~np.isnan(weights[row]))
            if len(chosen):
                part = Coreset(chosen, weights[row[chosen]], len(row))
                total += objective_of(self.selector, _take_class(snapshot, row, label), part)
        return total


def split_classes(snapshot: Snapshot) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Sort the examples into their strata.

    Args:
        snapshot: Of n examples, with strata.

    Returns:
        The labels of the strata, ascending, and the positions of each stratum's examples, ascending.

    Raises:
        ValueError: If the snapshot has no strata.

    Example:
        >>> split_classes(Snapshot(3, strata=np.array([5, 2, 5])))
        (array([2, 5]), [array([1]), array([0, 2])])
    """
    if snapshot.strata is None:
        raise ValueError("selecting per class needs labels: pass labels=, or wrap the selector in Whole()")
    strata = partition(snapshot.strata, snapshot.n)
    return strata.names, strata.rows


def objective_of(selector: Selector, snapshot: Snapshot, coreset: Coreset) -> float:
    """Return a selector's objective.

    Args:
        selector: Any selector.
        snapshot: What it requires, of n examples.
        coreset: Of these.

    Raises:
        TypeError: If it has none.
    """
    if not isinstance(selector, HasObjective):
        raise TypeError(f"{selector.name} has no objective: its traits do not promise one")
    return selector.objective(snapshot, coreset)


def _take_class(snapshot: Snapshot, rows: NDArray[np.int64], label: np.int64) -> Snapshot:
    part, held_out = snapshot.take(rows), snapshot.validation
    if held_out is None or held_out.strata is None:
        return part
    same = np.flatnonzero(held_out.strata == label)  # a class without held-out examples is judged by all of them
    return replace(part, validation=held_out.take(same)) if len(same) else part
