"""Whether the targets of a batch fit the model's outputs and the criterion."""

from __future__ import annotations

import torch
from torch import Tensor

from adacore.probing.losses import Criterion, CrossEntropy, Differentiated, SquaredError


def check_targets(criterion: Criterion, outputs: Tensor, targets: Tensor, first: int) -> None:
    """Check that the targets of a batch fit the model's outputs and the criterion.

    Args:
        criterion: The loss of each example.
        outputs: Shape (batch, outputs).
        targets: As the data set gives them.
        first: Position of the batch's first example, for the message.

    Raises:
        ValueError: If shapes, dtypes or the range of the labels do not fit.
    """
    shape, wanted = tuple(targets.shape), tuple(outputs.shape)
    if not shape or shape[0] != wanted[0]:
        raise ValueError(f"the model gives {wanted[0]} rows of logits for targets of shape {shape}: expected one a row")
    if isinstance(criterion, CrossEntropy):
        _check_classes(criterion, outputs, targets, first)
        return
    matched = isinstance(criterion, SquaredError) or (isinstance(criterion, Differentiated) and criterion.elementwise)
    if matched and targets.numel() != outputs.numel():
        raise ValueError(f"targets have shape {shape}, the model's outputs {wanted}: they must match one to one")


def _check_classes(criterion: CrossEntropy, outputs: Tensor, targets: Tensor, first: int) -> None:
    shape, classes = tuple(targets.shape), outputs.shape[1]
    if classes < 2:
        raise ValueError(
            "the model gives one logit: cross-entropy needs two or more; "
            "pass criterion=torch.nn.BCEWithLogitsLoss() or torch.nn.MSELoss()"
        )
    if criterion.module.weight is not None and len(criterion.module.weight) != classes:
        raise ValueError(f"the criterion has {len(criterion.module.weight)} class weights, the model {classes} logits")
    if targets.is_floating_point():
        if shape != tuple(outputs.shape):
            raise ValueError(
                f"targets are {targets.dtype} of shape {shape}: cross-entropy needs int64 classes of shape (n,) or "
                f"probabilities of shape (n, {classes}); for regression pass criterion=torch.nn.MSELoss()"
            )
        return
    if targets.dtype == torch.bool or len(shape) != 1:
        raise ValueError(f"targets are {targets.dtype} of shape {shape}: cross-entropy needs int64 of shape (n,)")
    wrong = ((targets < 0) | (targets >= classes)) & (targets != criterion.module.ignore_index)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"example {first + row} has label {int(targets[row])}, the model gives {classes} logits: labels must lie "
            f"in [0, {classes}); change the model's last layer or the labels"
        )
