"""Parts of a training set: a held-out validation set, and classes made rare."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from adacore.budget import split_budget
from adacore.experiments.data.arrays import ArrayDataset, Splits
from adacore.probing.labels import labels_of


def hold_out(splits: Splits, amount: float, *, seed: int) -> Splits:
    """Take a validation set out of the training set, stratified.

    Args:
        splits: Without a validation set.
        amount: Share of the training set in (0, 1), or a number of examples; 0 for none.
        seed: Of the draw.

    Returns:
        The same with ``validation``, and ``train`` without those examples.

    Raises:
        ValueError: If the amount is negative, not whole, or leaves nothing to train on.
    """
    if amount == 0:
        return splits
    n = len(splits.train)  # type: ignore[arg-type]
    if not math.isfinite(amount) or amount < 0 or (amount >= 1 and amount != int(amount)):
        raise ValueError(f"validation={amount}: expected a share in (0, 1) or a whole number of examples")
    size = round(amount * n) if amount < 1 else int(amount)
    if not 1 <= size < n:
        raise ValueError(f"validation={amount} is {size} of {n} training examples: choose between 1 and {n - 1}")
    labels = labels_of(splits.train)
    # Real targets have no classes: the draw is then a plain one.
    groups = np.zeros(n, np.int64) if labels is None else labels
    # A constant beside the seed: the model's weights and the loader draw with the same seed, from streams of their own.
    held = _draw(groups, size, np.random.default_rng([seed, 0xA11]))
    # Both parts keep the data set's order, so that positions within them can be traced back.
    kept = np.setdiff1d(np.arange(n), held)
    return replace(splits, train=_rows(splits.train, kept), validation=_rows(splits.train, held))


def _draw(groups: NDArray[np.int64], size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    classes, counts = np.unique(groups, return_counts=True)
    shares = split_budget(counts, size)
    drawn = [
        generator.permutation(np.flatnonzero(groups == c))[:share] for c, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _rows(dataset: Dataset[Any], rows: NDArray[np.int64]) -> Dataset[Any]:
    """View some examples of a data set: nothing is copied, so that every seed of a comparison can hold out others."""
    return dataset.take(torch.from_numpy(rows)) if isinstance(dataset, ArrayDataset) else Subset(dataset, rows.tolist())


def imbalanced(splits: Splits) -> Splits:
    """Make the training set imbalanced by the paper's linear rule (C.2): class c of C keeps c / C of its examples.

    Of ten classes, class 9 keeps 90 %, class 1 keeps 10 %, class 0 nothing. The test set keeps all. Which examples stay
    is drawn once and for all. For 100 classes the paper gives no recipe: the same rule is used.

    Args:
        splits: A balanced data set in memory.

    Returns:
        The same with a smaller training set.

    Raises:
        TypeError: If the training set is not in memory.
    """
    if not isinstance(splits.train, ArrayDataset):
        raise TypeError(f"{splits.name} is not held in memory: only such a data set can be made imbalanced")
    targets = splits.train.targets.numpy()
    # Fixed and not the run's seed: the imbalanced set is a data set of its own, the same for all seeds and methods.
    generator = np.random.default_rng(0)
    kept = []
    for c in range(splits.classes):
        rows = generator.permutation(np.flatnonzero(targets == c))
        kept.append(rows[: round(len(rows) * c / splits.classes)])
    rows = np.sort(np.concatenate(kept))
    return replace(splits, name=f"{splits.name}-imbalanced", train=splits.train.take(torch.from_numpy(rows)))
