"""Losses of single examples: their gradients and Hessians with respect to the outputs of the last layer."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor], Tensor]

_CLOSED_FUNCTIONS: dict[Any, type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.mse_loss: nn.MSELoss,
}


class LocalLoss(Protocol):
    """The losses of a batch as functions of the outputs z, at the present z; S_i = d2 loss_i / d z_i^2."""

    def gradient(self) -> Tensor:
        """Return d loss_i / d z_i, shape (batch, outputs)."""
        ...

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """Return b_r^T S_i b_r for every column b_r of a (outputs, d) basis (None: the identity), shape (batch, d)."""
        ...

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """Return S_i v_i, shape (batch, outputs)."""
        ...


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
        targets = targets.to(outputs.dtype) if targets.is_floating_point() else targets
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


class CrossEntropyAt:
    """Closed form: with s = sum_c q_c, the gradient is ``s p - q`` and the Hessian ``s (diag(p) - p p^T)``."""

    def __init__(self, module: nn.CrossEntropyLoss, outputs: Tensor, targets: Tensor) -> None:
        classes = outputs.shape[1]
        self.probabilities = outputs.softmax(1)
        if targets.is_floating_point():
            soft = targets.to(outputs.dtype)
        else:
            counted = targets != module.ignore_index
            soft = torch.zeros_like(outputs).scatter_(1, targets.where(counted, 0).unsqueeze(1), 1.0)
        if module.label_smoothing:
            soft = soft * (1 - module.label_smoothing) + module.label_smoothing / classes
        if not targets.is_floating_point():
            soft *= counted.unsqueeze(1)
        if module.weight is not None:
            soft = soft * module.weight.to(outputs)
        self._soft = soft
        self._mass = soft.sum(1, keepdim=True)

    def gradient(self) -> Tensor:
        """See ``LocalLoss.gradient``."""
        return self._mass * self.probabilities - self._soft

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """See ``LocalLoss.quadratic``: s times the variance, under p, of the entries of b_r."""
        if basis is None:
            return self._mass * self.probabilities * (1 - self.probabilities)
        variance = self.probabilities @ basis.square() - (self.probabilities @ basis).square()
        return self._mass * variance.clamp_min(0)

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        mean = (self.probabilities * vectors).sum(1, keepdim=True)
        return self._mass * self.probabilities * (vectors - mean)


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


class SquaredErrorAt:
    """Closed form: the gradient is ``2 c (z - y)`` and the Hessian ``2 c I``, c = 1 / outputs, or 1 if summed."""

    def __init__(self, errors: Tensor, share: float) -> None:
        self._errors, self._share = errors, share

    def gradient(self) -> Tensor:
        """See ``LocalLoss.gradient``."""
        return 2 * self._share * self._errors

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """See ``LocalLoss.quadratic``."""
        if basis is None:
            return torch.full_like(self._errors, 2 * self._share)
        return (2 * self._share * basis.square().sum(0)).expand(len(self._errors), -1)

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        return 2 * self._share * vectors


@dataclass(frozen=True)
class Differentiated:
    """Any other loss, by automatic differentiation.

    Attributes:
        function: Maps outputs and targets to one loss for each example, or to one for each output.
        summed: Whether the outputs' losses are summed; otherwise they are averaged.
        elementwise: Whether targets must have the outputs' shape and dtype.
        flat: Whether the function expects outputs of shape (batch,), as the model gives them.
    """

    function: LossFunction
    summed: bool = False
    elementwise: bool = False
    flat: bool = False

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See ``Criterion.losses``; errors if the function reduces over the batch."""
        shaped = outputs.squeeze(1) if self.flat else outputs
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
            leaf = outputs.detach().requires_grad_()
            return DifferentiatedAt(leaf, self.losses(leaf, targets))


