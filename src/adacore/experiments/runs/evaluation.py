"""Running a classifier over a data set: does it fit the data, and how good is it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from adacore.experiments.data import ArrayDataset, Splits
from adacore.probing.batch_layout import call, length_of
from adacore.probing.model_state import preserving_state
from adacore.probing.reading import batch_fetcher, in_order, read


def check_fit(model: nn.Module, splits: Splits, name: str) -> None:
    """Try a model on two examples, leaving it as it was.

    Args:
        model: On the CPU.
        splits: The data set.
        name: The model's, for messages.

    Raises:
        ValueError: If it cannot take them, or gives no logits for each class, or an input in memory is not finite.
    """
    for part, dataset in (("training", splits.train), ("test", splits.test)):
        # In memory this takes a moment; a data set on disk is looked through only once something has gone wrong.
        broken = nonfinite_example(dataset) if batch_fetcher(dataset) is not None else None
        if broken is not None:
            raise ValueError(
                f"{part} example {broken} of {splits.name} holds nan or infinite inputs: mend or leave out that example"
            )
    # Two examples: with one, a squeeze of the batch dimension would go unnoticed.
    n = length_of(splits.train)
    (batch,) = read(splits.train, [torch.arange(min(2, n))])
    inputs, targets = batch.inputs, batch.required_targets()
    with preserving_state(model):
        try:
            logits = call(model, inputs)
        # What torch raises for shapes that don't fit: the message must name the model and the data.
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
        # float32 under bfloat16 autocast: eight bits of precision would show in a mean over thousands of losses. A sum
        # and not a mean: the last batch is shorter.
        losses.append(functional.cross_entropy(logits.float(), targets, reduction="sum"))
        correct.append((logits.argmax(1) == targets).sum())
    # What is measured stays on the device until here, so that no batch waits; not every device has float64.
    return float(torch.stack(losses).cpu().double().sum()) / n, int(torch.stack(correct).sum()) / n


def nonfinite_example(dataset: Dataset[Any]) -> int | None:
    """Find an example whose inputs hold nan or infinity.

    Args:
        dataset: Map-style, (inputs, class).

    Returns:
        The position of the first one, or None if all are finite.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> nonfinite_example(TensorDataset(torch.tensor([[1.0], [float("nan")]]), torch.zeros(2)))
        1
    """
    if isinstance(dataset, ArrayDataset) and not dataset.store.is_floating_point():
        return None  # bytes are finite
    for batch in read(dataset, in_order(length_of(dataset), 512), targets="optional"):
        for tensor in _tensors(batch.inputs):
            # A sum is finite only if all terms are: one pass, and only what fails it is looked at closely.
            if tensor.is_floating_point() and not tensor.sum().isfinite():
                broken = (~tensor.isfinite()).reshape(len(tensor), -1).any(1).nonzero()
                if len(broken):
                    return int(batch.positions[int(broken[0])])
    return None


def _tensors(inputs: Any) -> Iterator[Tensor]:
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, Mapping | tuple | list):
        for part in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from _tensors(part)
