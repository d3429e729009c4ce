import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import adacore

skorch = pytest.importorskip("skorch", reason="skorch is not installed")
from sklearn.base import clone  # noqa: E402

from adacore.integrations.skorch import CoresetNetClassifier  # noqa: E402

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


def make_model():
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def make_net(**settings):
    defaults = {"fraction": 0.2, "every": 2, "batch_size": 4, "max_epochs": 5, "lr": 0.1, "train_split": None}
    return CoresetNetClassifier(make_model(), selector=adacore.AdaCore(), verbose=0, **(defaults | settings))


def test_it_trains_on_the_batches_and_weights_of_the_plain_loop():
    seen = []

    class Recording(skorch.callbacks.Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            seen.append((batch[0].clone(), batch[2].clone()))

    net = make_net(callbacks=[Recording()])
    net.fit(X.numpy(), Y.numpy())
    model, expected = make_model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = adacore.CoresetLoader(TensorDataset(X, Y), model, adacore.AdaCore(), fraction=0.2, every=2, batch_size=4)
    for _ in range(5):
        for inputs, targets, weights in loader:
            expected.append((inputs, weights))
            loss = (weights * nn.functional.cross_entropy(model(inputs), targets, reduction="none")).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert len(seen) == len(expected) == 15
    for (inputs, weights), (plain, plain_weights) in zip(seen, expected, strict=True):
        assert torch.equal(inputs, plain)
        assert torch.equal(weights, plain_weights)
    assert torch.equal(net.module_.weight, model.weight)
    assert net.coreset_loader_.reselector.reselections == 3


def test_it_validates_without_weights_and_is_cloned_as_any_estimator():
    net = clone(make_net(train_split=skorch.dataset.ValidSplit(3)))
    net.fit(X.numpy(), Y.numpy())
    assert np.isfinite(net.history[:, "valid_loss"]).all()
    assert net.coreset_loader_.reselector.population == 40
    assert net.predict(X.numpy()).shape == (60,)
    assert net.get_params()["every"] == 2


def test_nll_of_probabilities_is_refused():
    with pytest.raises(TypeError, match="CrossEntropyLoss"):
        make_net(criterion=nn.NLLLoss).fit(X.numpy(), Y.numpy())
