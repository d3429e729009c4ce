"""A stateful batch sampler over a coreset: the order of an epoch is a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from adacore.coreset import Coreset


def batch_count(size: int, batch_size: int, *, drop_last: bool) -> int:
    """Count the batches of an epoch over ``size`` examples.

    Example:
        >>> batch_count(10, 4, drop_last=False), batch_count(10, 4, drop_last=True)
        (3, 2)
    """
    return size // batch_size if drop_last else -(-size // batch_size)


def mean_one(weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scale weights to mean one; all ones where all are zero.

    Args:
        weights: gamma, finite and >= 0, shape (k,).

    Returns:
        Shape (k,).

    Example:
        >>> mean_one(np.array([3.0, 1.0]))
        array([1.5, 0.5])
    """
    peak = weights.max(initial=0.0)
    if peak == 0:
        return np.ones_like(weights)
    scaled = weights / peak  # so that no sum overflows
    return np.asarray(scaled / scaled.mean())


class CoresetBatchSampler(Sampler[list[int]]):
    """Yields the batches of an epoch over the current coreset, shuffled by (seed, epoch), from a position on.

    Args:
        batch_size: Examples in a batch.
        seed: Of the order.
        drop_last: Whether an incomplete last batch is left out.

    Attributes:
        batches: Positions in the data set, batch by batch, int64 tensors.
        weights: Weights of the same, mean one over the coreset, float32 tensors.
        start: Batches to skip.
    """

    def __init__(self, batch_size: int, seed: int, *, drop_last: bool) -> None:
        self.batch_size, self.seed, self.drop_last = batch_size, seed, drop_last
        self.batches: tuple[Tensor, ...] = ()
        self.weights: tuple[Tensor, ...] = ()
        self.start = 0

    def prepare(self, coreset: Coreset, epoch: int, start: int) -> None:
        """Lay out an epoch.

        Args:
            coreset: What to train on.
            epoch: From 0; decides the order together with the seed.
            start: Batches to skip.
        """
        order = np.random.default_rng([self.seed, epoch, 0x5A]).permutation(len(coreset))
        order = order[: batch_count(len(order), self.batch_size, drop_last=self.drop_last) * self.batch_size]
        weights = mean_one(coreset.weights).astype(np.float32)
        self.batches = torch.split(torch.from_numpy(coreset.indices[order]), self.batch_size)
        self.weights = torch.split(torch.from_numpy(weights[order]), self.batch_size)
        self.start = start

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for indices in self.batches[self.start :]:
            yield indices.tolist()
