"""Fetching batches: at once from a data set in memory, through a DataLoader from any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from adacore.probing.preserving import untouched_streams

Collate = Callable[[list[Any]], Any]
Fetch = Callable[[Tensor], Any]


def fetcher(dataset: Dataset[Any]) -> Fetch | None:
    """Find how to fetch a whole batch of a data set in memory at once.

    A data set says that it can by ``collates = True``: its ``__getitems__(indices)``, indices an int64 tensor or a
    list, then returns a collated batch. A ``TensorDataset``, and a ``Subset`` of either, can as well.

    Args:
        dataset: A map-style data set.

    Returns:
        A function from positions (int64, shape (batch,)) to the batch, or None.
    """
    if getattr(dataset, "collates", False) and hasattr(dataset, "__getitems__"):
        return cast("Fetch", dataset.__getitems__)
    if type(dataset) is TensorDataset:
        tensors = dataset.tensors
        if all(tensor.device.type == "cpu" for tensor in tensors):
            return lambda indices: tuple(tensor.index_select(0, indices) for tensor in tensors)
        return lambda indices: tuple(tensor[indices] for tensor in tensors)
    if type(dataset) is Subset:
        inner = fetcher(dataset.dataset)
        if inner is None:
            return None
        positions = torch.as_tensor(dataset.indices, dtype=torch.int64)
        return lambda indices: inner(positions[indices])
    return None


class OneByOne(Dataset[Any]):
    """A data set whose examples are fetched singly, for a collate_fn that expects a list of them.

    Args:
        dataset: A data set that would collate its batches itself.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def whole(batch: Any) -> Any:
    """Return a batch that is collated already."""
    return batch


def loadable(dataset: Dataset[Any], collate_fn: Collate | None) -> tuple[Dataset[Any], Collate | None]:
    """Make a data set fit for a ``DataLoader``, whether or not it collates its batches itself.

    Args:
        dataset: A map-style data set.
        collate_fn: The user's, or None.

    Returns:
        The data set and the collate_fn to give to a ``DataLoader``.
    """
    inner = dataset
    while type(inner) is Subset:
        inner = inner.dataset
    if not getattr(inner, "collates", False):
        return dataset, collate_fn
    return (dataset, whole) if collate_fn is None else (OneByOne(dataset), collate_fn)


def read(
    dataset: Dataset[Any],
    positions: Tensor,
    *,
    batch_size: int = 512,
    collate_fn: Collate | None = None,
    num_workers: int = 0,
) -> Iterator[Any]:
    """Read some examples in order, batch by batch.

    Args:
        dataset: A map-style data set.
        positions: Which examples, int64, shape (m,).
        batch_size: Examples in a batch.
        collate_fn: Makes a batch of a list of examples; None for torch's default.
        num_workers: Processes that read.

    Yields:
        Collated batches.
    """
    fetch = fetcher(dataset) if collate_fn is None else None
    if fetch is not None:
        for indices in torch.split(positions, batch_size):
            yield fetch(indices)
        return
    source, collate = loadable(dataset, collate_fn)
    yield from DataLoader(
        source,
        batch_sampler=[part.tolist() for part in torch.split(positions, batch_size)],
        num_workers=num_workers,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(0),
    )


def varies(dataset: Dataset[Any], n: int, *, collate_fn: Collate | None = None) -> bool:
    """Tell whether ``dataset[i]`` changes from call to call, as under augmentation, by reading a few examples thrice.

    Args:
        dataset: A map-style data set.
        n: Its length.
        collate_fn: Makes a batch of a list of examples.

    Returns:
        Whether a difference was seen; global random streams are left as they were.
    """
    if type(dataset) is TensorDataset:
        return False
    positions = torch.linspace(0, n - 1, min(n, 8)).long()
    with untouched_streams():
        first, *others = (next(read(dataset, positions, collate_fn=collate_fn)) for _ in range(3))
    return not all(_same(first, other) for other in others)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b)
