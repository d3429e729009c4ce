"""The pilot: a rough estimate of a problem's optimum from a few of its examples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from adacore.convex.losses import Array
from adacore.convex.problems import Problem
from adacore.convex.solvers import lbfgs, newton
from adacore.convex.table_strata import quantile_bins, stratum_budgets
from adacore.coreset import Coreset
from adacore.errors import require_extra

NEWTON_STEPS = 8
"""Newton's method halves the distance or better each step from w = 0; on ijcnn1 the eighth step changes no pick."""

NEWTON_PARAMETERS = 1_000
"""Beyond, a step's Hessian and its factors, O(n p^2 + p^3), cost more than all of L-BFGS."""

LBFGS_STEPS = 100

RARE = 25
"""Of each class at least as many are drawn, if it has them: of one in a thousand, 2,500 random rows hold two or three,
and a logistic regression on so few is separable."""


class PilotWarning(UserWarning):
    """The pilot's solver failed: the coreset is chosen at a point that says little."""


@dataclass(frozen=True)
class Pilot:
    """What a pilot, a short training on a few examples, found.

    Attributes:
        w: Parameters, float64, shape (K * p,).
        gradient_evaluations: Gradients of single examples that it took.
        converged: Whether its solver reached its tolerance. It may stop before: a few steps are enough.
    """

    w: Array
    gradient_evaluations: int
    converged: bool


def pilot(problem: Problem, *, size: int = 2_500, weights: Array | None = None, seed: int = 0) -> Pilot:
    """Estimate w* from a few examples: stratified by class, at least 25 of a rare one, weighted to count as all do.

    Eight damped Newton steps up to 1,000 parameters, 100 of L-BFGS beyond; coordinate descent (scikit-learn's
    ElasticNet) with an l1 penalty.

    Args:
        problem: n examples.
        size: How many to draw; with n or more, all are taken.
        weights: Of each example, float64, shape (n,); None for ones.
        seed: Of the draw.

    Returns:
        The parameters and what they took. Where the solver failed, there is a ``PilotWarning``.

    Raises:
        ValueError: If the size is below 1.

    Example:
        >>> from adacore.convex.problems import logistic
        >>> X = np.linspace(-1.0, 1.0, 200)[:, None]
        >>> found = pilot(logistic(X, X[:, 0] > 0.2, l2=0.1), size=100)
        >>> bool(found.w[0] > 0), found.gradient_evaluations <= 8 * 100
        (True, True)
    """
    if size < 1:
        raise ValueError(f"pilot_size={size} is below 1: choose for example 2500")
    # The shares are handed to the solver as weights of a coreset, which takes its mean itself: no scale needs to be
    # kept.
    shares = np.ones(problem.n) if weights is None else weights
    if size < problem.n:
        problem, shares = _drawn(problem, shares, size, seed)
    if problem.l1:
        return _elastic_net(problem, shares)
    drawn = Coreset(np.arange(problem.n), shares, problem.n)
    if problem.parameters <= NEWTON_PARAMETERS:
        trace = newton(problem, drawn, passes=NEWTON_STEPS)
    else:
        # A pilot errs by its sample of examples, of the order 1 / sqrt(size) = 2 % for 2,500: 1e-6 is far below that.
        trace = lbfgs(problem, drawn, passes=LBFGS_STEPS, tolerance=1e-6)
    # Using up the passes is what is expected of a pilot. A solver that ended on its own, short of its tolerance, broke
    # down.
    if not (trace.converged or trace.exhausted):
        warnings.warn(
            f"the pilot's solver failed ({trace.message}): gradients are taken where it stopped; raise l2 or scale the "
            "features, or pass at='zero'",
            PilotWarning,
            stacklevel=3,
        )
    return Pilot(trace.w, trace.gradient_evaluations[-1], trace.converged)


def _drawn(problem: Problem, weights: Array, size: int, seed: int) -> tuple[Problem, Array]:
    """Draw rows within each class, and say how much each stands for."""
    # A stream of its own: [seed, 2] draws random coresets, which must not hold the rows of the pilot.
    generator = np.random.default_rng([seed, 1])
    # Real targets are drawn from all rows at once: bins would change the weights and not the expectation.
    if problem.loss.name == "squared":
        strata = quantile_bins(problem.targets, None)
    else:
        strata = np.unique(problem.targets, return_inverse=True)[1].astype(np.int64)
    counts = np.bincount(strata)
    # More than ``size`` rows may be drawn where classes are many and rare: a few rows more cost less than a separable
    # fit.
    budgets = np.maximum(stratum_budgets(strata, max(size, len(counts))), np.minimum(counts, RARE))
    rows = np.concatenate(
        [generator.choice(np.flatnonzero(strata == c), k, replace=False) for c, k in enumerate(budgets)]
    )
    # A row drawn among k of a class of n_c stands for n_c / k of it, so that the pilot's loss is unbiased.
    return problem.take(rows), weights[rows] * np.repeat(counts / budgets, budgets)


def _elastic_net(problem: Problem, weights: Array) -> Pilot:
    require_extra("sklearn", "the pilot of a problem with an l1 penalty")
    # Loaded here alone: scikit-learn takes most of a second, and no other problem needs it.
    from sklearn.linear_model import ElasticNet

    # scikit-learn's objective is 1/(2n) ||y - Xw||^2 + alpha (rho ||w||_1 + (1 - rho)/2 ||w||^2): alpha = l1 + l2 and
    # rho = l1 / alpha make it this problem's.
    strength = problem.l1 + problem.l2
    model = ElasticNet(alpha=strength, l1_ratio=problem.l1 / strength, fit_intercept=problem.intercept, max_iter=5_000)
    model.fit(problem.design, problem.targets, sample_weight=weights)
    w = np.append(model.coef_, model.intercept_) if problem.intercept else np.asarray(model.coef_)
    converged = model.n_iter_ < model.max_iter
    # A sweep of coordinate descent looks at every example once for each coordinate: about one gradient of each.
    return Pilot(np.asarray(w, dtype=np.float64), problem.n * int(model.n_iter_), bool(converged))
