"""The probe: model + data set -> Snapshot, leaving model, gradients and random streams exactly as they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.batches import Forward, call, length_of, move, split
from adacore.criteria import (
    Criterion,
    Differentiated,
    DifferentiatedAt,
    LocalLoss,
    LossFunction,
    check_targets,
    per_example,
)
from adacore.curvature import exact_diagonal, hutchinson_diagonal, pool
from adacore.fetch import Collate, read
from adacore.labels import check_labels, classes_of, joined, labels_of
from adacore.last_layer import Head, Watched, find_head, watching
from adacore.proxies import Space, space_of
from adacore.snapshot import LastLayer, Requirements, Snapshot
from adacore.untouched import untouched

__all__ = ["ProbeSettings", "labels_of", "probe", "take_snapshot"]


@dataclass(frozen=True)
class ProbeSettings:
    """How to run a model over a data set.

    Attributes:
        criterion: The loss; None for cross-entropy; see ``adacore.criteria.per_example``.
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


def probe(
    model: nn.Module,
    dataset: Dataset[Any],
    requirements: Requirements,
    *,
    criterion: LossFunction | None = None,
    labels: ArrayLike | None = None,
    validation: Dataset[Any] | None = None,
    forward: Forward | None = None,
    layer: str | None = None,
    collate_fn: Collate | None = None,
    batch_size: int = 512,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    seed: int = 0,
    reselection: int = 0,
    forgetting: NDArray[np.int64] | None = None,
) -> Snapshot:
    """Run a model over a data set, in eval mode and without a graph, and keep what a selector requires.

    Args:
        model: Maps a batch of inputs to logits of shape (batch, outputs); called under the ambient autocast.
        dataset: A map-style data set of n examples: tuples (inputs, targets) or dicts.
        requirements: What to compute; nothing else is.
        criterion: The loss; None for cross-entropy.
        labels: Classes, shape (n,); None to take integer targets.
        validation: A held-out data set.
        forward: ``(model, inputs) -> logits``.
        layer: Name of the last linear layer; None to find it where it is needed.
        collate_fn: Makes a batch of a list of examples.
        batch_size: Examples run at a time.
        num_workers: Processes that read the data set.
        device: Where to run; None for the model's own.
        seed: Seed of the projection of ``proxy="last_layer"``, and with ``reselection`` of what else is
            drawn.
        reselection: How many reselections came before.
        forgetting: Forgetting events counted in training, int64, shape (n,).

    Returns:
        A snapshot with float32 arrays in the order of the data set.

    Raises:
        ValueError: If the data are empty, the logits do not fit the targets, are not finite or not one vector for each
            example, the criterion reduces over the batch, or something that is required is missing.
        TypeError: If the data set is not map-style or its batches are of another form.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> probe(nn.Linear(3, 2), data, Requirements(proxy="logits")).proxies.shape
        (3, 2)
    """
    settings = ProbeSettings(criterion, labels, validation, forward, layer, collate_fn, batch_size, num_workers, device)
    return take_snapshot(
        model, dataset, requirements, settings, seed=seed, reselection=reselection, forgetting=forgetting
    )


def take_snapshot(
    model: nn.Module,
    dataset: Dataset[Any],
    requirements: Requirements,
    settings: ProbeSettings,
    *,
    seed: int = 0,
    reselection: int = 0,
    forgetting: NDArray[np.int64] | None = None,
) -> Snapshot:
    """Do what ``probe`` does, with its settings in one value."""
    n = length_of(dataset)
    if requirements.validation and settings.validation is None:
        raise ValueError("the selector needs validation data: pass validation=, a data set held out from training")
    if requirements.forgetting and forgetting is None:
        forgetting = np.zeros(n, dtype=np.int64)
    labels = None if settings.labels is None else check_labels(settings.labels, n)
    snapshot = Snapshot(n, labels)
    if requirements.needs_model:
        with untouched(model):
            run = _Run(model, requirements, settings, seed, np.random.default_rng([seed, reselection, 0xB1]))
            snapshot = run.over(dataset, n, labels)
    if requirements.forgetting:
        snapshot = replace(snapshot, forgetting=forgetting)
    if requirements.validation and settings.validation is not None:
        held_out = take_snapshot(
            model,
            settings.validation,
            replace(requirements, validation=False, forgetting=False),
            replace(settings, labels=None, validation=None),
            seed=seed,
            reselection=reselection,
        )
        snapshot = replace(snapshot, validation=held_out)
    return snapshot


