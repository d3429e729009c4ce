"""Batches of any data set: what in them is input and what is target, and how a model takes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

Forward = Callable[[nn.Module, Any], Any]

TARGET_KEYS = ("labels", "label", "targets", "target")
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def length_of(dataset: Dataset[Any], name: str = "dataset") -> int:
    """Return the number of examples.

    Args:
        dataset: A map-style data set.
        name: What the user calls it, for the message.

    Returns:
        At least 1.

    Raises:
        TypeError: If it is no map-style data set.
        ValueError: If it is empty.
    """
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"{name} is a {type(dataset).__name__}: expected a map-style data set, with __len__ and __getitem__, since "
            "examples are known by their positions; adacore.StreamLoader selects from pools of a stream"
        )
    n = len(dataset)
    if n < 1:
        raise ValueError(f"{name} is empty: pass at least one example")
    return n


def split(batch: Any, *, targets: Literal["required", "optional"] = "required") -> tuple[Any, Tensor | None]:
    """Split a batch into what the model takes and the targets.

    Args:
        batch: A tuple or list whose last item is the targets, or a mapping with the key "labels", "label", "targets"
            or "target". Where targets are optional, also inputs alone: a tensor, a tuple of one, a mapping without
            such a key.
        targets: Whether a batch without targets is refused.

    Returns:
        Inputs (one item, a tuple of several, or a dict without the targets), and targets.

    Raises:
        TypeError: If the batch is neither, or the targets are no tensor.
        ValueError: If there are no targets.

    Example:
        >>> split({"pixels": torch.zeros(2, 3), "label": torch.tensor([0, 1])})[1]
        tensor([0, 1])
    """
    found: Any
    if isinstance(batch, Mapping):
        key = next((key for key in TARGET_KEYS if key in batch), None)
        if key is None and targets == "required":
            raise ValueError(
                f"the batch has keys {sorted(map(str, batch))}: targets must be under one of {TARGET_KEYS}"
            )
        # "weights" are those that a CoresetLoader put there: a model that takes any keyword would be run with them.
        inputs: Any = {name: value for name, value in batch.items() if name != key and name != "weights"}
        found = None if key is None else batch[key]
    elif isinstance(batch, tuple | list):
        if len(batch) < 2 and targets == "required":
            raise ValueError(
                f"the batch has {len(batch)} items: expected (inputs, targets); pass a data set with targets"
            )
        inputs = batch[0] if len(batch) <= 2 else tuple(batch[:-1])
        found = batch[-1] if len(batch) > 1 else None
    elif targets == "optional":
        return batch, None
    else:
        raise TypeError(f"a batch is a {type(batch).__name__}: expected (inputs, targets) or a dict")
    if targets == "optional" and not isinstance(found, Tensor):
        return inputs, None
    if not isinstance(found, Tensor):
        raise TypeError(f"targets are a {type(found).__name__}: expected a tensor; pass a collate_fn that makes one")
    return inputs, found


def first_tensor(nested: Any) -> Tensor | None:
    """Return the first tensor in a nested structure of tuples, lists and mappings, or None if there is none."""
    if isinstance(nested, Tensor):
        return nested
    parts = nested.values() if isinstance(nested, Mapping) else nested if isinstance(nested, tuple | list) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)


def attach(batch: Any, weights: Tensor, key: str = "weights") -> Any:
    """Put the weights beside a batch, or beside an example: last in a tuple, under a key in a mapping.

    Args:
        batch: A tuple, list or mapping.
        weights: float32, shape (batch,), or a scalar for an example.
        key: Their name in a mapping.

    Returns:
        A tuple of one more item, or a copy of the mapping with one more key.

    Raises:
        TypeError: If the batch is neither.
        ValueError: If the mapping has that key already.

    Example:
        >>> inputs, targets, weights = attach([torch.zeros(2), torch.zeros(2)], torch.ones(2))
    """
    if isinstance(batch, tuple | list):
        return (*batch, weights)
    if isinstance(batch, Mapping):
        if key in batch:
            raise ValueError(f"the data set has a key {key!r} already: pass another weight_key=")
        # A copy of the same class: Hugging Face's BatchEncoding has attributes that a plain dict would lose, and the
        # batch itself may be kept by the data set.
        weighted = copy.copy(batch)
        cast("dict[str, Any]", weighted)[key] = weights
        return weighted
    raise TypeError(
        f"a batch is a {type(batch).__name__}: expected a tuple, a list or a dict to put weights beside; let the data "
        "set return (inputs, targets)"
    )


def check_rows(batch: Any, rows: int) -> None:
    """Check that a batch holds as many examples as there are weights for it.

    Args:
        batch: A tensor, or a nested structure of them, whose first tensor is looked at.
        rows: Expected number of examples.

    Raises:
        ValueError: If it holds another number.
    """
    found = first_tensor(batch)
    if found is not None and found.ndim and len(found) != rows:
        raise ValueError(
            f"a batch of {rows} examples came out with {len(found)} rows: collate_fn must keep every example, since "
            "each has a weight"
        )


def move(inputs: Any, device: torch.device, memory_format: torch.memory_format | None = None) -> Any:
    """Move every tensor in a nested structure to a device, images into the memory format."""
    if isinstance(inputs, Tensor):
        # Only images, of shape (batch, channels, height, width), have this layout; any other tensor would be refused.
        if memory_format is not None and inputs.ndim == 4:
            return inputs.to(device, non_blocking=True, memory_format=memory_format)
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {name: move(value, device, memory_format) for name, value in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        # A named tuple takes its fields one by one, a plain tuple takes them together.
        return type(inputs)(*(move(value, device, memory_format) for value in inputs))
    if isinstance(inputs, tuple | list):
        return type(inputs)(move(value, device, memory_format) for value in inputs)
    return inputs


def run(model: nn.Module, inputs: Any, forward: Forward | None = None) -> Any:
    """Run the model on the inputs of a batch, and return whatever it gives.

    Args:
        model: ``model(inputs)``, ``model(*inputs)`` for a tuple, ``model(**inputs)`` for a mapping.
        inputs: As ``split`` gives them.
        forward: Called as ``forward(model, inputs)`` instead.

    Returns:
        The model's output.
    """
    if forward is not None:
        return forward(model, inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def call(model: nn.Module, inputs: Any, forward: Forward | None = None) -> Tensor:
    """Run the model on the inputs of a batch, and return the logits.

    Args:
        model: As ``run`` takes it.
        inputs: As ``split`` gives them.
        forward: Called as ``forward(model, inputs)`` instead.

    Returns:
        The logits; of an output that has ``logits``, those.

    Raises:
        TypeError: If no tensor of logits comes out.
    """
    output = run(model, inputs, forward)
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model returned a {type(output).__name__}: expected a tensor of logits, or an output with .logits; "
            "pass forward=, a function (model, inputs) -> logits"
        )
    return output


def as_rows(logits: Tensor) -> Tensor:
    """Give logits of one output, shape (batch,), the shape (batch, 1); leave others as they are."""
    return logits.unsqueeze(1) if logits.ndim == 1 else logits
