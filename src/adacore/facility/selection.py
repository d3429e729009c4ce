"""facility_location: choose the examples that stand for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.facility.points import Points, check_labels, check_points
from adacore.facility.progress import show_progress
from adacore.facility.threads import thread_count

METHODS = ("exact", "sampled", "stochastic")


def facility_location(
    x: Any,
    *,
    budget: int | None = None,
    fraction: float | None = None,
    tolerance: float | None = None,
    labels: Any = None,
    method: str = "exact",
    seed: int | np.random.Generator | None = None,
    weights: Any = None,
    refine: bool = False,
    epsilon: float = 0.1,
    progress: bool | None = None,
) -> Coreset:
    """Choose the examples that stand for all: greedy facility location on Euclidean distances.

    Makes L(S) = sum_i w_i min_{j in S} ||x_i - x_j|| small, eq. (12), one example after another: first the medoid, then
    always what lowers L most. Greedy gains at least 1 - 1/e of what the best S of the same size gains, eq. (13).
    Memory is O(n d).

    Args:
        x: Coordinates, numpy array or torch tensor on any device, real, shape (n, d).
        budget: How many to select, in [1, n].
        fraction: Share to select, in (0, 1].
        tolerance: Select until L(S) is at most this, the cover problem (13), in the units of ``x``, at least 0. Greedy
            needs at most 1 + ln(max_j F({j}) / smallest gain) times as many as the smallest such S (Wolsey 1982).
        labels: Class of each example, shape (n,): selection within each class, budgets in proportion to the classes'
            sizes, one tolerance for all classes together.
        method: ``"exact"`` selects what naive greedy in float64 selects; gains within 1e-12 relative are a tie, which
            the lower index wins. ``"stochastic"`` looks at (n / k) ln(1 / epsilon) random candidates for each pick: in
            expectation 1 - 1/e - epsilon of the best gain. ``"sampled"`` is exact greedy on a uniform sample of
            m = max(50,000, 20 k) examples, evaluated on all; for any S fixed beforehand, L and its estimate differ by
            at most n D sqrt(ln(2 / delta) / (2 m)) with probability 1 - delta, D being the diameter.
        seed: Seed or generator of what is random, for the latter two.
        weights: Mass of each example, shape (n,), at least 0; one each if None.
        refine: Afterwards swap selected examples for others as long as that lowers L (FasterPAM's rule).
        epsilon: See ``"stochastic"``.
        progress: Whether to show a progress bar on stderr; if None, where it is a terminal and over 5 s are predicted.

    Returns:
        The coreset. Indices in pick order (class by class), weights the masses nearest to each, and ``objective``,
        ``gains`` and ``lower_bound``; ``statistics`` say how many ``distances`` were evaluated and which ``method``
        ran. Fewer than asked for are selected where nothing more is to be gained.

    Raises:
        ValueError: If a value, shape, size or name is not as described.
        TypeError: If a type is not.

    Example:
        >>> coreset = facility_location(np.array([[0.0], [1.0], [2.0], [9.0], [10.0]]), budget=2)
        >>> coreset.indices, coreset.weights, coreset.objective
        (array([2, 3]), array([3., 2.]), 4.0)
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if not (isinstance(epsilon, Real) and 0 < epsilon < 1):
        raise ValueError(f"epsilon={epsilon!r} is outside (0, 1): pass for example 0.1")
    generator = np.random.default_rng(seed)
    points = check_points(x, weights)
    rows = [np.arange(points.n)] if labels is None else check_labels(labels, points.n)
    counts = np.array([len(members) for members in rows])
    target = check_tolerance(tolerance, budget, fraction, method)
    budgets = (
        counts
        if target is not None
        else split_budget(counts, resolve_budget(points.n, budget=budget, fraction=fraction))
    )

    from adacore.facility.classes import Request, select_in_classes

    request = Request(method, generator, refine, float(epsilon), None if target is None else target / points.scale)
    parts = [points] if labels is None else [points.take(members) for members in rows]
    with show_progress(parts, budgets, thread_count(), progress) as report:
        outcomes = select_in_classes(parts, budgets, request, thread_count(), report)
    return _join(outcomes, rows, points)


def check_tolerance(tolerance: float | None, budget: int | None, fraction: float | None, method: str) -> float | None:
    """Check the tolerance against the other sizes.

    Args:
        tolerance: What was passed.
        budget: What was passed.
        fraction: What was passed.
        method: What was passed.

    Returns:
        The tolerance.

    Raises:
        ValueError: If another size is given too, if it is out of range, or if the method can't keep it.
        TypeError: If it is not a number.
    """
    if tolerance is None:
        return None
    if budget is not None or fraction is not None:
        other = f"budget={budget!r}" if budget is not None else f"fraction={fraction!r}"
        raise ValueError(f"two sizes given, tolerance={tolerance!r} and {other}: pass one of them")
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real):
        raise TypeError(f"tolerance={tolerance!r} is not a number: pass a float >= 0")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r} is no finite number >= 0: L(S) can't go below 0")
    if method != "exact":
        raise ValueError(f"tolerance= needs method='exact', not {method!r}: pass budget= or fraction= with that")
    return float(tolerance)


def _join(outcomes: Sequence[Any], rows: Sequence[NDArray[np.int64]], points: Points) -> Coreset:
    methods = {outcome.method for outcome in outcomes}
    return Coreset(
        indices=np.concatenate([members[outcome.indices] for members, outcome in zip(rows, outcomes, strict=True)]),
        weights=np.concatenate([outcome.weights for outcome in outcomes]),
        population=points.n,
        objective=sum(outcome.objective for outcome in outcomes) * points.scale,
        gains=np.concatenate([outcome.gains for outcome in outcomes]) * points.scale,
        lower_bound=sum(outcome.lower_bound for outcome in outcomes) * points.scale,
        statistics={
            "distances": sum(outcome.distances for outcome in outcomes),
            "method": methods.pop() if len(methods) == 1 else "sampled and exact",
        },
    )
