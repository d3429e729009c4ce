"""One pass of a model over a data set, measuring every example."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.probing.batches import Forward, as_rows, call, move, split
from adacore.probing.curvature import exact_diagonal, hutchinson_diagonal, pool
from adacore.probing.head import Head, Watched, find_head, watching
from adacore.probing.labels import classes_of, joined
from adacore.probing.losses import (
    Criterion,
    Differentiated,
    DifferentiatedAt,
    LocalLoss,
    LossFunction,
    per_example,
)
from adacore.probing.proxies import Space, space_of
from adacore.probing.reading import Collate, read
from adacore.probing.snapshot import LastLayer, Requirements, Snapshot
from adacore.probing.targets import check_targets


@dataclass(frozen=True)
class ProbeSettings:
    """How to run a model over a data set.

    Attributes:
        criterion: The loss; None for cross-entropy; see ``adacore.probing.losses.per_example``.
        labels: Classes to select within, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        forward: ``(model, inputs) -> logits``, for models that are called in another way.
        layer: Name of the last linear layer; None to find it.
        collate_fn: Makes a batch of a list of examples; None for torch's default.
        batch_size: Examples run at a time.
        num_workers: Processes that read the data set.
        device: Where to run; None for the model's own.
    """

    criterion: LossFunction | None = None
    labels: ArrayLike | None = None
    validation: Dataset[Any] | None = None
    forward: Forward | None = None
    layer: str | None = None
    collate_fn: Collate | None = None
    batch_size: int = 512
    num_workers: int = 0
    device: torch.device | str | None = None


class Pass:
    """One pass of a model over a data set; the model must be in eval mode.

    Args:
        model: The model.
        requirements: What to measure.
        settings: How.
        seed: Of the projection of ``proxy="last_layer"``.
        generator: Draws blocks and Rademacher vectors.
    """

    def __init__(
        self,
        model: nn.Module,
        requirements: Requirements,
        settings: ProbeSettings,
        *,
        seed: int,
        generator: np.random.Generator,
    ) -> None:
        parameter = next(model.parameters(), None)
        device = settings.device if settings.device is not None else "cpu" if parameter is None else parameter.device
        self._model, self._requirements, self._settings = model, requirements, settings
        self._device = torch.device(device)
        self._memory_format = torch.channels_last if _is_channels_last(model) else None
        self._criterion: Criterion = per_example(settings.criterion)
        self._seed, self._generator = seed, generator

    def over(self, dataset: Dataset[Any], labels: NDArray[np.int64] | None) -> Snapshot:
        """Measure every example.

        Args:
            dataset: A map-style data set of n examples.
            labels: Their classes, int64, shape (n,), or None to take integer targets.

        Returns:
            What is required of the model, and the labels.
        """
        n = len(dataset)  # type: ignore[arg-type]
        needs, settings = self._requirements, self._settings
        head = self._find_head(dataset, n)
        rows: dict[str, Any] = {}
        classes: list[Tensor | None] = []
        start = 0
        with watching(head) as watched:
            for batch in read(
                dataset,
                torch.arange(n),
                batch_size=settings.batch_size,
                collate_fn=settings.collate_fn,
                num_workers=settings.num_workers,
            ):
                inputs, targets = split(batch)
                targets = targets.to(self._device, non_blocking=True)
                with torch.no_grad():  # watching() may turn gradients on within
                    measured = self._measure(self._logits(inputs), targets, head, watched, start)
                classes.append(classes_of(targets, settings.criterion))
                _write(rows, measured, n, start)
                start += len(targets)
        if start != n:
            raise ValueError(f"the data set gave {start} examples, its length is {n}: collate_fn must keep them all")
        if needs.curvature is not None:
            rows["curvature"] = pool(
                rows["curvature"], needs.curvature.scope, needs.curvature.block_size, self._generator
            )
        last_layer = _weights(head.layer) if head is not None and needs.last_layer else None
        return replace(Snapshot(n, joined(classes) if labels is None else labels, last_layer=last_layer), **rows)

    def _logits(self, inputs: Any) -> Tensor:
        logits = call(self._model, move(inputs, self._device, self._memory_format), self._settings.forward)
        if logits.ndim == 1 and isinstance(self._criterion, Differentiated):
            self._criterion = replace(self._criterion, flat=True)
        return as_rows(logits)

    def _find_head(self, dataset: Dataset[Any], n: int) -> Head | None:
        needs = self._requirements
        if not (needs.features or needs.last_layer or needs.proxy in {"penultimate", "last_layer"}):
            return None
        few = read(dataset, torch.arange(min(n, 4)), collate_fn=self._settings.collate_fn)
        inputs, targets = split(next(few))

        def run() -> Tensor:
            logits = self._logits(inputs)
            check_targets(self._criterion, logits, targets.to(self._device), 0)
            return logits

        return find_head(self._model, run, self._settings.layer)

    def _measure(
        self, logits: Tensor, targets: Tensor, head: Head | None, watched: Watched, start: int
    ) -> dict[str, Tensor]:
        needs, plain = self._requirements, wide(logits.detach())
        _check_finite("logits", plain, start, allow_minus_infinity=True)
        check_targets(self._criterion, plain, targets, start)
        measured: dict[str, Tensor] = {}
        with torch.autocast(self._device.type, enabled=False):
            if needs.proxy is not None or needs.curvature is not None:
                if head is None or head.direct or needs.proxy == "logits":
                    local = self._criterion.at(plain, targets)
                else:
                    with torch.enable_grad():
                        local = DifferentiatedAt(watched.outputs, self._criterion.losses(wide(logits), targets))
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
        weight = wide(head.layer.weight.detach())
        features = watched.features.to(weight.dtype)
        dimension = self._requirements.projection
        return space_of(proxy, weight=weight, features=features, dimension=dimension, seed=self._seed)

    def _derivatives(self, local: LocalLoss, space: Space, start: int) -> dict[str, Tensor]:
        needs, measured = self._requirements, dict[str, Tensor]()
        if needs.proxy is not None:
            measured["proxies"] = space.pull(local.gradient())
            _check_finite("loss gradient", measured["proxies"], start)
        if needs.curvature is not None and needs.curvature.kind == "exact":
            measured["curvature"] = exact_diagonal(local, space)
        elif needs.curvature is not None:
            probes = needs.curvature.probes
            measured["curvature"] = hutchinson_diagonal(local, space, probes=probes, generator=self._generator)
        return measured


def probabilities(logits: Tensor) -> Tensor:
    """Return the classes' probabilities; a single logit is that of the second of two classes."""
    return logits.softmax(1) if logits.shape[1] > 1 else torch.cat([(-logits).sigmoid(), logits.sigmoid()], dim=1)


def wide(tensor: Tensor) -> Tensor:
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
