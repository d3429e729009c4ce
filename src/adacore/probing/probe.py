"""The probe: model + data set -> Snapshot, leaving model, gradients and random streams exactly as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.data import Dataset

from adacore.probing.batches import Forward, length_of
from adacore.probing.data_pass import Pass, ProbeSettings
from adacore.probing.labels import check_labels, labels_of
from adacore.probing.losses import LossFunction
from adacore.probing.preserving import untouched
from adacore.probing.reading import Collate
from adacore.probing.snapshot import Requirements, Snapshot

__all__ = ["ProbeSettings", "labels_of", "probe", "take_snapshot"]


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
            generator = np.random.default_rng([seed, reselection, 0xB1])
            snapshot = Pass(model, requirements, settings, seed=seed, generator=generator).over(dataset, labels)
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
