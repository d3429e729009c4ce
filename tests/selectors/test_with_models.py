"""Every selector with a real model and a real probe: whole, and through the loader with a validation split."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.selectors import SELECTORS, GradMatch, PerBatch, make_selector


def data(n, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (n,), generator=generator)
    return TensorDataset(torch.randn(n, 5, generator=generator) + 2 * targets[:, None], targets)


def make_model():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return model.train()


@pytest.mark.parametrize("name", SELECTORS)
def test_selecting_leaves_model_and_random_streams_alone(name):
    model = make_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    streams = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    coreset = adacore.select(model, data(90, 0), make_selector(name), budget=15, validation=data(30, 1))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == streams  # noqa: NPY002
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert 0 < len(coreset) <= (90 if name == "full" else 15)


@pytest.mark.parametrize("name", SELECTORS)
def test_training_resumed_in_the_middle_selects_the_same(name):
    def run(stop):
        torch.manual_seed(0)
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        batches = []

        def make_loader():
            return adacore.CoresetLoader(
                data(60, 0), model, make_selector(name), budget=12, batch_size=6, validation=data(20, 1)
            )

        loader = make_loader()
        for epoch in range(4):
            if epoch == stop:
                state = loader.state_dict()
                loader = make_loader()
                loader.load_state_dict(state)
            for inputs, targets, weights in loader:
                logits = model(inputs)
                loader.observe(logits, targets)
                batches.append((loader.indices.tolist(), weights.tolist()))
                optimizer.zero_grad()
                (weights * nn.functional.cross_entropy(logits, targets, reduction="none")).mean().backward()
                optimizer.step()
        return batches

    assert run(stop=2) == run(stop=None)


def test_validation_is_asked_for_before_any_work():
    with pytest.raises(ValueError, match="glister needs validation data: pass validation="):
        adacore.CoresetLoader(data(60, 0), make_model(), make_selector("glister"), budget=12)


def test_a_smaller_proxy_model_selects_for_a_larger_one():
    proxy_model = nn.Linear(5, 3)
    coreset = adacore.select(proxy_model, data(60, 0), adacore.Entropy(), fraction=0.2)
    assert len(coreset.subset(data(60, 0))) == 12


def test_batches_through_the_loader():
    loader = adacore.CoresetLoader(
        data(60, 0), make_model(), PerBatch(GradMatch(), batch_size=5), budget=20, batch_size=5
    )
    weights = torch.cat([weights for _, _, weights in loader])
    assert len(weights) % 5 == 0
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)


def test_the_never_learnt_example_is_selected_first_by_forgetting_events():
    examples = data(60, 0)
    loader = adacore.CoresetLoader(examples, make_model(), adacore.Forgetting(), fraction=1.0, batch_size=60)
    labels = examples.tensors[1]
    stubborn = [int(torch.nonzero(labels == c)[-1]) for c in range(3)]  # the last of each class
    for epoch in range(4):
        for _, targets, _ in loader:
            right = nn.functional.one_hot(targets, 3).float()
            wrong = right.roll(1, 1)
            never = torch.isin(loader.indices, torch.tensor(stubborn))[:, None]
            # All others are learnt and forgotten in turn.
            loader.observe(torch.where(never | (epoch % 2 == 1), wrong, right), targets)
    next(iter(loader))
    chosen = loader.coreset.indices
    assert [int(next(i for i in chosen if labels[i] == c)) for c in range(3)] == stubborn
