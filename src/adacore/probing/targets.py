"""Whether the targets of a batch fit the model's outputs and the criterion; and targets that the model predicts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adacore.probing.batch_layout import INTEGERS
from adacore.probing.losses import BinaryCrossEntropy, Criterion, CrossEntropy, Differentiated, SquaredError


def check_targets(criterion: Criterion, outputs: Tensor, targets: Tensor, first: int, inputs: Any = None) -> None:
    """Check that the targets of a batch fit the model's outputs and the criterion.

    Args:
        criterion: The loss of each example.
        outputs: Shape (batch, outputs).
        targets: As the data set gives them.
        first: Position of the batch's first example, for the message.
        inputs: What the model was run on.

    Raises:
        ValueError: If shapes, dtypes or the range of the labels do not fit.
    """
    shape, wanted = tuple(targets.shape), tuple(outputs.shape)
    if not shape or shape[0] != wanted[0]:
        raise ValueError(f"the model gives {wanted[0]} rows of logits for targets of shape {shape}: expected one a row")
    if isinstance(criterion, CrossEntropy):
        _check_classes(criterion.module.weight, criterion.module.ignore_index, outputs, targets, first)
        return
    # NLLLoss picks an entry by class like cross-entropy: a label out of range would end in a CUDA assert, which ends
    # the process.
    if isinstance(criterion, Differentiated) and isinstance(criterion.function, nn.NLLLoss):
        _check_classes(criterion.function.weight, criterion.function.ignore_index, outputs, targets, first)
        return
    matched = isinstance(criterion, SquaredError | BinaryCrossEntropy)
    if not (matched or (isinstance(criterion, Differentiated) and criterion.elementwise)):
        return
    # Counted, not compared by shape: targets of shape (n,) fit outputs of shape (n, 1), and are reshaped to them.
    if targets.numel() != outputs.numel():
        raise ValueError(f"targets have shape {shape}, the model's outputs {wanted}: they must match one to one")
    if isinstance(inputs, tuple) and targets.dtype in INTEGERS:
        _check_not_an_index(inputs[-1], outputs)


def _check_not_an_index(last_input: Any, outputs: Tensor) -> None:
    if isinstance(last_input, Tensor) and last_input.is_floating_point() and last_input.numel() == outputs.numel():
        raise ValueError(
            "an example has three parts, the last a whole number and the one before it of the outputs' shape: "
            "the last is taken for the target, but looks like an index; pass "
            'Probe(loader={"collate_fn": ...}) that returns (inputs, targets)'
        )


def _check_classes(weight: Tensor | None, ignored: int, outputs: Tensor, targets: Tensor, first: int) -> None:
    shape, classes = tuple(targets.shape), outputs.shape[1]
    if classes < 2:
        raise ValueError(
            "the model gives one logit: cross-entropy needs two or more; "
            "pass criterion=torch.nn.BCEWithLogitsLoss() or torch.nn.MSELoss()"
        )
    if weight is not None and len(weight) != classes:
        raise ValueError(f"the criterion has {len(weight)} class weights, the model {classes} logits")
    if targets.is_floating_point():
        if shape != tuple(outputs.shape):
            raise ValueError(
                f"targets are {targets.dtype} of shape {shape}: cross-entropy needs int64 classes of shape (n,) or "
                f"probabilities of shape (n, {classes}); for regression pass criterion=torch.nn.MSELoss()"
            )
        return
    if targets.dtype == torch.bool or len(shape) != 1:
        raise ValueError(f"targets are {targets.dtype} of shape {shape}: cross-entropy needs int64 of shape (n,)")
    # uint8 and int16 classes are classes, too; in uint8, -100 would be class 156.
    labels = targets.to(torch.int64)
    wrong = ((labels < 0) | (labels >= classes)) & (labels != ignored)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"example {first + row} has label {int(labels[row])}, the model gives {classes} logits: labels must lie "
            f"in [0, {classes}); change the model's last layer or the labels"
        )


def predicted_targets(criterion: Criterion, outputs: Tensor) -> Tensor:
    """Return the targets that the model itself predicts, at which the gradient of an unlabelled example is taken.

    The gradient at the predicted class is the shortest of those at all classes, a lower bound of the true one (Ash et
    al., Deep batch active learning by diverse, uncertain gradient lower bounds, ICLR 2020).

    Args:
        criterion: The loss of each example.
        outputs: Of the model, shape (batch, outputs).

    Returns:
        Classes, int64, shape (batch,); or zeros and ones of the outputs' shape, for sigmoid cross-entropy.

    Raises:
        ValueError: If the loss is one of regression, whose gradient at the model's own prediction is zero.

    Example:
        >>> from adacore.probing.losses import per_example
        >>> predicted_targets(per_example(None), torch.tensor([[0.1, 0.9]]))
        tensor([1])
    """
    if isinstance(criterion, BinaryCrossEntropy):
        # sigmoid(z) > 1/2 where z > 0.
        return (outputs > 0).to(outputs.dtype)
    if isinstance(criterion, Differentiated) and isinstance(criterion.function, nn.BCELoss):
        return (outputs > 0.5).to(outputs.dtype)
    regression = isinstance(criterion, SquaredError) or (
        isinstance(criterion, Differentiated) and criterion.elementwise
    )
    if regression or outputs.shape[1] < 2:
        raise ValueError(
            'targets="predicted" needs a loss of classes: the gradient of a regression at its own prediction is zero; '
            'label the data and use targets="given", or select by features, as adacore.KCenter does'
        )
    # |p - e_c|^2 = |p|^2 + 1 - 2 p_c is smallest for the likeliest class c: the lower bound of the docstring.
    return outputs.argmax(1)
