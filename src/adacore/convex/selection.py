"""Selection for convex losses: one coreset for the whole training (Section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.convex.losses import Array
from adacore.convex.pilot import pilot
from adacore.convex.preconditioning import CURVATURES, Curvature, features, preconditioned_gradients
from adacore.convex.problems import Problem
from adacore.convex.table_strata import Quotas, draw, quantile_bins
from adacore.coreset import Coreset
from adacore.errors import unknown_name

Method = Literal["adacore", "craig", "random", "full"]

METHODS = ("adacore", "craig", "random", "full")
POINTS = ("zero", "pilot")

BINS = 10
"""Quantile bins of a regression's targets: deciles keep the tails of y in the coreset, and leave each bin enough rows
to choose among."""


def select(
    problem: Problem,
    *,
    method: Method = "adacore",
    budget: int | None = None,
    fraction: float | None = None,
    quotas: Quotas = "proportional",
    at: Literal["zero", "pilot"] | Array = "pilot",
    curvature: Curvature = "auto",
    weights: Array | None = None,
    pilot_size: int = 2_500,
    bins: int | None = BINS,
    seed: int = 0,
) -> Coreset:
    """Choose a weighted subset once, for the whole training of a convex problem; Sections 4.4 and 5.1.

    AdaCore compares x_i = H(w)^-1 g_i(w), CRAIG the features; both by greedy facility location within each class
    (regression: within quantile bins of y), the weights cluster sizes. Random draws within the same strata.

    Args:
        problem: n examples.
        method: ``"adacore"``, ``"craig"``, ``"random"`` or ``"full"``.
        budget: How many examples to choose.
        fraction: Share of them to choose instead.
        quotas: How the strata share the budget: ``"proportional"`` to their sizes, ``"equal"``, or {stratum: how many},
            which is a budget by itself. Strata are numbered from 0 in the order of the sorted labels (of the bins).
        at: w: ``"zero"``, ``"pilot"`` (a few Newton steps on ``pilot_size`` random examples: much the better), or
            parameters, float64, shape (K * p,).
        curvature: Which Hessian; see ``preconditioned_gradients``.
        weights: Of each example, float64, shape (n,), >= 0; examples of weight 0 are never selected. None for
            ones.
        pilot_size: Examples of the pilot.
        bins: Of the targets, for regression; None to select from all examples at once.
        seed: Of all that is drawn: the pilot's examples, Random's, projections.

    Returns:
        The coreset; its weights sum to the total weight, within each stratum to the stratum's. ``statistics`` says how
        many gradients of single examples the selection took (``gradient_evaluations``): whoever compares costs of
        training has to add them. It also says whether the pilot converged (it need not: ``pilot_converged``).

    Raises:
        ValueError: If a name is unknown, a size out of range, or the budget below the number of strata.
        TypeError: If a size is not a number.

    Example:
        >>> from adacore.convex.problems import logistic
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((200, 3))
        >>> coreset = select(logistic(X, X[:, 0] > 0), fraction=0.1)
        >>> len(coreset), coreset.weights.sum()
        (20, np.float64(200.0))
    """
    _check_names(method, curvature, at)
    given = _check_weights(problem.n, weights)
    # Examples of weight 0 are taken out before strata and budgets are worked out: a class of nothing else must not get
    # a pick.
    present = np.flatnonzero(given > 0)
    # Numbers for each stratum are a budget already: asking for it again would be one more thing to get wrong.
    if isinstance(quotas, Mapping) and budget is None and fraction is None:
        budget = int(sum(quotas.values()))
    size = resolve_budget(len(present), budget=budget, fraction=fraction)
    inside = problem if len(present) == problem.n else problem.take(present)
    strata = strata_of(inside, bins, size)
    statistics: dict[str, Any] = {"gradient_evaluations": 0}
    if method == "full":
        return Coreset(present, given[present], problem.n, statistics=statistics)
    if method == "random":
        # [seed, 2], where the pilot draws with [seed, 1]: with one stream the pilot's rows would be Random's.
        found = draw(strata, size, given[present], [seed, 2], quotas)
    else:
        if method == "craig":
            x = features(inside, seed=seed)
        else:
            w, statistics = _point(inside, at, given[present], pilot_size, seed)
            x = preconditioned_gradients(inside, w, curvature=curvature, weights=given[present], seed=seed)
            # The Hessian takes the same scores as the gradients do: one evaluation of each example stands for both.
            statistics["gradient_evaluations"] += inside.n
        statistics["dimension"] = int(x.shape[1])
        found = medoids(x, strata, size, None if weights is None else given[present], quotas)
    return replace(
        # Back to positions among all examples: selection has counted those of positive weight alone.
        found,
        indices=present[found.indices],
        population=problem.n,
        statistics={**found.statistics, **statistics},
    )


def medoids(
    x: Any,
    strata: NDArray[np.int64],
    size: int,
    weights: Array | None = None,
    quotas: Quotas = "proportional",
) -> Coreset:
    """Select by greedy facility location within each stratum; see ``adacore.facility_location``.

    Args:
        x: Coordinates, float32 or float64, dense or CSR, shape (n, m).
        strata: The stratum of each example, int64, shape (n,).
        size: How many to select.
        weights: Of the examples, float64, shape (n,); None for ones.
        quotas: See ``select``.

    Returns:
        The coreset, stratum by stratum.
    """
    # The engine costs numba and its kernels; whoever only solves problems need not wait for them.
    from adacore.facility import facility_location

    return facility_location(x, budget=size, labels=strata, weights=weights, quotas=quotas)


def strata_of(problem: Problem, bins: int | None, size: int) -> NDArray[np.int64]:
    """Return the stratum of each example: its class, or its quantile bin of y.

    Args:
        problem: n examples.
        bins: How many bins for regression; None for one.
        size: The budget: more bins than picks could not each get one.

    Returns:
        int64, shape (n,), from 0 without gaps.
    """
    if problem.loss.name != "squared":
        return np.unique(problem.targets, return_inverse=True)[1].astype(np.int64)
    strata = quantile_bins(problem.targets, bins)
    return strata if bins is None or bins <= size else quantile_bins(problem.targets, size)


def _check_names(method: str, curvature: str, at: object) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if curvature not in CURVATURES:
        raise unknown_name("curvature", curvature, CURVATURES)
    if isinstance(at, str) and at not in POINTS:
        raise unknown_name("at", at, POINTS)


def _check_weights(n: int, weights: Array | None) -> Array:
    if weights is None:
        return np.ones(n)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n,) or not (np.isfinite(given).all() and (given >= 0).all()):
        raise ValueError(f"weights of shape {given.shape}: expected ({n},), finite and >= 0")
    if not given.any():
        raise ValueError("all weights are zero: there is nothing to select from")
    return given


def _point(
    problem: Problem, at: str | Array, weights: Array, pilot_size: int, seed: int
) -> tuple[Array, dict[str, Any]]:
    """Return where gradients and Hessian are taken, and what finding it took."""
    if not isinstance(at, str):
        w = np.asarray(at, dtype=np.float64)
        if w.shape != (problem.parameters,):
            raise ValueError(f"at has shape {w.shape}: expected ({problem.parameters},), the problem's parameters")
        return w, {"gradient_evaluations": 0}
    if at == "zero":
        return problem.zero(), {"gradient_evaluations": 0}
    found = pilot(problem, size=pilot_size, weights=weights, seed=seed)
    return found.w, {"gradient_evaluations": found.gradient_evaluations, "pilot_converged": found.converged}
