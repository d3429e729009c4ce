"""What coresets did: how far off they were, what they chose, and how much one shares with the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.coreset import Coreset


def gradient_error(gradients: ArrayLike, coreset: Coreset) -> float:
    """Measure how far a coreset's weighted gradient is from the full one, relative to the latter.

    ``||sum_i g_i - sum_j gamma_j g_j|| / ||sum_i g_i||``: the norm of eq. (4) for plain proxies, that of eq. (5) for
    preconditioned ones.

    Args:
        gradients: Proxies of all examples, shape (n, d).
        coreset: Of the same n examples.

    Returns:
        The error, >= 0; infinite where the full gradient vanishes and the coreset's does not.

    Raises:
        ValueError: If there is not one row for each example.

    Example:
        >>> gradient_error([[1.0], [2.0], [3.0]], Coreset(np.array([1]), np.array([3.0]), population=3))
        0.0
    """
    g = np.asarray(gradients, dtype=np.float64)
    if g.ndim != 2 or len(g) != coreset.population:
        raise ValueError(f"gradients have shape {g.shape}: expected ({coreset.population}, d), a row for each example")
    full = g.sum(axis=0)
    # float64 sums: the full gradient is what is left of n terms that nearly cancel late in training.
    error = float(np.linalg.norm(full - coreset.weights @ g[coreset.indices]))
    norm = float(np.linalg.norm(full))
    # At an exact optimum there is nothing to be relative to: right is 0, anything else infinitely wrong.
    if norm == 0:
        return 0.0 if error == 0 else math.inf
    return error / norm


def selection_counts(coresets: Sequence[Coreset]) -> NDArray[np.int64]:
    """Count in how many coresets each example is (Fig. 3b).

    Args:
        coresets: Of the same n examples, at least one.

    Returns:
        int64, shape (n,).

    Raises:
        ValueError: If there are none, or they are of different populations.

    Example:
        >>> parts = [Coreset(np.array(rows), np.ones(2), population=4) for rows in ([0, 1], [1, 3])]
        >>> selection_counts(parts)
        array([1, 2, 0, 1])
    """
    population = _population(coresets)
    return np.bincount(np.concatenate([coreset.indices for coreset in coresets]), minlength=population).astype(np.int64)


def overlaps(coresets: Sequence[Coreset]) -> NDArray[np.float64]:
    """Tell which share of each coreset was in the one before.

    Two independent random subsets of k of n examples share k / n of theirs on average.

    Args:
        coresets: In the order of their selection.

    Returns:
        ``|S_t & S_{t-1}| / |S_t|``, shape (number of coresets - 1,), in [0, 1].

    Example:
        >>> parts = [Coreset(np.array(rows), np.ones(2), population=4) for rows in ([0, 1], [1, 3])]
        >>> overlaps(parts)
        array([0.5])
    """
    _population(coresets)
    pairs = pairwise(coresets)
    return np.array([np.isin(now.indices, before.indices).mean() for before, now in pairs], dtype=np.float64)


def most_chosen(counts: ArrayLike, number: int) -> NDArray[np.int64]:
    """Find the examples chosen most often, among those chosen at all; ties to the lower index.

    Args:
        counts: Of each example, shape (n,).
        number: How many to return at most.

    Returns:
        Positions, the most often chosen first.

    Example:
        >>> most_chosen([1, 3, 0, 3], 3)
        array([1, 3, 0])
    """
    counts = np.asarray(counts)
    # Stable, so that ties go to the lower index on every machine.
    order = np.argsort(-counts, kind="stable")
    return order[counts[order] > 0][:number].astype(np.int64)


def never_chosen(counts: ArrayLike, number: int, *, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw examples that were never chosen.

    Args:
        counts: Of each example, shape (n,).
        number: How many to return at most.
        generator: The only source of randomness.

    Returns:
        Positions, ascending.

    Example:
        >>> never_chosen([1, 0, 2], 5, generator=np.random.default_rng(0))
        array([1])
    """
    # Drawn and not the first ones: data sets are often sorted, and the first would be of one class.
    never = np.flatnonzero(np.asarray(counts) == 0)
    return np.sort(generator.choice(never, size=min(number, never.size), replace=False)).astype(np.int64)


def _population(coresets: Sequence[Coreset]) -> int:
    populations = {coreset.population for coreset in coresets}
    if len(populations) != 1:
        raise ValueError(
            f"coresets of populations {sorted(populations)}: expected at least one, all of the same examples"
        )
    return populations.pop()
