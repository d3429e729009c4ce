"""AdaCore and CRAIG against naive greedy in float64, their ablations, and what becomes of cluster sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.oracles import naive_greedy
from torch.utils.data import TensorDataset

import adacore
from adacore.coreset import Coreset
from adacore.facility import facility_location
from adacore.probing.snapshot import Curvature, Requirements, Snapshot
from adacore.selectors import CRAIG, AdaCore, FacilityLocation, GradientNorm, KCenter, KMedoids, PerClass
from adacore.selectors.synthetic import synthetic_snapshot
from adacore.selectors.weighting import equally_weighted, reweight


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def snapshot():
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    return synthetic_snapshot(AdaCore().requirements(), labels)


def expected(points, labels, budgets):
    indices, weights = [], []
    for label, k in enumerate(budgets):
        rows = np.flatnonzero(labels == label)
        picks, _, _, sizes, _ = naive_greedy(points[rows], k)
        indices += rows[picks].tolist()
        weights += sizes.tolist()
    return indices, weights


def test_adacore_is_greedy_on_preconditioned_gradients_within_classes(snapshot):
    coreset = PerClass(AdaCore(damping=0.1)).select(snapshot, 6, generator=rng())
    x = snapshot.proxies / (np.abs(snapshot.curvature) + np.float32(0.1))
    indices, weights = expected(x, snapshot.strata, (3, 2, 1))
    assert coreset.indices.tolist() == indices
    assert coreset.weights.tolist() == weights


def test_craig_is_greedy_on_gradients_within_classes(snapshot):
    coreset = PerClass(CRAIG()).select(snapshot, 6, generator=rng())
    indices, weights = expected(snapshot.proxies, snapshot.strata, (3, 2, 1))
    assert coreset.indices.tolist() == indices
    assert coreset.weights.tolist() == weights


def test_gradients_alone_without_averages_are_craig(snapshot):
    ablated = AdaCore(curvature=None, average_gradient=False)
    assert ablated.requirements() == CRAIG().requirements()
    one, other = (s.select(snapshot, 6, generator=rng()) for s in (ablated, CRAIG()))
    np.testing.assert_array_equal(one.indices, other.indices)


def test_requirements_follow_the_settings():
    assert AdaCore().requirements() == Requirements(
        proxy="logits", curvature=Curvature("exact", "block", 64, 1), beta1=0.9, beta2=0.999
    )
    assert AdaCore(
        proxy="penultimate",
        curvature="hutchinson",
        scope="example",
        block_size=8,
        samples=3,
        average_gradient=False,
        average_curvature=False,
    ).requirements() == Requirements(proxy="penultimate", curvature=Curvature("hutchinson", "example", 8, 3))
    assert AdaCore(curvature=None).requirements() == Requirements(proxy="logits", beta1=0.9)
    assert AdaCore(targets="predicted").requirements().targets == "predicted"


@pytest.mark.parametrize("selector", [AdaCore, CRAIG])
@pytest.mark.parametrize("weighting", ["cluster", "uniform", "sqrt"])
def test_weightings_change_weights_only_and_sum_to_each_class(snapshot, selector, weighting):
    plain = PerClass(selector()).select(snapshot, 12, generator=rng())
    coreset = PerClass(selector(weighting=weighting)).select(snapshot, 12, generator=rng())
    np.testing.assert_array_equal(coreset.indices, plain.indices)
    for label, size in enumerate((30, 20, 10)):
        of_class = snapshot.strata[coreset.indices] == label
        weights, sizes = coreset.weights[of_class], plain.weights[of_class]
        assert weights.sum() == pytest.approx(size)
        power = {"cluster": 1.0, "uniform": 0.0, "sqrt": 0.5}[weighting]
        np.testing.assert_allclose(weights / weights[0], (sizes / sizes[0]) ** power)


def test_weights_are_cluster_sizes_of_at_least_one(snapshot):
    coreset = PerClass(AdaCore()).select(snapshot, 40, generator=rng())
    assert (coreset.weights >= 1).all()
    np.testing.assert_array_equal(coreset.weights, np.round(coreset.weights))


def test_equal_weights_of_nothing():
    assert len(equally_weighted(np.empty(0, np.int64), 5)) == 0
    assert len(reweight(Coreset(np.array([0]), np.array([4.0]), 4), "sqrt")) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"proxy": "logit"}, ValueError, "unknown proxy 'logit': did you mean 'logits'"),
        ({"weighting": "clusters"}, ValueError, "did you mean 'cluster'"),
        ({"curvature": "hutchison"}, ValueError, "did you mean 'hutchinson'"),
        ({"scope": "blocks"}, ValueError, "did you mean 'block'"),
        ({"block_size": 0}, ValueError, "block_size=0 is below 1"),
        ({"samples": True}, TypeError, "samples=True is not a whole number"),
        ({"beta1": -0.1}, ValueError, "beta1=-0.1 is outside"),
        ({"beta2": 1.0}, ValueError, "beta2=1.0 is outside"),
        ({"beta2": float("nan")}, ValueError, "beta2=nan is outside"),
        ({"damping": 0.0}, ValueError, r"damping=0.0 is outside \(0, inf\)"),
        ({"damping": float("inf")}, ValueError, "damping=inf"),
        ({"damping": "1e-6"}, TypeError, "damping='1e-6' is not a number"),
        ({"average_gradient": "yes"}, TypeError, "neither true nor false"),
        ({"targets": "predict"}, ValueError, "did you mean 'predicted'"),
        ({"engine": "lazy"}, ValueError, "unknown engine 'lazy'"),
        ({"refine": 1}, TypeError, "neither true nor false"),
    ],
)
def test_bad_settings_are_refused_at_construction(settings, error, message):
    with pytest.raises(error, match=message):
        AdaCore(**settings)


@pytest.mark.parametrize("selector", [AdaCore, CRAIG, FacilityLocation, KMedoids])
def test_engines_and_refinement_are_those_of_facility_location(selector, snapshot):
    made = selector(engine="stochastic", refine=False)
    snapshot = replace(snapshot, features=snapshot.proxies)
    points = made.coordinates(snapshot)
    expected = facility_location(points, budget=6, method="stochastic", seed=rng())
    coreset = made.select(snapshot, 6, generator=rng())
    np.testing.assert_array_equal(coreset.indices, expected.indices)
    refined = selector(refine=True).select(snapshot, 6, generator=rng())
    exact = selector(refine=False).select(snapshot, 6, generator=rng())
    assert refined.objective <= exact.objective == pytest.approx(made.objective(snapshot, exact))
    assert made.traits.randomised
    assert not selector(refine=False).traits.randomised


def test_presets_say_what_they_compare():
    assert FacilityLocation().requirements() == Requirements(features=True)
    assert CRAIG(targets="predicted").requirements() == Requirements(proxy="logits", targets="predicted")
    assert KMedoids(points="features").requirements() == KCenter(points="features").requirements()


def test_an_unlabelled_pool_is_selected_from_at_predicted_targets():
    torch.manual_seed(0)
    model, inputs = torch.nn.Linear(4, 3), torch.randn(60, 4)
    predicted = model(inputs).argmax(1)
    for selector in (
        AdaCore(targets="predicted"),
        CRAIG(targets="predicted"),
        GradientNorm("top", targets="predicted"),
    ):
        wrong = TensorDataset(inputs, (predicted + 1) % 3)
        at_predictions = TensorDataset(inputs, predicted)
        strata = np.zeros(60, np.int64)
        one = adacore.select(model, wrong, selector, budget=9, labels=strata)
        given = replace(selector, targets="given")
        other = adacore.select(model, at_predictions, given, budget=9, labels=strata)
        assert one.indices.tolist() == other.indices.tolist()


def test_a_snapshot_without_curvature_is_refused(snapshot):
    with pytest.raises(ValueError, match="the snapshot has no curvature"):
        AdaCore().select(replace(snapshot, curvature=None), 5, generator=rng())
    with pytest.raises(ValueError, match="the snapshot has no proxies"):
        CRAIG().select(Snapshot(5), 5, generator=rng())
