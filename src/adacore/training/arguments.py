"""What a user passes, checked before any work starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from adacore.budget import resolve_budget
from adacore.errors import shown, unknown_name
from adacore.probing.batch_layout import length_of
from adacore.probing.probe import Probe
from adacore.selectors import HasStrata, Selector
from adacore.training.plan import BATCHES, Batches
from adacore.training.weighted import WeightedDataset

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
    # Read off the installed torch: a newer one's settings are known, and an older one's are not promised.
    known = set(inspect.signature(DataLoader.__init__).parameters) - {"self", "dataset", *_REFUSED}
    for name in settings:
        if name in _REFUSED:
            raise ValueError(f"{name}= is not taken by CoresetLoader: {_REFUSED[name]}; leave it out")
        if name not in known:
            raise unknown_name("setting of CoresetLoader", name, known)
    # Out of order, "the first b batches were delivered" does not say which ones a resumed run has to deliver.
    if settings.get("in_order") is False:
        raise ValueError(
            "in_order=False is not taken by CoresetLoader: its state counts batches in order; leave it out"
        )


def settings_of(loader: Any) -> dict[str, Any]:
    """Read off a ``DataLoader`` what a ``CoresetLoader`` over the same data set is made with.

    Args:
        loader: What the user passed.

    Returns:
        Arguments by name, batch size and ``drop_last`` among them.

    Raises:
        ValueError: If it has a sampler that chooses among the examples, or makes no batches.
        TypeError: If it is no ``DataLoader``, or is a ``CoresetLoader`` itself.
    """
    if not isinstance(loader, DataLoader) or isinstance(getattr(loader, "dataset", None), WeightedDataset):
        raise TypeError(f"loader is a {type(loader).__name__}: pass the torch.utils.data.DataLoader of the full data")
    length_of(loader.dataset, "loader.dataset")
    if loader.batch_size is None:
        given = "a batch_sampler" if loader.batch_sampler is not None else "batch_size=None"
        raise ValueError(f"the loader has {given}: pass one with a batch_size, for batches of the coreset")
    sampler = loader.sampler
    # Exact types: a subclass may choose among the examples, as a weighted or distributed one of the user's does.
    whole = type(sampler) in {SequentialSampler, DistributedSampler} or (
        type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    )
    if not whole:
        raise ValueError(
            f"the loader has a {type(sampler).__name__}, which chooses among the examples as the coreset does: pass a "
            "loader without sampler=, and torch.utils.data.Subset where only some examples are to be trained on"
        )
    names = set(inspect.signature(DataLoader.__init__).parameters) - {"self", "dataset", *_REFUSED}
    # pin_memory_device is deprecated: that it is passed at all is warned of.
    taken = {name: getattr(loader, name) for name in names if getattr(loader, name, None)}
    # Without a collate_fn a data set in memory is indexed a batch at a time.
    if taken.get("collate_fn") is default_collate:
        del taken["collate_fn"]
    if not loader.num_workers:
        # Outside of workers these are refused by torch, or without meaning.
        taken = {name: value for name, value in taken.items() if name not in {"prefetch_factor", "persistent_workers"}}
    return taken


def check_batch_size(batch_size: Any) -> int:
    """Check that a batch size is a whole number of at least 1, and return it."""
    # True is an int to Python, and would be a batch size of 1.
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
    # Examples are known by their positions alone: of another length, position i cannot mean the same example in both.
    if n != m:
        raise ValueError(f"probe_dataset has {m} examples, dataset {n}: they must be the same in the same order")
    return probe_dataset


def check_probe(probe: Any) -> Probe:
    """Check that a probe is one, and return it; None stands for ``Probe()``."""
    if probe is None:
        return Probe()
    if not isinstance(probe, Probe):
        raise TypeError(f"probe={shown(probe)} is no Probe: pass for example adacore.Probe(batch_size=256)")
    return probe


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


def check_batches(batches: Any) -> Batches:
    """Check how batches are to be drawn, and return it.

    Args:
        batches: What the user passed.

    Returns:
        The same.

    Raises:
        ValueError: If there is no such way.
    """
    if batches not in BATCHES:
        raise unknown_name("way to draw batches=", str(batches), BATCHES)
    return batches  # type: ignore[no-any-return]


def budget_of(selector: Selector, n: int, *, budget: int | None, fraction: float | None) -> int:
    """Turn what the user passed into a number of examples.

    Args:
        selector: The method; one that ignores budgets, or orders examples, needs none and then takes all.
        n: Number of examples.
        budget: As passed.
        fraction: As passed.

    Returns:
        The budget, in [1, n].

    Raises:
        ValueError: If both, or neither, are given, or one is out of range.
        TypeError: If one is no number.
    """
    whole = check_selector(selector).traits.ignores_budget or isinstance(selector, HasStrata)
    if whole and budget is None and fraction is None:
        return n
    return resolve_budget(n, budget=budget, fraction=fraction)


def swallows(model: nn.Module, key: str) -> bool:
    """Tell whether a model accepts a keyword without naming it, and so ignores it.

    Args:
        model: The model, perhaps wrapped by DataParallel or the like, or compiled.
        key: The keyword.

    Returns:
        Whether its ``forward`` takes any keyword, and has none of that name.
    """
    if not isinstance(model, nn.Module):  # as for Random, which asks for none
        return False
    try:
        parameters = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):  # of a scripted model, which takes no keyword that it does not name
        return False
    if key in parameters or not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return False
    # DataParallel and the like, and compiled models, hand any keyword on to the model inside.
    inner = next((model._modules[name] for name in ("module", "_orig_mod") if name in model._modules), None)
    return inner is None or swallows(inner, key)


def check_seed(seed: Any) -> int:
    """Check that a seed is a whole number of at least 0, and return it."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed={seed!r} is not a whole number: pass an int of at least 0")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative: pass an int of at least 0")
    return int(seed)
