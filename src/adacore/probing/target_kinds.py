"""What a loss takes its targets for: classes, zeros and ones, or numbers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Hashable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.probing.losses import MODULES, LossFunction
from adacore.probing.model_state import preserving_random_streams

TargetKind = Literal["classes", "binary", "numbers"]

_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.SoftMarginLoss)
_NUMBERS = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.PoissonNLLLoss,
    nn.GaussianNLLLoss,
    nn.KLDivLoss,
    nn.HingeEmbeddingLoss,
)

_FUNCTIONS = {**MODULES, functional.gaussian_nll_loss: nn.GaussianNLLLoss}
"""Of the last the module takes other keywords, so that it can't stand for the function where losses are computed."""

_OUTPUTS = (0.3, 0.6)
"""Outputs, within (0, 1), that an unknown loss is tried on: they are logits, rates and probabilities alike."""


def target_kind(criterion: LossFunction | None) -> TargetKind:
    """Tell what a loss takes its targets for; the same for a module, a partial of a function, a lambda or an object.

    torch's own losses are known by name. Any other is tried on two made-up examples. One that takes fractions for
    targets, and tells them from whole numbers, is a loss of numbers. Of these a loss that is affine in its targets,
    ``(l(0) + l(1)) / 2 = l(1/2)``, is binary cross-entropy or the like. All others take classes.

    Args:
        criterion: The loss; None for cross-entropy.

    Returns:
        ``"classes"``: whole numbers that name them. ``"binary"``: zeros and ones, or -1 and 1. ``"numbers"``: a
        regression.

    Example:
        >>> target_kind(nn.HuberLoss()), target_kind(lambda z, y: (z - y) ** 2), target_kind(None)
        ('numbers', 'numbers', 'classes')
    """
    if criterion is None:
        return "classes"
    function: Any = criterion.func if isinstance(criterion, functools.partial) else criterion
    # A function of torch's is known by the module that does the same. Objects need not be hashable.
    kind: type = _FUNCTIONS.get(function, type(function)) if isinstance(function, Hashable) else type(function)
    for name, kinds in (("classes", _CLASSES), ("binary", _BINARY), ("numbers", _NUMBERS)):
        if issubclass(kind, kinds):
            return name  # type: ignore[return-value]
    return _by_trying(criterion)


def _by_trying(criterion: LossFunction) -> TargetKind:
    try:
        tried = copy.deepcopy(criterion)  # an object may count its calls, or average over them
    except Exception:  # whatever a user's object holds; nothing is known of it then
        return "classes"
    with preserving_random_streams(), torch.no_grad():
        # A loss of one output is written for shape (batch,) or (batch, 1); which of them is not known here.
        for shape in ((2,), (2, 1)):
            outputs = torch.tensor(_OUTPUTS).reshape(shape)
            zeros, halves, ones = (_losses(tried, outputs, torch.full(shape, y)) for y in (0.0, 0.5, 1.0))
            if zeros is None or halves is None or ones is None:
                continue
            # What rounds its targets, as y.long() does, can't tell 1/2 from 0: it takes classes.
            if not torch.equal(zeros, halves):
                return "binary" if torch.allclose(zeros + ones, 2 * halves, atol=1e-6) else "numbers"
    return "classes"


def _losses(criterion: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Return the losses, or None where the criterion takes no such targets."""
    try:
        losses: Any = criterion(outputs, targets)
    except Exception:  # whatever a user's code raises on targets that it was not written for
        return None
    # One loss for each example: cross-entropy takes two outputs in a row for one example of two classes.
    fits = isinstance(losses, Tensor) and losses.numel() == len(outputs) and bool(losses.isfinite().all())
    return losses if fits else None
