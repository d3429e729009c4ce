"""Weighting: what becomes of the cluster sizes of a facility-location coreset."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from adacore.coreset import Coreset
from adacore.errors import unknown_name

Weighting = Literal["cluster", "uniform", "sqrt"]


def check_weighting(weighting: str) -> None:
    """Raise a ValueError, with the nearest known name, if there is no such weighting."""
    if weighting not in get_args(Weighting):
        raise unknown_name("weighting", weighting, get_args(Weighting))


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
    powers = np.sqrt(coreset.weights) if weighting == "sqrt" else np.ones(len(coreset))
    return replace(coreset, weights=powers * (coreset.weights.sum() / powers.sum()))
