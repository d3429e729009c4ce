"""L(S) of any subset, whoever chose it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adacore.facility.arrays import as_positions
from adacore.facility.assignment import assign_rows
from adacore.facility.problem import check_problem
from adacore.facility.threads import thread_count
from adacore.facility.workers import open_workers


def facility_objective(x: Any, indices: ArrayLike, *, metric: str = "euclidean", weights: Any = None) -> float:
    """Compute L(S) = sum_i w_i min_{j in S} d(x_i, x_j), eq. (12), in float64 and O(n) memory.

    Args:
        x: Rows, shape (n, d), as ``facility_location`` takes them.
        indices: The subset S, positions of rows or a mask, at least one.
        metric: ``"euclidean"`` or ``"cosine"``.
        weights: w of each row, shape (n,); one each if None.

    Returns:
        L(S).

    Raises:
        ValueError: If something is out of range, or S is empty.

    Example:
        >>> facility_objective(np.array([[0.0], [1.0], [5.0]]), [0, 2])
        1.0
    """
    problem = check_problem(x, weights=weights, metric=metric).in_own_units()
    chosen = as_positions(indices, problem.clients.size, "indices")
    if not chosen.size:
        raise ValueError("indices name no row: L of an empty set is infinite; pass at least one")
    with open_workers(thread_count()) as workers:
        _, distances = assign_rows(problem, chosen, workers)
    # In the engine's units, where no sum of weights overflows; the exponent, a power of two, is put back at the end.
    return float(np.ldexp(problem.weights @ distances, problem.weight_exponent))
