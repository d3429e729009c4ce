"""Running a classifier over a data set: does it fit the data, and how good is it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from adacore.experiments.data import Splits
from adacore.probing.batches import call, length_of
from adacore.probing.preserving import preserving_state
from adacore.probing.reading import in_order, read


def check_fit(model: nn.Module, splits: Splits, name: str) -> None:
    """Try a model on two examples, leaving it as it was.

    Args:
        model: On the CPU.
        splits: The data set.
        name: The model's, for messages.

    Raises:
        ValueError: If it cannot take them, or gives no logits for each class.
    """
    n = length_of(splits.train)
    (batch,) = read(splits.train, [torch.arange(min(2, n))])
    inputs, targets = batch.inputs, batch.required_targets()
    with preserving_state(model):
        try:
            logits = call(model, inputs)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(
                f"model {name} cannot take inputs of shape {splits.shape} of {splits.name}: {words}"
            ) from error
    if logits.shape[:1] != targets.shape[:1] or logits.ndim != 2 or logits.shape[1] < splits.classes:
        raise ValueError(
            f"model {name} gives logits of shape {tuple(logits.shape)} for {len(targets)} examples of {splits.name}, "
            f"which has {splits.classes} classes: expected ({len(targets)}, {splits.classes})"
        )


def evaluate(
    model: nn.Module,
    dataset: Dataset[Any],
    device: torch.device,
    *,
    memory_format: torch.memory_format | None = None,
    num_workers: int = 0,
) -> tuple[float, float]:
    """Measure mean cross-entropy and accuracy.

    Args:
        model: In eval mode.
        dataset: Map-style, (inputs, class).
        device: Where the model is.
        memory_format: Of images.
        num_workers: Processes that read.

    Returns:
        Loss and accuracy in [0, 1].
    """
    n = length_of(dataset)
    losses, correct = list[Tensor](), list[Tensor]()
    loader = {"num_workers": num_workers}
    for batch in read(dataset, in_order(n, 512), loader=loader, device=device, memory_format=memory_format):
        logits, targets = call(model, batch.inputs), batch.required_targets()
        losses.append(functional.cross_entropy(logits.float(), targets, reduction="sum").double())
        correct.append((logits.argmax(1) == targets).sum())
    return float(torch.stack(losses).sum()) / n, int(torch.stack(correct).sum()) / n
