"""The last linear layer of any model: found in one recorded forward pass, watched with hooks afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.errors import unknown_name
from adacore.probing.wrappers import is_flattened, is_scripted, whole

Run = Callable[[], Tensor]

REMEDY = 'name the layer to take with Probe(layer=...), or use proxy="logits", which needs none'


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
        outputs: Where the head is not direct, its output, shape (batch, outputs), in at least single precision, and
            requiring grad.
    """

    features: Tensor = field(default_factory=lambda: torch.empty(0))
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a linear layer: its name, its input, and its output, cut from the graph behind it."""

    name: str
    inputs: Tensor
    outputs: Tensor


def find_head(model: nn.Module, run: Run, layer: str | None = None) -> Head:
    """Find the linear layer whose output reaches the logits with no other layer between.

    One forward pass is recorded. The output of every call of a ``torch.nn.Linear`` is cut from the graph behind it, so
    that the graph of the logits reaches just those calls, and those other parameters, that have no linear layer between
    them and the logits. Where that is not exactly one call, it is not for a library to choose.

    Args:
        model: Any module, without wrappers.
        run: Runs it on a few examples and returns the logits, shape (batch, outputs).
        layer: Name of the layer, to be taken instead.

    Returns:
        The head.

    Raises:
        ValueError: If there is none, or more than one; if the name is unknown, or the layer cannot serve.
        TypeError: If the layer of that name is not linear.
    """
    named = {_plain(name): module for name, module in model.named_modules()}
    # Subclasses too (layers with an adapter): _check finds out whether they compute weight @ input + bias.
    linear = {name: module for name, module in named.items() if isinstance(module, nn.Linear)}
    if layer is not None:
        linear = {layer: _named(named, layer, linear)}
    if is_flattened(model):
        raise ValueError(
            "the model is sharded by FullyShardedDataParallel, outside of whose forward no layer has its weight: shard "
            'it by torch.distributed.fsdp.fully_shard, or use proxy="logits"'
        )
    # The probe runs without gradients: here the graph is the record of what depends on what.
    with _recording(model, linear) as calls, torch.enable_grad():
        logits = run()
    reached, parameters = _reaching(model, calls, logits)
    call = _the_only(model, calls, reached, parameters if layer is None else [], layer)
    _check(call, linear[call.name], logits)
    return Head(call.name, linear[call.name], _are_the_logits(call.outputs, logits))


def _are_the_logits(outputs: Tensor, logits: Tensor) -> bool:
    if outputs.ndim == logits.ndim == 3 and outputs.shape[1] == logits.shape[1] + 1:
        outputs = outputs[:, :-1]  # of sequences; the last position has no next token to predict
    return outputs.numel() == logits.numel() and torch.equal(outputs.flatten().float(), logits.flatten().float())


def _plain(name: str) -> str:
    """Drop what torch.compile and Fabric put into the names of parts that they wrap."""
    return ".".join(part for part in name.split(".") if part not in {"_orig_mod", "_forward_module"})


def _named(named: dict[str, nn.Module], layer: str, linear: dict[str, nn.Linear]) -> nn.Linear:
    if layer in linear:
        return linear[layer]
    if layer in named:
        raise TypeError(f"layer={layer!r} is a {type(named[layer]).__name__}: expected a torch.nn.Linear")
    raise unknown_name("layer", layer, linear)


def _the_only(
    model: nn.Module, calls: list[_Call], reached: list[_Call], parameters: list[str], layer: str | None
) -> _Call:
    """Return the one call that reaches the logits, or say why there is no such."""
    if not reached and is_scripted(model):
        raise ValueError(
            "the model, or a part of it, is TorchScript, whose layers cannot be watched: pass the module that it was "
            'made from, or use proxy="logits"'
        )
    if not reached:
        what = "no torch.nn.Linear feeds" if layer is None else f"layer={layer!r} does not feed"
        raise ValueError(f"{what} the logits: {REMEDY}")
    names = [call.name for call in calls]
    candidates = [*dict.fromkeys(call.name for call in reached), *parameters]
    if len(candidates) > 1:
        listed = ", ".join(map(repr, candidates))
        raise ValueError(f"{len(candidates)} layers make the logits between them, {listed}: {REMEDY}")
    # A head that is called twice has one weight and two inputs: its gradient is a sum of two outer products, while the
    # factored form (p - y) h^T stands for one.
    if names.count(candidates[0]) > 1:
        raise ValueError(
            f"the layer {candidates[0]!r} runs {names.count(candidates[0])} times, more than once, in a forward pass, "
            f'so that its input is not one vector for each example: use proxy="logits", which needs no last layer'
        )
    return reached[-1]


@contextmanager
def _recording(model: nn.Module, linear: dict[str, nn.Linear]) -> Iterator[list[_Call]]:
    """Record every call of the layers within; parameters take part in the graph even where they are frozen."""
    calls: list[_Call] = []

    def hook(name: str) -> Callable[..., Tensor]:
        def cut(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor:
            leaf = outputs.detach().requires_grad_()
            calls.append(_Call(name, _input(args, named), leaf))
            return leaf.clone()  # what follows may work in place, as ReLU(inplace=True) does

        return cut

    # Frozen parameters leave no mark in a graph: for this one pass they take part, lest a frozen head go unnoticed.
    frozen = [p for p in model.parameters() if p.is_floating_point() and p.is_leaf and not p.requires_grad]
    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in linear.items()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield calls
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for handle in handles:
            handle.remove()


def _input(args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    tensor: Tensor = args[0] if args else named["input"]
    return tensor.detach()


def _reaching(model: nn.Module, calls: list[_Call], logits: Tensor) -> tuple[list[_Call], list[str]]:
    """Return the calls and the names of the matrices of parameters in the graph of the logits."""
    if not logits.requires_grad:  # the model runs without gradients of its own accord
        same = [call for call in calls if call.outputs.numel() == logits.numel()]
        return [call for call in same if torch.equal(call.outputs.reshape(logits.shape), logits)], []
    leaves = _leaves(logits)
    # Vectors are biases and scales, which many models add after their last layer; a matrix makes logits of its own.
    matrices = [name for name, p in model.named_parameters() if p.ndim > 1 and id(p) in leaves]
    return [call for call in calls if id(call.outputs) in leaves], matrices


def _leaves(root: Tensor) -> set[int]:
    """Return the identities of the leaf tensors in the graph of a tensor."""
    if root.grad_fn is None:
        return {id(root)}
    # The graph is walked by hand: torch.autograd.grad tells which inputs are reached, but not which parameters.
    seen, waiting, leaves = set(), [root.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of a node that accumulates into a leaf
        if variable is not None:
            leaves.add(id(variable))
        waiting.extend(child for child, _ in node.next_functions if child is not None)
    return leaves


def _check(call: _Call, layer: nn.Linear, logits: Tensor) -> None:
    inputs, outputs = call.inputs, call.outputs.detach()
    # Of tokens there is one vector for each. Some models flatten (batch, length, h) to (batch * length, h) before their
    # head, others do not: the count of rows fits both.
    of_tokens = logits.ndim == 3 and inputs.shape[:-1].numel() % len(logits) == 0
    if not of_tokens and (inputs.ndim != 2 or len(inputs) != len(logits)):
        raise ValueError(
            f"the linear layer {call.name!r} takes inputs of shape {tuple(inputs.shape)}: expected one vector for each "
            f"example; {REMEDY}"
        )
    x, weight = inputs.float(), whole(layer.weight).float()
    bias = None if layer.bias is None else whole(layer.bias).float()
    expected = functional.linear(x, weight, bias)
    # A sum of terms t_j, each rounded to a relative u, is off by at most about u sum |t_j|. Under autocast x and weight
    # are rounded to bfloat16, u = 2^-9 each; behind float32 on a GPU TF32 may hide, u = 2^-12.
    magnitude = functional.linear(x.abs(), weight.abs(), None if bias is None else bias.abs())
    rounding = 2**-10 if outputs.dtype in {torch.float32, torch.float64} else 2**-6
    # An adapter that is built into the layer starts at zero: it shows by its parameters before it shows by its output.
    further = [name for name, _ in layer.named_parameters() if name not in {"weight", "bias"}]
    adapted = bool(further) and type(layer).forward is not nn.Linear.forward
    if adapted or ((outputs.float() - expected).abs() > rounding * magnitude + 1e-6).any():
        raise ValueError(
            f"the layer {call.name!r} ({type(layer).__name__}) does more than weight @ input + bias: {REMEDY}"
        )


@contextmanager
def watching(head: Head | None, *, cut: bool = True) -> Iterator[Watched]:
    """Keep the head's inputs and outputs during every forward pass within.

    Where the head is not direct, a graph starts at its output, so that what follows can be differentiated.

    Args:
        head: The last layer, or None for nothing to watch.
        cut: Whether such a graph starts; otherwise a forward pass is watched only.

    Yields:
        What went through it, renewed by every forward pass.
    """
    watched = Watched()
    if head is None:
        yield watched
        return

    def keep(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Tensor) -> Tensor | None:
        watched.features = _input(args, named)
        if head.direct or not cut:
            return None  # and nothing kept: a batch's logits would outlive it, beside the next one's
        torch.set_grad_enabled(True)  # until the caller's no_grad() ends
        watched.outputs = (outputs if outputs.dtype == torch.float64 else outputs.float()).detach().requires_grad_()
        return watched.outputs.clone().to(outputs.dtype)

    handle = head.layer.register_forward_hook(keep, with_kwargs=True)
    try:
        yield watched
    finally:
        handle.remove()
