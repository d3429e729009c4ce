"""A probe in half precision: its forward passes are, its gradients are those of float32 up to their rounding."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests import matrix
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import adacore
from adacore.probing.half_precision import autocasting
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements

PROXIES = ("logits", "penultimate", "last_layer", "all_layers")
HALF = Probe(autocast="bfloat16")


def needs(proxy):
    return Requirements(proxy, None if proxy == "all_layers" else Curvature(), losses=True, features=True)


def images(n=60):
    return TensorDataset(*matrix.examples("classes", matrix.CLASSES, n=n))


class Watching(nn.Module):
    """Notes the autocast that its forward passes run under."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, set()

    def forward(self, x):
        device = x.device.type
        self.seen.add(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None)
        return self.inner(x)


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("name", matrix.MODELS)
def test_proxies_are_those_of_float32_up_to_bfloat16s_rounding(name, proxy, device):
    model = matrix.make_model(name, matrix.CLASSES).to(device)
    expected, found = Probe().measure(model, images(), needs(proxy)), HALF.measure(model, images(), needs(proxy))
    for array in ("proxies", "curvature", "losses", "features"):
        one, other = getattr(expected, array), getattr(found, array)
        if one is not None:
            assert other.dtype == np.float32
            # Eight bits of each number, some of which are lost from layer to layer.
            assert np.abs(one - other).max() <= 2**-5 * np.abs(one).max()
    assert not np.array_equal(expected.proxies, found.proxies), "it did run in bfloat16"


