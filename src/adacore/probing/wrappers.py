"""The module inside a compiled, parallel or Fabric model, where it runs, and what must surround its forward pass."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


def _as_it_is(inputs: Any) -> Any:
    return inputs


@dataclass(frozen=True)
class Unwrapped:
    """A model without its wrappers.

    Attributes:
        module: The user's own module.
        precision: Makes the context in which a wrapper would have run it (Fabric's autocast).
        convert: What a wrapper would have done to the inputs (Fabric's casts).
    """

    module: nn.Module
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    convert: Callable[[Any], Any] = _as_it_is

    @contextmanager
    def running(self) -> Iterator[None]:
        """Surround forward passes: the wrapper's precision, and no compiled code.

        Compiled code keeps hooks from being called, and would be compiled anew for eval mode and for every other size
        of a batch. Only a process that has loaded torch's compiler can hold any.
        """
        eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
        with eager, self.precision():
            yield


def unwrap(model: nn.Module) -> Unwrapped:
    """Take the wrappers off a model: torch.compile, DataParallel, DistributedDataParallel, Fabric.

    A probe runs the module inside: on one device, and without the collective calls of ``DistributedDataParallel``.
    Fabric's precision is kept, its ``fabric.backward`` is not needed.

    Args:
        model: Wrapped or not.

    Returns:
        The module, and what surrounds it.

    Raises:
        TypeError: If the wrapper keeps the module from being run by itself.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> unwrap(torch.nn.DataParallel(layer)).module is layer
        True
    """
    unwrapped = Unwrapped(model)
    # Wrappers nest: Fabric around DistributedDataParallel around a compiled model.
    while True:
        module, name = unwrapped.module, type(unwrapped.module).__name__
        # By name: importing torch._dynamo takes a second, and no other class is called so.
        if name == "OptimizedModule":
            unwrapped = Unwrapped(module._orig_mod, unwrapped.precision, unwrapped.convert)  # type: ignore[arg-type]
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            unwrapped = Unwrapped(module.module, unwrapped.precision, unwrapped.convert)
        elif name == "_FabricModule":
            # By name: nothing here may import lightning_fabric, which the core does without.
            precision: Any = module._strategy.precision  # type: ignore[union-attr]
            unwrapped = Unwrapped(module._forward_module, precision.forward_context, precision.convert_input)  # type: ignore[arg-type]
        elif name == "DeepSpeedEngine":
            raise TypeError("the model is a DeepSpeedEngine, whose weights are not whole: pass the module inside it")
        else:
            return unwrapped


def is_scripted(model: nn.Module) -> bool:
    """Tell whether a model, or a part of it, is TorchScript: hooks on layers inside are not called."""
    # Any part counts: a scripted trunk inside a plain module hides its layers just as well.
    return any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())


def is_sharded(model: nn.Module) -> bool:
    """Tell whether parameters are spread over processes (FSDP): a layer's weight is not whole outside its forward."""
    # By name: torch.distributed.fsdp need not be imported for a model that is no such one.
    return is_flattened(model) or any(type(parameter).__name__ == "DTensor" for parameter in model.parameters())


def is_flattened(model: nn.Module) -> bool:
    """Tell whether parameters are spread over processes as pieces of one flat array (FSDP's first version)."""
    return any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """Return a parameter's values, gathered from all processes where each holds a part of it (``fully_shard``).

    All processes call it together, where the model is sharded.
    """
    # By the method and not by the class: importing torch.distributed.tensor takes half a second, for nothing mostly.
    gather: Callable[[], torch.Tensor] | None = getattr(parameter, "full_tensor", None)
    return (parameter if gather is None else gather()).detach()


def device_of(model: nn.Module, wanted: torch.device | str | None) -> torch.device:
    """Tell where a model runs.

    Args:
        model: Any module.
        wanted: What the user says, or None.

    Returns:
        The device of its first parameter unless the user names another one that holds some.

    Raises:
        ValueError: If the model has no parameter on the device that the user names.
    """
    devices = {tensor.device for tensor in itertools.chain(model.parameters(), model.buffers())}
    first = next((tensor.device for tensor in itertools.chain(model.parameters(), model.buffers())), None)
    if wanted is None:
        return torch.device("cpu") if first is None else first
    # A model may lie on several devices; which one takes the inputs is for the user to say.
    device = torch.device(wanted)
    if devices and not any(d.type == device.type and device.index in {None, d.index} for d in devices):
        raise ValueError(f"device={str(device)!r}, but the model is on {first}: move it there, or leave device= out")
    return device


def is_channels_last(model: nn.Module) -> bool:
    """Tell whether the model's images should be laid out with channels last."""
    # Convolutions choose their kernels by the layout of input and weight: with weights in channels-last and inputs not,
    # every layer would convert its input.
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )
