"""GLISTER against a float64 oracle written from the paper: dense gradients, one pick at a time, torch's autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adacore.coreset import Coreset
from adacore.probing.snapshot import LastLayer, Snapshot
from adacore.selectors import GLISTER, PerClass
from adacore.selectors.synthetic import synthetic_snapshot


def rng():
    return np.random.default_rng(0)


def example(n=60, classes=3, seed=0):
    labels = np.random.default_rng(seed).integers(0, classes, size=n)
    labels[:classes] = np.arange(classes)
    return synthetic_snapshot(GLISTER().requirements(), labels, seed=seed)


def with_ones(features):
    return torch.cat([torch.as_tensor(features, dtype=torch.float64), torch.ones(len(features), 1)], 1)


def oracle(snapshot, budget, r, step):
    """Algorithm 2 with the Taylor form: full gradients, the held-out gradient by autograd every r picks."""
    errors = torch.as_tensor(snapshot.proxies, dtype=torch.float64)
    gradients = torch.einsum("ic,ih->ich", errors, with_ones(snapshot.features))
    held_out, labels = with_ones(snapshot.validation.features), torch.as_tensor(snapshot.validation.targets)
    start = torch.cat(
        [torch.as_tensor(snapshot.last_layer.weight), torch.as_tensor(snapshot.last_layer.bias)[:, None]], 1
    ).double()
    chosen = []
    for position in range(budget):
        if position % r == 0:
            theta = start.clone()
            for j in chosen:
                theta -= step * gradients[j]
            theta.requires_grad_()
            loss = torch.nn.functional.cross_entropy(held_out @ theta.T, labels)
            (direction,) = torch.autograd.grad(loss, theta)
        gains = [float((gradients[e] * direction).sum()) if e not in chosen else -np.inf for e in range(snapshot.n)]
        chosen.append(int(np.argmax(gains)))
    return chosen


@pytest.mark.parametrize(("budget", "r"), [(1, 1), (12, 1), (12, 5), (12, 100), (60, 7)])
def test_equals_the_oracle(budget, r):
    snapshot = example()
    coreset = GLISTER(r=r, step=0.1).select(snapshot, budget, generator=rng())
    assert coreset.indices.tolist() == oracle(snapshot, budget, r, 0.1)
    np.testing.assert_allclose(coreset.weights, snapshot.n / budget)


def test_refreshes_every_three_per_cent_of_the_budget_unless_told_otherwise():
    snapshot = example(n=200)
    default = GLISTER(step=0.1).select(snapshot, 100, generator=rng())
    assert default.indices.tolist() == GLISTER(r=3, step=0.1).select(snapshot, 100, generator=rng()).indices.tolist()


def test_first_gain_is_the_held_out_improvement_to_first_order():
    snapshot, step = example(), 1e-6
    one = GLISTER(step=step)
    loss = torch.nn.functional.cross_entropy(
        torch.as_tensor(snapshot.validation.features).double() @ torch.as_tensor(snapshot.last_layer.weight).double().T
        + torch.as_tensor(snapshot.last_layer.bias),
        torch.as_tensor(snapshot.validation.targets),
    ).item()
    alone = [Coreset(np.array([e]), np.ones(1), snapshot.n) for e in range(snapshot.n)]
    improvements = [loss - one.objective(snapshot, coreset) for coreset in alone]
    assert one.select(snapshot, 1, generator=rng()).indices[0] == int(np.argmax(improvements))


def test_needs_validation_and_says_so():
    assert GLISTER().requirements().validation
    with pytest.raises(ValueError, match="GLISTER needs validation data: pass validation="):
        GLISTER().select(replace(example(), validation=None), 5, generator=rng())


def test_regression_is_refused():
    snapshot = example()
    unlabelled = replace(snapshot, validation=replace(snapshot.validation, targets=None))
    with pytest.raises(ValueError, match="classification"):
        GLISTER().select(unlabelled, 5, generator=rng())


def test_one_logit_for_two_classes():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 3)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)
    layer = LastLayer(np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
    held_out = Snapshot(40, targets=labels, features=features)
    snapshot = Snapshot(
        40,
        labels,
        proxies=(0.5 - labels[:, None]).astype(np.float32),
        features=features,
        last_layer=layer,
        validation=held_out,
    )
    picks = GLISTER(step=0.1).select(snapshot, 5, generator=rng()).indices
    signed = features[:, 0] * (2 * labels - 1)
    assert signed[picks].mean() > np.quantile(signed, 0.7)


def test_per_class_each_class_sees_its_own_validation_examples():
    snapshot = example()
    coreset = PerClass(GLISTER(r=1)).select(snapshot, 12, generator=rng())
    expected = []
    for label, budget in zip(*np.unique(snapshot.strata[coreset.indices], return_counts=True), strict=True):
        rows = np.flatnonzero(snapshot.strata == label)
        same = np.flatnonzero(snapshot.validation.targets == label)
        part = snapshot.take(rows)
        part = replace(part, validation=snapshot.validation.take(same))
        expected += rows[oracle(part, budget, 1, 0.01)].tolist()
    assert coreset.indices.tolist() == expected


@pytest.mark.parametrize("bad", [{"r": 0}, {"step": 0.0}, {"step": -1}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GLISTER(**bad)
