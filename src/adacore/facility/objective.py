"""L(S) of any subset, whoever chose it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adacore.facility.points import check_points

_CELLS = 4_000_000


def facility_objective(x: Any, indices: ArrayLike) -> float:
    """Compute L(S) = sum_i min_{j in S} ||x_i - x_j||, eq. (12), in float64 and O(n) memory.

    Args:
        x: Points, shape (n, d).
        indices: The subset S, whole numbers, shape (k,), k at least 1.

    Returns:
        L(S).

    Example:
        >>> facility_objective(np.array([[0.0], [1.0], [5.0]]), [0, 2])
        1.0
    """
    import torch

    points = check_points(x, None)
    rows = torch.from_numpy(np.ascontiguousarray(points.rows))
    chosen = rows[torch.from_numpy(np.asarray(indices, dtype=np.int64))]
    nearest = [
        torch.cdist(chunk, chosen, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        for chunk in torch.split(rows, max(1, _CELLS // len(chosen)))
    ]
    return float(torch.cat(nearest).sum()) * points.scale
