"""Gradients and Hessians of a loss with respect to the last layer's outputs: closed forms, and by differentiating."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


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


class CrossEntropyAt:
    """Closed form: with s = sum_c q_c, the gradient is ``s p - q`` and the Hessian ``s (diag(p) - p p^T)``."""

    def __init__(self, module: nn.CrossEntropyLoss, outputs: Tensor, targets: Tensor) -> None:
        # Gradient and Hessian of cross-entropy are polynomials in p: nothing else of the logits is kept.
        self.probabilities = outputs.softmax(1)
        self._classes: Tensor | None = None
        self._soft: Tensor | None = None
        if targets.is_floating_point() or module.label_smoothing:
            self._soft = _soft_targets(module, outputs, targets)
            self._total = self._soft.sum(1, keepdim=True)
            return
        # A class c for each example, q = s e_c: no matrix of targets is formed, which for tokens would be the largest.
        targets = targets.to(torch.int64)  # first: in uint8, -100 is class 156
        counted = targets != module.ignore_index
        self._classes = targets.where(counted, 0)
        total = counted.to(outputs.dtype)
        if module.weight is not None:
            total = total * module.weight.to(outputs)[self._classes]
        self._total = total.unsqueeze(1)

    def gradient(self) -> Tensor:
        """See ``LocalLoss.gradient``."""
        gradient = self._total * self.probabilities
        if self._soft is not None:
            return gradient.sub_(self._soft)
        if self._classes is not None:
            gradient.scatter_add_(1, self._classes.unsqueeze(1), -self._total)
        return gradient

    def gradient_along(self, basis: Tensor) -> Tensor:
        """Return ``(s p - q)^T b_r`` for every column, shape (batch, d), without forming the gradient."""
        basis = _less_column_means(basis)
        along = self._total * (self.probabilities @ basis)
        if self._soft is not None:
            return along.sub_(self._soft @ basis)
        return along if self._classes is None else along.sub_(self._total * basis[self._classes])

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """See ``LocalLoss.quadratic``: s times the variance, under p, of the entries of b_r."""
        if basis is None:
            # (diag(p) - p p^T)_cc = p_c - p_c^2.
            return self._total * self.probabilities * (1 - self.probabilities)
        basis = _less_column_means(basis)
        # b^T (diag(p) - p p^T) b = E_p[b^2] - (E_p b)^2; rounding can leave it just below zero.
        variance = self.probabilities @ basis.square() - (self.probabilities @ basis).square()
        return self._total * variance.clamp_min(0)

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        # (diag(p) - p p^T) v = p * (v - p . v)
        mean = (self.probabilities * vectors).sum(1, keepdim=True)
        return self._total * self.probabilities * (vectors - mean)


def _less_column_means(basis: Tensor) -> Tensor:
    """Return the basis less the mean of each column, along which gradient and Hessian of cross-entropy are the same.

    The softmax does not change when all logits move alike: ``(s p - q) . 1 = 0`` and ``(diag(p) - p p^T) 1 = 0``. So
    ``b + c 1`` has the inner products with them that b has. Without this, E[b^2] - (E b)^2 is a difference of two
    numbers of about c^2, of which float32 leaves 1e-7 c^2: nothing that counts where c is a thousand times the spread.
    """
    return basis - basis.mean(0)


def _soft_targets(module: nn.CrossEntropyLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return q: the distribution over the classes, smoothed, times the class weights, shape (batch, classes)."""
    if targets.is_floating_point():
        soft = targets.to(outputs.dtype)
    else:
        targets = targets.to(torch.int64)
        counted = targets != module.ignore_index
        soft = torch.zeros_like(outputs).scatter_(1, targets.where(counted, 0).unsqueeze(1), 1.0)
    if module.label_smoothing:
        # As torch defines it: every class, the right one too, gets an equal part of the smoothed share.
        soft = soft * (1 - module.label_smoothing) + module.label_smoothing / outputs.shape[1]
    if not targets.is_floating_point():
        # After the smoothing, which would give mass to the rows that ignore_index leaves out.
        soft *= counted.unsqueeze(1)
    return soft if module.weight is None else soft * module.weight.to(outputs)


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


