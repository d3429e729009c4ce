"""Farthest first by products: several picks share one pass over all rows.

Minima only fall, so an upper bound on a row's distance to what is selected stays one. The rows with the largest bounds
form a batch, whose distances are computed in double precision; as long as the farthest of the batch is farther than
every bound outside, it is the farthest of all, and can be picked before the others hear of the picks made meanwhile.
Then one product brings all bounds up to date for all picks of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.facility.list_gains import TIE
from adacore.facility.products.nearest import Kind, nearest
from adacore.facility.products.rows import UNDERFLOW, UNIT_ROUNDOFF, Comparable
from adacore.facility.workers import Workers

LEAST_BATCH, MOST_BATCH = 64, 2048
"""Rows in a batch: twice as many where all picks came before the batch's last, half as many where under an eighth of it
was picked. A pass over all rows costs as much for 1 pick as for some 20, for it waits for memory."""

ROWS_AT_A_TIME = 4096


def nearest_to_mean(rows: Comparable) -> int:
    """Find the row that is nearest to the mean of all, in double precision, ties to the first."""
    distances = rows.distances_to_mean()
    # Rows that are no distance apart are as far from the mean but for ``same``, by the triangle inequality.
    return int((distances <= distances.min() * (1 + TIE) + rows.same).nonzero()[0, 0])


def farthest_first(
    rows: Kind, initial: Kind | None, k: int, workers: Workers, report: Callable[[int], None] = lambda picks: None
) -> NDArray[np.int64]:
    """Pick again and again the row that is farthest from all that is selected, ties within 1e-12 to the first.

    Args:
        rows: The rows.
        initial: What is selected already; the row nearest to the mean is picked first if None.
        k: How many to pick at most.
        workers: Threads to share the work.
        report: Called with the number of picks from time to time.

    Returns:
        Positions of the picks, in order; fewer than ``k`` where every row equals one that is selected.
    """
    # On squared distances, from above, in single precision: minima only fall, so that one found early stays valid.
    bounds = torch.full((rows.n,), torch.inf, dtype=torch.float32, device=rows.low.device)
    picks: list[int] = []
    if initial is None:
        picks.append(nearest_to_mean(rows))
        _lower(rows, rows.take(_at(picks, rows)), bounds, workers)
    else:
        _lower(rows, initial, bounds, workers)
    size = LEAST_BATCH
    while len(picks) < k:
        batch, outside = _top(bounds, size)
        minima = _minima(rows.take(batch), rows, initial, picks)
        before = len(picks)
        while len(picks) < k:
            farthest = float(minima.max())
            # Whoever is outside may be this far, or in a tie with the farthest.
            if farthest <= 0 or farthest * (1 - TIE) <= outside:
                break
            ties = batch[minima >= farthest * (1 - TIE)]
            picks.append(int(ties.min()))
            distances = rows.distances(batch, rows, _at(picks[-1:], rows))
            minima = torch.minimum(minima, distances)
        made = len(picks) - before
        # Everyone outside is at distance 0 for certain, and so is the batch.
        if made == 0 and outside <= 0:
            break
        if made:
            _lower(rows, rows.take(_at(picks[before:], rows)), bounds, workers)
        else:
            # The batch's own bounds come down to what they are, so that the next batch is another one, and larger.
            exact = minima.square().mul_(1 + 4 * UNIT_ROUNDOFF).float()
            # A square that underflows must not say that nothing is left to cover.
            exact[minima > 0] += UNDERFLOW
            bounds[batch] = torch.minimum(bounds[batch], exact)
        # Large batches cost float64 distances that are not needed, small ones a pass over all rows for few picks.
        size = 2 * size if made == 0 or made > size // 2 else size // 2 if made < size // 8 else size
        size = min(max(size, LEAST_BATCH), MOST_BATCH if made else rows.n)
        workers.check()
        report(len(picks))
    return np.array(picks, dtype=np.int64)


def _at(positions: list[int], rows: Comparable) -> Tensor:
    return torch.tensor(positions, dtype=torch.int64, device=rows.low.device)


def _top(bounds: Tensor, size: int) -> tuple[Tensor, float]:
    """Return the rows with the largest bounds, and a bound on the distance of all others."""
    if size >= bounds.shape[0]:
        return torch.arange(bounds.shape[0], device=bounds.device), -1.0
    values, batch = bounds.topk(size + 1)
    # A root in double precision of a single-precision bound, rounded up; nobody is left where it is 0.
    return batch[:size], float(values[-1].double().clamp(min=0).sqrt()) * (1 + 1e-15)


def _minima(batch: Kind, rows: Kind, initial: Kind | None, picks: list[int]) -> Tensor:
    """Compute the batch's distances to what is selected, in double precision."""
    minima = torch.full((batch.n,), torch.inf, dtype=torch.float64, device=batch.low.device)
    if initial is not None:
        minima = nearest(batch, initial)[1]
    if picks:
        minima = torch.minimum(minima, nearest(batch, rows.take(_at(picks, rows)))[1])
    return minima


def _lower(rows: Kind, others: Kind, bounds: Tensor, workers: Workers) -> None:
    """Bring upper bounds on squared distances down to those to some others, where these are lower."""
    step = ROWS_AT_A_TIME if rows.low.device.type == "cpu" else max(ROWS_AT_A_TIME, (1 << 28) // others.n)

    def work(first: int, last: int) -> int:
        some = slice(first, last)
        for begin in range(0, others.n, ROWS_AT_A_TIME):
            those = slice(begin, begin + ROWS_AT_A_TIME)
            products = rows.products(some, others, those, others.high[those])
            torch.minimum(bounds[some], products.amin(dim=1).add_(rows.high[some]), out=bounds[some])
        return 0

    workers.share(work, rows.n, step)
