"""Proxies from the gradients of all linear and convolution layers, by random projections that never form a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adacore.probing.proxies import orthogonal_rows
from adacore.probing.wrappers import is_scripted, is_sharded

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, eq=False)
class SketchedLayer:
    """A layer, and the random directions that the gradient of its weight is measured along.

    The gradient of example i is ``G_i = sum_t delta_it x_it^T`` over the positions t at which the layer is applied
    (tokens, pixels; one for a plain linear layer), delta the gradient of the loss with respect to the layer's outputs
    and x its input there (of a convolution, the patch under the kernel). Coordinate r is ``a_r^T G_i b_r``::

        sum_t (a_r . delta_it) (b_r . x_it).

    Of a convolution, ``b_r . x_it`` for all t is the convolution of the input with the kernel b_r: no patch is copied.
    In groups, ``sum_g (a_rg . delta_igt) (b_r . x_igt)`` over the groups g.

    Attributes:
        name: The layer's name in the model.
        module: The layer.
        columns: Which coordinates of the proxy it has.
        left: a_r, shape (k, outputs), E a a^T = I.
        right: b_r / sqrt(k), shape (k, inputs), inputs being those of one output of the layer.
    """

    name: str
    module: nn.Linear | Convolution
    columns: slice
    left: Tensor
    right: Tensor

    def measure(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        """Return the coordinates of every example.

        Args:
            inputs: Of one call of the layer, shape (batch, ...).
            gradient: Of the summed losses with respect to the outputs of that call, shape (batch, ...).

        Returns:
            Shape (batch, k).
        """
        batch, k = len(inputs), len(self.left)
        if isinstance(self.module, nn.Linear):
            # sum_t (a_r . delta_it) (b_r . x_it): two thin products and a sum over t. The gradient sum_t delta_it
            # x_it^T itself would be outputs x inputs numbers for every example.
            x, delta = inputs.reshape(batch, -1, inputs.shape[-1]), gradient.reshape(batch, -1, gradient.shape[-1])
            return ((x @ self.right.T) * (delta @ self.left.T)).sum(1)
        # The same k kernels for every group of input channels; a tells groups apart, with signs of its own for each.
        groups, kernel = self.module.groups, self.module.weight.shape[1:]
        filters = self.right.reshape(k, *kernel).repeat(groups, *[1] * len(kernel))
        # With the layer's own stride, padding, dilation and groups; a method that all three convolutions have.
        filtered: Tensor = self.module._conv_forward(inputs, filters, None).reshape(batch, groups, k, -1)
        delta = gradient.reshape(batch, groups, self.module.out_channels // groups, -1)
        a = self.left.reshape(k, groups, -1)
        return (filtered * torch.einsum("bgot,kgo->bgkt", delta, a)).sum((1, 3))


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer in a forward pass: its input, and its output with the graph that leads to it."""

    layer: SketchedLayer
    inputs: Tensor
    outputs: Tensor