class BinaryCrossEntropyAt:
    """Closed form, for each output by itself, with p = sigmoid(z), target y, weight w, weight of positives a.

    The loss is ``-w (a y log p + (1 - y) log(1 - p))``. With s = a y + 1 - y, the gradient is ``w (s p - a y)`` and the
    Hessian is diagonal, ``w s p (1 - p)``.
    """

    def __init__(self, module: nn.BCEWithLogitsLoss, outputs: Tensor, targets: Tensor, share: float) -> None:
        # d/dz log p = 1 - p and d/dz log(1 - p) = -p, so that the loss has the derivative w (p (a y + 1 - y) - a y).
        p = outputs.sigmoid()
        positive = targets if module.pos_weight is None else targets * module.pos_weight.to(outputs)
        weight = share if module.weight is None else share * module.weight.to(outputs)
        # Targets may be shares between 0 and 1, so that both terms of the loss count.
        total = positive + 1 - targets
        self._gradient = weight * (total * p - positive)
        self._diagonal = weight * total * p * (1 - p)

    def gradient(self) -> Tensor:
        """See ``LocalLoss.gradient``."""
        return self._gradient

    def quadratic(self, basis: Tensor | None) -> Tensor:
        """See ``LocalLoss.quadratic``."""
        return self._diagonal if basis is None else self._diagonal @ basis.square()

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        return self._diagonal * vectors


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
        """See ``LocalLoss.quadratic``.

        Two backward passes where S_i is diagonal, as it is for losses of each output by itself; else as many as there
        are outputs, or columns if those are fewer.
        """
        outputs = self._leaf.shape[1]
        # With one or two outputs the columns take no more passes than finding out whether S is diagonal.
        diagonal = self._diagonal() if outputs > 2 else None
        if diagonal is not None:
            return diagonal if basis is None else diagonal @ basis.square()
        if basis is None:
            columns = [self._along(unit)[:, c] for c, unit in enumerate(self._units())]
            return torch.stack(columns, dim=1)
        # Either one pass for each column b_r (S b_r, then b_r . S b_r), or one for each row of S: whichever is fewer.
        if basis.shape[1] < outputs:
            return torch.stack([self._along(column) @ column for column in basis.T], dim=1)
        total = torch.zeros(len(self._leaf), basis.shape[1], dtype=self._leaf.dtype, device=self._leaf.device)
        for c, unit in enumerate(self._units()):
            total += (self._along(unit) @ basis) * basis[c]
        return total

    def _diagonal(self) -> Tensor | None:
        """Return the diagonals of S_i if they are all that there is of S_i, or None.

        ``S r = diag(S 1) r`` holds for a Gaussian r with probability one only if every row c of S is a multiple of the
        c-th unit vector, since otherwise r would lie in a given hyperplane.
        """
        sums = self._along(torch.ones(self._leaf.shape[1], device=self._leaf.device))
        # A generator of its own, and on the CPU: the answer must not hang on the device, nor draw from the global
        # stream.
        drawn = torch.randn(self._leaf.shape[1], generator=torch.Generator().manual_seed(0))
        r = drawn.to(self._leaf)
        # Tried with one random r in place of C unit vectors: two backward passes decide whether C of them can be
        # spared.
        product = self._along(r)
        # 1e-5 is some hundred roundings of float32 (6e-8), as sums over some hundred outputs collect. By the size of
        # each row itself: beside a row that is a million times larger any S would pass for diagonal.
        size = product.abs().amax(1, keepdim=True)
        return sums if bool(((product - sums * r).abs() <= 1e-5 * size).all()) else None

    def _units(self) -> Tensor:
        return torch.eye(self._leaf.shape[1], device=self._leaf.device)

    def _along(self, direction: Tensor) -> Tensor:
        """Return S_i u for a direction u that all examples share."""
        return self.hessian_product(direction.to(self._leaf.dtype).expand_as(self._leaf))

    def hessian_product(self, vectors: Tensor) -> Tensor:
        """See ``LocalLoss.hessian_product``."""
        gradient = self._gradient()
        try:
            # The graph is kept: the next column, or the next Rademacher vector, goes back through it again.
            (product,) = torch.autograd.grad(gradient, self._leaf, vectors, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            # Memory is a RuntimeError, too, and has another remedy.
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise _no_second_derivative(error) from error
        # None: the gradient does not depend on z, as of a linear or absolute loss. Its Hessian is zero.
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
