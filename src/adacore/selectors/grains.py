"""Grains: run any selector on each class, on mini-batches, or on the whole data; none knows of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.facility.threads import run_in_threads, thread_count
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Grain, HasObjective, Selector, Traits
from adacore.selectors.settings import check_whole

_FEW = 1000
"""Examples below which starting threads takes longer than it saves."""


@dataclass(frozen=True)
class _Wrapper:
    """What all grains share: they are called what the wrapped method is called and need what it needs."""

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
class Whole(_Wrapper):
    """A selector that lets another one choose from all examples at once, whatever their classes.

    Args:
        selector: The method.

    Example:
        >>> from adacore.selectors import Random
        >>> len(Whole(Random()).select(Snapshot(10), 4, generator=np.random.default_rng(0)))
        4
    """

    grain: ClassVar[Grain] = "whole"

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose from all examples; see ``Selector.select``."""
        return self.selector.select(snapshot, budget, generator=generator)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Objective of the wrapped method."""
        return _objective(self.selector, snapshot, coreset)


@dataclass(frozen=True)
class PerClass(_Wrapper):
    """A selector that lets another one choose within each class, with budgets in proportion to the classes' sizes.

    Of a validation set, each class sees its own examples, or all where none is of that class.

    Args:
        selector: The method that chooses within a class; it knows nothing of classes.

    Raises:
        ValueError: By ``select``, if the snapshot has no strata or the budget is below the number of classes.

    Example:
        >>> from adacore.selectors import Random
        >>> snapshot = Snapshot(4, strata=np.array([7, 3, 3, 3]))
        >>> PerClass(Random()).select(snapshot, 2, generator=np.random.default_rng(0)).weights
        array([3., 1.])
    """

    grain: ClassVar[Grain] = "class"

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose within every class; see ``Selector.select``. Indices come class by class, ascending."""
        classes, rows = _split_classes(snapshot)
        counts = np.array([len(row) for row in rows])
        budgets = split_budget(counts, resolve_budget(snapshot.n, budget=budget))
        generators = generator.spawn(len(rows))

        def select_class(c: int) -> Coreset:
            part = _take_class(snapshot, rows[c], classes[c])
            return self.selector.select(part, int(budgets[c]), generator=generators[c])

        return join(_run_classes(select_class, counts), rows, snapshot.n)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Objective of the wrapped method, summed over the classes that examples were chosen of."""
        total = 0.0
        weights = np.full(snapshot.n, np.nan)
        weights[coreset.indices] = coreset.weights
        for label, row in zip(*_split_classes(snapshot), strict=True):
            chosen = np.flatnonzero(~np.isnan(weights[row]))
            if len(chosen):
                part = Coreset(chosen, weights[row[chosen]], len(row))
                total += _objective(self.selector, _take_class(snapshot, row, label), part)
        return total


@dataclass(frozen=True)
class PerBatch(_Wrapper):
    """A selector that lets another one choose among mini-batches: a coreset of whole batches.

    The examples are dealt at random into m batches whose sizes differ by one at most. The wrapped method sees m
    candidates, the means over each batch of what is known of its examples. A chosen batch B of weight w gives each of
    its examples the weight ``w n / (m |B|)``, so that weights which sum to m over batches sum to n over examples.

    Args:
        selector: The method that chooses batches, as if they were examples.
        batch_size: Examples in a batch, at most.

    Raises:
        ValueError: If the batch size is below 1; by ``select``, if the budget holds no whole batch, or if the method
            needs classes of its examples: a batch has none.
        TypeError: If the batch size is no whole number.

    Example:
        >>> from adacore.selectors import Random
        >>> coreset = PerBatch(Random(), batch_size=4).select(Snapshot(12), 9, generator=np.random.default_rng(0))
        >>> len(coreset), coreset.weights.sum()
        (8, np.float64(12.0))
    """

    grain: ClassVar[Grain] = "batch"

    batch_size: int = 64

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size)

    @property
    def traits(self) -> Traits:
        """Traits of the wrapped method, as far as they hold for batches that are drawn at random."""
        inner = self.selector.traits
        return replace(inner, equivariant=False, randomised=True, fills_budget=False, objective=False)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose batches; see ``Selector.select``. Indices come batch by batch."""
        n, budget = snapshot.n, resolve_budget(snapshot.n, budget=budget)
        m = -(-n // self.batch_size)
        batches = np.array_split(generator.permutation(n), m)
        affordable = budget // len(batches[0])
        if not affordable:
            raise ValueError(
                f"budget={budget} holds no whole batch of {len(batches[0])}: raise the budget or lower batch_size"
            )
        chosen = self.selector.select(_batch_means(snapshot, batches), min(affordable, m), generator=generator)
        picked = [batches[j] for j in chosen.indices]
        sizes = np.array([len(batch) for batch in picked], dtype=np.int64)
        return Coreset(
            np.concatenate([*picked, np.empty(0, np.int64)]),
            np.repeat(chosen.weights * n / (m * sizes), sizes),
            n,
            statistics={**chosen.statistics, "batches": len(picked)},
        )


def with_grain(selector: Selector, *, labelled: bool) -> Selector:
    """Wrap a selector in its own grain, unless it is wrapped already.

    Args:
        selector: Any selector.
        labelled: Whether the examples have classes; without them nothing can be chosen per class.

    Returns:
        A selector to be run on the whole snapshot.

    Example:
        >>> from adacore.selectors import CRAIG
        >>> with_grain(CRAIG(), labelled=True)
        PerClass(selector=CRAIG(proxy='logits', weighting='cluster'))
    """
    if isinstance(selector, _Wrapper) or selector.grain == "whole":
        return selector
    if selector.grain == "batch":
        return PerBatch(selector)
    return PerClass(selector) if labelled else selector


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


def _objective(selector: Selector, snapshot: Snapshot, coreset: Coreset) -> float:
    if not isinstance(selector, HasObjective):
        raise TypeError(f"{selector.name} has no objective: its traits do not promise one")
    return selector.objective(snapshot, coreset)


def _split_classes(snapshot: Snapshot) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    if snapshot.strata is None:
        raise ValueError("selecting per class needs labels: pass labels=, or wrap the selector in Whole()")
    classes, members, counts = np.unique(snapshot.strata, return_inverse=True, return_counts=True)
    return classes, np.split(np.argsort(members, kind="stable"), np.cumsum(counts)[:-1])


def _take_class(snapshot: Snapshot, rows: NDArray[np.int64], label: np.int64) -> Snapshot:
    part, held_out = snapshot.take(rows), snapshot.validation
    if held_out is None or held_out.strata is None:
        return part
    same = np.flatnonzero(held_out.strata == label)
    return replace(part, validation=held_out.take(same)) if len(same) else part


def _run_classes(select_class: Callable[[int], Coreset], counts: NDArray[np.int64]) -> list[Coreset]:
    """Run a class that outweighs the others' share on all threads by itself, the rest side by side, largest first."""
    total, largest_first = counts.sum(), np.argsort(-counts, kind="stable")
    heavy = (counts * thread_count() > total) | (total < _FEW)
    alone = [int(c) for c in largest_first if heavy[c]]
    together = [int(c) for c in largest_first if not heavy[c]]
    done = {c: select_class(c) for c in alone}
    with _one_blas_thread() if len(together) > 1 else nullcontext():  # each
        done.update(zip(together, run_in_threads(select_class, together), strict=True))
    return [done[c] for c in range(len(counts))]


def _one_blas_thread() -> AbstractContextManager[object]:
    """Keep BLAS from starting threads of its own in every thread, where its waiting threads would fight for cores."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:  # it comes with scikit-learn; without it the result is the same, only slower
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def _batch_means(snapshot: Snapshot, batches: Sequence[NDArray[np.int64]]) -> Snapshot:
    """Average what is known of the examples over each batch; classes have no mean and are left out."""
    order, sizes = np.concatenate(batches), np.array([len(batch) for batch in batches])
    starts = np.cumsum(sizes) - sizes

    def mean(array: NDArray[Any]) -> NDArray[Any]:
        sums = np.add.reduceat(array[order], starts, axis=0, dtype=np.float64)
        averaged: NDArray[Any] = sums / sizes.reshape(-1, *[1] * (array.ndim - 1))
        return averaged.astype(array.dtype if array.dtype.kind == "f" else np.float64)

    known = {name: rows for name, rows in snapshot.per_example().items() if name not in {"strata", "targets"}}
    means: dict[str, Any] = {name: mean(rows) for name, rows in known.items()}
    return replace(snapshot, n=len(batches), strata=None, targets=None, **means)
