"""Selection for convex losses against dense oracles, and on data of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist

from adacore.convex import (
    elastic_net,
    features,
    logistic,
    multinomial,
    newton,
    optimum,
    pilot,
    preconditioned_gradients,
    ridge,
    select,
    smoothed_hinge,
)
from adacore.convex import preconditioning as preconditioning_module


def _problem(seed: int = 0, n: int = 60, d: int = 3, l2: float = 0.01) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return logistic(X, X[:, 0] + 0.5 * rng.standard_normal(n) > 0.2, l2=l2)


def _distances(x: Any) -> Any:
    return cdist(x, x)


def _everything() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 4))
    return {
        "logistic": logistic(X, X[:, 0] > 0, l2=0.1),
        "multinomial": multinomial(X, np.arange(30) % 3, l2=0.1),
        "hinge": smoothed_hinge(X, X[:, 0] > 0, l2=0.1),
        "ridge": ridge(X, X[:, 0], l2=0.1),
        "sparse": multinomial(sparse.csr_array(X * (np.abs(X) > 0.5)), np.arange(30) % 3, l2=0.1),
    }


@pytest.mark.parametrize("name", sorted(_everything()))
def test_distances_are_those_of_dense_preconditioned_gradients(name: str) -> None:
    problem = _everything()[name]
    w = np.random.default_rng(0).standard_normal(problem.parameters)
    g, H = problem.gradients(w), problem.hessian(w)
    if np.linalg.matrix_rank(H) == len(H):
        x = np.linalg.solve(H, g.T).T
        np.testing.assert_allclose(_distances(preconditioned_gradients(problem, w)), _distances(x), atol=1e-7)
    x = g / np.diag(H)
    np.testing.assert_allclose(
        _distances(preconditioned_gradients(problem, w, curvature="diagonal")), _distances(x), atol=1e-9
    )


@pytest.mark.parametrize("name", ["logistic", "multinomial", "ridge"])
def test_one_hessian_for_each_example_is_inverted_by_sherman_and_morrison(name: str) -> None:
    from dataclasses import replace

    problem = replace(_everything()[name], intercept=False)
    w = np.random.default_rng(0).standard_normal(problem.parameters)
    dense = np.stack([np.linalg.solve(H, g) for H, g in zip(problem.hessians(w), problem.gradients(w), strict=True)])
    np.testing.assert_allclose(preconditioned_gradients(problem, w, curvature="example"), dense, atol=1e-10)


def test_low_rank_is_full_where_the_rank_suffices() -> None:
    problem = _problem(n=80, d=6)
    w = np.random.default_rng(0).standard_normal(problem.parameters)
    full, low = (preconditioned_gradients(problem, w, curvature=kind) for kind in ("full", "low_rank"))
    np.testing.assert_allclose(_distances(low), _distances(full), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("curvature", ["full", "diagonal", "low_rank", "example"])
def test_projected_distances_are_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch, curvature: Any) -> None:
    rng = np.random.default_rng(0)
    X = sparse.random_array((120, 400), density=0.05, rng=rng, format="csr")
    problem = multinomial(X, np.arange(120) % 3, l2=0.1)
    w = 0.1 * rng.standard_normal(problem.parameters)
    exact = _distances(preconditioned_gradients(problem, w, curvature=curvature))
    monkeypatch.setattr(preconditioning_module, "EXACT_ELEMENTS", 0)
    x = preconditioned_gradients(problem, w, curvature=curvature)
    assert x.shape == (120, 256)
    off = ~np.eye(120, dtype=bool)
    ratio = _distances(x)[off] / exact[off]
    assert 0.03 < ratio.std() < 0.15
    assert abs(ratio.mean() - 1) < 0.05
    assert features(problem).shape == (120, 256)


def _greedy(x: Any, k: int) -> list[int]:
    D = _distances(x)
    chosen: list[int] = []
    for _ in range(k):
        totals = [np.inf if j in chosen else D[:, [*chosen, j]].min(axis=1).sum() for j in range(len(x))]
        chosen.append(int(np.argmin(totals)))
    return chosen


def test_adacore_is_greedy_facility_location_within_each_class() -> None:
    problem = _problem()
    w = np.random.default_rng(1).standard_normal(problem.parameters)
    coreset = select(problem, budget=12, at=w)
    x = np.linalg.solve(problem.hessian(w), problem.gradients(w).T).T
    expected = []
    for sign in (-1.0, 1.0):
        rows = np.flatnonzero(problem.targets == sign)
        expected += [int(rows[j]) for j in _greedy(x[rows], sum(problem.targets[coreset.indices] == sign))]
    assert coreset.indices.tolist() == expected


def test_craig_compares_features() -> None:
    problem = ridge(np.random.default_rng(0).standard_normal((40, 2)), np.arange(40.0))
    coreset = select(problem, method="craig", budget=6, bins=None)
    assert coreset.indices.tolist() == _greedy(problem.design, 6)


@given(st.integers(0, 1000), st.sampled_from(["adacore", "craig", "random", "full"]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_weights_sum_to_each_class_and_no_index_twice(seed: int, method: Any, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    problem = multinomial(rng.standard_normal((50, 2)), rng.permutation(np.arange(50) % 3), l2=0.01)
    masses = rng.integers(0, 3, 50).astype(float) if weighted else None
    coreset = select(problem, method=method, fraction=0.3, at="zero", weights=masses, seed=seed)
    counted = np.ones(50) if masses is None else masses
    for c in range(3):
        inside = problem.targets[coreset.indices] == c
        assert coreset.weights[inside].sum() == pytest.approx(counted[problem.targets == c].sum())
    assert (counted[coreset.indices] > 0).all()


def test_examples_of_no_mass_are_not_there() -> None:
    problem = _problem(n=80)
    masses = (np.arange(80) % 4 > 0).astype(float)
    present = np.flatnonzero(masses)
    with_zeros, without = select(problem, budget=10, weights=masses), select(problem.take(present), budget=10)
    np.testing.assert_array_equal(with_zeros.indices, present[without.indices])
    np.testing.assert_array_equal(with_zeros.weights, without.weights)


def test_the_pilot_is_near_the_optimum_and_knows_rare_classes() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 4))
    y = X @ np.ones(4) + rng.logistic(size=20_000) > 6.0
    problem = logistic(X, y)
    _, best = optimum(problem)
    found = pilot(problem, size=1000)
    at_zero = problem.value(problem.zero()) - best
    assert problem.value(found.w) - best < 0.02 * at_zero
    assert found.gradient_evaluations <= 8 * 1100


def test_the_pilot_pays() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 6)) * np.array([3.0, 1.0, 1.0, 0.3, 0.3, 0.3])
    problem = logistic(X, X @ np.array([1.0, -2, 1, 3, 0, 2]) + rng.logistic(size=3000) > 1.0)
    _, best = optimum(problem)
    residual = {
        name: np.exp(
            np.mean(
                [
                    np.log(problem.value(newton(problem, select(problem, fraction=0.1, seed=s, **how)).w) - best)
                    for s in range(3)
                ]
            )
        )
        for name, how in {
            "pilot": {"at": "pilot", "pilot_size": 500},
            "random": {"method": "random"},
        }.items()
    }
    assert residual["pilot"] < residual["random"] / 3


def test_an_elastic_net_takes_its_pilot_from_coordinate_descent() -> None:
    from sklearn.linear_model import ElasticNet

    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 5))
    y = X[:, 0] + 0.1 * rng.standard_normal(100)
    w = pilot(elastic_net(X, y, l1=0.2, l2=0.1)).w
    model = ElasticNet(alpha=0.3, l1_ratio=0.2 / 0.3).fit(X, y)
    np.testing.assert_allclose(w, np.append(model.coef_, model.intercept_), atol=1e-8)
    assert len(select(elastic_net(X, y, l1=0.2), fraction=0.2)) == 20


@pytest.mark.parametrize("method", ["adacore", "craig", "random"])
def test_awkward_data_is_selected_from(method: Any) -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((40, 200))
    constant = np.column_stack([np.ones(40), rng.standard_normal((40, 2))])
    scales = rng.standard_normal((40, 3)) * np.array([1e-6, 1.0, 1e6])
    two_of_a_class = np.array(["few"] * 2 + ["many"] * 38)
    for X in (wide, constant, scales, sparse.csr_array(wide * (np.abs(wide) > 1))):
        coreset = select(logistic(X, two_of_a_class), method=method, fraction=0.2)
        assert (coreset.indices < 2).any()
        assert coreset.weights.sum() == pytest.approx(40)
        assert select(ridge(X, rng.standard_normal(40)), method=method, fraction=0.25).weights.sum() == pytest.approx(
            40
        )


@pytest.mark.parametrize("curvature", ["low_rank", "diagonal", "full"])
def test_gradients_that_vanish_with_their_curvature_are_embedded_as_zeros(curvature: Any) -> None:
    """A smoothed hinge without l2 where every margin is at least 1: its loss is flat, and nothing differs."""
    problem = smoothed_hinge(np.array([[-2.0, 0.0], [-3.0, 1.0], [2.0, 1.0], [4.0, 0.0]]), [0, 0, 1, 1], l2=0.0)
    x = preconditioned_gradients(problem, np.array([1.0, 0.0, 0.0]), curvature=curvature)
    np.testing.assert_array_equal(x, 0.0)


def test_more_than_five_thousand_parameters_stay_sparse() -> None:
    rng = np.random.default_rng(0)
    X = sparse.random_array((1000, 20_000), density=0.002, rng=rng, format="csr")
    y = np.asarray(X[:, :200].sum(axis=1)).ravel() > 0.15
    coreset = select(logistic(X, y), fraction=0.1)
    assert len(coreset) == 100
    assert coreset.statistics["dimension"] == 256


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "adcore", "budget": 9}, "did you mean 'adacore'"),
        ({"at": "pilote", "budget": 9}, "did you mean 'pilot'"),
        ({"curvature": "diag", "budget": 9}, "did you mean 'diagonal'"),
        ({"at": np.zeros(2), "budget": 9}, r"expected \(4,\)"),
        ({"budget": 1}, "below the number of classes"),
        ({"budget": 9, "pilot_size": 0}, "pilot_size=0"),
        ({}, "no size given"),
        ({"budget": 9, "weights": -np.ones(60)}, ">= 0"),
        ({"budget": 9, "weights": np.zeros(60)}, "all weights are zero"),
    ],
)
def test_bad_settings_are_told_so(how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(_problem(), **how)


def test_what_selecting_takes_is_counted() -> None:
    problem = _problem(n=400)
    assert select(problem, fraction=0.1, method="random").statistics["gradient_evaluations"] == 0
    assert select(problem, fraction=0.1, method="craig").statistics["gradient_evaluations"] == 0
    assert select(problem, fraction=0.1, at="zero").statistics["gradient_evaluations"] == 400
    piloted = select(problem, fraction=0.1, pilot_size=100).statistics
    assert piloted["gradient_evaluations"] == 400 + pilot(problem, size=100).gradient_evaluations


@pytest.mark.parametrize("method", ["adacore", "craig", "random"])
def test_strata_share_as_asked(method: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 2))
    problem = multinomial(X, np.repeat([0, 1, 2], [60, 25, 5]), l2=0.1)

    def counts(quotas: Any, **size: Any) -> list[int]:
        chosen = select(problem, method=method, quotas=quotas, at="zero", **size)
        assert chosen.weights.sum() == pytest.approx(90)
        return np.bincount(problem.targets[chosen.indices].astype(int), minlength=3).tolist()

    assert sorted(counts("equal", budget=18)) == [5, 6, 7]
    assert counts({0: 2, 1: 9, 2: 1}) == [2, 9, 1]
    assert counts("proportional", budget=18) == [12, 5, 1]


@pytest.mark.parametrize(("bins", "error"), [(-5, ValueError), (0, ValueError), (2.5, TypeError), (True, TypeError)])
@pytest.mark.parametrize("method", ["adacore", "craig", "random"])
def test_bins_are_numbers_of_bins(bins: Any, error: Any, method: Any) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(error, match="bins="):
        select(ridge(rng.standard_normal((50, 2)), rng.standard_normal(50)), method=method, budget=10, bins=bins)


def test_features_are_compared_as_they_are() -> None:
    X = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    assert np.shares_memory(features(logistic(X, X[:, 0] > 0)), X)


def test_a_failing_pilot_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from adacore.convex import PilotWarning
    from adacore.convex.solvers import Trace

    module = importlib.import_module("adacore.convex.pilot")
    problem = _problem()
    failed = Trace(problem.zero(), [1.0], [0.0], [60], message="the line search failed")
    monkeypatch.setattr(module, "newton", lambda *args, **kwargs: failed)
    with pytest.warns(PilotWarning, match="line search failed"):
        select(problem, budget=9)
