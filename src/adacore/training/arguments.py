"""What a user passes, checked before any work starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from adacore.errors import unknown_name
from adacore.probing.batches import length_of
from adacore.selectors import Selector

_REFUSED = {
    "shuffle": "the coreset is shuffled anew in every epoch, by seed and epoch",
    "sampler": "the coreset decides which examples are drawn",
    "batch_sampler": "the coreset decides which examples are drawn; set batch_size= and drop_last=",
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check what is passed on to ``torch.utils.data.DataLoader``.

    Args:
        settings: By name.

    Raises:
        ValueError: If one is unknown, or decided by the loader itself.
    """
    known = set(inspect.signature(DataLoader.__init__).parameters) - {"self", "dataset", *_REFUSED}
    for name in settings:
        if name in _REFUSED:
            raise ValueError(f"{name}= is not taken by CoresetLoader: {_REFUSED[name]}; leave it out")
        if name not in known:
            raise unknown_name("setting of CoresetLoader", name, known)
    if settings.get("in_order") is False:
        raise ValueError("in_order=False would mix up examples and weights: leave it out")


def check_batch_size(batch_size: Any) -> int:
    """Check that a batch size is a whole number of at least 1, and return it."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size={batch_size!r} is not a whole number: pass an int of at least 1")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} is below 1: pass an int of at least 1")
    return int(batch_size)


def probed(dataset: Dataset[Any], probe_dataset: Dataset[Any] | None) -> Dataset[Any]:
    """Return the data set to run the model over.

    Args:
        dataset: What is trained on.
        probe_dataset: The same without augmentation, or None.

    Returns:
        The latter if given.

    Raises:
        ValueError: If their lengths differ.
    """
    if probe_dataset is None:
        return dataset
    n, m = length_of(dataset), length_of(probe_dataset, "probe_dataset")
    if n != m:
        raise ValueError(f"probe_dataset has {m} examples, dataset {n}: they must be the same in the same order")
    return probe_dataset


def check_selector(selector: Any) -> Selector:
    """Check that a selector is one.

    Args:
        selector: What the user passed.

    Returns:
        The same.

    Raises:
        TypeError: If it is a class, a name, or something else.
    """
    if isinstance(selector, type):
        raise TypeError(f"selector={selector.__name__} is a class: pass an instance, {selector.__name__}()")
    if not isinstance(selector, Selector):
        raise TypeError(f"selector={selector!r} is no selector: pass for example adacore.AdaCore()")
    return selector


def check_seed(seed: Any) -> int:
    """Check that a seed is a whole number of at least 0, and return it."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed={seed!r} is not a whole number: pass an int of at least 0")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative: pass an int of at least 0")
    return int(seed)
