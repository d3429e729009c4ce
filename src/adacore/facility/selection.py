"""facility_location: choose the examples that stand for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.facility.points import check_labels, check_points


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
) -> Coreset:
    points = check_points(x, weights)
    groups = [np.arange(points.n)] if labels is None else check_labels(labels, points.n)
    if method not in ("exact", "stochastic"):
        raise unknown_name("method", method, ["exact", "stochastic"])
    if tolerance is not None:
        if budget is not None or fraction is not None:
            raise ValueError("two sizes given: pass one of budget=, fraction=, tolerance=")
        if len(groups) > 1:
            raise NotImplementedError("tolerance with labels")
        budgets = [points.n]
    else:
        budgets = split_budget(np.array([len(g) for g in groups]), resolve_budget(points.n, budget=budget, fraction=fraction))
    parts = [_one(points.take(rows), int(k), -1.0 if tolerance is None else tolerance / points.scale) for rows, k in zip(groups, budgets)]
    return Coreset(
        indices=np.concatenate([rows[p[0]] for rows, p in zip(groups, parts)]),
        weights=np.concatenate([p[1] for p in parts]),
        gains=np.concatenate([p[2] for p in parts]) * points.scale,
        objective=sum(p[3] for p in parts) * points.scale,
        lower_bound=sum(p[4] for p in parts) * points.scale,
        population=points.n,
    )


def _one(points, k, tolerance):
    from adacore.facility import kernels

    n = points.n
    sums = np.empty(n)
    kernels.sums(points.rows, points.masses, 0, n, sums)
    first = int(np.flatnonzero(sums <= sums.min() * (1 + kernels.TIE))[0])
    nearest = np.empty(n)
    kernels.distances(points.rows, first, nearest)
    owner = np.zeros(n, np.int64)
    picks = np.empty(k, np.int64)
    gains = np.empty(k)
    picks[0], gains[0] = first, np.nan
    bounds = np.full(n, np.inf)
    bounds[first] = 0
    count = 1
    if np.dot(points.masses, nearest) > tolerance:
        count = kernels.greedy(points.rows, points.masses, nearest, owner, bounds, picks, gains, 1, k, 0.0, tolerance, 0.0)
    objective = float(np.dot(points.masses, nearest))
    if np.isinf(bounds).any():
        scratch = np.empty(n)
        for j in np.flatnonzero(np.isinf(bounds)):
            bounds[j] = kernels.gain_of(points.rows, points.masses, nearest, j, scratch)
    top = np.sort(bounds)[::-1][:count].sum()
    w = np.bincount(owner, weights=points.masses, minlength=count)[:count]
    return picks[:count], w, gains[:count], objective, max(0.0, objective - top)
