"""Snapshot: what a selector may ask for about the examples; Requirements: what it does ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Proxy = Literal["logits", "penultimate", "last_layer", "all_layers"]
CurvatureKind = Literal["exact", "hutchinson"]
Scope = Literal["block", "global", "example"]
Targets = Literal["given", "predicted"]


@dataclass(frozen=True)
class Curvature:
    """How to estimate the Hessian diagonal, eq. (8).

    Attributes:
        kind: ``"exact"`` (closed form where the loss allows, else autograd) or ``"hutchinson"``.
        scope: One diagonal for each random block, for all examples, or for each example.
        block_size: b_H, examples in a block.
        samples: Rademacher vectors for each example (Hutchinson).
    """

    kind: CurvatureKind = "exact"
    scope: Scope = "block"
    block_size: int = 64
    samples: int = 1


@dataclass(frozen=True)
class Requirements:
    """What a selector needs to know about the examples; the probe computes just that.

    Attributes:
        proxy: Space of the gradient proxies, or None for none.
        curvature: Hessian diagonals in the same space, or None for none.
        beta1: Decay of the running average of the proxies, eq. (7), or None for no average.
        beta2: Decay of the running average of the curvature, eq. (9), or None for no average.
        projection: Dimension that ``proxy="last_layer"`` and ``proxy="all_layers"`` are projected to.
        losses: Whether losses are needed.
        probabilities: Whether the softmax of the logits is needed.
        features: Whether penultimate activations are needed.
        last_layer: Whether the last layer's weights are needed.
        validation: Whether the same is needed of a validation set.
        forgetting: Whether forgetting events, counted in training, are needed.
        targets: Where the loss is taken: at the targets ``"given"`` by the data set, or at the classes ``"predicted"``
            by the model itself, for pools without labels.

    Example:
        >>> Requirements(proxy="penultimate", curvature=Curvature(scope="global"), beta2=0.999).features
        False
    """

    proxy: Proxy | None = None
    curvature: Curvature | None = None
    beta1: float | None = None
    beta2: float | None = None
    projection: int = 64
    losses: bool = False
    probabilities: bool = False
    features: bool = False
    last_layer: bool = False
    validation: bool = False
    forgetting: bool = False
    targets: Targets = "given"

    @property
    def needs_targets(self) -> bool:
        """Whether the loss must be evaluated."""
        return bool(self.proxy or self.curvature or self.losses)

    @property
    def needs_head(self) -> bool:
        """Whether the last linear layer must be known."""
        return bool(self.features or self.last_layer or self.proxy in {"penultimate", "last_layer"})

    @property
    def needs_model(self) -> bool:
        """Whether anything must be computed by running the model."""
        return bool(
            self.proxy or self.curvature or self.losses or self.probabilities or self.features or self.last_layer
        )


@dataclass(frozen=True, eq=False)
class LastLayer:
    """Weights of the last linear layer: logits = features @ weight.T + bias.

    Attributes:
        weight: float32, shape (outputs, features).
        bias: float32, shape (outputs,); zeros if the layer has none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


_PER_EXAMPLE = ("strata", "targets", "proxies", "curvature", "losses", "probabilities", "features", "forgetting")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is known about n examples at one moment of training; what was not required is None.

    Attributes:
        n: Number of examples.
        strata: Groups to select within, int64, shape (n,), or None for none. They are the classes unless the user
            names others, and need not be what the model predicts.
        targets: Classes that the loss takes as the truth, int64, shape (n,), or None where there are none (regression,
            an unlabelled pool).
        proxies: g_i, float32, shape (n, d); averaged over reselections if required, eq. (7).
        curvature: Hessian diagonal that each example takes, float32, shape (n, d) (a read-only broadcast view for
            ``scope="global"``); averaged if required, eq. (9).
        losses: float32, shape (n,).
        probabilities: Softmax of the logits, float32, shape (n, classes).
        features: Penultimate activations, float32, shape (n, h).
        forgetting: Forgetting events of each example so far, int64, shape (n,).
        last_layer: Weights of the last layer.
        validation: The same of the validation set; its strata are its classes where the training data's are, else None.
        augmented: Whether ``dataset[i]`` was seen to change from reading to reading.

    Raises:
        ValueError: If an array does not have n rows.

    Example:
        >>> snapshot = Snapshot(3, proxies=np.eye(3, dtype=np.float32), targets=np.array([0, 1, 1]))
        >>> snapshot.proxies.shape, snapshot.losses
        ((3, 3), None)
    """

    n: int
    strata: NDArray[np.int64] | None = None
    targets: NDArray[np.int64] | None = None
    proxies: NDArray[np.float32] | None = None
    curvature: NDArray[np.float32] | None = None
    losses: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None
    features: NDArray[np.float32] | None = None
    forgetting: NDArray[np.int64] | None = None
    last_layer: LastLayer | None = None
    validation: Snapshot | None = None
    augmented: bool = False

    def __post_init__(self) -> None:
        for name, array in self.per_example().items():
            if len(array) != self.n:
                raise ValueError(f"{name} has {len(array)} rows: expected {self.n}, one for each example")

    def per_example(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that have one row for each example, by name."""
        named = {name: getattr(self, name) for name in _PER_EXAMPLE}
        return {name: array for name, array in named.items() if array is not None}

    def take(self, rows: NDArray[np.int64]) -> Snapshot:
        """Restrict the snapshot to some examples; the validation set and the last layer stay whole.

        Args:
            rows: Positions, int64, shape (m,).

        Returns:
            A snapshot of m examples in the order of ``rows``.

        Example:
            >>> Snapshot(3, strata=np.array([0, 1, 1])).take(np.array([2, 0])).strata
            array([1, 0])
        """
        restricted: dict[str, Any] = {name: array[rows] for name, array in self.per_example().items()}
        return replace(self, n=len(rows), **restricted)
