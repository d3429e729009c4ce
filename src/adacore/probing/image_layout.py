"""Whether a convolution network runs on images with channels last, which is faster on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adacore.probing.batch_layout import move

FEWEST_CONVOLUTIONS = 4
"""Below, there is nothing to gain: LeNet's two convolutions take 1.13 of the time with channels last, three with group
norm 1.18, two with instance norm 1.04; with four and more 0.59 to 0.94, and a vision transformer's only one 1.00."""


def image_layout(model: nn.Module, run: Callable[[Any], Tensor | None], inputs: Any) -> torch.memory_format | None:
    """Find the memory layout of images in which a model is to be run.

    On the CPU oneDNN reorders the input and the output of every convolution, unless channels come last: then a pass
    through ResNet-20 takes 0.74 of the CPU time (float32, images of 32 x 32, one thread). Values change by rounding
    alone. The layout is tried on a few examples first: ``x.view(len(x), -1)`` refuses it.

    Args:
        model: In eval mode, without wrappers.
        run: Runs the model on inputs, and returns a tensor that depends on all it computes.
        inputs: Of a few examples, on the model's device.

    Returns:
        ``torch.channels_last``, or None to leave images as they are.
    """
    device = next((parameter.device for parameter in model.parameters()), None)
    # On a GPU the gain is in half precision alone, where the model is to be in that layout too: that is the user's.
    if device is None or device.type != "cpu":
        return None
    if sum(isinstance(module, nn.Conv2d) for module in model.modules()) < FEWEST_CONVOLUTIONS:
        return None
    with torch.no_grad():
        try:
            as_given, channels_last = run(inputs), run(move(inputs, device, torch.channels_last))
        except Exception:  # what a model raises that needs its images as they are; without them, its own error comes
            return None
    if as_given is None or channels_last is None or as_given.shape != channels_last.shape:
        return None
    # Sums are added up in another order: float32 keeps 7 digits of them, bfloat16 (under autocast) 2 or 3, and some are
    # lost from layer to layer. A model that draws random numbers in eval mode differs by more, and is left as it is.
    tolerance = 1e-3 if as_given.dtype in {torch.float32, torch.float64} else 0.05
    difference = (as_given.float() - channels_last.float()).abs().max()
    agree = difference <= tolerance * as_given.float().abs().max()  # False where one is nan
    return torch.channels_last if agree else None
