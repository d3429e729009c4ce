"""Models x losses x data sets x devices, shared by the tests of probes, selectors and loaders.

A model is kept in parts, so that an oracle needs no hooks: ``link(tail(head(body(inputs))))``, the head the last linear
layer, the tail's outputs the logits, the link a log-softmax or nothing. A data set holds the same examples in one of
the shapes that data sets have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

N, PIXELS, CLASSES = 13, 6, 4

DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]
"""For ``@pytest.mark.parametrize("device", DEVICES)``."""


class Net(nn.Module):
    """A model in parts."""

    def __init__(self, body: nn.Module, head: nn.Linear, tail: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.head, self.tail = body, head, nn.Identity() if tail is None else tail
        self.link: nn.Module = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.link(self.tail(self.head(self.body(pixels))))


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _linear(outputs: int) -> Net:
    return Net(nn.Flatten(), nn.Linear(PIXELS * PIXELS, outputs))


def _mlp(outputs: int) -> Net:
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(PIXELS * PIXELS, 7), nn.BatchNorm1d(7), nn.ReLU(inplace=True), nn.Dropout(0.5)
    )
    return Net(body, nn.Linear(7, outputs))


def _convolutions(outputs: int) -> Net:
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        Residual(nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    return Net(body, nn.Linear(16, outputs, bias=False))


def _temperature(outputs: int) -> Net:
    class Halved(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z / 2

    return Net(nn.Sequential(nn.Flatten(), nn.Linear(PIXELS * PIXELS, 5), nn.Tanh()), nn.Linear(5, outputs), Halved())


MODELS: dict[str, Callable[[int], Net]] = {
    "linear": _linear,
    "mlp": _mlp,
    "convolutions": _convolutions,
    "temperature": _temperature,
}
"""From the number of outputs to a model."""


def make_model(name: str, outputs: int, *, log_probabilities: bool = False, seed: int = 0) -> Net:
    """Make a model whose BatchNorm layers have seen something, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](outputs)
        model(torch.randn(32, 1, PIXELS, PIXELS))
    if log_probabilities:
        model.link = nn.LogSoftmax(1)
    return model


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss with no closed form here (Lin et al., 2017)."""
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return (1 - (-each).exp()) ** 2 * each


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    """A function that gives one loss for each output."""
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


@dataclass(frozen=True)
class LossCase:
    """A loss with targets that fit it.

    Attributes:
        criterion: As a user passes it.
        targets: ``"classes"``, ``"shares"`` (rows that sum to one), ``"bits"`` or ``"numbers"``.
        outputs: Of the model.
        log_probabilities: Whether it takes those: the model then ends in a log-softmax.
    """

    criterion: Any
    targets: str
    outputs: int = CLASSES
    log_probabilities: bool = False


LOSSES: dict[str, LossCase] = {
    "cross-entropy": LossCase(None, "classes"),
    "smoothed": LossCase(nn.CrossEntropyLoss(label_smoothing=0.1, weight=torch.tensor([0.5, 1, 2, 0.1])), "classes"),
    "shares": LossCase(nn.CrossEntropyLoss(), "shares"),
    "focal": LossCase(focal, "classes"),
    "nll": LossCase(nn.NLLLoss(weight=torch.tensor([0.5, 1, 2, 0.1])), "classes", log_probabilities=True),
    "divergence": LossCase(nn.KLDivLoss(reduction="batchmean"), "shares", log_probabilities=True),
    "bits": LossCase(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2, 3, 4])), "bits"),
    "bits by a function": LossCase(binary, "bits"),
    "one bit": LossCase(nn.BCEWithLogitsLoss(), "bits", 1),
    "squares": LossCase(nn.MSELoss(), "numbers", 3),
    "summed squares": LossCase(nn.MSELoss(reduction="sum"), "numbers", 3),
    "huber": LossCase(nn.HuberLoss(delta=0.7), "numbers", 3),
}


def examples(kind: str, outputs: int, *, n: int = N, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw inputs of shape (n, 1, 6, 6), and targets of a kind."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 1, PIXELS, PIXELS, generator=generator)
    drawn = torch.randn(n, outputs, generator=generator)
    return inputs, {
        "classes": drawn.argmax(1) if outputs > 1 else (drawn[:, 0] > 0).long(),
        "shares": drawn.softmax(1),
        "bits": (drawn > 0).float(),
        "numbers": drawn,
    }[kind]


class Tuples(Dataset):
    """Examples one by one."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index], self.targets[index]


class Dicts(Tuples):
    """Examples as dicts, the model called by keyword."""

    def __getitem__(self, index: int) -> Any:
        return {"pixels": self.inputs[index], "label": self.targets[index]}


class Indexed(Tuples):
    """Examples that carry their own position."""

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index], self.targets[index], index


class Collating(Tuples):
    """Examples in memory, a batch at a time."""

    collates = True

    def __getitems__(self, indices: Any) -> Any:
        indices = torch.as_tensor(indices)
        return self.inputs[indices], self.targets[indices]


def _subset(inputs: Tensor, targets: Tensor) -> Dataset:
    order = np.random.default_rng(0).permutation(len(inputs))
    back = np.argsort(order)
    return Subset(TensorDataset(inputs[order], targets[order]), back.tolist())


def _concatenated(inputs: Tensor, targets: Tensor) -> Dataset:
    return ConcatDataset([TensorDataset(inputs[:5], targets[:5]), Tuples(inputs[5:], targets[5:])])


DATASETS: dict[str, Callable[[Tensor, Tensor], Dataset]] = {
    "tensors": TensorDataset,
    "tuples": Tuples,
    "dicts": Dicts,
    "indexed": Indexed,
    "collating": Collating,
    "subset": _subset,
    "concatenated": _concatenated,
}
"""From inputs and targets to a data set of them, in the same order."""
