"""The one place where a data set is opened, read in batches, split into inputs and targets, and moved to a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from adacore.errors import unknown_name
from adacore.probing.batch_layout import INTEGERS, first_tensor, move, split

Collate = Callable[[list[Any]], Any]
BatchFetcher = Callable[[Tensor], Any]

READING_SETTINGS = (
    "collate_fn",
    "num_workers",
    "worker_init_fn",
    "multiprocessing_context",
    "prefetch_factor",
    "timeout",
    "pin_memory",
    "pin_memory_device",
)
"""Settings of ``torch.utils.data.DataLoader`` that say how examples are read, not which ones."""


FIRST = 16
"""Examples in the first batch, on which everything is checked and which is read again at the end: so few that running
them once more costs nothing, so many that augmentation by a coin's toss goes unnoticed in one case of 2^16 only."""


class Batch(NamedTuple):
    """Some examples, as they are read.

    Attributes:
        inputs: What the model takes: a tensor, a tuple of several, or a dict.
        targets: Shape (batch, ...), or None where the data set has none.
        positions: Positions of the examples in the data set, int64 on the CPU, shape (batch,).
    """

    inputs: Any
    targets: Tensor | None
    positions: Tensor

    def required_targets(self) -> Tensor:
        """Return the targets, which ``read(..., targets="required")`` has made sure of."""
        if self.targets is None:
            raise ValueError("the data set has no targets: expected (inputs, targets) or a dict with targets")
        return self.targets


def reading_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep those settings of a ``DataLoader`` that say how examples are read.

    Args:
        settings: Settings by name.

    Returns:
        Those in ``READING_SETTINGS``.

    Example:
        >>> reading_settings({"num_workers": 2, "persistent_workers": True})
        {'num_workers': 2}
    """
    return {name: settings[name] for name in READING_SETTINGS if name in settings}


def check_reading_settings(settings: Mapping[str, Any]) -> None:
    """Check that every setting is one of how examples are read.

    Args:
        settings: Settings of a ``DataLoader`` by name.

    Raises:
        ValueError: If one is not.
        TypeError: If they are no mapping.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"loader={settings!r} is no mapping: pass a dict such as loader={{'num_workers': 2}}")
    for name in settings:
        if name not in READING_SETTINGS:
            raise unknown_name("setting in loader=", str(name), READING_SETTINGS)


def in_order(n: int, batch_size: int, *, first: int | None = None) -> list[Tensor]:
    """Cut the positions 0, 1, ..., n - 1 into batches.

    Args:
        n: Number of examples, at least 1.
        batch_size: Examples in a batch.
        first: Examples in the first batch, if that is to be smaller.

    Returns:
        int64 tensors that are n long in all.

    Example:
        >>> [len(batch) for batch in in_order(10, 4)], [len(batch) for batch in in_order(10, 4, first=2)]
        ([4, 4, 2], [2, 4, 4])
    """
    # A small first batch never exceeds the user's batch size, which may be all that fits.
    start = min(n, batch_size if first is None else min(first, batch_size))
    positions = torch.arange(n)
    rest = torch.split(positions[start:], batch_size) if start < n else ()
    return [positions[:start], *rest]


def read(
    dataset: Dataset[Any],
    batches: Sequence[Tensor],
    *,
    loader: Mapping[str, Any] | None = None,
    device: torch.device | None = None,
    memory_format: torch.memory_format | None = None,
    targets: Literal["required", "optional"] = "required",
) -> Iterator[Batch]:
    """Read batches of a data set, in the order given.

    A data set in memory is indexed a whole batch at a time; any other is read through a ``DataLoader``.

    Args:
        dataset: A map-style data set.
        batches: Positions of the examples of each batch, int64, shape (batch,).
        loader: Settings of a ``DataLoader``: those in ``READING_SETTINGS``.
        device: Where tensors are moved; None to leave them.
        memory_format: Of images, shape (batch, channels, height, width); None to leave it.
        targets: Whether a batch without targets is refused.

    Yields:
        Batches. Where an item has three parts or more and the last is the example's own position, as in
        ``(input, target, index)``, it is left out.

    Raises:
        ValueError: If a batch comes out with more or fewer examples than were asked for.
    """
    indexed = None
    for raw, positions in zip(_raw(dataset, batches, dict(loader or {})), batches, strict=True):
        # Data sets made for per-example bookkeeping return (input, target, index); taken for the target, the index
        # would train a regression on positions.
        if isinstance(raw, tuple | list) and len(raw) > 2:
            matches = len(positions) > 1 and _is_index(raw[-1], original_positions(dataset, positions))
            # The first batch decides for all; by chance a batch of one row may hold its own position as its class.
            indexed = matches if indexed is None else indexed
            raw = raw[:-1] if indexed else raw
        inputs, given = split(raw, targets=targets)
        moved = inputs if device is None else move(inputs, device, memory_format)
        if device is not None and given is not None:
            given = given.to(device, non_blocking=True)
        # Rows are counted by position: an example that collate_fn leaves out would shift all that follow to wrong
        # positions.
        rows = first_tensor(inputs) if given is None else given
        if rows is not None and rows.ndim and len(rows) != len(positions):
            raise ValueError(
                f"a batch of {len(positions)} examples came out with {len(rows)} rows: collate_fn must keep every "
                "example"
            )
        yield Batch(moved, given, positions)