class DifferentiatedAt:
    """Gradients and Hessian products by one and two backward passes through the loss alone.

    Since the examples do not interact, ``sum_i loss_i`` has the gradient ``d loss_i / d z_i`` in row i.

    Args:
        leaf: The outputs z, shape (batch, outputs), requiring grad.
        losses: Losses computed from them, shape (batch,).
    """

    def __init__(self, leaf: Tensor, losses: Tensor) -> None:
        self._leaf, self._losses = leaf, losses
        self._graph: Tensor | None = None

    def _gradient(self) -> Tensor:
        if self._graph is None:
            if not self._losses.requires_grad:
                raise ValueError("the loss does not depend on the model's outputs: check the criterion")
            with torch.enable_grad():
                # With a seed that requires grad, what is marked once_differentiable leaves an error in the graph.
                seed = torch.ones_like(self._losses, requires_grad=True)
                (self._graph,) = torch.autograd.grad(self._losses, self._leaf, seed, create_graph=True)
        return self._graph

    def gradient(self) -> Tensor:
        """See ``LocalLoss.gradient``."""
        return self._gradient().detach()

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """See ``LocalLoss.quadratic``; as many backward passes as there are outputs, or columns if those are fewer."""
        outputs = self._leaf.shape[1]
        if basis is None:
            columns = [self._along(unit)[:, c] for c, unit in enumerate(torch.eye(outputs, device=self._leaf.device))]
            return torch.stack(columns, dim=1)
        if basis.shape[1] < outputs:
            return torch.stack([self._along(column) @ column for column in basis.T], dim=1)
        total = torch.zeros(len(self._leaf), basis.shape[1], dtype=self._leaf.dtype, device=self._leaf.device)
        for c, unit in enumerate(torch.eye(outputs, device=self._leaf.device)):
            total += (self._along(unit) @ basis) * basis[c]
        return total

    def _along(self, direction: Tensor) -> Tensor:
        return self.hessian_product(direction.to(self._leaf.dtype).expand_as(self._leaf))

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        gradient = self._gradient()
        try:
            (product,) = torch.autograd.grad(gradient, self._leaf, vectors, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise _no_second_derivative(error) from error
        if product is not None:
            return product
        if "Error" in _names(gradient.grad_fn):
            raise _no_second_derivative(RuntimeError("a function in it is marked once_differentiable"))
        return torch.zeros_like(vectors)


def _names(root: Any) -> str:
    """Name the nodes of an autograd graph."""
    names, waiting = {}, [root]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in names:
            names[node] = node.name()
            waiting.extend(child for child, _ in node.next_functions)
    return " ".join(names.values())


def _no_second_derivative(error: Exception) -> ValueError:
    return ValueError(
        f"the loss could not be differentiated twice ({str(error).splitlines()[0]}): write the criterion with "
        "functions that can, or use a selector that needs no curvature, such as CRAIG"
    )


_ELEMENTWISE = (nn.BCEWithLogitsLoss, nn.BCELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.SoftMarginLoss)


def per_example(criterion: LossFunction | None) -> Criterion:
    """Turn what a user trains with into a loss of each example.

    Args:
        criterion: A loss module (its ``reduction`` is replaced by ``"none"`` in a copy), a function that returns one
            loss for each example, or None for cross-entropy.

    Returns:
        Cross-entropy and squared error in closed form, anything else by automatic differentiation.

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
    if isinstance(criterion, functools.partial) and criterion.func in _CLOSED_FUNCTIONS and not criterion.args:
        if criterion.keywords.get("reduction") == "none":
            return per_example(_CLOSED_FUNCTIONS[criterion.func](**criterion.keywords))
        return Differentiated(criterion)
    if not isinstance(criterion, nn.Module) or not isinstance(getattr(criterion, "reduction", None), str):
        return Differentiated(criterion)
    summed = criterion.reduction == "sum"
    if type(criterion) is nn.MSELoss:
        return SquaredError(summed)
    single: Any = copy.copy(criterion)
    single.reduction = "none"
    if type(single) is nn.CrossEntropyLoss:
        return CrossEntropy(single)
    return Differentiated(single, summed, elementwise=isinstance(single, _ELEMENTWISE))
