"""Scores against their formulas, top-k against sorting, sampling against its expectation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from adacore.probing.snapshot import Snapshot
from adacore.selectors import (
    EL2N,
    Entropy,
    Forgetting,
    GradientNorm,
    LeastConfidence,
    Loss,
    Margin,
)
from adacore.selectors.scores import highest, importance_sample, smoothed


def rng(seed=0):
    return np.random.default_rng(seed)


def probabilities(n=20, classes=4):
    return torch.from_numpy(rng().normal(size=(n, classes)) * 2).softmax(1).numpy().astype(np.float32)


@given(arrays(np.float64, st.integers(1, 30), elements=st.integers(-3, 3).map(float)), st.data())
def test_highest_is_a_stable_descending_sort(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert highest(scores, k).tolist() == expected


def test_uncertainty_by_its_formulas():
    p = probabilities()
    snapshot = Snapshot(20, probabilities=p)
    wide = p.astype(np.float64)
    np.testing.assert_allclose(Entropy().scores(snapshot), entropy(wide, axis=1), rtol=1e-6)
    ordered = np.sort(wide, axis=1)
    np.testing.assert_allclose(Margin().scores(snapshot), 1 - (ordered[:, -1] - ordered[:, -2]), rtol=1e-6)
    np.testing.assert_allclose(LeastConfidence().scores(snapshot), 1 - ordered[:, -1], rtol=1e-6)


def test_certain_predictions_have_no_entropy():
    snapshot = Snapshot(2, probabilities=np.array([[1.0, 0.0], [0.5, 0.5]], np.float32))
    np.testing.assert_allclose(Entropy().scores(snapshot), [0.0, np.log(2)])


def test_el2n_is_the_norm_of_the_error():
    p, labels = probabilities(), rng().integers(0, 4, size=20)
    expected = np.linalg.norm(p - np.eye(4)[labels], axis=1)
    np.testing.assert_allclose(EL2N().scores(Snapshot(20, targets=labels, probabilities=p)), expected, rtol=1e-6)


def test_el2n_refuses_classes_that_the_model_does_not_predict():
    snapshot = Snapshot(2, targets=np.array([0, 7]), probabilities=probabilities(2))
    with pytest.raises(ValueError, match="targets run from 0 to 7, the model predicts 4 classes"):
        EL2N().select(snapshot, 1, generator=rng())


def test_a_single_output_has_no_uncertainty():
    with pytest.raises(ValueError, match="single output"):
        Entropy().select(Snapshot(2, probabilities=np.ones((2, 1), np.float32)), 1, generator=rng())


def test_gradient_norms_and_forgetting_events_are_what_they_are_called():
    proxies = rng().normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(
        GradientNorm().scores(Snapshot(9, proxies=proxies)), np.linalg.norm(proxies.astype(np.float64), axis=1)
    )
    assert Forgetting().scores(Snapshot(2, forgetting=np.array([0, 4]))).tolist() == [0, 4]


def test_top_takes_the_highest_with_equal_weights():
    losses = np.array([0.5, 3.0, 0.1, 2.0, 2.0], np.float32)
    coreset = Loss().select(Snapshot(5, losses=losses), 3, generator=rng())
    assert coreset.indices.tolist() == [1, 3, 4]
    np.testing.assert_allclose(coreset.weights, 5 / 3)


def test_importance_weights_are_one_over_draws_times_probability():
    q = np.array([0.1, 0.2, 0.7])
    coreset = importance_sample(q, 10, rng())
    draws = coreset.weights * 10 * q[coreset.indices]
    np.testing.assert_allclose(draws, np.round(draws))
    assert draws.sum() == pytest.approx(10)
    assert coreset.statistics["repeated"] == 10 - len(coreset)


def test_sampling_by_gradient_norm_estimates_the_gradient_without_bias_and_better_than_uniform_sampling():
    proxies = (rng().normal(size=(40, 3)) * rng(1).lognormal(0, 1.5, size=(40, 1))).astype(np.float32)
    proxies[0] = 0.0  # never drawn, never missed
    snapshot, total = Snapshot(40, proxies=proxies), proxies.sum(0, dtype=np.float64)

    def estimates(selector):
        drawn = [selector.select(snapshot, 10, generator=rng(s)) for s in range(1500)]
        assert all(0 not in c.indices for c in drawn) or selector.smoothing == 1.0
        return np.array([c.weights @ proxies[c.indices] for c in drawn])

    by_norm, uniform = estimates(GradientNorm()), estimates(GradientNorm(smoothing=1.0))
    for found in (by_norm, uniform):
        error = np.abs(found.mean(0) - total) / (found.std(0) / np.sqrt(len(found)))
        assert (error < 4.5).all()
    assert by_norm.var(0).sum() < 0.5 * uniform.var(0).sum()


def test_smoothing_bounds_the_weights():
    q = smoothed(np.array([0.0, 0.0, 5.0]), 0.3)
    np.testing.assert_allclose(q, [0.1, 0.1, 0.8])
    assert smoothed(np.zeros(4), 0.0).tolist() == [0.25] * 4
    assert np.isfinite(smoothed(np.array([1e308, 1e308]), 0.0)).all()


def test_online_batch_selection_decays_with_the_rank_of_the_loss():
    losses = np.array([0.1, 5.0, 1.0, 1.0])
    q = Loss(mode="sample", pressure=16.0).probabilities(losses)
    assert q[1] / q[0] == pytest.approx(16.0 ** (3 / 4))
    assert q[2] == q[3]
    assert q.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Entropy(mode="tops"), "unknown mode 'tops': did you mean 'top'"),
        (lambda: Entropy(smoothing=1.5), r"smoothing=1.5 is outside \[0, 1\]"),
        (lambda: Loss(pressure=0.5), "pressure=0.5"),
        (lambda: GradientNorm(proxy="logit"), "did you mean 'logits'"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_diverged_training_is_refused():
    with pytest.raises(ValueError, match="nan or infinite"):
        Loss().select(Snapshot(2, losses=np.array([np.nan, 1.0], np.float32)), 1, generator=rng())