def _raw(dataset: Dataset[Any], batches: Sequence[Tensor], settings: dict[str, Any]) -> Iterator[Any]:
    collate = settings.pop("collate_fn", None)
    fetch = batch_fetcher(dataset) if collate is None else None
    if fetch is not None:
        return map(fetch, batches)
    source, collate = for_data_loader(dataset, collate)
    # A generator of its own: a DataLoader would draw the workers' seed from torch's global stream.
    return iter(
        DataLoader(
            source,
            # A list of batches in place of a sampler: the order is ours, and a user's sampler or shuffle has no say.
            batch_sampler=[batch.tolist() for batch in batches],
            collate_fn=collate,
            generator=torch.Generator().manual_seed(0),
            **settings,
        )
    )


def original_positions(dataset: Dataset[Any], positions: Tensor) -> Tensor:
    """Follow positions in a ``Subset`` to the data set that it is a part of.

    Args:
        dataset: A map-style data set.
        positions: In it, int64.

    Returns:
        Positions in the innermost data set, int64.
    """
    # Exactly Subset: a subclass may map positions in another way.
    while type(dataset) is Subset:
        positions = torch.as_tensor(dataset.indices, dtype=torch.int64)[positions]
        dataset = dataset.dataset
    return positions


def _is_index(item: Any, positions: Tensor) -> bool:
    return isinstance(item, Tensor) and item.dtype in INTEGERS and torch.equal(item.cpu().to(torch.int64), positions)


def batch_fetcher(dataset: Dataset[Any]) -> BatchFetcher | None:
    """Find how to fetch a whole batch of a data set in memory at once.

    A data set says that it can by ``collates = True``: its ``__getitems__(indices)``, indices an int64 tensor or a
    list, then returns a collated batch. A ``TensorDataset``, and a ``Subset`` of either, can as well.

    Args:
        dataset: A map-style data set.

    Returns:
        A function from positions (int64, shape (batch,)) to the batch, or None.
    """
    # Asked of the data set itself; a subclass of TensorDataset may change its items, and is read item by item.
    if getattr(dataset, "collates", False) and hasattr(dataset, "__getitems__"):
        return cast("BatchFetcher", dataset.__getitems__)
    if type(dataset) is TensorDataset:
        return partial(_index_tensors, dataset.tensors)
    if type(dataset) is Subset:
        inner = batch_fetcher(dataset.dataset)
        return None if inner is None else partial(_fetch_of_subset, inner, torch.as_tensor(dataset.indices))
    return None


# Functions of the module and no closures, so that what holds a fetcher can be sent to a spawned process.


def _index_tensors(tensors: tuple[Tensor, ...], positions: Tensor) -> tuple[Tensor, ...]:
    if all(tensor.device.type == "cpu" for tensor in tensors):
        # On the CPU index_select is several times as fast as indexing by a tensor.
        return tuple(tensor.index_select(0, positions) for tensor in tensors)
    return tuple(tensor[positions] for tensor in tensors)


def _fetch_of_subset(inner: BatchFetcher, indices: Tensor, positions: Tensor) -> Any:
    return inner(indices[positions])


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


def already_collated(batch: Any) -> Any:
    """Return a batch as it is: the collate_fn of data sets that collate themselves."""
    return batch


def for_data_loader(dataset: Dataset[Any], collate_fn: Collate | None) -> tuple[Dataset[Any], Collate | None]:
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
    return (dataset, already_collated) if collate_fn is None else (OneByOne(dataset), collate_fn)


def same(a: Any, b: Any) -> bool:
    """Tell whether two nested structures hold equal tensors; nan equals nan, and other values are not looked at."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        # nan marks missing values in many data sets: a reading that repeats them is the same reading. Of integers
        # a != a is false throughout.
        return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b)
