"""Losses of single examples: what a user trains with, turned into one loss for each example, and checked."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.probing.loss_derivatives import (
    BinaryCrossEntropyAt,
    CrossEntropyAt,
    DifferentiatedAt,
    LocalLoss,
    SquaredErrorAt,
)

LossFunction = Callable[[Tensor, Tensor], Tensor]

MODULES: dict[Any, type[nn.Module]] = {
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.huber_loss: nn.HuberLoss,
    functional.kl_div: nn.KLDivLoss,
    functional.l1_loss: nn.L1Loss,
    functional.mse_loss: nn.MSELoss,
    functional.multi_margin_loss: nn.MultiMarginLoss,
    functional.nll_loss: nn.NLLLoss,
    functional.poisson_nll_loss: nn.PoissonNLLLoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.soft_margin_loss: nn.SoftMarginLoss,
}
"""The module that does what a function does, with the same keywords."""


class Criterion(Protocol):
    """A loss of each example."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return loss_i, differentiable, shape (batch,); outputs have shape (batch, outputs)."""
        ...

    def at(self, outputs: Tensor, targets: Tensor) -> LocalLoss:
        """Fix the point at which the losses are differentiated; outputs have shape (batch, outputs)."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy ``-sum_c q_c log p_c`` with q the class weight times the (smoothed) target distribution.

    Attributes:
        module: The criterion with ``reduction="none"``.
    """

    module: nn.CrossEntropyLoss

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See ``Criterion.losses``."""
        weight = None if self.module.weight is None else self.module.weight.to(outputs)
        targets = targets.to(outputs.dtype) if targets.is_floating_point() else targets.to(torch.int64)
        return functional.cross_entropy(
            outputs,
            targets,
            weight,
            ignore_index=self.module.ignore_index,
            reduction="none",
            label_smoothing=self.module.label_smoothing,
        )

    def at(self, outputs: Tensor, targets: Tensor) -> CrossEntropyAt:
        """Fix the point; see ``Criterion.at``."""
        return CrossEntropyAt(self.module, outputs, targets)


@dataclass(frozen=True)
class SquaredError:
    """Squared error, averaged over the outputs, or summed.

    Attributes:
        summed: Whether the outputs' errors are summed.
    """

    summed: bool = False

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See ``Criterion.losses``."""
        squares = (outputs - targets.to(outputs).reshape(outputs.shape)).square()
        return squares.sum(1) if self.summed else squares.mean(1)

    def at(self, outputs: Tensor, targets: Tensor) -> SquaredErrorAt:
        """Fix the point; see ``Criterion.at``."""
        errors = outputs - targets.to(outputs).reshape(outputs.shape)
        return SquaredErrorAt(errors, 1.0 if self.summed else 1.0 / outputs.shape[1])


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy of each output, averaged over the outputs, or summed.

    Attributes:
        module: The criterion with ``reduction="none"``.
        summed: Whether the outputs' losses are summed.
    """

    module: nn.BCEWithLogitsLoss
    summed: bool = False

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See ``Criterion.losses``."""
        weight, positive = (None if w is None else w.to(outputs) for w in (self.module.weight, self.module.pos_weight))
        each = functional.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs).reshape(outputs.shape), weight, pos_weight=positive, reduction="none"
        )
        return each.sum(1) if self.summed else each.mean(1)

    def at(self, outputs: Tensor, targets: Tensor) -> BinaryCrossEntropyAt:
        """Fix the point; see ``Criterion.at``."""
        share = 1.0 if self.summed else 1.0 / outputs.shape[1]
        return BinaryCrossEntropyAt(self.module, outputs, targets.to(outputs).reshape(outputs.shape), share)


