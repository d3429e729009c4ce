"""k_center: the rows that cover all within the smallest radius, by farthest-first traversal."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from adacore.budget import resolve_budget, warn_of_few
from adacore.coreset import Coreset
from adacore.facility.assignment import assign_rows
from adacore.facility.costs import nearest_cost
from adacore.facility.devices import check_device
from adacore.facility.problem import check_problem
from adacore.facility.progress import show_progress
from adacore.facility.threads import check_threads
from adacore.facility.workers import open_workers


def k_center(
    x: Any,
    *,
    budget: int | None = None,
    fraction: float | None = None,
    initial: Any = None,
    metric: str = "euclidean",
    device: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Coreset:
    """Choose rows so that no row is far from a chosen one: farthest first (Gonzalez, 1985), exact.

    The first pick is the row nearest to the mean, each further one the row farthest from all that is selected, ties
    within 1e-12 to the lower index. The radius max_i min_{j in S} d(x_i, x_j) is at most twice the smallest possible
    for as many picks: k + 1 rows that are pairwise farther apart than the radius r can't be covered by k balls of
    radius below r / 2. With initial rows, twice the smallest possible for as many more. Batches of picks share one
    product with all rows, for distances to what is selected only fall; double precision decides.

    Args:
        x: Rows, shape (n, d); see ``facility_location``.
        budget: How many to select, in [1, n].
        fraction: Share of the rows to select, in (0, 1].
        initial: Rows that are selected already, as positions or a mask; they cover others and are not returned.
        metric: ``"euclidean"`` or ``"cosine"``.
        device: Where to compute, ``"cpu"`` or ``"cuda"``; where ``x`` is if None.
        threads: How many threads; those that torch would use if None.
        progress: Whether to show progress on stderr; see ``facility_location``.

    Returns:
        The coreset: ``indices`` in the order of selection, ``weights`` how many rows are nearest to each (what initial
        rows cover is in ``initial_weights``), and ``radius``. Fewer than asked for are selected where every row equals
        one that is selected; of fewer than half a warning tells.

    Raises:
        ValueError: If a value, shape or name is not as described.
        TypeError: If a type is not.

    Example:
        >>> coreset = k_center(np.array([[0.0], [1.0], [5.0]]), budget=2)
        >>> coreset.indices, coreset.weights, coreset.radius
        (array([1, 2]), array([2., 1.]), 1.0)
    """
    start = time.perf_counter()
    place, threads = check_device(device, x), check_threads(threads)
    # Weights play no part: a radius is a maximum over rows.
    problem = check_problem(x, initial=initial, metric=metric).in_own_units()
    n, before = problem.clients.size, problem.initial.size
    k = resolve_budget(n, budget=budget, fraction=fraction)
    if k > n - before:
        raise ValueError(f"budget={k} exceeds the {n - before} rows that are left to select: choose at most that many")

    import torch  # 1 s, and not needed to import the engine

    from adacore.facility.products.farthest import farthest_first
    from adacore.facility.products.precision import full_precision
    from adacore.facility.products.sides import open_rows

    with open_workers(threads, place) as workers:
        seconds = nearest_cost(problem, k, threads)
        with full_precision(), show_progress("selecting", k, seconds, progress) as report:
            take = open_rows(problem, workers.device or torch.device("cpu"))
            picks = farthest_first(take(problem.clients), take(problem.initial) if before else None, k, workers, report)
        # Initial rows first, so that they win ties; what they cover is told apart by ``before``.
        owner, distances = assign_rows(problem, np.concatenate([problem.initial, picks]), workers)
    warn_of_few("k_center", picks.size, k, "every other row equals one that is selected; ask for fewer", stacklevel=2)
    weights = np.bincount(owner, minlength=before + picks.size).astype(np.float64)
    return Coreset(
        indices=picks,
        weights=weights[before:],
        population=n,
        statistics={"radius": float(distances.max()), "seconds": time.perf_counter() - start},
        initial_weights=weights[:before] if before else None,
    )
