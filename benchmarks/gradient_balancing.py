"""GraB (Lu, Guo and De Sa, NeurIPS 2022): each epoch's order of single examples, from the gradients of the last one.

While an epoch runs, every example's gradient, less the mean gradient of the epoch before, gets the sign that keeps the
signed sum short. Those with + go to the front of the next epoch's order, those with - to the back, reversed, so that
prefix sums of gradients stay short along the order. Here to be compared with; it needs the gradient of every single
example in every step, which a plain training step does not compute.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


class GradientBalancing:
    """Orders the n examples of each epoch; see the module.

    Args:
        model: Trained in place; without batch norm, whose gradients of single examples are not defined.
        n: How many examples there are.
        generator: Of the first epoch's order.

    Attributes:
        order: Of the epoch that runs, int64, shape (n,).
        seconds: Spent on gradients of single examples and on signs.
    """

    def __init__(self, model: nn.Module, n: int, generator: np.random.Generator) -> None:
        self.model, self.order, self.seconds = model, generator.permutation(n), 0.0
        dimension = sum(p.numel() for p in model.parameters())
        self._sum, self._mean, self._next_mean = (np.zeros(dimension, np.float32) for _ in range(3))
        self._front: list[int] = []
        self._back: list[int] = []

        def loss(parameters: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            logits = functional_call(model, parameters, (inputs[None],))
            return nn.functional.cross_entropy(logits, target[None])

        self._gradients = vmap(grad(loss), in_dims=(None, 0, 0))

    def look(self, positions: NDArray[np.int64], inputs: Tensor, targets: Tensor) -> None:
        """Give the examples of a batch their signs; called before the step, at the parameters it starts from."""
        start = time.perf_counter()
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        found = self._gradients(parameters, inputs, targets)
        rows = torch.cat([part.reshape(len(inputs), -1) for part in found.values()], 1).numpy()
        self._next_mean += rows.sum(0) / len(self.order)
        for position, row in zip(positions, rows - self._mean, strict=True):
            # |s + c| < |s - c| exactly where s . c < 0.
            if self._sum @ row < 0:
                self._sum += row
                self._front.append(int(position))
            else:
                self._sum -= row
                self._back.append(int(position))
        self.seconds += time.perf_counter() - start

    def end_epoch(self) -> None:
        """Put the next epoch's order together."""
        self.order = np.array(self._front + self._back[::-1], np.int64)
        self._front, self._back = [], []
        self._mean, self._next_mean = self._next_mean, np.zeros_like(self._mean)
        self._sum[:] = 0