@dataclass(frozen=True)
class Differentiated:
    """Any other loss, by automatic differentiation.

    Attributes:
        function: Maps outputs and targets to one loss for each example, or to one for each output.
        summed: Whether the outputs' losses are summed; otherwise they are averaged.
        elementwise: Whether targets must have the outputs' shape and dtype.
        flat: Whether the function expects outputs of shape (batch,), as the model gives them.
        link: What makes the model's outputs of logits, where the model ends in it: derivatives are then taken with
            respect to the logits.
    """

    function: LossFunction
    summed: bool = False
    elementwise: bool = False
    flat: bool = False
    link: Callable[[Tensor], Tensor] | None = None

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See ``Criterion.losses``; errors if the function reduces over the batch."""
        shaped = outputs.squeeze(1) if self.flat else outputs
        # Elementwise losses broadcast: targets of shape (batch,) beside outputs of shape (batch, 1) would give batch x
        # batch losses without an error.
        losses = self.function(shaped, targets.to(outputs).reshape(shaped.shape) if self.elementwise else targets)
        if not isinstance(losses, Tensor):
            raise TypeError(f"the criterion returned {type(losses).__name__}: expected a tensor of per-example losses")
        if losses.shape != outputs.shape and (losses.ndim == 0 or losses.numel() != len(outputs)):
            raise ValueError(
                f"the criterion returned shape {tuple(losses.shape)} for outputs of shape {tuple(outputs.shape)} and "
                f"targets of shape {tuple(targets.shape)}: it must give one loss for each example; build it with "
                'reduction="none"'
            )
        rows = losses.reshape(len(outputs), -1)
        return rows.sum(1) if self.summed else rows.mean(1)

    def at(self, outputs: Tensor, targets: Tensor) -> DifferentiatedAt:
        """Fix the point; see ``Criterion.at``."""
        with torch.enable_grad():
            # A leaf cuts the model off: differentiating twice costs as much as the loss, not as the model.
            leaf = outputs.detach().requires_grad_()
            linked = leaf if self.link is None else self.link(leaf)
            return DifferentiatedAt(leaf, self.losses(linked, targets))


_ELEMENTWISE = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.L1Loss,
    nn.PoissonNLLLoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)


def per_example(criterion: LossFunction | None) -> Criterion:
    """Turn what a user trains with into a loss of each example.

    Args:
        criterion: A loss module (its ``reduction`` is replaced by ``"none"`` in a copy), a function that returns one
            loss for each example, or None for cross-entropy.

    Returns:
        Cross-entropy, squared error and sigmoid cross-entropy in closed form, anything else by automatic
        differentiation.

    Raises:
        TypeError: If the criterion cannot be called.

    Example:
        >>> per_example(nn.MSELoss()).at(torch.tensor([[3.0]]), torch.tensor([[1.0]])).gradient()
        tensor([[4.]])
    """
    if criterion is None:
        return CrossEntropy(nn.CrossEntropyLoss(reduction="none"))
    if isinstance(criterion, type) or not callable(criterion):
        raise TypeError(f"criterion={criterion!r} is not a loss: pass for example torch.nn.CrossEntropyLoss()")
    # A partial of a function says what it does by its keywords; a lambda around it can only be differentiated.
    if isinstance(criterion, functools.partial) and criterion.func in MODULES and not criterion.args:
        if criterion.keywords.get("reduction") == "none":
            return per_example(MODULES[criterion.func](**criterion.keywords))
        return Differentiated(criterion)
    if not isinstance(criterion, nn.Module) or not isinstance(getattr(criterion, "reduction", None), str):
        return Differentiated(criterion)
    # KLDivLoss's "batchmean" is a sum over the classes, divided by the batch; its "mean" divides by the classes, too.
    summed = criterion.reduction in {"sum", "batchmean"}
    # Exact types: a subclass may compute something else, and closed forms would not notice.
    if type(criterion) is nn.MSELoss:
        return SquaredError(summed)
    # A shallow copy, so that class weights are shared and the user's own criterion keeps its reduction.
    single: Any = copy.copy(criterion)
    single.reduction = "none"
    if type(single) is nn.CrossEntropyLoss:
        return CrossEntropy(single)
    if type(single) is nn.BCEWithLogitsLoss:
        return BinaryCrossEntropy(single, summed)
    return Differentiated(single, summed, elementwise=isinstance(single, _ELEMENTWISE))


def with_respect_to_logits(criterion: Criterion, outputs: Tensor, targets: Tensor) -> Criterion:
    """Make a criterion one of logits, where the model gives log-probabilities or probabilities.

    Log-probabilities are logits: ``softmax(log p) = p``. What differs is the loss as a function of them:
    ``nll(log p)`` is linear in log p, and cross-entropy in the logits z is ``nll(log_softmax(z))``. Its derivatives at
    z = log p are those at the model's own logits, which differ from log p by a constant in each row. Likewise, for
    probabilities, z = log p and p = softmax(z); and for those of a ``BCELoss``, z = log p - log(1 - p).

    Args:
        criterion: The loss of each example, of the model's outputs.
        outputs: Of some examples, shape (batch, outputs).
        targets: Of the same.

    Returns:
        The criterion, to be applied to ``as_logits(criterion, outputs)``.

    Raises:
        ValueError: If a loss of log-probabilities is given outputs that are none.
    """
    if not isinstance(criterion, Differentiated) or criterion.link is not None:
        return criterion
    module = criterion.function
    # A BCELoss takes nothing but probabilities, so that there is nothing to look for in the outputs.
    if isinstance(module, nn.BCELoss):
        return _replace_link(criterion, torch.sigmoid)
    classes = outputs.shape[1] > 1
    # Looked at in the outputs, since the layer that makes them (LogSoftmax, a function, log after softmax) has no fixed
    # name.
    normalised = classes and bool((outputs.exp().sum(1) - 1).abs().max() < _NORMALISED)
    if isinstance(module, nn.NLLLoss) and not normalised:
        raise ValueError(
            f"NLLLoss takes log-probabilities, but the exponentials of the model's outputs add up to "
            f"{float(outputs[0].exp().sum()):.3g}: end the model with LogSoftmax(1), or pass "
            "criterion=torch.nn.CrossEntropyLoss()"
        )
    if isinstance(module, nn.NLLLoss):
        return CrossEntropy(nn.CrossEntropyLoss(module.weight, ignore_index=module.ignore_index, reduction="none"))
    if normalised:
        return _replace_link(criterion, functools.partial(functional.log_softmax, dim=1))
    # Regression targets may well be shares of one, too: only with classes for targets are outputs probabilities.
    shares = classes and bool((outputs >= 0).all()) and bool((outputs.sum(1) - 1).abs().max() < _NORMALISED)
    if shares and not targets.is_floating_point() and targets.ndim == 1:
        return _replace_link(criterion, functools.partial(functional.softmax, dim=1))
    return criterion


_NORMALISED = 1e-2
"""How far a sum of probabilities may be from 1: bfloat16 rounds each of them by up to 2^-9 of its size."""


def _replace_link(criterion: Differentiated, link: Callable[[Tensor], Tensor]) -> Differentiated:
    return Differentiated(criterion.function, criterion.summed, criterion.elementwise, criterion.flat, link)


def as_logits(criterion: Criterion, outputs: Tensor) -> Tensor:
    """Turn a model's outputs into the logits that a criterion from ``with_respect_to_logits`` is a function of.

    Args:
        criterion: From ``with_respect_to_logits``.
        outputs: Of the model, shape (batch, outputs).

    Returns:
        Shape (batch, outputs).
    """
    link = criterion.link if isinstance(criterion, Differentiated) else None
    if link is None or (isinstance(link, functools.partial) and link.func is functional.log_softmax):
        return outputs
    # A probability that is 0 or 1 in floating point is that of a logit beyond which the loss does not change.
    smallest = torch.finfo(outputs.dtype).tiny
    if link is torch.sigmoid:
        # eps keeps p within [eps, 1 - eps]: below it, 1 - p is 1 in this precision.
        return torch.logit(outputs, eps=torch.finfo(outputs.dtype).eps)
    return outputs.clamp_min(smallest).log()


def check_independence(criterion: Criterion, outputs: Tensor, targets: Tensor) -> None:
    """Check that the loss of an example does not depend on the others in its batch.

    Only then has ``sum_i loss_i`` the gradient of loss_i in row i. A contrastive loss (InfoNCE) compares the examples
    of a batch with each other.

    Args:
        criterion: The loss of each example.
        outputs: Of at least two examples, shape (batch, outputs).
        targets: Of the same.

    Raises:
        ValueError: If loss or gradient of the first examples change when the others are left out.
    """
    # Closed forms take each row by itself; of one example there are no others.
    half = len(outputs) // 2
    if not isinstance(criterion, Differentiated) or not half:
        return

    together = criterion.at(outputs, targets).gradient()[:half]
    try:
        apart = criterion.at(outputs[:half], targets[:half]).gradient()
    except (RuntimeError, IndexError):  # it holds something of the batch's size
        apart = torch.full_like(together, torch.inf)
    # Rounding of a batch of another size moves a float32 gradient by some 1e-6 of its size; a contrastive loss with
    # half of its negatives gone moves it by a share of order 1. Between them lies 1e-3.
    size = together.abs().amax()
    if size.isfinite() and ((together - apart).abs() > 1e-3 * size + 1e-12).any():
        raise ValueError(
            "the loss of an example depends on the others in its batch (as in InfoNCE and contrastive losses), so that "
            "no example has a gradient of its own: pass Probe(criterion=...) that compares each output with its own "
            "target, or select by features, as adacore.KCenter does"
        )
