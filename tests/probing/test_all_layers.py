"""Proxies of all layers against every example's own gradients, formed in full in float64."""

import copy

import numpy as np
import pytest
import torch
from tests import matrix
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import TensorDataset

from adacore.probing.all_layers import AllLayers
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements

N = 6


class Tokens(nn.Module):
    """Linear layers applied at every position; one of them twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, matrix.CLASSES)

    def forward(self, x):
        h = self.embed(x.flatten(1, 2)).tanh()
        return self.head((self.mix(self.mix(h).tanh())).mean(1))


def conv1d():
    return nn.Sequential(
        nn.Flatten(1, 2), nn.Conv1d(6, 4, 3, stride=2, padding=2, dilation=2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)
    )


def depthwise():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, padding_mode="reflect"),
        nn.Tanh(),
        nn.Conv2d(6, 6, 3, groups=6, stride=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 1, groups=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def conv3d():
    return nn.Sequential(
        nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 4, (1, 3, 3)), nn.Tanh(), nn.AvgPool3d((1, 4, 4)), nn.Flatten()
    )


MODELS = {
    "mlp": lambda: matrix.make_model("mlp", matrix.CLASSES),
    "convolutions": lambda: matrix.make_model("convolutions", matrix.CLASSES),
    "tokens": Tokens,
    "conv1d": conv1d,
    "depthwise": depthwise,
    "conv3d": conv3d,
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    made = MODELS[request.param]()
    made.eval()
    made(torch.randn(2, 1, 6, 6))
    return made.train()


@pytest.fixture
def data():
    return TensorDataset(*matrix.examples("classes", matrix.CLASSES, n=N))


def full_gradients(model, data):
    """The gradient of every example with respect to every weight of a linear or convolution layer, by name."""
    model = copy.deepcopy(model).double().eval()
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    rows = []
    for x, y in data:
        loss = functional.cross_entropy(model(x[None].double()), y[None])
        weights = [model.get_submodule(name).weight for name in layers]
        rows.append(torch.autograd.grad(loss, weights))
    return {name: torch.stack([row[i] for row in rows]).flatten(2) for i, name in enumerate(layers)}


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("dimension", [1, 2, 40])
def test_coordinates_are_the_gradient_along_the_drawn_directions(model, data, dimension, device):
    model = model.to(device)
    snapshot = Probe(batch_size=4).measure(model, data, Requirements(proxy="all_layers", projection=dimension), seed=2)
    expected = torch.zeros(N, dimension, dtype=torch.float64)
    gradients = full_gradients(copy.deepcopy(model).cpu(), data)
    for layer in AllLayers(model, dimension, 2, torch.device("cpu")).layers:
        g = gradients[layer.name]
        groups = getattr(layer.module, "groups", 1)
        left = layer.left.double().reshape(len(layer.left), groups, -1)
        along = torch.einsum("kgo,ngoi,ki->nk", left, g.reshape(N, groups, -1, g.shape[-1]), layer.right.double())
        expected[:, layer.columns] += along
    np.testing.assert_allclose(snapshot.proxies, expected, rtol=1e-3, atol=1e-5)


def test_inner_products_are_kept_on_average(model, data):
    gradients = torch.cat([g.flatten(1) for g in full_gradients(model, data).values()], dim=1)
    exact = gradients @ gradients.T
    sums = []
    for seed in range(60):
        p = Probe().measure(model, data, Requirements(proxy="all_layers", projection=60), seed=seed).proxies
        sums.append(p.astype(np.float64) @ p.T)
    error = np.mean(sums, axis=0) - exact.numpy()
    spread = np.std(sums, axis=0) / np.sqrt(len(sums))
    assert (np.abs(error) <= 5 * spread + 1e-6).all()


def test_a_probe_of_all_layers_leaves_no_trace(model, data):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    needs = Requirements(proxy="all_layers", losses=True, probabilities=True)
    first = Probe().measure(model, data, needs)
    again = Probe(batch_size=1).measure(model, data, needs)
    np.testing.assert_allclose(first.proxies, again.proxies, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first.losses, Probe().measure(model, data, Requirements(losses=True)).losses, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(module.training for module in model.modules())


def test_frozen_layers_are_left_out(data):
    model = matrix.make_model("mlp", matrix.CLASSES)
    model.body.requires_grad_(False)
    needs = Requirements(proxy="all_layers", projection=8)
    assert [layer.name for layer in AllLayers(model, 8, 0, torch.device("cpu")).layers] == ["head"]
    assert Probe().measure(model, data, needs).proxies.any()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="has a weight that is trained"):
        Probe().measure(model, data, needs)


def test_activation_checkpointing_changes_nothing(data):
    class Checkpointed(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net.head(checkpoint(self.net.body, x, use_reentrant=False))

    net, needs = matrix.make_model("mlp", matrix.CLASSES), Requirements(proxy="all_layers")
    expected = Probe().measure(net, data, needs).proxies
    np.testing.assert_allclose(Probe().measure(Checkpointed(net), data, needs).proxies, expected, atol=1e-6)


def test_what_cannot_be_measured_is_refused(data):
    needs = Requirements(proxy="all_layers")
    with pytest.raises(ValueError, match="curvature=None"):
        Probe().measure(matrix.make_model("mlp", 4), data, Requirements(proxy="all_layers", curvature=Curvature()))

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.part, self.head = nn.Linear(12, 5), nn.Linear(15, 4)

        def forward(self, x):
            return self.head(self.part(x.reshape(-1, 12)).reshape(len(x), -1))

    with pytest.raises(ValueError, match=r"'part' takes 18 rows for 6 examples.*last_layer"):
        Probe().measure(Windows(), data, needs)
    with pytest.raises(ValueError, match="below 1"):
        Probe().measure(matrix.make_model("mlp", 4), data, Requirements(proxy="all_layers", projection=0))


def test_the_features_are_watched_at_the_same_time(data):
    model = matrix.make_model("temperature", matrix.CLASSES)
    both = Probe().measure(model, data, Requirements(proxy="all_layers", features=True))
    np.testing.assert_allclose(
        both.features, Probe().measure(model, data, Requirements(features=True)).features, atol=1e-6
    )
    np.testing.assert_allclose(
        both.proxies, Probe().measure(model, data, Requirements(proxy="all_layers")).proxies, atol=1e-6
    )
