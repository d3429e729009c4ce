"""Orthogonal matching pursuit against scikit-learn, scipy's nnls, and a slow pursuit written from the paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp

from adacore.probing.snapshot import Snapshot
from adacore.selectors import GradMatch, PerBatch, PerClass
from adacore.selectors.omp import pursue


def objective(rows, target, weights, lam):
    return float(np.square(weights @ rows - target).sum() + lam * np.square(weights).sum())


def ridge_nnls(rows, target, lam):
    """Non-negative regularised least squares on all rows, by augmenting the design matrix."""
    design = np.concatenate([rows.T, np.sqrt(lam) * np.eye(len(rows))])
    return nnls(design, np.concatenate([target, np.zeros(len(rows))]), maxiter=10_000)[0]


def slow_pursuit(rows, target, k, lam):
    """The paper's greedy: add the steepest candidate, solve the non-negative problem on the support afresh."""
    support, weights = [], np.zeros(len(rows))
    for _ in range(4 * k):
        active = [j for j in support if weights[j] > 0]
        residual = target - weights @ rows
        slopes = rows @ residual
        slopes[support] = -np.inf
        best = int(slopes.argmax())
        if len(active) >= k or not slopes[best] > 1e-9:
            break
        support = [*active, best]
        weights = np.zeros(len(rows))
        weights[support] = ridge_nnls(rows[support], target, lam)
    return weights


def full(found, n):
    weights = np.zeros(n)
    weights[found.indices] = found.weights
    return weights


problems = st.tuples(
    st.integers(1, 12), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.01, 0.5, 5.0]), st.integers(0, 10**6)
)


@given(problems)
@settings(max_examples=80, deadline=None)
def test_equals_the_slow_pursuit(problem):
    n, d, k, lam, seed = problem
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n, d)) + 0.3
    target = rows.sum(0)
    fast = full(pursue(rows, target, k, lam=lam), n)
    slow = slow_pursuit(rows, target, k, lam)
    assert objective(rows, target, fast, lam) == pytest.approx(objective(rows, target, slow, lam), rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-6)


@given(problems)
@settings(max_examples=80, deadline=None)
def test_weights_are_the_best_on_their_support(problem):
    n, d, k, lam, seed = problem
    rows = np.random.default_rng(seed).normal(size=(n, d))
    target = np.random.default_rng(seed + 1).normal(size=d)
    for regularisation in (lam, 0.0):
        found = pursue(rows, target, k, lam=regularisation)
        assert len(found.indices) <= k
        assert (found.weights > 0).all()
        best = ridge_nnls(rows[found.indices], target, regularisation) if len(found.indices) else np.zeros(0)
        np.testing.assert_allclose(found.weights, best, rtol=1e-5, atol=1e-7)
        residual = np.linalg.norm(target - found.weights @ rows[found.indices])
        assert found.residual == pytest.approx(residual, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_with_all_allowed_it_reaches_the_non_negative_optimum(seed):
    generator = np.random.default_rng(seed)
    rows, target = generator.normal(size=(40, 6)), generator.normal(size=6)
    for lam in (0.0, 0.5):
        found = pursue(rows, target, 40, lam=lam)
        best = ridge_nnls(rows, target, lam)
        assert objective(rows, target, full(found, 40), lam) <= objective(rows, target, best, lam) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_equals_scikit_learn_where_its_solution_is_non_negative(seed):
    generator = np.random.default_rng(seed)
    rows = np.abs(np.linalg.qr(generator.normal(size=(30, 30)))[0][:12])  # nearly orthogonal directions
    rows = np.eye(30)[:12] + 0.02 * rows
    target = generator.uniform(1, 5, size=12) @ rows
    for k in (1, 4, 8):
        theirs = orthogonal_mp(rows.T, target, n_nonzero_coefs=k)
        assert (theirs >= 0).all()
        np.testing.assert_allclose(full(pursue(rows, target, k), 12), theirs, atol=1e-8)


def test_more_examples_than_dimensions_need_no_larger_matrix():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(300, 5)) + 1
    target = rows.sum(0)
    found = pursue(rows, target, 120, lam=0.5)
    assert len(found.indices) == 120
    best = ridge_nnls(rows[found.indices], target, 0.5)
    np.testing.assert_allclose(found.weights, best, rtol=1e-6)


def snapshot_of(proxies, labels=None):
    return Snapshot(len(proxies), labels, proxies=np.asarray(proxies, np.float32))


def rng():
    return np.random.default_rng(0)


def test_stops_when_the_gradient_is_matched_and_says_how_many_are_missing():
    generator = np.random.default_rng(0)
    snapshot = snapshot_of(generator.normal(size=(50, 3)))
    coreset = GradMatch(lam=0.0, eps=1e-6).select(snapshot, 20, generator=rng())
    assert len(coreset) <= 3
    assert coreset.statistics["short"] == 20 - len(coreset)
    np.testing.assert_allclose(
        coreset.weights @ snapshot.proxies[coreset.indices], snapshot.proxies.sum(0), rtol=1e-4, atol=1e-4
    )


