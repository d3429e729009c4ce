"""Joining the coresets of disjoint strata into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.selectors.base import Combine


def join(
    parts: Sequence[Coreset],
    rows: Sequence[NDArray[np.int64]],
    population: int,
    combine: Mapping[str, Combine],
    vectors: Sequence[NDArray[np.float64]] = (),
) -> Coreset:
    """Join the coresets of disjoint strata into one.

    L(S) is a sum over examples, so that objectives and lower bounds add up. Other statistics need not: the radius of
    two strata is the larger one, the norm of an error is that of the sum of the strata's errors, which may cancel.

    Args:
        parts: A coreset of each stratum.
        rows: Positions of each stratum's examples.
        population: Number of examples in all.
        combine: How each statistic combines, by name: ``Traits.statistics``. One that is not named is kept only where
            all strata agree on it, for nothing else is known to be right.
        vectors: What each stratum leaves over, where a statistic is the norm of it.

    Returns:
        Indices, weights and gains, one stratum after the other; objectives and bounds summed.

    Example:
        >>> parts = [Coreset([0], [1.0], 1, statistics={"radius": r}) for r in (2.0, 3.0)]
        >>> join(parts, [np.array([0]), np.array([1])], 2, {"radius": "maximum"}).statistics
        {'radius': 3.0}
    """
    objectives = [part.objective for part in parts if part.objective is not None]
    bounds = [part.lower_bound for part in parts if part.lower_bound is not None]
    gains = [part.gains for part in parts if part.gains is not None]
    return Coreset(
        indices=np.concatenate([row[part.indices] for row, part in zip(rows, parts, strict=True)]),
        weights=np.concatenate([part.weights for part in parts]),
        population=population,
        objective=float(sum(objectives)) if len(objectives) == len(parts) else None,
        lower_bound=float(sum(bounds)) if len(bounds) == len(parts) else None,
        gains=np.concatenate(gains) if len(gains) == len(parts) else None,
        statistics=_combined([part.statistics for part in parts], combine, vectors),
    )


def _combined(
    parts: Sequence[Mapping[str, Any]], combine: Mapping[str, Combine], vectors: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    combined: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        how = combine.get(name)
        if how == "sum":
            combined[name] = sum(values)
        elif how == "maximum":
            combined[name] = max(values)
        elif how == "norm":
            if vectors:
                combined[name] = float(np.linalg.norm(np.sum(vectors, axis=0)))
        elif len(values) == len(parts) and all(value == values[0] for value in values):
            combined[name] = values[0]
        elif how == "same":  # what should be alike and is not is told in full: "exact and sampled"
            combined[name] = " and ".join(sorted({str(value) for value in values}))
    return combined
