"""Leave no trace: run a model or read a data set with every state put back afterwards."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

COPIED_BYTES = 2**28
"""Parameters up to this size in all are copied before a probe, so that they can be put back: copying 256 MiB takes less
time than running a model of that size on one batch. Of larger models only checksums are kept."""


@contextmanager
def preserving_random_streams() -> Iterator[None]:
    """Put Python's, numpy's and torch's global random streams (CPU and accelerators) back at the end, come what may."""
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # Asking an accelerator that was not used yet for its stream would start it, which takes seconds.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda._initialized else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A tensor of the model as it was.

    Attributes:
        name: Its name in the model.
        tensor: The tensor.
        copy: Its values, or None where they are too large to be kept.
        checksum: Sums of its values and of their magnitudes, where there is no copy.
    """

    name: str
    tensor: Tensor
    copy: Tensor | None
    checksum: Tensor | None

    @classmethod
    def of(cls, name: str, tensor: Tensor, *, copied: bool) -> _Kept:
        plain = tensor.detach()
        return cls(name, tensor, plain.clone() if copied else None, None if copied else _checksum(plain))

    def changed(self) -> bool:
        """Tell by the values: the version counter of a tensor does not see what is done to ``tensor.data``."""
        if self.copy is None:
            return self.checksum is not None and not _equal(_checksum(self.tensor.detach()), self.checksum)
        return not _equal(self.tensor.detach(), self.copy)

    def put_back(self) -> bool:
        """Put the values back, if they are kept."""
        if self.copy is None:
            return False
        self.tensor.detach().copy_(self.copy)
        return True


def _checksum(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.sum()
    # Changes that cancel in the sum (one weight up, another down by as much) show in the sum of magnitudes where the
    # two weights differ in sign.
    return torch.stack([tensor.sum(dtype=torch.float64), tensor.abs().sum(dtype=torch.float64)])


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or torch.equal(a, b):
        return a.shape == b.shape
    # torch.equal takes nan for different from nan; a parameter that was nan before is unchanged if it still is.
    return a.is_floating_point() and bool(((a == b) | (a.isnan() & b.isnan())).all())


@contextmanager
def preserving_state(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode, without gradients; put everything back at the end.

    Training flags are set one by one: ``model.eval()`` may be overridden to act, as in layers of loralib, which merge
    their weights in it. Buffers that a forward pass changes are put back; so are parameters, and there is a warning.
    ``torch.inference_mode`` would be slightly faster, but what a model caches in it could not be trained with.

    Args:
        model: Any module.

    Yields:
        Nothing.

    Raises:
        RuntimeError: If parameters changed that were too large to be copied.
        ValueError: If a lazy layer has never been run.
    """
    modules = [module for module in model.modules() if hasattr(module, "training")]
    flags = [(module, module.training) for module in modules]
    # A module may also bind another tensor to a buffer's name, as in ``self.calls = self.calls + 1``. TorchScript
    # keeps its tables of buffers to itself; their values are put back below.
    tables = [(m, dict(m._buffers)) for m in modules if not isinstance(m, torch.jit.ScriptModule)]
    buffers = [_Kept.of(name, buffer, copied=True) for name, buffer in model.named_buffers()]
    parameters = _keep_parameters(model)
    # Dropout and augmentation draw from these streams: a run that selects must draw what one that does not would draw.
    with preserving_random_streams():
        try:
            # A weight cast by autocast without gradients must not be taken from its cache when training goes on.
            torch.clear_autocast_cache()
            for module in modules:
                module.training = False
            # Also where the caller is in inference mode: hooks that start a graph need tensors that can have one.
            with torch.inference_mode(False), torch.no_grad():
                yield
        finally:
            torch.clear_autocast_cache()
            for module, training in flags:
                module.training = training
            for module, named in tables:
                module._buffers.clear()
                module._buffers.update(named)
            with torch.no_grad():
                for kept in buffers:
                    if kept.changed():
                        kept.put_back()
                changed = [kept for kept in parameters if kept.changed()]
                lost = [kept.name for kept in changed if not kept.put_back()]
    if lost:
        raise RuntimeError(
            f"the model changed its parameters while it was run in eval mode, and they are too large to have been "
            f"copied: {', '.join(lost)}; load them from a checkpoint, and keep forward() from changing parameters"
        )
    if changed:
        warnings.warn(
            f"the model changed its parameters while it was run in eval mode: {', '.join(k.name for k in changed)}; "
            "they were put back, but examples were measured with different parameters",
            RuntimeWarning,
            stacklevel=3,
        )


def _keep_parameters(model: nn.Module) -> list[_Kept]:
    named = list(model.named_parameters())
    lazy = [name for name, parameter in named if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise ValueError(f"the parameter {lazy[0]!r} of a lazy layer has no shape yet: run the model once before")
    # Parameters without storage here (meta tensors, shards) can neither be compared nor put back.
    whole = [(name, p) for name, p in named if not p.is_meta and type(p).__name__ != "DTensor"]
    copied = sum(p.numel() * p.element_size() for _, p in whole) <= COPIED_BYTES
    return [_Kept.of(name, parameter, copied=copied) for name, parameter in whole]