class _Run:
    """One pass over a data set."""

    def __init__(
        self,
        model: nn.Module,
        requirements: Requirements,
        settings: ProbeSettings,
        seed: int,
        generator: np.random.Generator,
    ) -> None:
        parameter = next(model.parameters(), None)
        device = settings.device if settings.device is not None else "cpu" if parameter is None else parameter.device
        self.model, self.requirements, self.settings = model, requirements, settings
        self.device = torch.device(device)
        self.memory_format = torch.channels_last if _is_channels_last(model) else None
        self.criterion: Criterion = per_example(settings.criterion)
        self.seed, self.generator = seed, generator
        self.needs_head = requirements.features or requirements.last_layer or requirements.proxy not in {None, "logits"}

    def over(self, dataset: Dataset[Any], n: int, labels: NDArray[np.int64] | None) -> Snapshot:
        head = self.head(dataset, n) if self.needs_head else None
        rows: dict[str, Any] = {}
        classes: list[Tensor | None] = []
        start = 0
        with watching(head) as watched:
            for batch in self.read(dataset, torch.arange(n)):
                inputs, targets = split(batch)
                targets = targets.to(self.device, non_blocking=True)
                with torch.no_grad():
                    logits = self.logits(inputs)
                    measured = self.measure(head, watched, logits, targets, start)
                classes.append(classes_of(targets, self.settings.criterion))
                start += len(logits)
                _write(rows, measured, n, start)
        if start != n:
            raise ValueError(f"the data set gave {start} examples, its length is {n}: they must agree")
        if self.requirements.curvature is not None:
            wanted = self.requirements.curvature
            rows["curvature"] = pool(rows["curvature"], wanted.scope, wanted.block_size, self.generator)
        last_layer = _weights(head.layer) if head is not None and self.requirements.last_layer else None
        return replace(Snapshot(n, joined(classes) if labels is None else labels, last_layer=last_layer), **rows)

    def read(self, dataset: Dataset[Any], positions: Tensor) -> Iterator[Any]:
        settings = self.settings
        return read(
            dataset,
            positions,
            batch_size=settings.batch_size,
            collate_fn=settings.collate_fn,
            num_workers=settings.num_workers,
        )

    def logits(self, inputs: Any) -> Tensor:
        logits = call(self.model, move(inputs, self.device, self.memory_format), self.settings.forward)
        if logits.ndim == 1 and isinstance(self.criterion, Differentiated):
            self.criterion = replace(self.criterion, flat=True)
        return as_rows(logits)

    def head(self, dataset: Dataset[Any], n: int) -> Head:
        few = read(dataset, torch.arange(min(n, 4)), collate_fn=self.settings.collate_fn)
        inputs, _ = split(next(few))
        return find_head(self.model, lambda: self.logits(inputs), self.settings.layer)

    def measure(
        self, head: Head | None, watched: Watched, logits: Tensor, targets: Tensor, start: int
    ) -> dict[str, Tensor]:
        needs, plain = self.requirements, _wide(logits.detach())
        _check_finite("logits", plain, start, allow_minus_infinity=True)
        check_targets(self.criterion, plain, targets, start)
        measured: dict[str, Tensor] = {}
        if needs.proxy is not None or needs.curvature is not None or needs.losses:
            with torch.autocast(self.device.type, enabled=False):
                local = self.local(head, watched, logits, targets)
                measured.update(self.derivatives(local, self.space(head, watched), start))
                if needs.losses:
                    measured["losses"] = self.criterion.losses(plain, targets)
        if needs.probabilities:
            measured["probabilities"] = plain.softmax(1) if plain.shape[1] > 1 else plain.sigmoid()
        if needs.features:
            measured["features"] = watched.features
        return measured

    def local(self, head: Head | None, watched: Watched, logits: Tensor, targets: Tensor) -> LocalLoss:
        if head is None or head.direct or self.requirements.proxy in {None, "logits"}:
            return self.criterion.at(_wide(logits.detach()), targets)
        with torch.enable_grad():
            return DifferentiatedAt(watched.outputs, self.criterion.losses(_wide(logits), targets))

    def space(self, head: Head | None, watched: Watched) -> Space:
        proxy = self.requirements.proxy or "logits"
        if proxy == "logits" or head is None:
            return Space()
        weight = _wide(head.layer.weight.detach())
        features = watched.features.to(weight.dtype)
        return space_of(proxy, weight=weight, features=features, dimension=self.requirements.projection, seed=self.seed)

    def derivatives(self, local: LocalLoss, space: Space, start: int) -> dict[str, Tensor]:
        needs, measured = self.requirements, dict[str, Tensor]()
        if needs.proxy is not None:
            proxies = space.pull(local.gradient())
            _check_finite("loss gradient", proxies, start)
            measured["proxies"] = proxies
        if needs.curvature is not None and needs.curvature.kind == "exact":
            measured["curvature"] = exact_diagonal(local, space)
        elif needs.curvature is not None:
            probes = needs.curvature.probes
            measured["curvature"] = hutchinson_diagonal(local, space, probes=probes, generator=self.generator)
        return measured


def as_rows(logits: Tensor) -> Tensor:
    """Give logits the shape (batch, outputs).

    Args:
        logits: Shape (batch, outputs), or (batch,) for one output.

    Returns:
        Shape (batch, outputs).

    Raises:
        ValueError: If there are more dimensions: outputs for each token or pixel.
    """
    if logits.ndim == 1:
        return logits.unsqueeze(1)
    if logits.ndim != 2:
        raise ValueError(
            f"the model gives logits of shape {tuple(logits.shape)}: expected (batch, outputs), one vector for each "
            "example; pass forward= that reduces outputs for tokens or pixels to one vector"
        )
    return logits


def _wide(tensor: Tensor) -> Tensor:
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
    bad = values.isnan() | values.isposinf() if allow_minus_infinity else ~values.isfinite()
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"the {name} of example {start + row} is {float(values[row, column])}: expected finite numbers; has the "
            "training diverged? lower the learning rate, or look at that example"
        )


def _write(rows: dict[str, Any], measured: dict[str, Tensor], n: int, stop: int) -> None:
    for name, values in measured.items():
        if name not in rows:
            rows[name] = np.empty((n, *values.shape[1:]), np.float32)
        start = stop - len(values)
        torch.from_numpy(rows[name][start:stop]).copy_(values)
