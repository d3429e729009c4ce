"""Leave no trace: run a model or read a data set with every state put back afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def preserving_random_streams() -> Iterator[None]:
    """Put Python's, numpy's and torch's global random streams (CPU and accelerators) back at the end, come what may."""
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
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


@contextmanager
def preserving_state(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode, without gradients; put training flags, buffers and random streams back at the end.

    ``torch.inference_mode`` would be slightly faster, but what a model caches in it could not be trained with.
    """
    flags = [(module, module.training) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    saved = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
    with preserving_random_streams():
        try:
            # A weight cast by autocast without gradients must not be taken from its cache when training goes on.
            torch.clear_autocast_cache()
            model.eval()
            with torch.inference_mode(False), torch.no_grad():
                yield
        finally:
            torch.clear_autocast_cache()
            for module, training in flags:
                module.training = training
            for module, named in buffers:
                module._buffers.clear()
                module._buffers.update(named)
            for buffer, version, value in saved:
                if buffer._version != version:
                    with torch.no_grad():
                        buffer.copy_(value)
