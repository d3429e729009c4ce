"""Classes of the examples, where there are any, without running the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from adacore.facility.strata import partition
from adacore.probing.batch_layout import TARGET_KEYS, length_of
from adacore.probing.losses import LossFunction
from adacore.probing.model_state import preserving_random_streams
from adacore.probing.reading import in_order, read
from adacore.probing.target_kinds import TargetKind, target_kind


def check_labels(labels: ArrayLike | Tensor, n: int) -> NDArray[np.int64]:
    """Turn labels given by the user into whole numbers, one for each example.

    Args:
        labels: As ``adacore.facility_location`` takes them, shape (n,) or (n, 1): whole numbers of any width, truth
            values, texts, dates; an array of numpy, torch or pandas, or a list.
        n: Number of examples.

    Returns:
        int64, shape (n,): whole numbers as they are, anything else numbered in ascending order.

    Raises:
        ValueError: If there are more or fewer, more than one for each example, or one is missing (None, nan, NaT,
            pandas.NA, masked).
        TypeError: If they are of kinds that cannot be compared with one another.

    Example:
        >>> check_labels([1, 0], 2), check_labels(["dog", "cat", "dog"], 3)
        (array([1, 0]), array([1, 0, 1]))
    """
    strata = partition(labels, n)
    names: NDArray[Any] = strata.names
    if names.dtype == object and all(isinstance(name, int | np.integer) for name in names):
        names = names.astype(np.int64)  # as pandas keeps whole numbers in a column that may lack some
    whole = names.dtype.kind in "ib" or (names.dtype.kind == "u" and int(names.max()) <= np.iinfo(np.int64).max)
    # Whole numbers keep their values, by which the user knows them; of anything else only the order is left.
    return names.astype(np.int64)[strata.numbers] if whole else strata.numbers


def classes_of(targets: Tensor | None, kind: TargetKind) -> Tensor | None:
    """Take targets as classes, if that is what they are.

    Args:
        targets: Of a batch.
        kind: What the loss takes them for, see ``target_kind``.

    Returns:
        int64, shape (batch,), or None. Under a binary loss 0 and 1, or -1 and 1, are the classes 0 and 1.

    Example:
        >>> classes_of(torch.tensor([[1.0], [0.0]]), "binary"), classes_of(torch.tensor([3, 4]), "numbers")
        (tensor([1, 0]), None)
    """
    if targets is None or kind == "numbers":
        return None
    if kind == "binary" and targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets.squeeze(1)
    # Several targets for each example (tokens, several labels, probabilities) are no partition into classes.
    if targets.ndim != 1:
        return None
    if kind == "classes":
        return None if targets.is_floating_point() else targets.to(torch.int64)
    # Of zeros and ones -1 is no part, and of -1 and 1 zero is none: both have one class that is above 0.
    values = targets.to(torch.float64)
    two = bool(((values == 0) | (values == 1)).all()) or bool((values.abs() == 1).all())
    return (values > 0).to(torch.int64) if two else None


def joined(classes: list[Tensor | None]) -> NDArray[np.int64] | None:
    """Join the classes of all batches; None if a batch has none."""
    known = [part for part in classes if part is not None]
    return torch.cat(known).cpu().numpy() if known and len(known) == len(classes) else None


def labels_of(
    dataset: Dataset[Any],
    *,
    criterion: LossFunction | None = None,
    loader: Mapping[str, Any] | None = None,
    read_all: bool = True,
) -> NDArray[np.int64] | None:
    """Find the classes of the examples without running a model.

    What a data set keeps under ``targets`` may not be what its items carry: a ``target_transform``, or a subclass, may
    change it. It is taken without reading only where that cannot be: of a ``TensorDataset``; of torchvision's own
    classes without a transform of targets; of a Hugging Face data set without a transform; of any data set that
    promises it by an attribute ``known_targets`` (see ``docs/probe.md``); and through ``Subset`` and ``ConcatDataset``
    of such. Any other data set is read from end to end.

    Args:
        dataset: A map-style data set of n examples.
        criterion: The loss; None for cross-entropy.
        loader: Settings of a ``DataLoader`` for reading; see ``adacore.Probe``.
        read_all: Whether the whole data set may be read.

    Returns:
        int64, shape (n,), or None where there are no classes, or none were found without reading all examples.

    Raises:
        ValueError: If there are more or fewer labels than examples.

    Example:
        >>> labels_of(TensorDataset(torch.zeros(2, 3), torch.tensor([1, 0])))
        array([1, 0])
    """
    n = length_of(dataset)
    known, kind = known_targets(dataset), target_kind(criterion)
    if kind == "numbers":
        return None  # without reading anything, whatever the targets are
    if known is not None and len(known) == n:
        found = classes_of(known, kind)
        return None if found is None else found.numpy()
    if not read_all:
        return None
    with preserving_random_streams():
        everything = read(dataset, in_order(n, 512), loader=loader, targets="optional")
        return joined([classes_of(batch.targets, kind) for batch in everything])


def known_targets(dataset: Any) -> Tensor | None:
    """Return what every item carries as its target, where that is certain without reading the items.

    Args:
        dataset: A map-style data set.

    Returns:
        Shape (n, ...), on the CPU, or None.
    """
    # Exact types throughout: a subclass may change what its items are.
    if type(dataset) is Subset:
        whole = known_targets(dataset.dataset)
        # Only the targets are indexed: reading the items of the subset would decode every image for a number.
        return None if whole is None else whole[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if type(dataset) is ConcatDataset:
        parts = [known_targets(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if known and len(known) == len(parts) else None
    if type(dataset) is TensorDataset:
        return dataset.tensors[-1].cpu() if len(dataset.tensors) > 1 else None
    if _promises_targets(dataset):
        return torch.as_tensor(dataset.known_targets).cpu()
    # By the name of their module, since neither torchvision nor datasets is a dependency, and importing takes seconds.
    kind = type(dataset).__module__
    if kind.startswith("torchvision.datasets.") and not _transforms_targets(dataset):
        return _as_tensor(getattr(dataset, "targets", None))
    if kind == "datasets.arrow_dataset" and (getattr(dataset, "format", None) or {}).get("type") != "custom":
        column = next((key for key in TARGET_KEYS if key in dataset.column_names), None)
        return None if column is None else _as_tensor(dataset[column])
    return None


def _promises_targets(dataset: Any) -> bool:
    """Tell whether a data set has ``known_targets``, and no subclass has since changed what its items are."""
    if "known_targets" in getattr(dataset, "__dict__", {}):
        return True
    for kind in type(dataset).__mro__:
        if "known_targets" in vars(kind):
            return True
        if {"__getitem__", "__getitems__"} & vars(kind).keys():
            return False
    return False


def _transforms_targets(dataset: Any) -> bool:
    """Tell whether a torchvision data set may change targets: by a transform of them, or by one of both together."""
    together = getattr(dataset, "transforms", None)
    plain = together is None or type(together).__name__ == "StandardTransform"
    transforms = [getattr(holder, "target_transform", None) for holder in (dataset, together)]
    return not plain or any(transform is not None for transform in transforms)


def _as_tensor(targets: Any) -> Tensor | None:
    try:
        return None if targets is None else torch.as_tensor(np.asarray(targets)).cpu()
    except (TypeError, ValueError, RuntimeError):  # of unequal lengths, or no numbers
        return None