def test_filling_up_is_an_option_only():
    snapshot = snapshot_of(np.random.default_rng(0).normal(size=(50, 3)))
    plain = GradMatch(lam=0.0).select(snapshot, 20, generator=rng())
    filled = GradMatch(lam=0.0, fill="random").select(snapshot, 20, generator=rng())
    assert len(filled) == 20
    assert filled.statistics["short"] == 0
    assert filled.statistics["filled"] == 20 - len(plain)
    np.testing.assert_array_equal(filled.indices[: len(plain)], plain.indices)
    np.testing.assert_array_equal(filled.weights[len(plain) :], 1.0)


def test_statistics_add_up_over_classes():
    generator = np.random.default_rng(0)
    snapshot = snapshot_of(generator.normal(size=(60, 2)), np.repeat([0, 1], 30))
    coreset = PerClass(GradMatch(lam=0.0)).select(snapshot, 20, generator=rng())
    assert coreset.statistics["short"] == 20 - len(coreset) > 0


def test_matches_the_gradient_of_a_validation_set():
    generator = np.random.default_rng(0)
    held_out = snapshot_of(generator.normal(size=(20, 4)) + 1)
    snapshot = Snapshot(80, proxies=generator.normal(size=(80, 4)).astype(np.float32), validation=held_out)
    coreset = GradMatch(lam=0.0, target="validation").select(snapshot, 40, generator=rng())
    matched = coreset.weights @ snapshot.proxies[coreset.indices]
    np.testing.assert_allclose(matched, 80 * held_out.proxies.mean(0), rtol=1e-3, atol=1e-2)


def test_per_class_each_class_matches_its_own_validation_examples():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    held_out = snapshot_of(
        np.concatenate([np.full((5, 2), [1.0, 0.2]), np.full((5, 2), [0.2, 1.0])]), np.repeat([0, 1], 5)
    )
    snapshot = Snapshot(
        80, labels, proxies=np.abs(generator.normal(size=(80, 2))).astype(np.float32), validation=held_out
    )
    coreset = PerClass(GradMatch(lam=0.0, target="validation")).select(snapshot, 20, generator=rng())
    for label in (0, 1):
        of_class = labels[coreset.indices] == label
        matched = coreset.weights[of_class] @ snapshot.proxies[coreset.indices[of_class]]
        np.testing.assert_allclose(matched, 40 * held_out.proxies[held_out.strata == label].mean(0), rtol=1e-2)


def test_needs_validation_only_if_it_is_the_target():
    assert not GradMatch().requirements().validation
    assert GradMatch(target="validation").requirements().validation
    with pytest.raises(ValueError, match="no validation"):
        GradMatch(target="validation").select(snapshot_of(np.ones((3, 2))), 1, generator=rng())


def test_of_batches_each_is_taken_whole_with_one_weight():
    generator = np.random.default_rng(0)
    snapshot = snapshot_of(generator.normal(size=(96, 6)) + 0.5)
    coreset = PerBatch(GradMatch(lam=0.0), batch_size=8).select(snapshot, 24, generator=rng())
    assert len(coreset) == 8 * coreset.statistics["batches"] <= 24
    assert (coreset.weights.reshape(-1, 8) == coreset.weights.reshape(-1, 8)[:, :1]).all()
    error = np.linalg.norm(coreset.weights @ snapshot.proxies[coreset.indices] - snapshot.proxies.sum(0))
    assert error < np.linalg.norm(snapshot.proxies.sum(0))


def test_nothing_to_match_selects_nothing_rather_than_at_random():
    coreset = GradMatch().select(snapshot_of(np.zeros((5, 2))), 3, generator=rng())
    assert len(coreset) == 0
    assert coreset.statistics["short"] == 3


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_of_the_gradients_does_not_matter_without_regularisation(scale):
    proxies = np.random.default_rng(0).normal(size=(60, 5)) + 0.5
    one = pursue(proxies, proxies.sum(0), 4)
    other = pursue(proxies * scale, proxies.sum(0) * scale, 4)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"lam": -1}, "lam=-1 is outside"),
        ({"eps": float("nan")}, "eps=nan"),
        ({"proxy": "logit"}, "did you mean 'logits'"),
        ({"target": "valid"}, "did you mean 'validation'"),
        ({"fill": "rand"}, "did you mean 'random'"),
    ],
)
def test_bad_settings_are_refused(settings_, message):
    with pytest.raises(ValueError, match=message):
        GradMatch(**settings_)


def test_gradients_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="nan or infinite"):
        GradMatch().select(snapshot_of([[np.nan, 1.0]]), 1, generator=rng())
