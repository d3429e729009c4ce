"""Embeddings: what a layer of any model makes of every example of a data set; targets are not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.errors import unknown_name
from adacore.probing.batch_layout import Forward, call, first_tensor, length_of, move, run
from adacore.probing.head import find_head
from adacore.probing.image_layout import image_layout
from adacore.probing.model_state import preserving_state
from adacore.probing.probe import Probe
from adacore.probing.reading import FIRST, Batch, in_order, read
from adacore.probing.wrappers import Unwrapped, device_of, is_channels_last, is_scripted, unwrap

_CHANNELS_FIRST = (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)


def embed(
    model: nn.Module,
    dataset: Dataset[Any],
    layer: str | None = None,
    batch_size: int = 512,
    *,
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    loader: Mapping[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Return the features that a layer of a model computes for every example.

    The model is run in eval mode and without gradients, and is left as it was. Where a layer gives one vector for each
    token or pixel, an example's embedding is their mean; tokens that an ``attention_mask`` among the inputs leaves out
    do not count.

    Args:
        model: Any module. Wrappers (compiled, parallel, Fabric) are taken off.
        dataset: A map-style data set of n examples. Of a pair the first part is the input; an example without a target
            may be a tensor, a tuple of one, or a dict.
        layer: Name of the module whose output is taken, as in ``model.named_modules()``; ``""`` for the model's own
            output; None for the input of the last linear layer, or the model's own output where it does not end in one.
        batch_size: Examples run at a time.
        forward: ``(model, inputs) -> outputs``, for models that are called in another way than ``model(inputs)``.
        device: Where to run; None for the model's own device.
        loader: Settings of ``torch.utils.data.DataLoader`` for reading, such as ``collate_fn`` and ``num_workers``.

    Returns:
        float32, shape (n, h); row i for ``dataset[i]``.

    Raises:
        ValueError: If the layer is unknown or does not run, or an embedding is not finite.
        TypeError: If what comes out is no tensor, or the data set is not map-style.

    Example:
        >>> encoder = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> pool = torch.utils.data.TensorDataset(torch.randn(5, 3))  # no labels
        >>> embed(encoder, pool).shape, embed(encoder, pool, layer="0").shape
        ((5, 8), (5, 8))
    """
    n = length_of(dataset)
    settings = Probe(forward=forward, batch_size=batch_size, device=device, loader=dict(loader or {}))
    wrapped = unwrap(model)
    where, layout = device_of(wrapped.module, device), None
    # A small first batch, on which the layer is looked for in a recorded forward pass, which holds all activations.
    reading = read(
        dataset,
        in_order(n, batch_size, first=FIRST),
        loader=settings.loader,
        device=where,
        memory_format=torch.channels_last if is_channels_last(wrapped.module) else None,
        targets="optional",
    )
    rows: NDArray[np.float32] | None = None
    with preserving_state(model), wrapped.running():
        watch: _Watch | None = None
        for batch in reading:
            if watch is None:
                watch = _watch(wrapped, batch, layer, settings)
                layout = image_layout(wrapped.module, partial(_watched_tensor, watch), batch.inputs)
            inputs = batch.inputs if layout is None else move(batch.inputs, where, layout)
            vectors = _vectors(watch.run(inputs), batch, watch.channels_first)
            if rows is None:
                rows = np.empty((n, vectors.shape[1]), np.float32)
            torch.from_numpy(rows[batch.positions[0] : batch.positions[0] + len(vectors)]).copy_(vectors)
    if rows is None:
        raise ValueError("the data set gave no batch")
    return rows


