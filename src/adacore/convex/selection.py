"""Selection for convex losses: one coreset for the whole training (Section 4.4)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.convex.embedding import CURVATURES, Curvature, features, preconditioned_gradients
from adacore.convex.losses import Array
from adacore.convex.problems import Problem
from adacore.convex.solvers import lbfgs, newton
from adacore.coreset import Coreset
from adacore.errors import unknown_name

Method = Literal["adacore", "craig", "random", "full"]

METHODS = ("adacore", "craig", "random", "full")
POINTS = ("zero", "pilot")
PILOT_STEPS = 8
PILOT_NEWTON_PARAMETERS = 1_000
PILOT_LBFGS_STEPS = 100
RARE = 25
BINS = 10


def select(
    problem: Problem,
    *,
    method: Method = "adacore",
    budget: int | None = None,
    fraction: float | None = None,
    at: Literal["zero", "pilot"] | Array = "pilot",
    curvature: Curvature = "auto",
    weights: Array | None = None,
    pilot_size: int = 2_500,
    bins: int | None = BINS,
    seed: int = 0,
) -> Coreset:
    """Choose a weighted subset once, for the whole training of a convex problem; Sections 4.4 and 5.1.

    AdaCore compares x_i = H(w)^-1 g_i(w), CRAIG the features; both by greedy facility location within each class
    (regression: within quantile bins of y), the weights cluster sizes. Random draws within the same groups.

    Args:
        problem: n examples.
        method: ``"adacore"``, ``"craig"``, ``"random"`` or ``"full"``.
        budget: How many examples to choose.
        fraction: Share of them to choose instead.
        at: w: ``"zero"``, ``"pilot"`` (a few Newton steps on ``pilot_size`` random examples: much the better), or
            parameters, float64, shape (K * p,).
        curvature: Which Hessian; see ``preconditioned_gradients``.
        weights: Mass of each example, float64, shape (n,), >= 0; those of mass 0 are not there. None for ones.
        pilot_size: Examples of the pilot.
        bins: Of the targets, for regression; None to select from all examples at once.
        seed: Of all that is drawn: the pilot's examples, Random's, projections.

    Returns:
        The coreset; its weights sum to the total mass, within each group to the group's. ``statistics`` says how many
        gradients of single examples the selection took (``gradient_evaluations``).

    Raises:
        ValueError: If a name is unknown, a size out of range, or the budget below the number of groups.

    Example:
        >>> from adacore.convex.problems import logistic
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((200, 3))
        >>> coreset = select(logistic(X, X[:, 0] > 0), fraction=0.1)
        >>> len(coreset), coreset.weights.sum()
        (20, np.float64(200.0))
    """
    _check_names(method, curvature, at)
    masses = _check_masses(problem.n, weights)
    present = np.flatnonzero(masses > 0)
    size = resolve_budget(len(present), budget=budget, fraction=fraction)
    if method == "full":
        return Coreset(present, masses[present], problem.n)
    inside = problem if len(present) == problem.n else problem.take(present)
    groups = group(inside, bins if bins is None else max(1, min(bins, size)))
    if method == "random":
        chosen = _random(groups, size, masses[present], seed)
        return Coreset(present[chosen.indices], chosen.weights, problem.n)
    x, evaluations = _points(inside, method, at, curvature, masses[present], pilot_size, seed)
    chosen = _facility_location(x, groups, size, None if weights is None else masses[present])
    return Coreset(
        indices=present[chosen.indices],
        weights=chosen.weights,
        population=problem.n,
        objective=chosen.objective,
        gains=chosen.gains,
        lower_bound=chosen.lower_bound,
        statistics={"gradient_evaluations": evaluations, "dimension": x.shape[1]},
    )


def pilot(problem: Problem, *, size: int = 2_500, weights: Array | None = None, seed: int = 0) -> tuple[Array, int]:
    """Estimate w* from a few examples: stratified by class, at least 25 of a rare one, weighted to count as all do.

    Eight damped Newton steps up to 1,000 parameters, 100 of L-BFGS beyond; coordinate descent (scikit-learn's
    ElasticNet) with an l1 penalty.

    Args:
        problem: n examples.
        size: How many to draw; with n or more, all are taken.
        weights: Mass of each example, float64, shape (n,); None for ones.
        seed: Of the draw.

    Returns:
        w, float64, shape (K * p,), and the gradients of single examples that it took.

    Raises:
        ValueError: If the size is below 1.
    """
    if size < 1:
        raise ValueError(f"pilot_size={size} is below 1: choose for example 2500")
    masses = np.ones(problem.n) if weights is None else weights
    if size < problem.n:
        rows, shares = _stratified(group(problem, None), size, np.random.default_rng([seed, 1]))
        problem, masses = problem.take(rows), masses[rows] * shares
    if problem.l1:
        return _elastic_net(problem, masses), problem.n
    drawn = Coreset(np.arange(problem.n), masses, problem.n)
    if problem.parameters <= PILOT_NEWTON_PARAMETERS:
        trace = newton(problem, drawn, passes=PILOT_STEPS)
    else:
        trace = lbfgs(problem, drawn, passes=PILOT_LBFGS_STEPS, tolerance=1e-6)
    return trace.w, trace.gradient_evaluations[-1]


def group(problem: Problem, bins: int | None) -> NDArray[np.int64]:
    """Return which group each example is chosen within: its class, or its quantile bin of y; int64, shape (n,)."""
    if problem.loss.name != "squared":
        return np.unique(problem.targets, return_inverse=True)[1].astype(np.int64)
    if bins is None or bins < 2:
        return np.zeros(problem.n, dtype=np.int64)
    edges = np.unique(np.quantile(problem.targets, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, problem.targets, side="right")
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _check_names(method: str, curvature: str, at: object) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if curvature not in CURVATURES:
        raise unknown_name("curvature", curvature, CURVATURES)
    if isinstance(at, str) and at not in POINTS:
        raise unknown_name("at", at, POINTS)


def _check_masses(n: int, weights: Array | None) -> Array:
    if weights is None:
        return np.ones(n)
    masses = np.asarray(weights, dtype=np.float64)
    if masses.shape != (n,) or not (np.isfinite(masses).all() and (masses >= 0).all()):
        raise ValueError(f"weights of shape {masses.shape}: expected ({n},), finite and >= 0")
    if not masses.any():
        raise ValueError("all weights are zero: there is nothing to select from")
    return masses


def _points(
    problem: Problem,
    method: Method,
    at: str | Array,
    curvature: Curvature,
    masses: Array,
    pilot_size: int,
    seed: int,
) -> tuple[Array, int]:
    if method == "craig":
        return features(problem, seed=seed), 0
    if not isinstance(at, str):
        w, evaluations = np.asarray(at, dtype=np.float64), 0
        if w.shape != (problem.parameters,):
            raise ValueError(f"at has shape {w.shape}: expected ({problem.parameters},), the problem's parameters")
    elif at == "zero":
        w, evaluations = problem.zero(), 0
    else:
        w, evaluations = pilot(problem, size=pilot_size, weights=masses, seed=seed)
    x = preconditioned_gradients(problem, w, curvature=curvature, weights=masses, seed=seed)
    return x, evaluations + problem.n


def _facility_location(x: Array, groups: NDArray[np.int64], size: int, masses: Array | None) -> Coreset:
    from adacore.facility import facility_location

    return facility_location(x, budget=size, labels=groups, weights=masses)


def _random(groups: NDArray[np.int64], size: int, masses: Array, seed: int) -> Coreset:
    generator = np.random.default_rng([seed, 2])
    budgets = split_budget(np.bincount(groups), size)
    chosen = [generator.choice(np.flatnonzero(groups == c), k, replace=False) for c, k in enumerate(budgets)]
    weights = [masses[rows] * (masses[groups == c].sum() / masses[rows].sum()) for c, rows in enumerate(chosen)]
    return Coreset(np.concatenate(chosen), np.concatenate(weights), len(groups))


def _stratified(
    groups: NDArray[np.int64], size: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Draw rows within each group, and say how many examples each stands for."""
    counts = np.bincount(groups)
    budgets = np.maximum(split_budget(counts, max(size, len(counts))), np.minimum(counts, RARE))
    rows = [generator.choice(np.flatnonzero(groups == c), k, replace=False) for c, k in enumerate(budgets)]
    return np.concatenate(rows), np.repeat(counts / budgets, budgets)


def _elastic_net(problem: Problem, masses: Array) -> Array:
    from sklearn.linear_model import ElasticNet

    strength = problem.l1 + problem.l2
    model = ElasticNet(alpha=strength, l1_ratio=problem.l1 / strength, fit_intercept=problem.intercept, max_iter=5_000)
    design = problem.design[:, :-1] if problem.intercept else problem.design
    model.fit(design, problem.targets, sample_weight=masses)
    return np.append(model.coef_, model.intercept_) if problem.intercept else np.asarray(model.coef_)
