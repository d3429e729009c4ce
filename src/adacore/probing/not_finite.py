"""Errors for nan and infinity: they name the example, and say whether its input, the model or the loss is at fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from adacore.probing.reading import Batch


def at_least_float32(tensor: Tensor) -> Tensor:
    """Give a tensor at least single precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def check_logits(logits: Tensor, batch: Batch, start: int) -> None:
    """Check that the outputs of a model are numbers; minus infinity may mask a class.

    Args:
        logits: Shape (batch, outputs).
        batch: What the model was run on.
        start: Position of the first example.

    Raises:
        ValueError: If an output is nan or infinite. It names the first such example; if its input is not finite, that;
            and if no example of the batch came out right, that the training has diverged.
    """
    if logits.sum().isfinite():  # one pass; only what fails it, or overflows, is looked at closely
        return
    bad = (logits.isnan() | logits.isposinf()).flatten(1).any(1)
    # Minus infinity masks a class; an example whose every class is masked has no probabilities.
    bad |= logits.isneginf().flatten(1).all(1)
    if not bad.any():
        return
    row = int(bad.nonzero()[0, 0])
    value = float(logits[row].flatten()[~logits[row].flatten().isfinite()][0])
    if _not_finite(batch.inputs, row, len(logits)):
        raise ValueError(
            f"the logits of example {start + row} hold {value}, and so does its input hold nan or infinity: mend that "
            "example, or leave it out"
        )
    # One example that fails is its own fault; where all fail the weights are at fault.
    if bad.all() and len(bad) > 1:
        raise ValueError(
            f"the logits of example {start + row}, and of every example after it, hold {value}: the training has "
            "diverged; lower the learning rate, and go back to a checkpoint from before"
        )
    raise ValueError(
        f"the logits of example {start + row} hold {value}, though its input is finite and others come out right: "
        "look at that example, and at the model in eval mode"
    )


def _not_finite(inputs: Any, row: int, rows: int) -> bool:
    """Tell whether a row of any tensor in a nested structure holds nan or infinity."""
    if isinstance(inputs, Tensor):
        fits = inputs.ndim > 0 and len(inputs) == rows and inputs.is_floating_point()
        return fits and not bool(inputs[row].isfinite().all())
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple | list) else ()
    return any(_not_finite(part, row, rows) for part in parts)


def check_finite(name: str, values: Tensor, start: int) -> None:
    """Check that derivatives of finite logits are finite.

    Args:
        name: What they are, for the message.
        values: Shape (batch, d).
        start: Position of the first example.

    Raises:
        ValueError: If one is nan or infinite.
    """
    # A sum is finite only if its terms are; where finite terms overflow together, the closer look finds nothing.
    if values.sum().isfinite():
        return
    bad = ~values.isfinite()
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"the {name} of example {start + row} is {float(values[row, column])}, though the model's outputs are "
            "finite: the criterion has no derivative there (a root or a logarithm at 0?); mend the criterion, or look "
            "at that example's target"
        )
