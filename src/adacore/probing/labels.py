"""Classes of the examples, where there are any, without running the model."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from adacore.probing.batches import TARGET_KEYS, length_of, split
from adacore.probing.losses import LossFunction
from adacore.probing.preserving import untouched_streams
from adacore.probing.reading import Collate, read

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


def classes_of(targets: Tensor, criterion: LossFunction | None) -> Tensor | None:
    """Take targets as classes, if that is what they are.

    Args:
        targets: Of a batch.
        criterion: The loss: one of regression has no classes, binary cross-entropy of one logit has two.

    Returns:
        int64, shape (batch,), or None.
    """
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
    labels: ArrayLike | Tensor | None = None,
    collate_fn: Collate | None = None,
    num_workers: int = 0,
    scan: bool = True,
) -> NDArray[np.int64] | None:
    """Find the classes of the examples without running a model.

    Taken from what the data set keeps (``targets``, ``labels``, a column of that name, a ``TensorDataset``'s last
    tensor, also through ``Subset`` and ``ConcatDataset``) if a few examples agree with it, else by reading everything.

    Args:
        dataset: A map-style data set of n examples.
        criterion: The loss; None for cross-entropy.
        labels: Classes given by the user, to be checked only.
        collate_fn: Makes a batch of a list of examples.
        num_workers: Processes that read the data set.
        scan: Whether the whole data set may be read.

    Returns:
        int64, shape (n,), or None where there are no classes, or none were found without reading everything.

    Raises:
        ValueError: If there are more or fewer labels than examples.

    Example:
        >>> labels_of(TensorDataset(torch.zeros(2, 3), torch.tensor([1, 0])))
        array([1, 0])
    """
    n = length_of(dataset)
    if labels is not None:
        return check_labels(labels, n)
    kept = _kept(dataset)
    with untouched_streams():
        if kept is not None and len(kept) == n:
            sample = torch.linspace(0, n - 1, min(n, 8)).long()
            _, targets = split(next(read(dataset, sample, collate_fn=collate_fn)))
            if targets.shape == kept[sample].shape and torch.equal(targets.cpu().double(), kept[sample].double()):
                found = classes_of(kept, criterion)
                return None if found is None else found.numpy()
        if not scan:
            return None
        everything = read(dataset, torch.arange(n), collate_fn=collate_fn, num_workers=num_workers)
        classes = joined([classes_of(split(batch)[1], criterion) for batch in everything])
    if classes is not None and len(classes) != n:
        raise ValueError(f"the data set gave {len(classes)} targets, its length is {n}: collate_fn must keep them all")
    return classes


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
