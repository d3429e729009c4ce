"""assign: which of some picks every row belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility.arrays import as_positions
from adacore.facility.costs import nearest_cost
from adacore.facility.devices import check_device
from adacore.facility.problem import Problem, check_problem
from adacore.facility.progress import Report, show_progress
from adacore.facility.threads import check_threads
from adacore.facility.workers import Workers, open_workers

ROWS_AT_A_TIME = 1 << 16
"""Rows that are brought to single precision at once: 96 MiB at 384 dimensions, beside which nothing of size n x d."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which pick is nearest to every row, and how far it is.

    Attributes:
        owner: Position in ``picks`` of the nearest pick, ties to the first, int64, shape (n,).
        distances: Distance to it, float64, shape (n,).
        weights: Weight of the rows that belong to each pick, float64, shape (len(picks),).
    """

    owner: NDArray[np.int64]
    distances: NDArray[np.float64]
    weights: NDArray[np.float64]


def assign(
    x: Any,
    picks: Any,
    *,
    metric: str = "euclidean",
    weights: Any = None,
    device: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Assignment:
    """Find the nearest of some picks for every row, exactly.

    Products in single precision with a bound on their rounding leave one or two candidates for each row; distances in
    double precision decide. Memory is O(n) beside the rows.

    Args:
        x: Rows, shape (n, d); see ``facility_location``.
        picks: Positions of rows of ``x``, or a mask, at least one; ``coreset.indices``, say.
        metric: ``"euclidean"`` or ``"cosine"``.
        weights: How much each row counts, shape (n,); one each if None.
        device: Where to compute, ``"cpu"`` or ``"cuda"``; where ``x`` is if None.
        threads: How many threads; those that torch would use if None.
        progress: Whether to show progress on stderr; see ``facility_location``.

    Returns:
        The assignment.

    Raises:
        ValueError: If a value, shape or name is not as described.
        TypeError: If a type is not.

    Example:
        >>> a = assign(np.array([[0.0], [1.0], [5.0], [7.0]]), [3, 0])
        >>> a.owner, a.distances, a.weights
        (array([1, 1, 0, 0]), array([0., 1., 2., 0.]), array([2., 2.]))
    """
    place, threads = check_device(device, x), check_threads(threads)
    problem = check_problem(x, weights=weights, metric=metric)
    chosen = as_positions(picks, problem.rows.shape[0], "picks")
    if chosen.size == 0:
        raise ValueError("picks= names no row: pass the position of at least one")
    seconds = nearest_cost(problem, chosen.size, threads)
    with (
        open_workers(threads, place) as workers,
        show_progress("assigning", problem.clients.size, seconds, progress) as report,
    ):
        owner, distances = assign_rows(problem.in_own_units(), chosen, workers, report)
    totals = np.bincount(owner, weights=problem.weights, minlength=chosen.size)
    return Assignment(owner, distances, totals.astype(np.float64))


def assign_rows(
    problem: Problem, chosen: NDArray[np.int64], workers: Workers, report: Report = lambda done: None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the nearest of the chosen rows for every client of a problem.

    Args:
        problem: The problem, in its own units.
        chosen: Rows, int64, at least one.
        workers: Threads, or a GPU.
        report: Called with the number of clients that are done from time to time.

    Returns:
        Position in ``chosen`` of the nearest, int64, and the distance in the caller's units, both of shape (m,).
    """
    import torch  # 1 s, and not needed to import the engine

    from adacore.facility.products.nearest import nearest
    from adacore.facility.products.precision import full_precision
    from adacore.facility.products.sides import open_rows

    with full_precision():
        take = open_rows(problem, workers.device or torch.device("cpu"))
        others, parts = take(chosen), []
        for first in range(0, problem.clients.size, ROWS_AT_A_TIME):
            owner, distances = nearest(take(problem.clients[first : first + ROWS_AT_A_TIME]), others, workers)
            parts.append((owner.cpu().numpy(), distances.cpu().numpy()))
            # Between pieces of some 65,000 rows, which is where an interruption is noticed.
            workers.check()
            report(first)
    owners, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    # Exact: a power of two.
    return owners, np.ldexp(values, problem.product_exponent)
