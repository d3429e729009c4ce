"""L(S) of any subset, whoever chose it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adacore.facility.arrays import as_positions
from adacore.facility.problem import check_problem

_CELLS = 4_000_000
"""Distances that are held at a time: 32 MB in float64."""


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
    import torch  # its distances are computed in blocks, by differences, on all cores

    problem = check_problem(x, weights=weights, metric=metric).in_own_units()
    chosen = as_positions(indices, problem.clients.size, "indices")
    if not chosen.size:
        raise ValueError("indices name no row: L of an empty set is infinite; pass at least one")
    # In the engine's units, where no square over- or underflows; the exponent is put back at the end.
    picks = torch.from_numpy(problem.scaled(chosen))
    total = 0.0
    for rows in np.array_split(problem.clients, -(-problem.clients.size * len(picks) // _CELLS)):
        # By differences: the product form cancels, and rows equal to a pick would not be at distance 0.
        distances = torch.cdist(
            torch.from_numpy(problem.scaled(rows)), picks, compute_mode="donot_use_mm_for_euclid_dist"
        )
        total += float(problem.weights[rows] @ distances.amin(1).numpy())
    return float(problem.loss_in_units(total))
