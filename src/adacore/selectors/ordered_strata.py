"""Strata: an order of the examples in which neighbours have similar gradients, and mini-batches drawn along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget


@dataclass(frozen=True, eq=False)
class Strata:
    """An order of n examples in which neighbours have similar gradients.

    Cut into b pieces of equal length, the order gives b strata; a mini-batch takes one random example of each.
    Compared with b random examples, the error of the mini-batch's mean gradient loses the part that comes from
    differences *between* strata; what remains is the spread *within* them (Zhao and Zhang 2014, arXiv:1405.3080).
    All weights are one. Where the gradients are known, batches are also balanced: their examples are dealt out so that
    what is left of the error within the strata nearly cancels, see ``adacore.selectors.balancing``.

    Attributes:
        order: Positions of all examples, int64, shape (n,), each exactly once.
        bounds: Where leaves begin and end: leaf l is ``order[bounds[l]:bounds[l + 1]]``. The order *within* a leaf
            means nothing. int64, shape (leaves + 1,), strictly increasing, from 0 to n.
        points: Gradients, or coordinates of them, by which batches are balanced, float32, shape (n, d); None for
            batches that are stratified only.

    Raises:
        ValueError: If the order is not a permutation, the bounds don't increase from 0 to n, or the points are not n
            finite rows.

    Example:
        >>> strata = Strata(np.array([2, 0, 3, 1]), np.array([0, 2, 4]))  # {2, 0} and {3, 1} are alike
        >>> [batch.tolist() for batch in strata.batches(4, 2, generator=np.random.default_rng(3))]
        [[0, 3], [2, 1]]
    """

    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        order, bounds = (np.ascontiguousarray(array, dtype=np.int64) for array in (self.order, self.bounds))
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "bounds", bounds)
        n = len(order)
        # Counting occurrences is O(n); sorting to compare with arange(n) would take longer than drawing an epoch.
        if order.ndim != 1 or not n or order.min() < 0 or not (np.bincount(order, minlength=n) == 1).all():
            raise ValueError(f"order must hold each of the positions 0 to n - 1 once: got {n} entries that do not")
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != n or (np.diff(bounds) <= 0).any():
            raise ValueError(f"bounds must increase from 0 to {n}, the number of examples: got {bounds}")
        if self.points is not None:
            object.__setattr__(self, "points", np.ascontiguousarray(self.points, dtype=np.float32))
            if self.points.ndim != 2 or len(self.points) != n:
                raise ValueError(
                    f"points have shape {np.shape(self.points)}: expected ({n}, d), a row for each example"
                )
            if not np.isfinite(self.points).all():
                raise ValueError("points hold nan or infinity, which nothing can balance: pass finite gradients")

    @property
    def population(self) -> int:
        """Number of examples, n."""
        return len(self.order)

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return len(self.bounds) - 1

    def sample(self, size: int, *, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw one random example from each of ``size`` strata of equal length.

        Where ``size`` does not divide n, the remainder r of examples is first left out; they are drawn in the same way,
        so that an example stays with probability (n - r) / n. The others are cut into pieces of c = (n - r) / size
        and one of each is drawn: with probability exactly (n - r) / n * 1 / c = ``size / n`` for each example.

        Args:
            size: How many, in [1, n].
            generator: The only source of randomness.

        Returns:
            Distinct positions in the data, in the order of the strata, int64, shape (size,).

        Raises:
            ValueError: If the size is out of range.

        Example:
            >>> strata = Strata(np.arange(100), np.array([0, 100]))
            >>> strata.sample(4, generator=np.random.default_rng(0)) // 25
            array([0, 1, 2, 3])
        """
        # Systematic in position, random within each piece: neighbours are alike, so that one of each piece stands for
        # it.
        places = _one_of_each(self.population, resolve_budget(self.population, budget=size), generator)
        return self.order[places]

    def batches(self, size: int, batch_size: int, *, generator: np.random.Generator) -> list[NDArray[np.int64]]:
        """Draw the mini-batches of an epoch; each is a stratified sample of all n examples.

        First examples are drawn, see ``sample``. Then runs of m neighbours among them, m being the number of batches,
        are dealt out, one to each batch: at random, or so that the batches are balanced and then in random order. So
        each batch holds one example of each of ``batch_size`` strata, no example comes twice in an epoch, and each
        example is in a given batch with probability ``batch_size / n``. If the batch size does not divide ``size``, the
        last batch is smaller; its examples are drawn along the whole order too, and not balanced.

        Within a batch examples come stratum by stratum, so that every w-th of them, ``batch[rank::w]``, is again a
        stratified sample: the share of one of w processes.

        Args:
            size: Examples in the epoch, in [1, n]; n for a permutation of all examples.
            batch_size: Examples in a batch, at least 1.
            generator: The only source of randomness; a new one for each epoch gives fresh batches.

        Returns:
            Positions in the data, int64; ``ceil(size / batch_size)`` batches.

        Raises:
            ValueError: If a number is out of range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is below 1: pass the number of examples in a batch")
        size = resolve_budget(self.population, budget=size)
        # Whole batches are balanced against each other; a smaller last one would have fewer strata than they have.
        count, rest = divmod(size, batch_size)
        dealt = count
        if self.points is not None:
            from adacore.selectors.balancing import WIDTH, balance  # compiles kernels: only for those who use them

            # It needs batches to balance against: where the epoch has few, more are dealt and some of them taken.
            dealt = max(count, min(WIDTH, (self.population - rest) // batch_size))
        drawn = self.sample(dealt * batch_size + rest if count else rest, generator=generator)
        last: list[NDArray[np.int64]] = []
        if rest:
            places = _one_of_each(len(drawn), rest, generator)
            last, drawn = [drawn[places]], np.delete(drawn, places)
        if not count:
            return last
        # Row r holds the neighbours of stratum r; permuting each row by itself deals them out to the batches. Shuffling
        # whole columns would keep those of different rows together in every epoch.
        rows = generator.permuted(drawn.reshape(batch_size, dealt), axis=1)
        if self.points is None:
            return [*np.ascontiguousarray(rows.T), *last]
        # In random order: balancing breaks ties by the number of the column, to begin with that of the longest entries.
        taken = generator.permutation(dealt)[:count]
        return [*np.ascontiguousarray(balance(self.points, rows)[:, taken].T), *last]

    def state_dict(self) -> dict[str, Any]:
        """Return tensors that ``torch.load(weights_only=True)`` takes."""
        import torch  # this module is usable without torch but for these two methods

        arrays = {"order": self.order, "bounds": self.bounds, "points": self.points}
        return {name: None if array is None else torch.from_numpy(array.copy()) for name, array in arrays.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Strata:
        """Rebuild strata from their ``state_dict()``."""
        points = state["points"]
        return cls(
            state["order"].numpy().copy(),
            state["bounds"].numpy().copy(),
            None if points is None else points.numpy().copy(),
        )


def _one_of_each(n: int, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw a random place from each of ``size`` equal pieces of n places: ascending, int64, shape (size,)."""
    # n = size * length + rest with rest < size, so that the recursion ends.
    length, rest = divmod(n, size)
    places = np.arange(n, dtype=np.int64)
    if rest:
        places = np.delete(places, _one_of_each(n, rest, generator))
    # With pieces of different lengths the short ones would be drawn too often, hence equal lengths for what is left.
    return places.reshape(size, length)[np.arange(size), generator.integers(length, size=size)]
