"""The plan of an epoch: the examples and weights of its batches, as a pure function of a coreset or of strata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.coreset import Coreset
from adacore.selectors.ordered_strata import Strata

Batches = Literal["weighted", "proportional", "stratified"]
BATCHES: tuple[Batches, ...] = get_args(Batches)


class Key(tuple[int, float]):
    """What the data set is asked for: (position of the example, its weight).

    Attributes:
        epoch: The epoch in which it is asked for, from 0.
        number: The batch of that epoch in which it is asked for, from 0. Both seed the random streams of augmentation.
        owner: The process that is to ask for it, or None where there is only one.

    Example:
        >>> position, weight = Key((7, 2.0))
    """

    # Attributes beside the two items: who takes a batch sampler's output apart finds pairs, and pickle keeps all four.
    epoch: int = 0
    number: int = 0
    owner: int | None = None


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The batches of one epoch.

    Attributes:
        epoch: From 0.
        batches: Positions of the examples of each batch, int64 tensors of shape (batch,), none of them empty.
        weights: Weights of the same, float32 tensors; their mean over the coreset is one.
        start: Number of the batch to begin with: 0, or where a run was stopped; ``len(batches)`` if nothing is left.
        owner: The process whose share of an epoch it is, or None where there is only one.

    Raises:
        ValueError: If a batch is empty, weights do not fit batches, or the start is out of range.

    Example:
        >>> plan = EpochPlan(0, (torch.tensor([4, 2]),), (torch.tensor([0.5, 1.5]),))
        >>> plan.keys(0)
        [(4, 0.5), (2, 1.5)]
    """

    epoch: int
    batches: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    start: int = 0
    owner: int | None = None

    def __post_init__(self) -> None:
        sizes, weighted = [len(batch) for batch in self.batches], [len(weights) for weights in self.weights]
        # The loss of an empty batch is a mean over nothing, nan, after which every parameter is nan.
        if sizes != weighted or not all(sizes):
            raise ValueError(
                f"batches of {sizes} examples with {weighted} weights: expected one for each, and no empty"
            )
        if not 0 <= self.start <= len(self.batches):
            raise ValueError(f"start={self.start} is outside [0, {len(self.batches)}], the number of batches")

    def __len__(self) -> int:
        return len(self.batches)

    def keys(self, number: int) -> list[Key]:
        """Return the keys of a batch, to give to the data set.

        Args:
            number: Which batch, from 0.

        Returns:
            One key for each example, in order.
        """
        keys = [Key(pair) for pair in zip(self.batches[number].tolist(), self.weights[number].tolist(), strict=True)]
        for key in keys:
            key.epoch, key.number, key.owner = self.epoch, number, self.owner
        return keys

    def share(self, rank: int, processes: int, *, batch_size: int | None = None) -> EpochPlan:
        """Take one process's share: every ``processes``-th example of each batch, from number ``rank`` on.

        Of a batch that is drawn along strata, each share is again a stratified sample. All shares of a batch have
        equally many examples: where some are missing, the first of the batch is repeated with a weight of -0. Weights
        are scaled so that the mean over processes of the mean over a share is the mean over the batch. So the averaged
        gradient of data-parallel training is the gradient of one process that takes the batch whole.

        Args:
            rank: Which process, from 0.
            processes: How many there are.
            batch_size: Examples in every share; None for as few as hold the batch.

        Returns:
            The share, with as many batches.

        Example:
            >>> plan = EpochPlan(0, (torch.tensor([4, 2, 7]),), (torch.ones(3),))
            >>> plan.share(0, 2).keys(0), plan.share(1, 2).keys(0)
            ([(4, 1.3333333730697632), (7, 1.3333333730697632)], [(2, 1.3333333730697632), (4, -0.0)])
        """
        batches, shares = list[Tensor](), list[Tensor]()
        for batch, weights in zip(self.batches, self.weights, strict=True):
            # Equal shares: data-parallel training averages the processes' means as if they were of equally many
            # examples.
            size = -(-len(batch) // processes) if batch_size is None else batch_size
            mine, own = batch[rank::processes], weights[rank::processes]
            missing = size - len(mine)
            batches.append(torch.cat([mine, batch[:1].expand(missing)]) if missing else mine)
            # Sum over all examples of w l, divided by processes and by size, is to be divided by len(batch).
            scaled = own * (processes * size / len(batch))
            # Minus zero weighs what zero weighs, and can be told from the weight of an example that has none.
            shares.append(torch.cat([scaled, scaled.new_full((missing,), -0.0)]) if missing else scaled)
        return EpochPlan(self.epoch, tuple(batches), tuple(shares), self.start, rank)


def examples_in(weights: Tensor) -> int:
    """Count the examples of a share of a batch, without what fills it up; see ``EpochPlan.share``.

    Args:
        weights: Of the share.

    Returns:
        How many have a weight of their own, be it 0.

    Example:
        >>> examples_in(torch.tensor([1.5, 0.0, -0.0]))
        2
    """
    return len(weights) - int(torch.signbit(weights).sum())


def count_batches(size: int, batch_size: int, *, drop_last: bool) -> int:
    """Count the batches of an epoch over ``size`` examples.

    Example:
        >>> count_batches(10, 4, drop_last=False), count_batches(10, 4, drop_last=True)
        (3, 2)
    """
    return size // batch_size if drop_last else -(-size // batch_size)


def mean_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale weights to mean one, so that a learning rate means what it means on the full data; ones where all are zero.

    Args:
        weights: gamma, finite and >= 0, shape (k,).

    Returns:
        Shape (k,).

    Example:
        >>> mean_one(np.array([3.0, 1.0]))
        array([1.5, 0.5])
    """
    # All zero where a fit (GradMatch) found nothing to weigh: equal weights train, zeros would not.
    peak = weights.max(initial=0.0)
    if peak == 0:
        return np.ones_like(weights)
    scaled = weights / peak  # at most one each, so that no sum overflows
    return np.asarray(scaled / scaled.mean())


def plan_epoch(
    selection: Coreset | Strata,
    epoch: int,
    *,
    batch_size: int,
    seed: int,
    size: int | None = None,
    drop_last: bool = False,
    batches: Batches = "weighted",
    start: int = 0,
) -> EpochPlan:
    """Lay out an epoch over a coreset, or along strata: a function of its arguments alone.

    ``"weighted"``: every example of the coreset once, in random order, with its weight. ``"proportional"``: as many
    examples as the coreset has, each on average as often as its weight says, all with a weight of one. In both, the
    mean of ``w_j g_j`` over a mini-batch is on average that over the coreset. Its variance is less in the first where
    weights differ little, and in the second where they differ much.

    Along strata every mini-batch is a stratified sample of all examples, with weights of one: see ``Strata.batches``.

    Args:
        selection: What to train on.
        epoch: From 0; decides the order together with the seed.
        batch_size: Examples in a batch.
        seed: Of the order.
        size: Examples in the epoch, where they are drawn along strata.
        drop_last: Whether an incomplete last batch is left out.
        batches: How they are drawn from a coreset.
        start: Number of the batch to begin with.

    Returns:
        The plan.

    Raises:
        ValueError: If the coreset holds no whole batch and incomplete ones are left out.

    Example:
        >>> coreset = Coreset(np.array([9, 3, 5]), np.array([1.0, 2.0, 3.0]), population=20)
        >>> [len(batch) for batch in plan_epoch(coreset, 0, batch_size=2, seed=0).batches]
        [2, 1]
    """
    examples = len(selection) if isinstance(selection, Coreset) else size or selection.population
    # By what was selected, which may be less than the budget: only now is the number of batches known.
    count = count_batches(examples, batch_size, drop_last=drop_last)
    if not count:
        raise ValueError(
            f"the coreset of epoch {epoch} has {examples} examples, which is no whole batch of {batch_size}, and "
            "drop_last=True leaves out incomplete ones: lower batch_size=, raise budget=, or pass drop_last=False"
        )
    # 0x5A tells this stream from the others that are derived from the same seed.
    generator = np.random.default_rng([seed, epoch, 0x5A])
    weights = np.ones(examples, dtype=np.float32)
    if isinstance(selection, Strata):
        chosen = np.concatenate(selection.batches(examples, batch_size, generator=generator))
    elif batches == "proportional":
        chosen = selection.indices[_in_proportion(selection.weights, batch_size, generator)]
    else:
        order = generator.permutation(examples)
        chosen = selection.indices[order]
        weights = mean_one(selection.weights).astype(np.float32)[order]
    # After the permutation, so that drop_last leaves out other examples in each epoch.
    kept = min(examples, count * batch_size)
    # One array in pieces: making a tensor of each batch would take as long as drawing them.
    return EpochPlan(
        epoch,
        torch.split(torch.from_numpy(chosen[:kept]), batch_size),
        torch.split(torch.from_numpy(weights[:kept]), batch_size),
        start,
    )


def _in_proportion(weights: NDArray[np.float64], batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many places as there are weights, in proportion to them, and deal them out to batches.

    The weights of the examples, in random order, are laid side by side on [0, size); the points u, u + 1, u + 2, ...
    with u uniform in [0, 1) fall into example j floor or ceil of ``size w_j / sum(w)`` times: exactly that on average
    (systematic sampling; no scheme of independent draws has less variance in how often an example comes).
    """
    size = len(weights)
    order = generator.permutation(size)
    # In random order, since neighbours on the line are seldom drawn both: a fixed order would tie their fates for good.
    ends = np.cumsum(mean_one(weights)[order])
    points = (generator.random() + np.arange(size)) * (ends[-1] / size)  # ends[-1] is size, up to rounding
    drawn = order[np.minimum(np.searchsorted(ends, points, side="right"), size - 1)]
    whole, rest = divmod(size, batch_size)
    # The last, incomplete batch takes places at equal distances (of size / rest > 1, so that no two are equal).
    last = np.floor((generator.random() + np.arange(rest)) * (size / max(rest, 1))).astype(np.int64)
    others = np.delete(drawn, last).reshape(batch_size, whole)
    # A row holds neighbours, among them the copies of an example: its members go to one batch each.
    dealt = others[:, generator.permutation(whole)].T
    return np.concatenate([dealt.ravel(), drawn[last]])
