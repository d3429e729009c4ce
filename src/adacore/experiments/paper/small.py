"""A few examples of each data set, for looking at an experiment on a laptop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from adacore.budget import split_budget
from adacore.experiments.data import DATASETS, ArrayDataset, Splits, find_root
from adacore.probing.batch_layout import length_of
from adacore.probing.labels import labels_of

TRAIN = {"mnist": 6000}
"""Training examples that are kept; 1,000 where not said."""
TEST = 500
"""Test examples that are kept."""


def mnist() -> Splits:
    """Load a part of MNIST."""
    return shrink("mnist")


def cifar10() -> Splits:
    """Load a part of CIFAR-10."""
    return shrink("cifar10")


def cifar10_imbalanced() -> Splits:
    """Load a part of imbalanced CIFAR-10."""
    return shrink("cifar10-imbalanced")


def cifar100() -> Splits:
    """Load a part of CIFAR-100."""
    return shrink("cifar100")


def cifar100_imbalanced() -> Splits:
    """Load a part of imbalanced CIFAR-100."""
    return shrink("cifar100-imbalanced")


def bdd100k() -> Splits:
    """Load a part of BDD100k, its images shrunk to 32 x 32."""
    part = shrink("bdd100k")
    return replace(part, train=_thumbnails(part.train), test=_thumbnails(part.test), shape=(3, 32, 32))


def train_size(name: str) -> int:
    """Tell how many training examples are kept.

    Example:
        >>> train_size("cifar10")
        1000
    """
    return TRAIN.get(name, 1000)


def shrink(name: str) -> Splits:
    """Load a data set and keep a part, drawn once and for all, with classes in proportion.

    Args:
        name: Of the data set.

    Returns:
        Fewer training and test examples.

    Raises:
        FileNotFoundError: If the data is not there.
    """
    # No root is passed: a set-up names this function by its path, which takes no arguments.
    whole = DATASETS[name](find_root(None))
    train, test = _draw(whole.train, train_size(name)), _draw(whole.test, TEST)
    return Splits(f"{name} (part)", train, test, whole.shape, whole.classes, whole.class_names)


def _draw(dataset: Dataset[Any], size: int) -> Dataset[Any]:
    labels = labels_of(dataset)
    # Smaller than asked for is left whole, never repeated.
    if labels is None or len(labels) <= size:
        return dataset
    classes, counts = np.unique(labels, return_counts=True)
    # Fixed: small versions of different seeds are of one data set.
    generator = np.random.default_rng(0)
    shares = split_budget(counts, size)
    rows = [
        generator.permutation(np.flatnonzero(labels == c))[:share] for c, share in zip(classes, shares, strict=True)
    ]
    kept = np.sort(np.concatenate(rows))
    return dataset.take(torch.from_numpy(kept)) if isinstance(dataset, ArrayDataset) else Subset(dataset, kept.tolist())


def _thumbnails(dataset: Dataset[Any]) -> ArrayDataset:
    rows = [dataset[row] for row in range(length_of(dataset))]
    small = [torch.nn.functional.interpolate(pixels[None], size=(32, 32), mode="area")[0] for pixels, _ in rows]
    # Back to bytes, so that training decodes nothing.
    inputs = torch.stack(small).mul(255).round().to(torch.uint8)
    return ArrayDataset(inputs, torch.stack([torch.as_tensor(target) for _, target in rows]))
