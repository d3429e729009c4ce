"""The nearest of a few rows to every row: products leave one or two candidates, double precision decides."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from adacore.facility.products.rows import UNIT_ROUNDOFF, Comparable
from adacore.facility.workers import Workers

Kind = TypeVar("Kind", bound=Comparable)

OTHERS_AT_A_TIME = 4096
BLOCK_NUMBERS = 1 << 22
"""Numbers in a block of products on a CPU: 16 MiB, a few passes of which cost less than the product itself."""

BLOCK_NUMBERS_ON_GPU = 1 << 28


def nearest(rows: Kind, others: Kind, workers: Workers | None = None) -> tuple[Tensor, Tensor]:
    """Find for every row which of the others is nearest, ties to the first.

    Args:
        rows: Rows.
        others: What they may belong to, at least one.
        workers: Threads to share the work; the calling one if None.

    Returns:
        Numbers of the nearest, int64, and the distances in double precision, both of shape (rows.n,).
    """
    device = rows.low.device
    owner = torch.zeros(rows.n, dtype=torch.int64, device=device)
    distances = torch.full((rows.n,), torch.inf, dtype=torch.float64, device=device)
    width = min(OTHERS_AT_A_TIME, others.n)
    step = max(1, (BLOCK_NUMBERS_ON_GPU if device.type == "cuda" else BLOCK_NUMBERS) // width)

    def work(first: int, last: int) -> int:
        some = slice(first, last)
        # In ascending order, so that what was looked at earlier wins ties.
        for begin in range(0, others.n, width):
            _look_at(rows, others, some, slice(begin, min(begin + width, others.n)), owner, distances)
        return 0

    (workers or Workers(1)).share(work, rows.n, step)
    return owner, distances


def _look_at(rows: Kind, others: Kind, some: slice, those: slice, owner: Tensor, distances: Tensor) -> None:
    """Let a range of the others compete for a range of rows; those looked at earlier win ties."""
    # t_j = low_j - 2 y_i . y_j. With t least at j0, the nearest j has
    # t_j + low_i <= d_ij^2 <= d_ij0^2 <= t_j0 + (high - low)_j0 + high_i,
    # so that only those with t_j <= min t + max (high - low)_j + (high - low)_i are left.
    products = rows.products(some, others, those, others.low[those])
    slack = (others.high[those].double() - others.low[those]).max() + (rows.high[some].double() - rows.low[some])
    most = products.amin(dim=1).double() + slack
    if those.start:  # what was nearest until now bounds it too
        most = torch.minimum(most, distances[some].square() * (1 + 4 * UNIT_ROUNDOFF) - rows.low[some].double())
    limit = most.float()
    limit = torch.nextafter(limit, torch.full_like(limit, torch.inf))
    # One or two for each row as a rule: all that is looked at in double precision.
    client, other = (products <= limit[:, None]).nonzero(as_tuple=True)
    exact = rows.distances(client + some.start, others, other + those.start)
    least = torch.full((some.stop - some.start,), torch.inf, dtype=torch.float64, device=exact.device)
    # A minimum does not depend on the order in which a GPU's threads arrive, as a sum would.
    least.scatter_reduce_(0, client, exact, "amin")
    nearest_of_these = torch.full_like(least, torch.iinfo(torch.int64).max, dtype=torch.int64)
    ties = exact == least[client]
    nearest_of_these.scatter_reduce_(0, client[ties], other[ties], "amin")
    closer = least < distances[some]
    distances[some] = torch.where(closer, least, distances[some])
    owner[some] = torch.where(closer, nearest_of_these + those.start, owner[some])
