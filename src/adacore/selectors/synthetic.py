"""Synthetic snapshots: what a selector requires, without a model, to try selectors on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import LastLayer, Requirements, Snapshot

_FEATURES = 6


@dataclass(frozen=True, eq=False)
class _World:
    """Where examples come from: a centre of features for each class, and a last layer that tells them apart badly."""

    centers: NDArray[np.float64]
    layer: LastLayer
    projection: NDArray[np.float64]


def synthetic_snapshot(
    requirements: Requirements, labels: NDArray[np.int64], *, seed: int = 0, held_out: int = 40
) -> Snapshot:
    """Make up examples of a classification problem, with no two alike, and just what is required of them.

    Features scatter about a centre for each class; logits are a linear function of them; gradients, probabilities and
    losses are those of softmax cross-entropy. Curvature is drawn at random, above 0; forgetting events all differ.

    Args:
        requirements: What the snapshot is to hold.
        labels: Class of each example, at least 0, int64, shape (n,).
        seed: Of everything drawn.
        held_out: Validation examples, where required.

    Returns:
        A snapshot of n examples.

    Example:
        >>> synthetic_snapshot(Requirements(proxy="logits"), np.array([0, 1, 1])).proxies.shape
        (3, 2)
    """
    generator = np.random.default_rng(seed)
    classes = int(max(labels.max(initial=0) + 1, 2))  # softmax needs two, even where one occurs
    world = _World(
        generator.normal(size=(classes, _FEATURES)),
        LastLayer(
            generator.normal(size=(classes, _FEATURES)).astype(np.float32),
            generator.normal(size=classes).astype(np.float32),
        ),
        generator.normal(size=(classes * _FEATURES, 5)),
    )
    snapshot = _examples(world, requirements, labels, generator)
    if requirements.validation:
        # Each class at least once: a class without held-out examples is another case, tested elsewhere.
        drawn = np.concatenate([np.unique(labels), generator.choice(labels, size=held_out)])
        needs = replace(requirements, validation=False, forgetting=False)
        snapshot = replace(snapshot, validation=_examples(world, needs, drawn, generator))
    return snapshot


def _examples(
    world: _World, requirements: Requirements, labels: NDArray[np.int64], generator: np.random.Generator
) -> Snapshot:
    n, layer = len(labels), world.layer
    features = world.centers[labels] + generator.normal(size=(n, _FEATURES))
    logits = features @ layer.weight.T.astype(np.float64) + layer.bias
    # log p by log-sum-exp: the losses stay exact where p rounds to 0 or 1.
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    errors = np.exp(logs)
    errors[np.arange(n), labels] -= 1
    proxies = {
        "logits": errors,
        "penultimate": errors @ layer.weight,
        "last_layer": (errors[:, :, None] * features[:, None, :]).reshape(n, -1) @ world.projection,
        "all_layers": (errors[:, :, None] * features[:, None, :]).reshape(n, -1) @ world.projection,
        None: errors,
    }[requirements.proxy]
    curvature = generator.uniform(0.5, 1.0, size=proxies.shape)  # away from 0: preconditioning stays tame
    forgetting = generator.permutation(n)  # no two alike, so that no ranking rests on ties

    def single(required: object, array: NDArray[np.float64]) -> NDArray[np.float32] | None:
        return array.astype(np.float32) if required else None

    return Snapshot(
        n,
        labels.astype(np.int64),
        labels.astype(np.int64),
        proxies=single(requirements.proxy, proxies),
        curvature=single(requirements.curvature, curvature),
        losses=single(requirements.losses, -logs[np.arange(n), labels]),
        probabilities=single(requirements.probabilities, np.exp(logs)),
        features=single(requirements.features, features),
        forgetting=forgetting if requirements.forgetting else None,
        last_layer=layer if requirements.last_layer else None,
    )
