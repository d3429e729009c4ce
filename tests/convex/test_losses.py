"""One suite for every loss: derivatives by finite differences, and optima by solvers that are not ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

from adacore.convex import lbfgs, logistic, multinomial, newton, optimum, pilot, ridge, smoothed_hinge
from adacore.convex.losses import Logistic, LossHessians, SmoothedHinge, Softmax, Squared

N, D = 60, 4

LOSSES = {"logistic": Logistic(), "multinomial": Softmax(3), "squared": Squared(), "hinge": SmoothedHinge()}
NAMES = sorted(LOSSES)


def _targets(name: str, n: int, rng: np.random.Generator) -> Any:
    if name == "multinomial":
        return rng.integers(0, 3, n).astype(float)
    return rng.standard_normal(n) if name == "squared" else rng.choice([-1.0, 1.0], n)


def _problem(name: str, seed: int = 0, l2: float = 0.1, intercept: bool = True, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)).astype(dtype)
    make = {"logistic": logistic, "multinomial": multinomial, "hinge": smoothed_hinge, "squared": ridge}[name]
    noisy = X[:, 0] + 0.7 * rng.standard_normal(N)
    y = {"multinomial": np.digitize(noisy, [-0.5, 0.5]), "squared": noisy}.get(name, noisy > 0.2)
    return make(X, y, l2=l2, intercept=intercept)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
@settings(max_examples=20, deadline=None)
def test_gradients_are_the_derivatives_of_values(name: str, seed: int, size: float) -> None:
    loss, rng = LOSSES[name], np.random.default_rng(seed)
    scores, targets = size * rng.standard_normal((5, loss.outputs)), _targets(name, 5, rng)
    step = 1e-6 * np.eye(loss.outputs)
    for k in range(loss.outputs):
        numeric = (loss.values(scores + step[k], targets) - loss.values(scores - step[k], targets)) / 2e-6
        np.testing.assert_allclose(loss.gradients(scores, targets)[:, k], numeric, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1e-3, 1.0, 30.0]))
@settings(max_examples=20, deadline=None)
def test_hessians_are_the_derivatives_of_gradients(name: str, seed: int, size: float) -> None:
    loss, rng = LOSSES[name], np.random.default_rng(seed)
    scores, targets = size * rng.standard_normal((5, loss.outputs)), _targets(name, 5, rng)
    if name == "hinge":  # away from its kinks
        margins = targets * scores[:, 0]
        scores = np.where(np.minimum(abs(margins), abs(margins - 1.0)) < 1e-3, 0.5, scores.T).T
    step = 1e-6 * np.eye(loss.outputs)
    for k in range(loss.outputs):
        numeric = (loss.gradients(scores + step[k], targets) - loss.gradients(scores - step[k], targets)) / 2e-6
        np.testing.assert_allclose(loss.hessians(scores, targets).dense()[:, :, k], numeric, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_at_zero_every_loss_has_curvature_and_newton_leaves(name: str) -> None:
    problem = _problem(name)
    assert (problem.loss.hessians(problem.scores(problem.zero()), problem.targets).diagonals() > 0).all()
    assert newton(problem, passes=1).losses[1] < problem.value(problem.zero()) - 1e-3
    assert np.linalg.norm(pilot(problem).w) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_gradients_survive_scores_of_any_size(name: str) -> None:
    loss, rng = LOSSES[name], np.random.default_rng(0)
    targets = _targets(name, 6, rng)
    scores = np.outer([1e3, -1e3, 1e6, -1e6, 800.0, -800.0], np.arange(1, loss.outputs + 1.0))
    found = [loss.values(scores, targets), loss.gradients(scores, targets), loss.hessians(scores, targets).dense()]
    assert all(np.isfinite(part).all() for part in found)


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(1e-8, 1e3))
@settings(max_examples=40, deadline=None)
def test_hessians_in_factors_are_those_in_full(seed: int, K: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    p = np.exp(5.0 * rng.standard_normal((4, K)))
    p /= p.sum(axis=1, keepdims=True)
    factored, A = LossHessians(p, p), np.eye(K) * p[:, None, :] - p[:, :, None] * p[:, None, :]
    v, scale, right = rng.standard_normal((4, K, 2)), rng.random(4), rng.standard_normal((4, K))
    np.testing.assert_allclose(factored.dense(), A, atol=1e-15)
    np.testing.assert_allclose(factored.times(v), A @ v, atol=1e-14)
    np.testing.assert_allclose(factored.diagonals(), np.einsum("nkk->nk", A), atol=1e-15)
    matrices = scale[:, None, None] * A + shift * np.eye(K)
    found = factored.solve(scale, shift, right)
    np.testing.assert_allclose(np.einsum("nab,nb->na", matrices, found), right, atol=1e-9 * (1 + abs(found).max()))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_optima_are_those_of_an_independent_solver(name: str, intercept: bool) -> None:
    problem = _problem(name, intercept=intercept)
    theirs = minimize(problem.value, problem.zero(), jac=problem.gradient, method="BFGS", options={"gtol": 1e-9})
    w, lowest = optimum(problem)
    assert lowest == pytest.approx(theirs.fun, abs=1e-10)
    assert np.linalg.norm(problem.gradient(w)) <= 1e-10
    for solve in (newton, lbfgs):
        trace = solve(problem, tolerance=1e-8)
        assert trace.converged, trace.message
        assert trace.losses[-1] == pytest.approx(lowest, abs=1e-12)
        # Residuals, not scores: a softmax with intercepts does not see what is added to all scores of an example.
        np.testing.assert_allclose(problem.residuals(trace.w), problem.residuals(w), atol=1e-5)


def test_optima_are_scikit_learns() -> None:
    problem = _problem("multinomial", l2=0.02)
    model = LogisticRegression(C=1 / (0.02 * N), tol=1e-10, max_iter=2000).fit(problem.design, problem.targets)
    ours = problem.scores(optimum(problem)[0])
    # A softmax does not see what is added to all scores of an example.
    theirs = model.decision_function(problem.design)
    np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True), theirs, atol=1e-4)
    problem = _problem("squared")
    ridge_model = Ridge(alpha=0.1 * N).fit(problem.design, problem.targets)
    np.testing.assert_allclose(
        problem.scores(optimum(problem)[0])[:, 0], ridge_model.predict(problem.design), atol=1e-8
    )


@pytest.mark.parametrize("name", NAMES)
def test_float32_rows_stay_and_are_summed_in_float64(name: str) -> None:
    problem, wide = _problem(name, dtype=np.float32), None
    assert problem.design.dtype == np.float32
    from dataclasses import replace

    wide = replace(problem, design=problem.design.astype(np.float64))
    w = np.random.default_rng(1).standard_normal(problem.parameters)
    V = np.random.default_rng(2).standard_normal((problem.parameters, 3))
    for what in ("value", "gradient", "hessian", "hessian_diagonal", "gradients", "losses"):
        np.testing.assert_allclose(getattr(problem, what)(w), getattr(wide, what)(w), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(problem.hessian_product(w, V), wide.hessian_product(w, V), rtol=1e-13, atol=1e-13)


def test_rows_are_read_where_they_lie() -> None:
    for dtype in (np.float32, np.float64):
        X = np.random.default_rng(0).standard_normal((N, D)).astype(dtype)
        assert np.shares_memory(logistic(X, X[:, 0] > 0).design, X)


def test_hessian_products_take_little_memory_whatever_the_classes() -> None:
    import tracemalloc

    n, K, d = 4000, 60, 5
    rng = np.random.default_rng(0)
    problem = multinomial(rng.standard_normal((n, d)), np.arange(n) % K, l2=0.1)
    w, V = rng.standard_normal(problem.parameters), rng.standard_normal((problem.parameters, 20))
    problem.hessian_product(w, V[:, :1])
    tracemalloc.start()
    problem.hessian_product(w, V)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # n K K float64 numbers would be 115 MB; chunks of 32 MiB, a few of them at a time, are allowed whatever n is.
    assert peak < 10 * n * K * 8 + 4 * 2**25
