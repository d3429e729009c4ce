"""What the paper proves, checked: where a statement holds it is tested, where it does not the counter-example is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from adacore.convex import logistic, measured_error, newton, optimum, ridge, select
from adacore.coreset import Coreset


def _logistic(seed: int = 0, n: int = 300, d: int = 4, l2: float = 0.1) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return logistic(X, X @ rng.standard_normal(d) + rng.logistic(size=n) > 0, l2=l2, intercept=False)


def _consistent(seed: int = 0, n: int = 60, d: int = 5, spread: float = 1.0) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(0, spread, d)
    return ridge(X, X @ rng.standard_normal(d), l2=0.0, intercept=False)


def _spectrum(problem: Any, w: Any) -> tuple[float, float]:
    """alpha at w, and a beta that holds everywhere."""
    eigenvalues = np.linalg.eigvalsh(problem.hessian(w))
    rows = problem.design
    beta = problem.loss.curvature_bound * np.linalg.eigvalsh(rows.T @ rows / problem.n)[-1] + problem.l2
    return float(eigenvalues[0]), float(beta)


def _nearest_weights(x: Any, chosen: Any) -> Any:
    return np.bincount(cdist(x, x[chosen]).argmin(axis=1), minlength=len(chosen)).astype(float)


@given(st.integers(0, 10_000), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_bound_11_holds_for_every_coreset(seed: int, k: int) -> None:
    problem = _logistic(seed, n=40)
    rng = np.random.default_rng(seed)
    w = 2.0 * rng.standard_normal(problem.parameters)
    x = np.linalg.solve(problem.hessian(w), problem.gradients(w).T).T
    chosen = rng.choice(40, k, replace=False)
    error = np.linalg.norm(x.sum(axis=0) - _nearest_weights(x, chosen) @ x[chosen])
    assert error <= cdist(x, x[chosen]).min(axis=1).sum() * (1 + 1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_bound_11_with_one_hessian_for_each_example_bounds_the_sum_of_preconditioned_gradients(seed: int) -> None:
    problem = _logistic(seed, n=40)
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(problem.parameters)
    x = np.stack([np.linalg.solve(H, g) for H, g in zip(problem.hessians(w), problem.gradients(w), strict=True)])
    chosen = rng.choice(40, 5, replace=False)
    error = np.linalg.norm(x.sum(axis=0) - _nearest_weights(x, chosen) @ x[chosen])
    assert error <= cdist(x, x[chosen]).min(axis=1).sum() * (1 + 1e-12)


def test_bound_11_does_not_hold_as_written_with_one_hessian_for_each_example() -> None:
    """Its left side has H^-1 g of all data, which is no sum of H_i^-1 g_i: with S everything the right side is 0."""
    problem = _logistic(n=40)
    w = np.ones(problem.parameters)
    x = np.stack([np.linalg.solve(H, g) for H, g in zip(problem.hessians(w), problem.gradients(w), strict=True)])
    left = np.linalg.norm(np.linalg.solve(problem.hessian(w), problem.gradient(w)) - x.mean(axis=0))
    assert left > 0.1


def test_epsilon_is_what_eq_5_says() -> None:
    problem = _logistic()
    w = np.ones(problem.parameters)
    coreset = select(problem, fraction=0.1, at=w)
    g = problem.gradients(w)
    total = g.sum(axis=0) - coreset.weights @ g[coreset.indices]
    expected = np.linalg.norm(np.linalg.solve(problem.hessian(w), total)) / problem.n
    assert measured_error(problem, w, coreset.indices, coreset.weights) == pytest.approx(expected)
    assert coreset.objective is not None
    assert expected <= coreset.objective / problem.n


@pytest.mark.parametrize("seed", range(4))
def test_newton_on_the_coreset_ends_in_the_neighbourhood_of_theorem_4_1(seed: int) -> None:
    problem = _logistic(seed)
    best, _ = optimum(problem)
    coreset = select(problem, fraction=0.1, seed=seed)
    alpha, beta = _spectrum(problem, best)
    trace = newton(problem, coreset, rate=alpha / beta, damped=False, passes=2000)
    alpha = min(alpha, _spectrum(problem, trace.w)[0])
    epsilon = measured_error(problem, trace.w, coreset.indices, coreset.weights)
    distance = np.linalg.norm(trace.w - best)
    assert 0 < distance <= beta * epsilon / alpha
    assert np.linalg.norm(problem.gradient(trace.w)) <= beta * epsilon * (1 + 1e-6)


def test_the_descent_of_theorem_4_1_does_not_hold_as_written() -> None:
    """At the coreset's optimum Newton stands still, yet (14) promises descent wherever ||g|| differs from beta eps."""
    problem = _logistic()
    coreset = select(problem, fraction=0.1)
    w = newton(problem, coreset).w
    alpha, beta = _spectrum(problem, w)
    epsilon = measured_error(problem, w, coreset.indices, coreset.weights)
    promised = -(alpha**3) / (2 * beta**4) * (np.linalg.norm(problem.gradient(w)) - beta * epsilon) ** 2
    after = newton(problem, coreset, start=w, rate=alpha / beta, damped=False, passes=1, tolerance=0.0).w
    assert problem.value(after) - problem.value(w) > promised / 2
    # From the optimum of everything no step descends at all.
    best, lowest = optimum(problem)
    step = newton(problem, coreset, start=best, rate=alpha / beta, damped=False, passes=1)
    assert step.losses[-1] > lowest


