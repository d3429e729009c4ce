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
        self.inputs, self.targets = inputs, targets.to(torch.int64)
        self._bytes = inputs.dtype == torch.uint8

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def known_targets(self) -> Tensor:
        """The targets, exactly as items carry them."""
        return self.targets

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs = self.inputs[index]
        return (inputs.to(torch.float32).div_(255) if self._bytes else inputs), self.targets[index]

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Fetch a batch.

        Args:
            indices: Positions, int64, shape (batch,), or a list.

        Returns:
            Inputs, float, shape (batch, ...), and classes, int64, shape (batch,).
        """
        positions = indices if isinstance(indices, Tensor) else torch.as_tensor(indices, dtype=torch.int64)
        inputs = self.inputs.index_select(0, positions)
        if self._bytes:
            inputs = inputs.to(torch.float32).div_(255)
        return inputs, self.targets.index_select(0, positions)

    def take(self, rows: Indices) -> ArrayDataset:
        """Copy some of the examples into a data set of their own.

        Args:
            rows: Positions, int64.

        Returns:
            Those examples in that order.
        """
        positions = torch.as_tensor(rows, dtype=torch.int64)
        return ArrayDataset(self.inputs[positions], self.targets[positions])


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
