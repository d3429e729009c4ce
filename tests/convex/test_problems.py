"""Values, gradients and Hessians agree with each other, with finite differences, and with what scikit-learn fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import approx_fprime

from adacore.convex import elastic_net, logistic, multinomial, optimum, ridge, smoothed_hinge

N, D = 40, 4


def _problems(seed: int = 0, l2: float = 0.1, intercept: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D))
    two, three, real = X[:, 0] > 0.3, rng.permutation(np.arange(N) % 3), rng.standard_normal(N)
    return {
        "logistic": logistic(X, two, l2=l2, intercept=intercept),
        "multinomial": multinomial(X, three, l2=l2, intercept=intercept),
        "hinge": smoothed_hinge(X, two, l2=l2, intercept=intercept),
        "ridge": ridge(X, real, l2=l2, intercept=intercept),
    }


NAMES = sorted(_problems())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative_of_the_value(name: str, intercept: bool) -> None:
    problem = _problems(intercept=intercept)[name]
    rng = np.random.default_rng(1)
    w, weights = rng.standard_normal(problem.parameters), rng.random(N)
    numeric = approx_fprime(w, lambda v: problem.value(v, weights), 1e-7)
    np.testing.assert_allclose(problem.gradient(w, weights), numeric, atol=1e-5)


@pytest.mark.parametrize("name", ["logistic", "multinomial", "ridge"])
def test_hessian_is_the_derivative_of_the_gradient(name: str) -> None:
    problem = _problems()[name]
    rng = np.random.default_rng(1)
    w, weights = rng.standard_normal(problem.parameters), rng.random(N)
    numeric = approx_fprime(w, lambda v: problem.gradient(v, weights), 1e-7)
    np.testing.assert_allclose(problem.hessian(w, weights), numeric, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_totals_are_weighted_means_of_what_each_example_has(name: str) -> None:
    problem = _problems()[name]
    rng = np.random.default_rng(2)
    w, weights = rng.standard_normal(problem.parameters), rng.random(N)
    shares = weights / weights.sum()
    np.testing.assert_allclose(problem.value(w, weights), shares @ problem.losses(w))
    np.testing.assert_allclose(problem.gradient(w, weights), shares @ problem.gradients(w), atol=1e-14)
    H = np.einsum("n,nab->ab", shares, problem.hessians(w))
    np.testing.assert_allclose(problem.hessian(w, weights), H, atol=1e-14)
    np.testing.assert_allclose(problem.hessian_diagonal(w, weights), np.diag(H), atol=1e-14)
    directions = rng.standard_normal((problem.parameters, 3))
    np.testing.assert_allclose(problem.hessian_product(w, directions, weights), H @ directions, atol=1e-13)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_problem_is_convex_with_curvature_at_most_its_bound(seed: int) -> None:
    for problem in _problems(seed).values():
        w = 3.0 * np.random.default_rng(seed).standard_normal(problem.parameters)
        blocks = problem.loss.hessians(problem.scores(w), problem.targets).dense()
        eigenvalues = np.linalg.eigvalsh(blocks)
        assert eigenvalues.min() >= -1e-12
        assert eigenvalues.max() <= problem.loss.curvature_bound + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_a_sparse_design_means_the_same(name: str) -> None:
    problem = _problems()[name]
    from dataclasses import replace

    thin = replace(problem, design=sparse.csr_array(problem.design))
    w = np.random.default_rng(3).standard_normal(problem.parameters)
    for what in ("value", "gradient", "hessian", "hessian_diagonal", "gradients", "losses"):
        np.testing.assert_allclose(getattr(thin, what)(w), getattr(problem, what)(w), atol=1e-14)


def test_the_optimum_is_the_one_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D))
    y = (X[:, 0] + rng.standard_normal(N)) > 0
    l2 = 0.05
    model = LogisticRegression(C=1 / (l2 * N), tol=1e-10, max_iter=1000).fit(X, y)
    w, _ = optimum(logistic(X, y, l2=l2))
    np.testing.assert_allclose(w, np.append(model.coef_, model.intercept_), atol=1e-5)
    target = X @ np.arange(D) + rng.standard_normal(N)
    linear = Ridge(alpha=l2 * N).fit(X, target)
    w, _ = optimum(ridge(X, target, l2=l2))
    np.testing.assert_allclose(w, np.append(linear.coef_, linear.intercept_), atol=1e-8)


def test_an_elastic_net_has_ridges_hessian_and_its_own_value() -> None:
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((N, D)), rng.standard_normal(N), rng.standard_normal(D + 1)
    net, plain = elastic_net(X, y, l1=0.3, l2=0.1), ridge(X, y, l2=0.1)
    np.testing.assert_array_equal(net.hessian(w), plain.hessian(w))
    assert net.value(w) == pytest.approx(plain.value(w) + 0.3 * np.abs(w[:-1]).sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, y: logistic(X, np.zeros(N)), "1 class:"),
        (lambda X, y: logistic(X, np.arange(N)), "for more, use multinomial"),
        (lambda X, y: multinomial(X, np.zeros(N)), "at least two"),
        (lambda X, y: logistic(X, y[:-1]), r"labels have shape \(\d+,\): expected \(\d+,\)"),
        (lambda X, y: ridge(X, y[:-1]), r"expected \(n, d\)"),
        (lambda X, y: multinomial(X, np.where(y == 1, np.nan, 0.0)), "labels hold nan at row 1"),
        (lambda X, y: logistic(X, ["a", float("nan")] * (N // 2)), "labels hold nan at row 1"),
        (lambda X, y: logistic(X, np.ma.masked_equal(y, 1)), "masked"),
        (lambda X, y: logistic(X * np.nan, y), "nan or infinity"),
        (lambda X, y: logistic(X, y, l2=-1.0), "l2=-1.0"),
        (lambda X, y: ridge(X[:0], y[:0]), "no rows"),
    ],
)
def test_bad_input_is_told_so(make: Any, message: str) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        make(rng.standard_normal((N, D)), np.arange(N) % 2)
