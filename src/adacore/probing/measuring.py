"""One pass of a model over a data set, measuring every example batch by batch."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.probing.batches import as_rows, call
from adacore.probing.curvature import exact_diagonal, hutchinson_diagonal, pool
from adacore.probing.head import Head, Watched, find_head, watching
from adacore.probing.labels import classes_of, joined
from adacore.probing.losses import (
    Criterion,
    Differentiated,
    DifferentiatedAt,
    LocalLoss,
    per_example,
)
from adacore.probing.proxies import Space, space_of
from adacore.probing.reading import Batch, batch_fetcher, in_order, read, same
from adacore.probing.snapshot import LastLayer, Requirements, Snapshot
from adacore.probing.targets import check_targets

if TYPE_CHECKING:
    from adacore.probing.probe import Probe

FIRST = 16
"""Examples in the first batch, on which the last layer is looked for and which is read again at the end: so few that
running the model on them once more costs nothing, so many that augmentation by a coin's toss shows, but for 2^-16."""


class Measurement:
    """One pass of a model over a data set; the model must be in eval mode.

    Args:
        model: The model.
        requirements: What to measure.
        probe: How.
        seed: Of the projection of ``proxy="last_layer"``.
        generator: Draws blocks and Rademacher vectors.
    """

    def __init__(
        self,
        model: nn.Module,
        requirements: Requirements,
        probe: Probe,
        *,
        seed: int,
        generator: np.random.Generator,
    ) -> None:
        parameter = next(model.parameters(), None)
        device = probe.device if probe.device is not None else "cpu" if parameter is None else parameter.device
        self._model, self._requirements, self._probe = model, requirements, probe
        self._device = torch.device(device)
        self._memory_format = torch.channels_last if _is_channels_last(model) else None
        self._criterion: Criterion = per_example(probe.criterion)
        self._seed, self._generator = seed, generator

    def over(self, dataset: Dataset[Any]) -> Snapshot:
        """Measure every example.

        Args:
            dataset: A map-style data set of n examples.

        Returns:
            What is required of the model, and the targets where they are classes.
        """
        n, needs = len(dataset), self._requirements  # type: ignore[arg-type]
        rows: dict[str, Any] = {}
        classes: list[Tensor | None] = []
        batches = in_order(n, self._probe.batch_size, first=FIRST)
        if batch_fetcher(dataset) is None or "collate_fn" in self._probe.loader:
            batches.append(batches[0])  # once more, to see whether it comes out the same
        reading = read(
            dataset,
            batches,
            loader=self._probe.loader,
            device=self._device,
            memory_format=self._memory_format,
        )
        first = next(reading)
        head, augmented = self._find_head(first), False
        with watching(head) as watched:
            for number, batch in enumerate(itertools.chain([first], reading)):
                if number and batch.positions is batches[0]:
                    augmented = not same(first[:2], batch[:2])
                    break
                start = int(batch.positions[0])
                with torch.no_grad():  # watching() may turn gradients on within
                    measured = self._measure(self._logits(batch.inputs), batch.required_targets(), head, watched, start)
                classes.append(classes_of(batch.targets, self._probe.criterion))
                _write(rows, measured, n, start)
        if needs.curvature is not None:
            rows["curvature"] = pool(
                rows["curvature"], needs.curvature.scope, needs.curvature.block_size, self._generator
            )
        last_layer = _weights(head.layer) if head is not None and needs.last_layer else None
        return replace(Snapshot(n, targets=joined(classes), last_layer=last_layer, augmented=augmented), **rows)

    def _logits(self, inputs: Any) -> Tensor:
        logits = call(self._model, inputs, self._probe.forward)
        if logits.ndim == 1 and isinstance(self._criterion, Differentiated):
            self._criterion = replace(self._criterion, flat=True)
        return as_rows(logits)

    def _find_head(self, batch: Batch) -> Head | None:
        needs = self._requirements
        if not (needs.features or needs.last_layer or needs.proxy in {"penultimate", "last_layer"}):
            return None

        def run() -> Tensor:
            logits = self._logits(batch.inputs)
            check_targets(self._criterion, logits, batch.required_targets(), 0)
            return logits

        return find_head(self._model, run, self._probe.layer)

    def _measure(
        self, logits: Tensor, targets: Tensor, head: Head | None, watched: Watched, start: int
    ) -> dict[str, Tensor]:
        needs, plain = self._requirements, at_least_float32(logits.detach())
        _check_finite("logits", plain, start, allow_minus_infinity=True)
        check_targets(self._criterion, plain, targets, start)
        measured: dict[str, Tensor] = {}
        with torch.autocast(self._device.type, enabled=False):
            if needs.proxy is not None or needs.curvature is not None:
                if head is None or head.direct or needs.proxy == "logits":
                    local = self._criterion.at(plain, targets)
                else:
                    with torch.enable_grad():
                        local = DifferentiatedAt(
                            watched.outputs, self._criterion.losses(at_least_float32(logits), targets)
                        )
                measured.update(self._derivatives(local, self._space(head, watched), start))
            if needs.losses:
                measured["losses"] = self._criterion.losses(plain, targets)
            if needs.probabilities:
                measured["probabilities"] = probabilities(plain)
        if needs.features:
            measured["features"] = watched.features
        return measured

    def _space(self, head: Head | None, watched: Watched) -> Space:
        proxy = self._requirements.proxy
        if head is None or proxy is None or proxy == "logits":
            return Space()
        weight = at_least_float32(head.layer.weight.detach())
        features = watched.features.to(weight.dtype)
        dimension = self._requirements.projection
        return space_of(proxy, weight=weight, features=features, dimension=dimension, seed=self._seed)

    def _derivatives(self, local: LocalLoss, space: Space, start: int) -> dict[str, Tensor]:
        needs, measured = self._requirements, dict[str, Tensor]()
        if needs.proxy is not None:
            measured["proxies"] = space.vjp(local.gradient())
            _check_finite("loss gradient", measured["proxies"], start)
        if needs.curvature is not None and needs.curvature.kind == "exact":
            measured["curvature"] = exact_diagonal(local, space)
        elif needs.curvature is not None:
            samples = needs.curvature.samples
            measured["curvature"] = hutchinson_diagonal(local, space, samples=samples, generator=self._generator)
        return measured


def probabilities(logits: Tensor) -> Tensor:
    """Return the classes' probabilities; a single logit is that of the second of two classes."""
    return logits.softmax(1) if logits.shape[1] > 1 else torch.cat([(-logits).sigmoid(), logits.sigmoid()], dim=1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Give a tensor at least single precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _is_channels_last(model: nn.Module) -> bool:
    return any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )


def _weights(layer: nn.Linear) -> LastLayer:
    weight = layer.weight.detach().float().cpu().numpy().copy()
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else layer.bias.detach().float().cpu().numpy().copy()
    return LastLayer(weight, bias)


def _check_finite(name: str, values: Tensor, start: int, *, allow_minus_infinity: bool = False) -> None:
    if values.sum().isfinite():  # one pass; only what fails it, or overflows, is looked at closely
        return
    bad = values.isnan() | values.isposinf() if allow_minus_infinity else ~values.isfinite()
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"the {name} of example {start + row} is {float(values[row, column])}: expected finite numbers; has the "
            "training diverged? lower the learning rate, or look at that example"
        )


def _write(rows: dict[str, Any], measured: dict[str, Tensor], n: int, start: int) -> None:
    for name, values in measured.items():
        if name not in rows:
            rows[name] = np.empty((n, *values.shape[1:]), np.float32)
        torch.from_numpy(rows[name][start : start + len(values)]).copy_(values)
