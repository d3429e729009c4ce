"""Embeddings are what the named layer gives, row by row, without targets and without a trace."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests import matrix
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import adacore
from adacore import embed

N = 21


@pytest.fixture
def net():
    return matrix.make_model("convolutions", matrix.CLASSES)


@pytest.fixture
def images():
    return matrix.examples("classes", matrix.CLASSES, n=N)[0]


class Pool(Dataset):
    """Unlabelled, one item in the given shape."""

    def __init__(self, inputs, shape):
        self.inputs, self.shape = inputs, shape

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        x = self.inputs[index]
        return {"tensor": x, "tuple": (x,), "dict": {"pixels": x}, "pair": (x, index % 2), "named": (x, f"{index}")}[
            self.shape
        ]


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("shape", ["tensor", "tuple", "dict", "pair", "named"])
def test_the_input_of_the_last_layer_whatever_an_item_looks_like(net, images, shape, device):
    z = embed(net.to(device), Pool(images, shape), batch_size=8)
    expected = net.cpu().eval().body(images).detach()
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected, atol=1e-5)


def test_any_layer_by_name(net, images):
    pool = Pool(images, "tensor")
    net.eval()
    body = net.body
    np.testing.assert_allclose(embed(net, pool, layer=""), net(images).detach(), atol=1e-6)
    np.testing.assert_allclose(embed(net, pool, layer="body"), body(images).detach(), atol=1e-6)
    pooled = body[0](images).mean((2, 3)).detach()
    np.testing.assert_allclose(embed(net, pool, layer="body.0"), pooled, atol=1e-6)
    with pytest.raises(ValueError, match="did you mean 'body'"):
        embed(net, pool, layer="bodi")


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models(net, images, wrap):
    pool = Pool(images, "tensor")
    np.testing.assert_array_equal(embed(wrap(net), pool), embed(net, pool))


class Encoder(nn.Module):
    """One vector for each token, as an encoder without a head gives them."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 6)

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(last_hidden_state=self.embed(input_ids))


class Texts(Dataset):
    def __init__(self, *, masked):
        self.masked = masked

    def __len__(self):
        return N

    def __getitem__(self, index):
        item = {"input_ids": torch.arange(4) + index % 6}
        return item | ({"attention_mask": torch.arange(4) < 1 + index % 4} if self.masked else {})


@pytest.mark.parametrize("masked", [False, True])
def test_tokens_are_averaged_without_padding(masked):
    encoder, texts = Encoder(), Texts(masked=masked)
    z = embed(encoder, texts, batch_size=5)
    for i in range(N):
        ids = texts[i]["input_ids"][: 1 + i % 4 if masked else 4]
        np.testing.assert_allclose(z[i], encoder.embed(ids).mean(0).detach(), atol=1e-6)


def test_channels_come_first_in_one_dimensional_convolutions():
    model, x = nn.Sequential(nn.Conv1d(2, 5, 1), nn.Flatten(), nn.Linear(15, 2)), torch.randn(N, 2, 3)
    np.testing.assert_allclose(embed(model, Pool(x, "tensor"), layer="0"), model[0](x).mean(2).detach(), atol=1e-6)


def test_models_that_do_not_end_in_a_linear_layer_give_their_output(images):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    np.testing.assert_allclose(embed(model, Pool(images, "tensor")), model(images).detach(), atol=1e-6)


def test_nothing_is_left_behind(net, images):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stream = torch.get_rng_state()
    embed(net, TensorDataset(images), layer="body.1")
    assert torch.equal(stream, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in net.modules())


def test_what_cannot_be_embedded_is_named(net, images):
    broken = images.clone()
    broken[17, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match="embedding of example 17 is not finite"):
        embed(net, Pool(broken, "tensor"), batch_size=4)
    with pytest.raises(ValueError, match="empty"):
        embed(net, Pool(images[:0], "tensor"))
    unused = nn.ModuleDict({"net": net, "spare": nn.Linear(2, 2)})
    with pytest.raises(ValueError, match="does not run"):
        embed(unused, Pool(images, "tensor"), layer="spare", forward=lambda m, x: m["net"](x))
    with pytest.raises(ValueError, match="one row for each"):
        embed(net, Pool(images, "tensor"), layer="", forward=lambda m, x: m(x).mean(0))


def test_embeddings_are_what_facility_location_takes(net, images):
    c = adacore.facility_location(embed(net, Pool(images, "tensor")), budget=5, metric="cosine")
    assert len(c.indices) == 5


def test_unlabelled_pools_are_selected_from(net, images):
    pool, model = Pool(images, "tensor"), net
    for selector in (
        adacore.Entropy(),
        adacore.Margin(),
        adacore.LeastConfidence(),
        adacore.AdaCore(targets="predicted"),
        adacore.AdaCore(targets="predicted", proxy="penultimate", curvature="hutchinson"),
        adacore.AdaCore(targets="predicted", proxy="all_layers", curvature=None),
    ):
        coreset = adacore.select(model, pool, selector, budget=6)
        assert len(coreset) == 6, selector.name
    with pytest.raises((ValueError, TypeError), match="targets"):
        adacore.select(model, pool, adacore.AdaCore(), budget=6)
