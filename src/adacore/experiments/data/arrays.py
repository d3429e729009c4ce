"""Data sets held in memory, and what loading one gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

Indices = Tensor | Sequence[int]


class ArrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Examples in memory, fetched a batch at a time; bytes become floats in [0, 1] on the batch, not before.

    Args:
        inputs: uint8 (divided by 255 when fetched) or floating point, shape (n, ...).
        targets: Classes, int64, shape (n,).

    Attributes:
        collates: True: ``__getitems__`` returns a collated batch.
        known_targets: The targets, exactly as items carry them.
        targets: The same, int64, on the CPU, shape (n,).

    Raises:
        ValueError: If there is not one target for each input, or none at all.

    Example:
        >>> data = ArrayDataset(torch.full((3, 2), 255, dtype=torch.uint8), torch.tensor([0, 1, 0]))
        >>> data.__getitems__([2, 1])
        (tensor([[1., 1.],
                [1., 1.]]), tensor([0, 1]))
    """

    collates = True

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        if not len(inputs) or targets.shape != (len(inputs),):
            raise ValueError(
                f"inputs of shape {tuple(inputs.shape)} and targets of shape {tuple(targets.shape)}: expected one "
                "target for each input, and at least one"
            )
        # Whether to divide by 255 follows from what came in, once, and not from a look at each batch.
        self._bytes = inputs.dtype == torch.uint8
        self._set(inputs, None, targets.to("cpu", torch.int64))

    def _set(self, store: Tensor, rows: Tensor | None, targets: Tensor) -> None:
        """Refer to ``rows`` of an array that others may share; None for all of it."""
        self._store, self._rows, self.targets = store, rows, targets
        # Whoever draws or counts classes looks them up on the CPU; batches need them beside the inputs.
        self._targets = targets.to(store.device)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> Tensor:
        """All inputs, as given, shape (n, ...); a copy where these examples are a part of a larger array."""
        return self._store if self._rows is None else self._store[self._rows.to(self._store.device)]

    @property
    def store(self) -> Tensor:
        """The array that the examples lie in, which may hold more than these."""
        return self._store

    @property
    def known_targets(self) -> Tensor:
        """The targets, exactly as items carry them."""
        return self.targets

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        # One example at a time, for whoever reads the data set without batches; the result equals the batch's row.
        inputs = self._store[index if self._rows is None else int(self._rows[index])]
        return (inputs.to(torch.float32).div_(255) if self._bytes else inputs), self._targets[index]

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Fetch a batch.

        Args:
            indices: Positions, int64, shape (batch,), or a list.

        Returns:
            Inputs, float, shape (batch, ...), and classes, int64, shape (batch,).
        """
        positions = indices if isinstance(indices, Tensor) else torch.as_tensor(indices, dtype=torch.int64)
        rows, device = (positions if self._rows is None else self._rows[positions]), self._store.device
        # ``index_select`` and not brackets: it makes the copy that ``div_`` then changes in place.
        inputs = self._store.index_select(0, rows.to(device, non_blocking=True))
        if self._bytes:
            inputs = inputs.to(torch.float32).div_(255)
        return inputs, self._targets.index_select(0, positions.to(device, non_blocking=True))

    def take(self, rows: Indices) -> ArrayDataset:
        """View some of the examples as a data set of their own; inputs are not copied.

        Args:
            rows: Positions, int64.

        Returns:
            Those examples in that order.
        """
        # Rows of rows: a part of a part refers to the one array, and copies of it stay few.
        positions = torch.as_tensor(rows, dtype=torch.int64)
        return self._like(self._store, positions if self._rows is None else self._rows[positions], positions)

    def moved(self, store: Tensor) -> ArrayDataset:
        """Refer to a copy of the array, on another device say.

        Args:
            store: A copy of ``self.store``.

        Returns:
            The same examples in it; batches are then made on its device.
        """
        return self._like(store, self._rows, torch.arange(len(self)))

    def _like(self, store: Tensor, rows: Tensor | None, kept: Tensor) -> ArrayDataset:
        # Past the constructor, which would check and convert targets that have been checked already.
        other = ArrayDataset.__new__(ArrayDataset)
        other._bytes = self._bytes
        other._set(store, rows, self.targets[kept])
        return other


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set, split for training.

    Attributes:
        name: Its name.
        train: Training examples, map-style, (inputs, class).
        test: Test examples.
        shape: Shape of one input; empty where inputs are not single tensors.
        classes: Number of classes that the model tells apart.
        class_names: A name for each class.
        validation: Examples held out of the training set, or None.
    """

    name: str
    train: Dataset[Any]
    test: Dataset[Any]
    shape: tuple[int, ...]
    classes: int
    class_names: tuple[str, ...]
    validation: Dataset[Any] | None = None