class _Watch:
    """Runs a model and returns what is watched.

    Args:
        wrapped: The model.
        module: Whose output, or input, is watched; None for what the model returns.
        forward: How the model is called.
        inputs: Whether the module's input is taken, and not its output.
    """

    def __init__(self, wrapped: Unwrapped, module: nn.Module | None, forward: Forward | None, *, inputs: bool) -> None:
        self._wrapped, self._module, self._forward, self._inputs = wrapped, module, forward, inputs
        self._seen: list[Any] = []
        self.channels_first = isinstance(module, _CHANNELS_FIRST)

    def run(self, inputs: Any) -> Any:
        self._seen.clear()
        with self._hooked():
            output = run(self._wrapped.module, self._wrapped.convert(inputs), self._forward)
        if self._module is None:
            return output
        # A layer that runs twice (shared between two branches) has two outputs for an example: which one is meant is
        # not known.
        if len(self._seen) != 1:
            times = "does not run" if not self._seen else f"runs {len(self._seen)} times"
            raise ValueError(f"the layer {times} in a forward pass: name another with layer=")
        return self._seen[0]

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        if self._module is None:
            yield
            return

        def keep(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], outputs: Any) -> None:
            self._seen.append((args[0] if args else named["input"]) if self._inputs else outputs)

        handle = self._module.register_forward_hook(keep, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _watch(wrapped: Unwrapped, batch: Batch, layer: str | None, settings: Probe) -> _Watch:
    model, forward = wrapped.module, settings.forward
    if layer == "":
        return _Watch(wrapped, None, forward, inputs=False)
    if layer is not None:
        named = dict(model.named_modules())
        if layer not in named:
            raise unknown_name("layer", layer, [name for name in named if name])
        if is_scripted(model):
            raise ValueError('the model is TorchScript, whose layers cannot be watched: pass layer="", its own output')
        return _Watch(wrapped, named[layer], forward, inputs=False)
    try:
        # What enters the last linear layer is what the classifier sees: the usual embedding.
        head = find_head(model, lambda: call(model, wrapped.convert(batch.inputs), forward))
    except (ValueError, TypeError):  # it ends in something else than one linear layer
        return _Watch(wrapped, None, forward, inputs=False)
    return _Watch(wrapped, head.layer, forward, inputs=True)


def _watched_tensor(watch: _Watch, inputs: Any) -> Tensor | None:
    return first_tensor(watch.run(inputs))


def _vectors(output: Any, batch: Batch, channels_first: bool) -> Tensor:
    """Turn what a layer gives into one finite vector for each example."""
    for name in ("last_hidden_state", "logits"):
        output = getattr(output, name, output)
    tensor = output if isinstance(output, Tensor) else first_tensor(output)
    if tensor is None:
        raise TypeError(f"the layer gives a {type(output).__name__}: expected a tensor; name another with layer=")
    rows = len(batch.positions)
    if not tensor.ndim or len(tensor) != rows:
        raise ValueError(
            f"the layer gives shape {tuple(tensor.shape)} for {rows} examples: expected one row for each; name another "
            "with layer="
        )
    # float32 before any mean: half precision would round it to three digits.
    tensor = tensor.detach().float()
    if tensor.ndim == 1:
        tensor = tensor.unsqueeze(1)
    # Feature maps, channels first: the mean over pixels, as global average pooling takes it.
    elif tensor.ndim > 3 or (tensor.ndim == 3 and channels_first):
        tensor = tensor.flatten(2).mean(2)
    elif tensor.ndim == 3:
        tensor = _mean_over_tokens(tensor, batch.inputs)
    # One pass over the numbers in the usual case; a finite sum has finite terms.
    if not tensor.sum().isfinite():
        bad = (~tensor.isfinite()).any(1)
        if bad.any():
            row = int(batch.positions[bad.cpu()][0])
            raise ValueError(
                f"the embedding of example {row} is not finite: look at that example, or name another layer with layer="
            )
    return tensor


def _mean_over_tokens(tensor: Tensor, inputs: Any) -> Tensor:
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if not isinstance(mask, Tensor) or mask.shape != tensor.shape[:2]:
        return tensor.mean(1)
    # torch.where first: padding may hold nan (softmax over a row that is masked whole), and nan times 0 is nan.
    counted = mask.to(tensor).unsqueeze(2)
    # An example without any token has the zero vector.
    return torch.where(counted > 0, tensor, 0).mul(counted).sum(1) / counted.sum(1).clamp_min(1)
