"""PerClass: run any selector on each class and join the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacore.budget import split_budget
from adacore.coreset import Coreset
from adacore.parallel import run_in_threads, thread_count
from adacore.selectors.base import Grain, Selector, Traits
from adacore.snapshot import Requirements, Snapshot


@dataclass(frozen=True)
class PerClass:
    """A selector that lets another one choose within each class, with budgets in proportion to the classes' sizes.

    Args:
        selector: The method that chooses within a class; it knows nothing of classes.

    Raises:
        ValueError: By ``select``, if the snapshot has no labels or the budget is below the number of classes.
    """

    selector: Selector

    @property
    def name(self) -> str:
        """Name of the wrapped method."""
        return self.selector.name

    @property
    def traits(self) -> Traits:
        """Traits of the wrapped method."""
        return self.selector.traits

    @property
    def grain(self) -> Grain:
        """``"class"``."""
        return "class"

    def requirements(self) -> Requirements:
        """What the wrapped method needs."""
        return self.selector.requirements()

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose within every class; see ``Selector.select``. Indices come class by class, ascending."""
        if snapshot.labels is None:
            raise ValueError("selecting per class needs labels: pass labels=, or wrap the selector in Whole()")
        _, members, counts = np.unique(snapshot.labels, return_inverse=True, return_counts=True)
        order = np.argsort(members, kind="stable")
        rows = np.split(order, np.cumsum(counts)[:-1])
        budgets = split_budget(counts, budget)
        generators = generator.spawn(len(rows))

        def select_class(c: int) -> Coreset:
            return self.selector.select(snapshot.take(rows[c]), int(budgets[c]), generator=generators[c])

        return join(_run_classes(select_class, counts), rows, snapshot.n)


def _run_classes(select_class: Callable[[int], Coreset], counts: NDArray[np.int64]) -> list[Coreset]:
    """Run a class that outweighs the others' share on all threads by itself, the rest side by side, largest first."""
    largest_first = np.argsort(-counts, kind="stable")
    alone = [int(c) for c in largest_first if counts[c] * thread_count() > counts.sum()]
    together = [int(c) for c in largest_first if int(c) not in alone]
    done = {c: select_class(c) for c in alone}
    done.update(zip(together, run_in_threads(select_class, together), strict=True))
    return [done[c] for c in range(len(counts))]


def join(parts: Sequence[Coreset], rows: Sequence[NDArray[np.int64]], population: int) -> Coreset:
    """Join the coresets of disjoint parts of the examples into one.

    Args:
        parts: A coreset of each part.
        rows: Positions of each part's examples.
        population: Number of examples in all.

    Returns:
        Indices, weights and gains one part after the other; objectives and bounds summed; numeric statistics summed.
    """
    objectives = [part.objective for part in parts if part.objective is not None]
    bounds = [part.lower_bound for part in parts if part.lower_bound is not None]
    gains = [part.gains for part in parts if part.gains is not None]
    names = sorted({name for part in parts for name in part.statistics})
    return Coreset(
        indices=np.concatenate([row[part.indices] for row, part in zip(rows, parts, strict=True)]),
        weights=np.concatenate([part.weights for part in parts]),
        population=population,
        objective=float(sum(objectives)) if len(objectives) == len(parts) else None,
        lower_bound=float(sum(bounds)) if len(bounds) == len(parts) else None,
        gains=np.concatenate(gains) if len(gains) == len(parts) else None,
        statistics={name: _total([part.statistics.get(name) for part in parts]) for name in names},
    )


def _total(values: Sequence[object]) -> float | int | list[object]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) if len(numbers) == len(values) else list(values)