class AllLayers:
    """The space of all layers' gradients, reduced to a few coordinates.

    Inner products are kept on average: ``E <P(G), P(G')> = sum over the layers of <G_l, G'_l>``. Each layer has
    coordinates of its own, k / L of the k, so that it costs as much as so many outputs more: k for every layer would
    cost several forward passes. The variance of an inner product is then ``(L / k) sum_l |G_l|^2 |G'_l|^2`` at most, up
    to a constant: as with k for all layers together where these are alike in size, L times that where one outweighs the
    others. Where there are fewer coordinates than layers, some share one.

    Weights that are not trained are left out, and so is what is no weight of a linear or convolution layer called as a
    module: biases, normalisation, embeddings.

    Args:
        model: The model, without wrappers, in eval mode.
        dimension: Coordinates in all.
        seed: Of the directions: the same in every reselection, so that proxies can be averaged.
        device: Where the directions lie.

    Attributes:
        layers: What is measured.
        dimension: Coordinates in all.

    Raises:
        ValueError: If there is no such layer, or the model's layers cannot be watched.
    """

    def __init__(self, model: nn.Module, dimension: int, seed: int, device: torch.device) -> None:
        if dimension < 1:
            raise ValueError(f"projection={dimension} is below 1: pass for example 64")
        if is_sharded(model) or is_scripted(model):
            kind = "sharded (FSDP)" if is_sharded(model) else "TorchScript"
            raise ValueError(f'the model is {kind}, so that its layers cannot be watched: use proxy="logits"')
        found = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.weight.requires_grad
        }
        if not found:
            raise ValueError(
                "no linear or convolution layer of the model has a weight that is trained: proxies of all layers need "
                'one; unfreeze it, or use proxy="penultimate"'
            )
        self.dimension = dimension
        # cuDNN keeps what its backward pass needs in training mode only, and the probe runs in eval mode.
        self._recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
        self.layers = [
            _draw(name, module, _columns(index, len(found), dimension), [seed, 0xA7, index], device)
            for index, (name, module) in enumerate(found.items())
        ]

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Surround a forward pass in eval mode that will be differentiated: cuDNN's recurrent layers cannot be."""
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not self._recurrent):
            yield

    @contextmanager
    def recording(self, calls: list[LayerCall]) -> Iterator[None]:
        """Record the calls of the layers in forward passes within, which must run with gradients on.

        Args:
            calls: Where to; to be cleared after every forward pass.

        Yields:
            Nothing.
        """

        def hook(layer: SketchedLayer) -> Callable[..., Tensor]:
            def keep(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor:
                # Without trained parameters before it, as in a frozen trunk, an output has no graph: one starts here
                # then, so that the layers behind it can still be differentiated to it.
                tracked = outputs if outputs.requires_grad else outputs.detach().requires_grad_()
                calls.append(LayerCall(layer, (args[0] if args else named["input"]).detach(), tracked))
                return tracked.clone()  # what follows may work in place, as ReLU(inplace=True) does

            return keep

        handles = [
            # Before any hook of the user's: one that changes the output would hide the layer's own, and only the
            # gradient with respect to that, times the input, is the gradient of the weight.
            layer.module.register_forward_hook(hook(layer), with_kwargs=True, prepend=True)
            for layer in self.layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def proxies(self, losses: Tensor, calls: list[LayerCall]) -> Tensor:
        """Measure the gradients of a batch, by one backward pass to the layers' outputs.

        Args:
            losses: loss_i, shape (batch,), computed from what the calls gave.
            calls: Of the forward pass.

        Returns:
            Shape (batch, dimension).

        Raises:
            ValueError: If no layer's output reaches the loss, or a layer does not take one example a row.
        """
        batch = len(losses)
        calls = list(calls)  # activation checkpointing runs layers once more in the backward pass
        for call in calls:
            if len(call.inputs) != batch:
                raise ValueError(
                    f"the layer {call.layer.name!r} takes {len(call.inputs)} rows for {batch} examples, so that its "
                    'gradient cannot be told apart by example: use proxy="last_layer"'
                )
        gradients: tuple[Tensor | None, ...] = ()
        if losses.requires_grad and calls:
            outputs = [call.outputs for call in calls]
            # Seeded with ones it is the gradient of sum_i loss_i; as no example's loss depends on another's outputs,
            # row i of it is the gradient of loss_i. A layer that does not reach the loss (a second head) has none.
            gradients = torch.autograd.grad(losses, outputs, torch.ones_like(losses), allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise ValueError(
                'the loss does not depend on any layer that is trained: use proxy="logits", or let the model run with '
                "gradients"
            )
        # Several calls of a layer add up, as they do in its weight's gradient.
        total = torch.zeros(batch, self.dimension, device=losses.device)
        for call, gradient in zip(calls, gradients, strict=True):
            if gradient is not None:
                total[:, call.layer.columns] += call.layer.measure(call.inputs.float(), gradient.float())
        return total


def _columns(index: int, layers: int, dimension: int) -> slice:
    """Share out the coordinates evenly; with fewer coordinates than layers, several layers share one."""
    # Integer division hands out what does not divide evenly one by one along the layers.
    start = index * dimension // layers
    return slice(start, max(start + 1, (index + 1) * dimension // layers))


def _draw(
    name: str, module: nn.Linear | Convolution, columns: slice, seed: list[int], device: torch.device
) -> SketchedLayer:
    generator, k = np.random.default_rng(seed), columns.stop - columns.start
    outputs, inputs = module.weight.shape[0], module.weight[0].numel()
    # In numpy, from a seed and the layer's number: the same directions on every device and in every reselection, which
    # eq. (7) averages over.
    left, right = (
        torch.from_numpy(orthogonal_rows(k, width, generator)).to(device, torch.float32) for width in (outputs, inputs)
    )
    return SketchedLayer(name, module, columns, left, right / math.sqrt(k))
