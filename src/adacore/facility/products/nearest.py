"""The nearest of a few rows to every row: products leave one or two candidates, double precision decides."""

from __future__ import annotations

import torch
from torch import Tensor

from adacore.facility.products.rows import UNIT_ROUNDOFF, Rows, pair_distances

OTHERS_AT_A_TIME = 4096
BLOCK_NUMBERS = 1 << 22
"""Numbers in a block of products on a CPU: 16 MiB, a few passes of which cost less than the product itself."""

BLOCK_NUMBERS_ON_GPU = 1 << 28


def nearest(rows: Rows, others: Rows, start: int = 0) -> tuple[Tensor, Tensor]:
    """Find for every row which of the others is nearest, ties to the first.

    Args:
        rows: Rows.
        others: What they may belong to, at least one.
        start: Number of the first of the others.

    Returns:
        Numbers of the nearest, int64, and the distances in double precision, both of shape (rows.n,).
    """
    device = rows.single.device
    owner = torch.zeros(rows.n, dtype=torch.int64, device=device)
    distances = torch.full((rows.n,), torch.inf, dtype=torch.float64, device=device)
    width = min(OTHERS_AT_A_TIME, others.n)
    step = max(1, (BLOCK_NUMBERS_ON_GPU if device.type == "cuda" else BLOCK_NUMBERS) // width)
    for first in range(0, rows.n, step):
        some = slice(first, min(first + step, rows.n))
        for begin in range(0, others.n, width):
            _look_at(rows, others, some, slice(begin, min(begin + width, others.n)), start, owner, distances)
    return owner, distances


def _look_at(rows: Rows, others: Rows, some: slice, those: slice, start: int, owner: Tensor, distances: Tensor) -> None:
    """Let a range of the others compete for a range of rows; those looked at earlier win ties."""
    low, high = rows.low[some, None], rows.high[some, None]
    products = torch.mm(rows.single[some], others.single[those].T).mul_(-2)
    # Least upper bound on the squared distance: of these, or of what was nearest until now.
    most = (products + (high + others.high[those])).amin(dim=1)
    before = distances[some].square().mul_(1 + 4 * UNIT_ROUNDOFF).float().mul_(1 + 2 * UNIT_ROUNDOFF)
    most = torch.minimum(most, before) if start or those.start else most
    products += low + others.low[those]
    client, other = (products <= most[:, None]).nonzero(as_tuple=True)
    exact = pair_distances(rows, client + some.start, others, other + those.start)
    least = torch.full((some.stop - some.start,), torch.inf, dtype=torch.float64, device=exact.device)
    least.scatter_reduce_(0, client, exact, "amin")
    nearest_of_these = torch.full_like(least, torch.iinfo(torch.int64).max, dtype=torch.int64)
    ties = exact == least[client]
    nearest_of_these.scatter_reduce_(0, client[ties], other[ties], "amin")
    closer = least < distances[some]
    distances[some] = torch.where(closer, least, distances[some])
    owner[some] = torch.where(closer, nearest_of_these + (start + those.start), owner[some])
