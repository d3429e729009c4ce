"""Errors of mini-batch gradients: against formulas, against autograd, and unbiased where they are promised to be."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.coreset import Coreset
from adacore.experiments.analysis.variance import (
    batch_error,
    cluster_batches,
    coreset_batches,
    epoch_batches,
    random_batch_error,
    random_batches,
    sketch_gradients,
    stratified_batches,
)
from adacore.selectors.ordered_strata import Strata


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_error_of_random_batches_is_that_of_the_formula():
    g = rng().normal(size=(50, 3)) + 0.3
    error = batch_error(g, random_batches(50, 8, 4000, generator=rng(1)))
    # Without replacement: variance S^2 / b (1 - b / n).
    variance = g.var(0, ddof=1).sum() / 8 * (1 - 8 / 50)
    expected = np.sqrt(variance) / np.linalg.norm(g.mean(0))
    assert random_batch_error(g, 8) == pytest.approx(expected)
    assert abs(error.relative_error - expected) < 4 * error.standard_error
    assert error.bias < 4
    assert error.draws == 4000


def test_the_error_of_stratified_batches_is_the_spread_within_strata():
    g = np.repeat(rng().normal(size=(5, 2)), 10, axis=0) * 10 + rng(1).normal(size=(50, 2))
    strata = Strata(np.arange(50), np.array([0, 50]))
    error = batch_error(g, stratified_batches(strata, 5, 4000, generator=rng(2)))
    within = sum(g[10 * s : 10 * s + 10].var(0).sum() for s in range(5)) / 25
    assert error.relative_error == pytest.approx(np.sqrt(within) / np.linalg.norm(g.mean(0)), rel=0.05)
    assert error.bias < 4


def test_a_bias_is_seen():
    g = rng().normal(size=(30, 4)) + np.eye(4)[0]
    always_the_first_half = ((rng(s).choice(15, 5, replace=False), np.ones(5)) for s in range(500))
    assert batch_error(g, always_the_first_half).bias > 4
    assert batch_error(g, [(np.arange(30), np.ones(30))] * 2).relative_error == pytest.approx(0, abs=1e-12)


def test_where_there_is_no_gradient_the_error_is_infinite():
    assert batch_error(np.array([[1.0], [-1.0]]), [(np.array([0]), np.ones(1))] * 2).relative_error == np.inf
    assert random_batch_error(np.array([[1.0], [-1.0]]), 1) == np.inf
    assert random_batch_error(np.ones((3, 2)), 3) == random_batch_error(np.ones((1, 2)), 1) == 0
    with pytest.raises(ValueError, match="needs at least 2"):
        batch_error(np.ones((2, 1)), [(np.array([0]), np.ones(1))])


@pytest.mark.parametrize("batching", ["weighted", "proportional", "stratified"])
def test_batches_of_a_coreset_estimate_its_own_weighted_gradient(batching):
    coreset = Coreset(np.array([3, 7, 1, 9]), np.array([6.0, 1.0, 2.0, 1.0]), 10)
    g = rng().normal(size=(10, 2))
    draws = list(coreset_batches(coreset, batching, 2, 6000, generator=rng(1)))
    estimates = np.array([weights @ g[rows] / len(rows) for rows, weights in draws])
    target = coreset.weights @ g[coreset.indices] / 10
    assert (np.abs(estimates.mean(0) - target) < 4.5 * estimates.std(0) / np.sqrt(6000) + 1e-9).all()
    if batching == "stratified":  # 6 of 10 in weight: the first comes 1 or 2 times of 2
        assert {int((rows == 3).sum()) for rows, _ in draws} == {1, 2}
    with pytest.raises(ValueError, match="unknown batching"):
        next(coreset_batches(coreset, "sorted", 2, 1, generator=rng()))


EPOCHS = {
    "all data, shuffled": (Coreset(np.arange(60), np.ones(60), 60), "weighted", 1.0),
    "strata": (Strata(np.arange(60), np.array([0, 60])), "weighted", 0.35),
    "half of the examples, kept": (Coreset(np.arange(30), np.full(30, 2.0), 60), "weighted", None),
}


@pytest.mark.parametrize("name", EPOCHS)
def test_batches_as_training_draws_them_err_as_their_kind_does(name):
    selection, batching, ratio = EPOCHS[name]
    # Neighbours are alike: strata of neighbours leave little of the error.
    g = np.sort(rng().normal(size=(60, 1)) + 1, axis=0)
    draws = list(epoch_batches(selection, batching, 6, 2000, size=60, seed=1))
    assert len(draws) == 2000
    assert {len(rows) for rows, _ in draws} == {6}
    error = batch_error(g, draws)
    if ratio is None:
        assert error.bias > 4
    else:
        assert error.relative_error <= (ratio + 0.05) * random_batch_error(g, 6)
        assert error.bias < 4


def test_incomplete_batches_are_left_out_unless_there_are_no_others():
    coreset = Coreset(np.arange(5), np.ones(5), 10)
    assert [len(rows) for rows, _ in epoch_batches(coreset, "weighted", 4, 3, size=5, seed=0)] == [4] * 3
    assert [len(rows) for rows, _ in epoch_batches(coreset, "proportional", 8, 2, size=5, seed=0)] == [5] * 2


def test_members_of_clusters_estimate_the_full_gradient():
    points = rng().normal(size=(40, 2))
    coreset = Coreset(np.array([0, 1, 2]), np.ones(3), 40)
    error = batch_error(points, cluster_batches(points, coreset, 3000, generator=rng(1)))
    assert error.bias < 4.5


@pytest.mark.parametrize("layer", [None, "2"])
def test_sketches_are_gradients_with_random_signs(layer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    data = TensorDataset(torch.randn(7, 3), torch.arange(7) % 2)
    flags, before = model.training, [p.clone() for p in model.parameters()]
    sketch = sketch_gradients(model, data, dimension=10**6, layer=layer, chunk=3)
    parameters = list(model.parameters()) if layer is None else list(model[2].parameters())
    exact = []
    for x, y in data:
        found = torch.autograd.grad(nn.functional.cross_entropy(model(x[None]), y[None]), parameters)
        exact.append(torch.cat([value.flatten() for value in found]).numpy())
    exact = np.array(exact)
    assert sketch.shape == exact.shape
    # Even a sketch as long as the gradients lets some coordinates collide: inner products are right on average.
    many = np.mean([(s := sketch_gradients(model, data, layer=layer, seed=i)) @ s.T for i in range(60)], axis=0)
    np.testing.assert_allclose(many, exact @ exact.T, atol=0.25 * np.abs(exact @ exact.T).max())
    assert model.training == flags
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