def _descend(problem: Any, coreset: Coreset, rate: float, steps: int) -> tuple[Any, float, float]:
    """Gradient descent on the coreset from 0: losses, the largest epsilon and the largest gradient on the way."""
    subset, w = problem.take(coreset.indices), problem.zero()
    scale = coreset.weights.sum() / problem.n
    losses, epsilon, largest = [problem.value(w)], 0.0, 0.0
    for _ in range(steps):
        epsilon = max(epsilon, measured_error(problem, w, coreset.indices, coreset.weights))
        largest = max(largest, float(np.linalg.norm(problem.gradient(w))))
        w = w - rate * scale * subset.gradient(w, coreset.weights)
        losses.append(problem.value(w))
    return np.array(losses), epsilon, largest


@pytest.mark.parametrize("seed", range(4))
def test_gradient_descent_on_the_coreset_stays_below_theorem_4_3_repaired(seed: int) -> None:
    """L(w_t) <= (1 - eta mu)^t L(w_0) + beta^2 eps^2 / (2 mu), from ||g - g_S|| <= beta eps and PL*."""
    problem = _consistent(seed)
    coreset = select(problem, budget=15, at="zero", bins=None)
    mu, beta = _spectrum(problem, problem.zero())
    losses, epsilon, _ = _descend(problem, coreset, 1 / beta, 200)
    bound = (1 - mu / beta) ** np.arange(201) * losses[0] + beta**2 * epsilon**2 / (2 * mu)
    assert (losses <= bound * (1 + 1e-9)).all()
    assert losses[-1] < losses[0]


def test_theorem_4_3_does_not_hold_as_written() -> None:
    """(16) counts the error of one step only: a coreset of low rank stalls at a loss far above what it promises.

    Summed over all steps, as (46) to (47) would have it, the error is beta^2 / (eta mu alpha^2) times as large.
    """
    problem = _consistent(spread=0.0)
    coreset = select(problem, budget=2, at="zero", bins=None)
    mu, beta = _spectrum(problem, problem.zero())
    steepest = np.linalg.eigvalsh(problem.take(coreset.indices).hessian(problem.zero(), coreset.weights))[-1]
    eta = 1 / max(beta, float(steepest))
    losses, epsilon, largest = _descend(problem, coreset, eta, 3000)
    decay = (1 - eta * mu**3 / beta**2) ** np.arange(3001)
    error = 2 * beta * epsilon * largest - beta**2 * epsilon**2
    assert error > 0
    bound = decay * losses[0] + eta * mu**2 / (2 * beta**2) * error
    assert losses[-1] > 1.5 * bound[-1]
    assert (losses > bound).mean() > 0.9
    repaired = (1 - eta * mu) ** np.arange(3001) * losses[0] + beta**2 * epsilon**2 / (2 * mu)
    assert (losses <= repaired).all()


def test_the_rate_of_theorem_4_4_is_no_rate_once_the_loss_is_scaled() -> None:
    """1 - eta mu alpha^2 / (2 beta) with eta = m / (beta (m - 1)) has a unit: negative for 10 x data."""
    for scale, sensible in ((1.0, True), (10.0, False)):
        problem = _consistent(spread=0.0)
        rows = problem.design * scale
        alpha, beta = np.linalg.eigvalsh(rows.T @ rows / len(rows))[[0, -1]]
        m = 10
        rate = 1 - m / (beta * (m - 1)) * alpha * alpha**2 / (2 * beta)
        assert (0 <= rate <= 1) == sensible


def test_sgd_on_a_coreset_of_a_consistent_problem_reaches_zero_loss() -> None:
    """Theorem 4.4's setting, PL* with L* = 0: any coreset of full rank shares the minimiser, mini-batches included."""
    from adacore.convex import sgd

    problem = _consistent(spread=0.3)
    coreset = select(problem, budget=15, at="zero", bins=None)
    trace = sgd(problem, coreset, rate=0.05, decay=1.0, passes=600, batch_size=4)
    assert trace.losses[-1] < 1e-10 * trace.losses[0]
