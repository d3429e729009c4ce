"""Every solver finds the optimum of what it is given, records honestly, and is reproducible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from adacore.convex import adahessian, elastic_net, lbfgs, logistic, multinomial, newton, optimum, ridge, sgd
from adacore.convex.solvers import cholesky
from adacore.coreset import Coreset


def _logistic(n: int = 200, l2: float = 0.01) -> Any:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return logistic(X, X @ np.array([1.0, -1.0, 0.5]) + rng.logistic(size=n) > 0.5, l2=l2)


@pytest.mark.parametrize(
    ("solve", "tolerance"),
    [
        (lambda p: newton(p), 1e-15),
        (lambda p: lbfgs(p), 1e-12),
        (lambda p: sgd(p, rate=0.5, decay=0.93, passes=100), 1e-5),
        (lambda p: sgd(p, rate=0.5, decay=0.93, passes=100, momentum=0.9, batch_size=8), 1e-5),
        (lambda p: adahessian(p, rate=0.3, decay=0.95, passes=100, batch_size=20), 1e-4),
    ],
)
def test_solvers_find_the_optimum(solve: Any, tolerance: float) -> None:
    problem = _logistic()
    _, best = optimum(problem)
    trace = solve(problem)
    assert -1e-15 <= trace.residuals(best)[-1] <= tolerance
    assert problem.value(trace.w) == trace.losses[-1]


def test_integer_weights_are_repeated_examples() -> None:
    problem = _logistic(60)
    times = np.random.default_rng(1).integers(1, 5, 60)
    coreset = Coreset(np.arange(60), times.astype(float), 60)
    repeated = problem.take(np.repeat(np.arange(60), times))
    for solve in (newton, lbfgs):
        np.testing.assert_allclose(solve(problem, coreset).w, solve(repeated).w, atol=1e-6)


def test_one_sgd_pass_is_the_update_rule_by_hand() -> None:
    rng = np.random.default_rng(0)
    problem = multinomial(rng.standard_normal((12, 3)), np.arange(12) % 3, l2=0.1)
    coreset = Coreset(np.arange(0, 12, 2), np.array([1.0, 3.0, 2.0, 2.0, 1.0, 3.0]), 12)
    trace = sgd(problem, coreset, rate=0.3, passes=1, momentum=0.4, batch_size=2, seed=5)
    w, v = problem.zero(), problem.zero()
    order = np.random.default_rng(5).permutation(6).reshape(3, 2)
    for rows in order:
        each = problem.take(coreset.indices[rows]).gradients(w)
        v = 0.4 * v + 0.6 * (coreset.weights[rows] / coreset.weights.mean()) @ each / 2
        w = w - 0.3 * v
    np.testing.assert_allclose(trace.w, w, atol=1e-14)


def test_traces_count_gradients_and_time_and_start_at_the_start() -> None:
    problem = _logistic(100)
    coreset = Coreset(np.arange(10), np.full(10, 10.0), 100)
    trace = sgd(problem, coreset, rate=0.1, passes=4, records=2)
    assert trace.gradient_evaluations == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert trace.losses[0] == problem.value(problem.zero())
    assert all(later >= earlier for earlier, later in zip(trace.seconds, trace.seconds[1:], strict=False))
    assert newton(problem, coreset, passes=3).gradient_evaluations[:3] == [0, 10, 20]
    assert lbfgs(problem, coreset).gradient_evaluations[-1] % 10 == 0


def test_sgd_depends_on_its_seed_alone() -> None:
    problem = _logistic()
    runs = [sgd(problem, rate=0.1, passes=2, seed=seed).w for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_sgd_takes_sparse_rows() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 6)) * (rng.random((50, 6)) < 0.4)
    dense, thin = (ridge(x, X[:, 0], l2=0.1) for x in (X, sparse.csr_array(X)))
    np.testing.assert_allclose(sgd(dense, rate=0.05).w, sgd(thin, rate=0.05).w, atol=1e-12)


def test_directions_without_curvature_are_survived() -> None:
    constant = np.column_stack([np.ones(30), np.arange(30.0)])
    trace = newton(ridge(constant, np.arange(30.0), l2=0.0))
    assert trace.losses[-1] < 1e-12
    wide = np.random.default_rng(0).standard_normal((10, 40))
    assert newton(ridge(wide, np.arange(10.0), l2=0.0)).losses[-1] < 1e-9
    L = cholesky(np.zeros((3, 3)))
    assert np.isfinite(L).all()


@pytest.mark.parametrize(
    ("solve", "message"),
    [
        (lambda p: sgd(p, rate=0.0), "rate=0.0"),
        (lambda p: sgd(p, rate=0.1, decay=1.5), "decay=1.5"),
        (lambda p: sgd(p, rate=0.1, momentum=1.0), "momentum=1.0"),
        (lambda p: sgd(p, rate=0.1, batch_size=0), "batch_size=0"),
        (lambda p: newton(p, Coreset(np.arange(3), np.ones(3), 7)), "of 7 examples"),
        (lambda p: newton(elastic_net(np.eye(3), np.ones(3), l1=0.1)), "l1=0.1"),
    ],
)
def test_bad_settings_are_told_so(solve: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(_logistic(20))


def test_newton_says_how_it_ended() -> None:
    problem = _logistic()
    assert newton(problem).converged
    short = newton(problem, passes=2)
    assert (short.converged, short.exhausted) == (False, True)
    assert "2 passes" in short.message
    assert not sgd(problem, rate=0.1, passes=1).converged


def test_lbfgs_that_stops_early_says_so() -> None:
    problem = _logistic()
    short = lbfgs(problem, passes=1)
    assert (short.converged, short.exhausted) == (False, True)
    assert lbfgs(problem, tolerance=1e-9).converged
    # A valley that falls slowly: the loss hardly changes long before the optimum.
    rng = np.random.default_rng(0)
    valley = ridge(rng.standard_normal((100, 6)) * np.logspace(0, 4, 6), rng.standard_normal(100), l2=1e-6)
    trace = lbfgs(valley, passes=5000, tolerance=1e-8)
    gradient = np.abs(valley.gradient(trace.w)).max()
    assert trace.converged == (gradient <= max(1e-8, valley.gradient_noise(trace.w)))


def test_rounding_is_expected_of_rows_as_they_are_weighted() -> None:
    """One heavy row of large features: its roundings decide, and equal shares of all rows would forget them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    X[0] *= 1e6
    weights = np.r_[1e6, np.ones(399)]
    problem = ridge(X, rng.standard_normal(400), l2=1e-6)
    w = newton(problem, Coreset(np.arange(400), weights, 400), tolerance=0.0).w
    assert problem.gradient_noise(w, weights) > 50 * problem.gradient_noise(w)
    repeated = problem.take(np.repeat(np.arange(400), np.r_[50, np.ones(399, int)]))
    once = problem.gradient_noise(w, np.r_[50.0, np.ones(399)])
    np.testing.assert_allclose(once, repeated.gradient_noise(w) * np.sqrt((400 + 4) / (449 + 4)))
    # A row that weighs nothing adds nothing, whatever is in it.
    light = problem.gradient_noise(w, np.r_[0.0, np.ones(399)])
    rest = problem.take(np.arange(1, 400))
    np.testing.assert_allclose(light, rest.gradient_noise(w) * np.sqrt((400 + 4) / (399 + 4)))
    left = np.linalg.norm(problem.gradient(w, weights))
    assert problem.gradient_noise(w) < left <= problem.gradient_noise(w, weights)
    assert lbfgs(problem, Coreset(np.arange(400), weights, 400), start=w, tolerance=0.0).converged


def test_an_optimum_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from adacore.convex import solvers

    problem = _logistic()
    monkeypatch.setattr(solvers, "OPTIMUM_STEPS", 1)
    with pytest.raises(RuntimeError, match="no optimum"):
        optimum(problem)
    monkeypatch.undo()
    w, _ = optimum(problem)
    assert np.linalg.norm(problem.gradient(w)) <= 1e-10


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_optima_are_found_at_any_scale_of_the_targets(scale: float) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), scale * rng.standard_normal(50)
    w, _ = optimum(ridge(X, y, l2=0.0), tolerance=1e-10 * min(1.0, scale))
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(50)]), y, rcond=None)[0]
    np.testing.assert_allclose(w, exact, rtol=1e-8)
