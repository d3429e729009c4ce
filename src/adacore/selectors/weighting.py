"""Weights of a coreset: the sizes of its clusters, those sizes made more alike, or equal weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset, Statistic

Weighting = Literal["cluster", "uniform", "sqrt"]


def reweight(coreset: Coreset, weighting: Weighting) -> Coreset:
    """Replace cluster sizes gamma by 1 or sqrt(gamma), rescaled to the same sum.

    Args:
        coreset: With cluster sizes for weights.
        weighting: ``"cluster"`` leaves them, ``"uniform"`` makes them equal, ``"sqrt"`` goes half the way.

    Returns:
        The coreset with weights that sum to the population.

    Example:
        >>> reweight(Coreset(np.array([0, 1]), np.array([9.0, 1.0]), population=10), "sqrt").weights
        array([7.5, 2.5])
    """
    if weighting == "cluster":
        return coreset
    # The loader rescales to mean one anyway; the sum is kept so that the coreset still stands for all examples.
    powers = np.sqrt(coreset.weights) if weighting == "sqrt" else np.ones(len(coreset))
    return replace(coreset, weights=powers * (coreset.weights.sum() / powers.sum()))


def equally_weighted(
    indices: NDArray[np.int64], population: int, statistics: Mapping[str, Statistic] | None = None
) -> Coreset:
    """Give every chosen example the weight n / k.

    Args:
        indices: The k examples, int64, shape (k,).
        population: n.
        statistics: What else was measured.

    Returns:
        The coreset.

    Example:
        >>> equally_weighted(np.array([3, 1]), 10).weights
        array([5., 5.])
    """
    k = len(indices)
    # max(k, 1): an empty choice is an empty coreset here, and refused where it is to be trained on.
    return Coreset(indices, np.full(k, population / max(k, 1)), population, statistics=statistics or {})