@pytest.mark.parametrize("proxy", PROXIES)
def test_it_gives_what_the_callers_autocast_gives(proxy):
    model = matrix.make_model("convolutions", matrix.CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = Probe().measure(model, images(), needs(proxy))
    np.testing.assert_array_equal(HALF.measure(model, images(), needs(proxy)).proxies, expected.proxies)


def test_the_probes_setting_holds_within_the_callers_autocast_and_leaves_it_alone():
    model = Watching(matrix.make_model("mlp", matrix.CLASSES))
    with torch.autocast("cpu", dtype=torch.float16):
        HALF.measure(model, images(), needs("last_layer"))
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.float16
    assert model.seen == {torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")


def test_an_error_in_the_model_leaves_the_callers_autocast_alone():
    def fails(model, inputs):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Probe(autocast="bfloat16", forward=fails).measure(nn.Linear(2, 2), images(), needs("logits"))
    assert not torch.is_autocast_enabled("cpu")


def test_a_model_that_sets_its_own_precision_keeps_it():
    class Single(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return self.net(x)

    model = Single(matrix.make_model("mlp", matrix.CLASSES))
    for proxy in PROXIES:
        expected = Probe().measure(model, images(), needs(proxy))
        np.testing.assert_array_equal(HALF.measure(model, images(), needs(proxy)).proxies, expected.proxies)


@pytest.mark.parametrize("proxy", PROXIES)
def test_training_goes_on_under_the_same_autocast(proxy):
    """Casts of weights that a probe made without gradients must not be found by the training."""
    model = matrix.make_model("convolutions", matrix.CLASSES)
    x, y = images().tensors
    with torch.autocast("cpu", dtype=torch.bfloat16):
        HALF.measure(model, images(), needs(proxy))
        functional.cross_entropy(model(x), y).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("proxy", PROXIES)
def test_dicts_and_outputs_with_logits(proxy):
    class Items(Dataset):
        inputs, labels = images().tensors

        def __len__(self):
            return len(self.labels)

        def __getitem__(self, index):
            return {"pixels": self.inputs[index], "labels": self.labels[index]}

    class Named(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, pixels):
            return SimpleNamespace(logits=self.net(pixels).float())  # as transformers does

    net = matrix.make_model("mlp", matrix.CLASSES)
    expected = HALF.measure(net, images(), needs(proxy))
    np.testing.assert_array_equal(HALF.measure(Named(net), Items(), needs(proxy)).proxies, expected.proxies)


def test_sequences_of_tokens():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(9, 6), nn.Linear(6, 3)

        def forward(self, tokens):
            return self.head(self.words(tokens).tanh())

    torch.manual_seed(0)
    model, tokens = Tagger(), torch.randint(9, (20, 5))
    data = TensorDataset(tokens, tokens % 3)
    for proxy in PROXIES:
        one, other = (probe.measure(model, data, needs(proxy)).proxies for probe in (Probe(), HALF))
        assert np.abs(one - other).max() <= 2**-5 * np.abs(one).max()


def trained_on_clusters():
    """A classifier in the middle of training, and 600 examples of 12 clusters in 4 classes."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(12, 8, generator=generator)
    cluster = torch.arange(600) % 12
    x, y = centres[cluster] + torch.randn(600, 8, generator=generator), cluster % 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, TensorDataset(x, y)


@pytest.mark.parametrize("proxy", ["logits", "last_layer"])
def test_strata_leave_as_little_variance_within_as_those_of_float32(proxy):
    model, data = trained_on_clusters()
    selector = adacore.Stratified(proxy=proxy)

    def variance_within(probe):
        measured = probe.measure(model, data, selector.requirements())
        order = selector.strata(measured, generator=np.random.default_rng(0)).order
        return sum(part.var(0).sum() * len(part) for part in np.array_split(exact[order], 20))

    exact = Probe().measure(model, data, selector.requirements()).proxies
    assert variance_within(HALF) <= 1.02 * variance_within(Probe())
    assert variance_within(HALF) <= 0.7 * exact.var(0).sum() * len(exact)  # an order that says nothing leaves 1


def test_medoids_serve_the_gradients_of_float32_as_well():
    model, data = trained_on_clusters()
    exact = Probe().measure(model, data, Requirements("logits")).proxies
    objectives = [
        adacore.assign(
            exact, adacore.select(model, data, adacore.CRAIG(proxy="logits"), fraction=0.1, probe=probe).indices
        ).distances.sum()
        for probe in (Probe(), HALF)
    ]
    assert objectives[1] <= 1.02 * objectives[0]


@pytest.mark.parametrize("selector", [adacore.AdaCore(), adacore.Stratified()])
def test_a_loader_probes_in_half_precision_and_trains_in_single(selector):
    model = Watching(matrix.make_model("mlp", matrix.CLASSES))
    loader = adacore.CoresetLoader(images(), model, selector, fraction=0.5, batch_size=8, probe=HALF)
    for inputs, _, _ in loader:
        assert model.seen == {torch.bfloat16}
        assert inputs.dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")


def test_a_state_goes_on_in_the_same_precision_only():
    model = matrix.make_model("mlp", matrix.CLASSES)

    def loader(probe):
        return adacore.CoresetLoader(images(), model, adacore.AdaCore(), fraction=0.2, batch_size=4, probe=probe)

    one, other = loader(HALF), loader(HALF)
    first = list(one)
    other.load_state_dict(one.state_dict())
    for ours, theirs in zip(one, other, strict=True):
        assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))
    assert first
    with pytest.raises(ValueError, match=r"saved with autocast=bfloat16, this loader has autocast=None"):
        loader(Probe()).load_state_dict(one.state_dict())


def test_a_state_of_a_stream_goes_on_in_the_same_precision_only():
    def loader(probe):
        return adacore.StreamLoader(
            list(images()), nn.Linear(2, 2), adacore.AdaCore(), pool=30, fraction=0.2, probe=probe
        )

    with pytest.raises(ValueError, match=r"saved with autocast=bfloat16, this loader has autocast=None"):
        loader(Probe()).load_state_dict(loader(HALF).state_dict())


@pytest.mark.parametrize(
    ("autocast", "error"),
    [("bf16", ValueError), ("float32", ValueError), ("", ValueError), (torch.bfloat16, TypeError), (True, TypeError)],
)
def test_what_is_no_half_precision_is_refused_with_those_that_are(autocast, error):
    with pytest.raises(error, match=r'"bfloat16" or "float16", or None'):
        Probe(autocast=autocast)


def test_a_device_without_autocast_is_named():
    with pytest.raises(ValueError, match=r'autocast="bfloat16" on meta.*None'):
        autocasting("bfloat16", torch.device("meta"))
