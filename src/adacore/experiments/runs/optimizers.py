"""Optimizers by name, and learning rates as pure functions of the epoch.

A schedule is a function of the share of the training that is over, not of the epoch's number: a run of 50 epochs warms
up for 5 and lowers the learning rate after 25 and 38, where one of 200 warms up for 20 and lowers it after 100 and 150,
as the paper does. A shorter run is therefore a training of the same course, and not the start of a longer one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from adacore.errors import unknown_name


@dataclass(frozen=True)
class Optimization:
    """How to make steps.

    Attributes:
        optimizer: A name in ``OPTIMIZERS``.
        momentum: beta of SGD.
        damped_momentum: Whether SGD's momentum is damped as in the paper, v = beta v + (1 - beta) g, instead of
            v = beta v + g.
        weight_decay: Coefficient of the squared norm's gradient (decoupled in AdamW).
    """

    optimizer: str = "sgd"
    momentum: float = 0.9
    damped_momentum: bool = False
    weight_decay: float = 1e-4


def _sgd(parameters: list[nn.Parameter], settings: Optimization, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=settings.momentum,
        # PyTorch's v = beta v + g has steps 1 / (1 - beta) times as long as the paper's v = beta v + (1 - beta) g.
        dampening=settings.momentum if settings.damped_momentum else 0.0,
        weight_decay=settings.weight_decay,
        fused=_fusible(parameters),
    )


def _adamw(parameters: list[nn.Parameter], settings: Optimization, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay, fused=_fusible(parameters))


def _adahessian(parameters: list[nn.Parameter], settings: Optimization, rate: float) -> torch.optim.Optimizer:
    # Here, since it is an extra that only this optimizer needs, and takes seconds to import.
    from pytorch_optimizer import AdaHessian

    optimizer: torch.optim.Optimizer = AdaHessian(parameters, lr=rate, weight_decay=settings.weight_decay)
    return optimizer


def _fusible(parameters: Iterable[nn.Parameter]) -> bool:
    # One kernel for all parameters in place of several for each: a small model's step is mostly launches. Other devices
    # and whole-number parameters have no fused kernel.
    return all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in parameters)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Optimization, float], torch.optim.Optimizer]] = {
    "adahessian": _adahessian,
    "adamw": _adamw,
    "sgd": _sgd,
}
"""What makes an optimizer of parameters, settings and learning rate, by name."""

LEARNING_RATES = {"adahessian": 0.1, "adamw": 1e-3, "sgd": 0.1}
"""The learning rate where none is given: the paper's for SGD and AdaHessian."""


def make_optimizer(model: nn.Module, settings: Optimization, rate: float) -> torch.optim.Optimizer:
    """Make an optimizer of all parameters that are trained.

    Args:
        model: On its device already.
        settings: Which optimizer, and how.
        rate: Learning rate.

    Returns:
        The optimizer.

    Raises:
        ValueError: If the name is unknown, or the model has nothing to train.

    Example:
        >>> make_optimizer(nn.Linear(2, 1), Optimization(damped_momentum=True), 0.1).defaults["dampening"]
        0.9
    """
    if settings.optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", settings.optimizer, OPTIMIZERS)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # torch's own message is of an empty parameter list, which says nothing of frozen layers.
    if not parameters:
        raise ValueError("the model has no parameter that requires a gradient: there is nothing to train")
    return OPTIMIZERS[settings.optimizer](parameters, settings, rate)


def needs_graph(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether gradients must be differentiable, ``backward(create_graph=True)``, as AdaHessian needs."""
    # By name: importing the class would load a library that no other optimizer needs.
    return type(optimizer).__name__ == "AdaHessian"


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group a learning rate."""
    group: dict[str, Any]
    for group in optimizer.param_groups:
        group["lr"] = rate


class Shape(NamedTuple):
    """Course of a learning rate.

    Attributes:
        factor: Factor of the learning rate, given the share of the epochs that are over, in [0, 1).
        warm_up: Share of the epochs in which the learning rate rises linearly at first (20 of 200 in the paper).
    """

    factor: Callable[[float], float]
    warm_up: float = 0.1


SCHEDULES: dict[str, Shape] = {
    "constant": Shape(lambda progress: 1.0, warm_up=0.0),
    "cosine": Shape(lambda progress: 0.5 * (1 + math.cos(math.pi * progress))),
    "paper": Shape(lambda progress: 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01),
}
"""Courses by name; the paper's falls to a tenth at half and at three quarters (epochs 100 and 150 of 200)."""


def learning_rate(schedule: str, base: float, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch.

    Args:
        schedule: A name in ``SCHEDULES``.
        base: The highest learning rate.
        epoch: From 0.
        epochs: Of the whole training.

    Returns:
        The learning rate.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> [round(learning_rate("paper", 0.1, epoch, 200), 4) for epoch in (0, 19, 99, 100, 150)]
        [0.005, 0.1, 0.1, 0.01, 0.001]
    """
    if schedule not in SCHEDULES:
        raise unknown_name("learning-rate schedule", schedule, SCHEDULES)
    course = SCHEDULES[schedule]
    rising = round(course.warm_up * epochs)
    # The first epoch trains already: its rate is base / rising, not 0.
    return base * ((epoch + 1) / rising if epoch < rising else course.factor(epoch / epochs))
