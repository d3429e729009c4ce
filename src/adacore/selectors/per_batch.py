"""Selecting mini-batches instead of examples: a wrapper that runs any selector on the means of random batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Snapshot
from adacore.selectors.base import Per, Traits
from adacore.selectors.per_class import Wrapper
from adacore.selectors.settings import check_whole


@dataclass(frozen=True)
class PerBatch(Wrapper):
    """Lets another selector choose among mini-batches: the coreset consists of whole batches.

    The examples are dealt at random into m batches whose sizes differ by one at most. The wrapped method sees m
    candidates, the means over each batch of what is known of its examples. A chosen batch B of weight w gives each of
    its examples the weight ``w n / (m |B|)``, so that weights which sum to m over batches sum to n over examples.

    Args:
        selector: The method that chooses batches, as if they were examples.
        batch_size: Examples in a batch, at most.

    Raises:
        ValueError: If the batch size is below 1; by ``select``, if the budget holds no whole batch, or if the method
            needs the targets of its examples: a batch has none.
        TypeError: If the batch size is no whole number.

    Example:
        >>> from adacore.selectors import Random
        >>> coreset = PerBatch(Random(), batch_size=4).select(Snapshot(12), 9, generator=np.random.default_rng(0))
        >>> len(coreset), coreset.weights.sum()
        (8, np.float64(12.0))
    """

    per: ClassVar[Per] = "batch"

    batch_size: int = 64

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size)

    @property
    def traits(self) -> Traits:
        """Traits of the wrapped method, as far as they hold for batches that are drawn at random."""
        inner = self.selector.traits
        return replace(
            inner,
            # The batches are drawn anew at each selection: what is chosen depends on the generator, whatever the method
            # promises.
            equivariant=False,
            randomised=True,
            fills_budget=False,
            objective=False,
            statistics={**inner.statistics, "batches": "sum"},
        )

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose batches; see ``Selector.select``. Indices come batch by batch."""
        n, budget = snapshot.n, resolve_budget(snapshot.n, budget=budget)
        m = -(-n // self.batch_size)
        batches = np.array_split(generator.permutation(n), m)  # the first are the largest, by one example at most
        # As many as fit even if the largest are chosen: not budget // largest, which leaves out a batch of budget = n.
        affordable = int(np.searchsorted(np.cumsum([len(batch) for batch in batches]), budget, side="right"))
        if not affordable:
            raise ValueError(
                f"budget={budget} holds no whole batch of {len(batches[0])}: raise the budget or lower batch_size"
            )
        chosen = self.selector.select(_batch_means(snapshot, batches), affordable, generator=generator)
        picked = [batches[j] for j in chosen.indices]
        sizes = np.array([len(batch) for batch in picked], dtype=np.int64)
        return Coreset(
            np.concatenate([*picked, np.empty(0, np.int64)]),
            # w of m batches stands for w n / m examples, shared among the batch's own.
            np.repeat(chosen.weights * n / (m * sizes), sizes),
            n,
            statistics={**chosen.statistics, "batches": len(picked)},
        )


def _batch_means(snapshot: Snapshot, batches: Sequence[NDArray[np.int64]]) -> Snapshot:
    """Average what is known of the examples over each batch; labels have no mean and are left out."""
    order, sizes = np.concatenate(batches), np.array([len(batch) for batch in batches])
    starts = np.cumsum(sizes) - sizes

    def mean(array: NDArray[Any]) -> NDArray[Any]:
        # Batches lie one after another in `order`: one pass sums them all, in double precision.
        sums = np.add.reduceat(array[order], starts, axis=0, dtype=np.float64)
        # Means and not sums: a batch that is one example smaller must not seem to have a smaller gradient.
        averaged: NDArray[Any] = sums / sizes.reshape(-1, *[1] * (array.ndim - 1))
        return averaged.astype(array.dtype if array.dtype.kind == "f" else np.float64)

    labels = {"strata", "targets"}
    means: dict[str, Any] = {name: mean(rows) for name, rows in snapshot.per_example().items() if name not in labels}
    return replace(snapshot, n=len(batches), strata=None, targets=None, **means)
