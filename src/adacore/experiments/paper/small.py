"""A smaller scale for each set-up of the paper: what a core trains in minutes, and what it stands for.

Everything that makes a set-up smaller is here: the data sets, which a run's settings name by these functions' paths,
and the settings themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Subset

from adacore.budget import split_budget
from adacore.experiments.data import DATASETS, ArrayDataset, Splits, find_root
from adacore.probing.batch_layout import length_of
from adacore.probing.labels import labels_of

TRAIN = 3000
"""Training examples that are kept, of every data set."""

TEST = 3000
"""Test examples that are kept, at most: two models that differ on 40 % of them then differ by 1.2 points by chance."""

PIXELS = 16
"""Side of an image: a quarter of CIFAR's pixels, and a quarter of the time of a step (MNIST keeps its 28)."""

MODEL = "lenet"
"""Stands for every residual network: a run takes 2 to 3 s of a core, where ResNet-8 would take five times as long."""

_IMAGES = 50_000
"""Training images of CIFAR-10 and of CIFAR-100, which the paper's sizes are shares of."""

_LEAST_SHARE = 0.05
"""Of the smaller data set: a hundredth of it would be three examples a class. 150 of 3,000 stand for 500 of 50,000."""

_LEAST_BATCH = 40
"""Below it a step on one core takes as long as with fewer examples."""

_SHARE = 0.5
"""Of the paper's epochs that a method trains for, whichever it is: 100 of 200."""

_GRADIENTS = 60_000
"""Examples that a coreset method steps on in a run, at most: larger coresets train for a smaller share of epochs."""

_RESELECTIONS = 40
"""Of a run, at most: each probes all rows and selects, 0.05 s of a core."""

_EPOCHS = 200
"""Of the paper's coreset methods, which ``_GRADIENTS`` are counted in."""


def mnist(data_root: str | None = None) -> Splits:
    """Load a part of MNIST."""
    return shrink("mnist", data_root)


def cifar10(data_root: str | None = None) -> Splits:
    """Load a part of CIFAR-10, its images shrunk."""
    return shrink("cifar10", data_root)


def cifar10_imbalanced(data_root: str | None = None) -> Splits:
    """Load a part of imbalanced CIFAR-10, its images shrunk."""
    return shrink("cifar10-imbalanced", data_root)


def cifar100(data_root: str | None = None) -> Splits:
    """Load a part of CIFAR-100, its images shrunk."""
    return shrink("cifar100", data_root)


def cifar100_imbalanced(data_root: str | None = None) -> Splits:
    """Load a part of imbalanced CIFAR-100, its images shrunk."""
    return shrink("cifar100-imbalanced", data_root)


def bdd100k(data_root: str | None = None) -> Splits:
    """Load a part of BDD100k, its images shrunk."""
    return shrink("bdd100k", data_root)


def shrink_settings(part: Mapping[str, Any]) -> dict[str, Any]:
    """Shrink one set-up: fewer and smaller images, a small model, fewer epochs.

    The schedule of the learning rate is a function of the share of the epochs that are over, and so is scaled with
    them; epochs between reselections are scaled alike, so that there are as many coresets, up to ``_RESELECTIONS``.

    Args:
        part: Settings of the set-up.

    Returns:
        Settings of the smaller one.
    """
    small = dict(part)
    small["data"] = f"{__name__}:{str(part['data']).replace('-', '_')}"
    # Fewer than three seeds tell nothing.
    small["seeds"] = max(3, int(part.get("seeds", 3)))
    small["fraction"] = max(_LEAST_SHARE, float(part["fraction"]))
    budget = small["fraction"] * TRAIN
    # One share for all methods of a figure, however long they run.
    share = min(_SHARE, _GRADIENTS / (budget * _EPOCHS))
    small["epochs"] = max(10, round(share * int(part["epochs"])))
    least = -(-small["epochs"] // _RESELECTIONS)
    small["every"] = max(1, least, round(share * int(part["every"])))
    # Four points make a curve; the last epoch is one of them.
    small["eval_every"] = max(1, small["epochs"] // 4)
    if part.get("analyse_every"):  # 0 is never
        small["analyse_every"] = small["epochs"]
    if str(part["model"]).startswith("resnet"):
        small |= {"model": MODEL, "precision": "32"}
        # With the coreset, so that an epoch has as many steps as the paper's; for large coresets it has fewer.
        scaled = round(int(part["batch_size"]) * budget / (float(part["fraction"]) * _IMAGES))
        small["batch_size"] = min(int(part["batch_size"]), max(_LEAST_BATCH, scaled))
        if small["optimizer"] == "sgd":
            # PyTorch's: damped momentum takes steps a tenth as long, of which there are too few at this scale.
            small["damped_momentum"] = False
    return small | {"threads": 1, "tensorboard": False}


def shrink(name: str, data_root: str | None = None) -> Splits:
    """Load a data set and keep a part, drawn once and for all, with classes in proportion.

    Args:
        name: Of the data set.
        data_root: Folder that holds the data sets; None for ADACORE_DATA.

    Returns:
        Fewer training and test examples.

    Raises:
        FileNotFoundError: If the data is not there.
    """
    whole = DATASETS[name](find_root(data_root))
    train, test = _draw(whole.train, TRAIN), _draw(whole.test, TEST)
    part = Splits(f"{name} (part)", train, test, whole.shape, whole.classes, whole.class_names)
    if name == "mnist":
        return part
    return replace(part, train=_thumbnails(train), test=_thumbnails(test), shape=(3, PIXELS, PIXELS))


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
    # One by one: images of BDD100k are decoded when they are read, and all of them at full size would not fit.
    rows = [dataset[row] for row in range(length_of(dataset))]
    small = [functional.interpolate(pixels[None], size=(PIXELS, PIXELS), mode="area")[0] for pixels, _ in rows]
    # Back to bytes, so that training decodes nothing.
    inputs = torch.stack(small).mul(255).round().to(torch.uint8)
    return ArrayDataset(inputs, torch.stack([torch.as_tensor(target) for _, target in rows]))
