"""The last linear layer of any model: found by running it once, watched with hooks afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.errors import unknown_name

Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Head:
    """The last linear layer.

    Attributes:
        name: Its name in the model.
        layer: The module.
        direct: Whether its output is the logits; otherwise something differentiable lies between.
    """

    name: str
    layer: nn.Linear
    direct: bool


@dataclass
class Watched:
    """What went through the head in the last forward pass.

    Attributes:
        features: Its input h, shape (batch, features).
        outputs: Its output, shape (batch, outputs); where the head is not direct, in at least single precision, and
            requiring grad.
    """

    features: Tensor = field(default_factory=lambda: torch.empty(0))
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))


def find_head(model: nn.Module, run: Run, layer: str | None = None) -> Head:
    """Find the last linear layer that was executed and whose output reaches the logits.

    Every linear layer's output is cut from the graph behind it, so that only layers with none between them and the
    logits are found; of these, the one that ran last.

    Args:
        model: Any module.
        run: Runs it on a few examples and returns the logits, shape (batch, outputs).
        layer: Name of the layer, to be taken instead.

    Returns:
        The head.

    Raises:
        ValueError: If there is none, the name is unknown, or the layer cannot serve.
        TypeError: If the layer of that name is not linear.
    """
    named = {_plain(name): module for name, module in model.named_modules()}
    linear = {name: module for name, module in named.items() if isinstance(module, nn.Linear)}
    if layer is not None:
        if layer not in named:
            raise unknown_name("layer", layer, linear)
        if layer not in linear:
            raise TypeError(f"layer={layer!r} is a {type(named[layer]).__name__}: expected a torch.nn.Linear")
        linear = {layer: linear[layer]}
    calls, logits = _record(linear, run)
    reached = _reaching(calls, logits)
    if not reached:
        wanted = f"layer={layer!r}" if layer else "no torch.nn.Linear"
        raise ValueError(
            f"{wanted} {'does not feed' if layer else 'feeds'} the logits: name the last linear layer with layer=, "
            'or use proxy="logits", which needs none'
        )
    name, inputs, outputs = reached[-1]
    _check(name, linear[name], inputs, outputs, logits)
    direct = outputs.numel() == logits.numel() and torch.equal(outputs.flatten().float(), logits.flatten().float())
    if not direct and sum(call[0] == name for call in calls) > 1:
        raise ValueError(f'the linear layer {name!r} runs more than once in a forward pass: use proxy="logits"')
    return Head(name, linear[name], direct)


def _input(args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    tensor: Tensor = args[0] if args else named["input"]
    return tensor.detach()


def _plain(name: str) -> str:
    """Drop what torch.compile and the parallel wrappers put before a name."""
    return ".".join(part for part in name.split(".") if part not in {"_orig_mod", "_forward_module"})


def _record(linear: dict[str, nn.Linear], run: Run) -> tuple[list[tuple[str, Tensor, Tensor]], Tensor]:
    calls: list[tuple[str, Tensor, Tensor]] = []

    def hook(name: str) -> Callable[..., Tensor]:
        def cut(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor:
            leaf = outputs.detach().requires_grad_()
            calls.append((name, _input(args, named), leaf))
            return leaf

        return cut

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in linear.items()]
    try:
        with torch.enable_grad():
            return calls, run()
    finally:
        for handle in handles:
            handle.remove()


def _reaching(calls: list[tuple[str, Tensor, Tensor]], logits: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    if not calls:
        return []
    if not logits.requires_grad:
        return [call for call in calls if call[2].shape == logits.shape and torch.equal(call[2], logits)]
    with torch.enable_grad():
        total = logits.float().sum()
    gradients = torch.autograd.grad(total, [call[2] for call in calls], allow_unused=True)
    return [call for call, gradient in zip(calls, gradients, strict=True) if gradient is not None]


def _check(name: str, layer: nn.Linear, inputs: Tensor, outputs: Tensor, logits: Tensor) -> None:
    if inputs.ndim != 2 or len(inputs) != len(logits):
        raise ValueError(
            f"the linear layer {name!r} takes inputs of shape {tuple(inputs.shape)}: expected one vector for each "
            'example; name another with layer=, or use proxy="logits"'
        )
    expected = functional.linear(inputs, layer.weight, layer.bias)
    if not torch.allclose(expected.float(), outputs.float(), rtol=1e-2, atol=1e-3):
        raise ValueError(
            f"the layer {name!r} ({type(layer).__name__}) does more than weight @ input + bias: name another with "
            'layer=, or use proxy="logits"'
        )


@contextmanager
def watching(head: Head | None) -> Iterator[Watched]:
    """Keep the head's inputs and outputs during every forward pass within.

    Where the head is not direct, a graph starts at its output, so that what follows can be differentiated.
    """
    watched = Watched()
    if head is None:
        yield watched
        return

    def keep(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor | None:
        watched.features = _input(args, named)
        if head.direct:
            watched.outputs = outputs.detach()
            return None
        torch.set_grad_enabled(True)
        watched.outputs = (outputs if outputs.dtype == torch.float64 else outputs.float()).detach().requires_grad_()
        return watched.outputs.to(outputs.dtype)

    handle = head.layer.register_forward_hook(keep, with_kwargs=True)
    try:
        yield watched
    finally:
        handle.remove()
