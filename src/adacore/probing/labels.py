"""Classes of the examples, where there are any, without running the model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from adacore.probing.batches import TARGET_KEYS, length_of
from adacore.probing.losses import LossFunction
from adacore.probing.preserving import preserving_random_streams
from adacore.probing.reading import in_order, read

_REGRESSION = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.PoissonNLLLoss, nn.GaussianNLLLoss)


def check_labels(labels: ArrayLike | Tensor, n: int) -> NDArray[np.int64]:
    """Check labels given by the user.

    Args:
        labels: Classes, whole numbers, shape (n,).
        n: Number of examples.

    Returns:
        int64, shape (n,).

    Raises:
        ValueError: If there are more or fewer, or more than one for each example.
        TypeError: If they are not whole numbers.

    Example:
        >>> check_labels([1, 0], 2)
        array([1, 0])
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels have shape {array.shape}: expected ({n},), one for each example of the data set")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels have dtype {array.dtype}: expected whole numbers; encode names as 0, 1, ...")
    return array.astype(np.int64)


def classes_of(targets: Tensor | None, criterion: LossFunction | None) -> Tensor | None:
    """Take targets as classes, if that is what they are.

    Args:
        targets: Of a batch.
        criterion: The loss: one of regression has no classes, binary cross-entropy of one logit has two.

    Returns:
        int64, shape (batch,), or None.
    """
    if targets is None:
        return None
    partial = isinstance(criterion, functools.partial) and criterion.func is functional.mse_loss
    if partial or isinstance(criterion, _REGRESSION):
        return None
    if targets.ndim == 2 and targets.shape[1] == 1 and isinstance(criterion, nn.BCEWithLogitsLoss):
        targets = targets.squeeze(1)
    if targets.ndim != 1:
        return None
    if not targets.is_floating_point():
        return targets.to(torch.int64)
    binary = isinstance(criterion, nn.BCEWithLogitsLoss) and bool(((targets == 0) | (targets == 1)).all())
    return targets.to(torch.int64) if binary else None


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

    Taken from what the data set keeps (``targets``, ``labels``, a column of that name, a ``TensorDataset``'s last
    tensor, also through ``Subset`` and ``ConcatDataset``) if a few examples agree with it, else by reading everything.

    Args:
        dataset: A map-style data set of n examples.
        criterion: The loss; None for cross-entropy.
        loader: Settings of a ``DataLoader`` for reading; see ``adacore.Probe``.
        read_all: Whether the whole data set may be read.

    Returns:
        int64, shape (n,), or None where there are no classes, or none were found without reading everything.

    Raises:
        ValueError: If there are more or fewer labels than examples.

    Example:
        >>> labels_of(TensorDataset(torch.zeros(2, 3), torch.tensor([1, 0])))
        array([1, 0])
    """
    n = length_of(dataset)
    kept = _kept(dataset)
    with preserving_random_streams():
        if kept is not None and len(kept) == n:
            sample = torch.linspace(0, n - 1, min(n, 8)).long()
            (batch,) = read(dataset, [sample], loader=loader)
            targets = batch.required_targets()
            if targets.shape == kept[sample].shape and torch.equal(targets.cpu().double(), kept[sample].double()):
                found = classes_of(kept, criterion)
                return None if found is None else found.numpy()
        if not read_all:
            return None
        everything = read(dataset, in_order(n, 512), loader=loader)
        return joined([classes_of(batch.targets, criterion) for batch in everything])


def _kept(dataset: Any) -> Tensor | None:
    if isinstance(dataset, Subset):
        whole = _kept(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [_kept(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if known and len(known) == len(parts) else None
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1].cpu()
    columns = getattr(dataset, "column_names", None) or ()  # of a Hugging Face data set
    for key in TARGET_KEYS:
        try:
            if key in columns:
                return torch.as_tensor(np.asarray(dataset[key]))
            return torch.as_tensor(getattr(dataset, key)).cpu()
        except (AttributeError, TypeError, ValueError, RuntimeError):
            continue
    return None
