"""Sequences and images with a loss for each token or pixel, against derivatives of whole examples in float64."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests import matrix
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import adacore
from adacore.probing import tokens
from adacore.probing.probe import Probe
from adacore.probing.proxies import projection
from adacore.probing.snapshot import Curvature, Requirements

N, LENGTH, WORDS, WIDTH, K = 9, 7, 11, 5, 6


class Tagger(nn.Module):
    """A label for each token."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WORDS)

    def body(self, ids):
        h = self.embed(ids)
        return self.mix(h + h.mean(1, keepdim=True)).tanh()

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=self.head(self.body(input_ids)))


class TinyForCausalLM(Tagger):
    """Labels are the ids themselves; position t predicts the next."""


class Texts(Dataset):
    """Padded sequences; labels of -100 do not count, and neither does the padding."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(WORDS, (N, LENGTH), generator=generator)
        self.labels = self.ids.clone()
        for i in range(N):
            self.labels[i, 2 + i % 6 :] = -100
        self.labels[3] = -100  # nothing of it counts

    def __len__(self):
        return N

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


@pytest.fixture(params=[Tagger, TinyForCausalLM])
def model(request):
    torch.manual_seed(0)
    return request.param()


def oracle(model, texts, proxy, seed=0):
    """Loss, gradient and Hessian diagonal of each sequence, from the definition."""
    net = copy.deepcopy(model).double().eval()
    drawn = projection(WORDS, WIDTH, K, seed, torch.float64, torch.device("cpu"))
    moved = torch.einsum("rc,rh->rch", drawn.left, drawn.right)
    size = {"logits": WORDS, "penultimate": WIDTH, "last_layer": K}[proxy]
    results = []
    for ids, labels in zip(texts.ids, texts.labels, strict=True):
        h = net.body(ids[None])[0].detach()
        if isinstance(model, TinyForCausalLM):
            h, labels = h[:-1], labels[1:]
        counted = labels != -100

        def loss(u, h=h, labels=labels, counted=counted):
            weight, bias = net.head.weight.detach(), net.head.bias.detach()
            weight = weight + torch.einsum("r,rch->ch", u, moved) if proxy == "last_layer" else weight
            z = (h + u if proxy == "penultimate" else h) @ weight.T + bias
            z = z + u if proxy == "logits" else z
            if not counted.any():
                return (z * 0).sum()
            return functional.cross_entropy(z[counted], labels[counted])

        u = torch.zeros(size, dtype=torch.float64)
        results.append((loss(u), torch.func.grad(loss)(u), torch.func.hessian(loss)(u).diagonal()))
    return [torch.stack(parts).detach() for parts in zip(*results, strict=True)]


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_a_sequence_is_the_mean_over_its_counted_tokens(model, proxy, device, monkeypatch):
    monkeypatch.setattr(tokens, "CHUNK", 5 * WORDS)
    needs = Requirements(proxy=proxy, projection=K, curvature=Curvature(scope="example"), losses=True)
    snapshot = Probe(batch_size=4).measure(model.to(device), Texts(), needs)
    losses, gradients, diagonals = oracle(model.cpu(), Texts(), proxy)
    np.testing.assert_allclose(snapshot.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(snapshot.proxies, gradients, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(snapshot.curvature, diagonals, rtol=1e-4, atol=1e-6)
    assert snapshot.targets is None
    assert not snapshot.proxies[3].any()


def test_hutchinson_over_tokens():
    torch.manual_seed(0)
    model, needs = Tagger(), Requirements(proxy="last_layer", projection=K)
    exact = oracle(model, Texts(), "last_layer")[2].numpy()
    kind = Curvature("hutchinson", "example", samples=4000)
    estimate = Probe().measure(model, Texts(), Requirements(proxy="last_layer", projection=K, curvature=kind)).curvature
    assert np.abs(estimate - exact).max() < 0.1 * exact.max()
    assert Probe().measure(model, Texts(), needs).curvature is None


def test_the_vectors_of_tokens_do_not_depend_on_the_cut_into_batches():
    """Sequences have different numbers of tokens that count: other processes, or batches, must not have to know."""
    torch.manual_seed(0)
    model = Tagger()
    needs = Requirements(proxy="last_layer", projection=K, curvature=Curvature("hutchinson", "example"))
    whole, cut = (Probe(batch_size=b).measure(model, Texts(), needs).curvature for b in (100, 3))
    np.testing.assert_allclose(cut, whole, rtol=1e-4, atol=1e-6)


def test_all_layers_over_tokens():
    torch.manual_seed(0)
    model, texts = Tagger(), Texts()
    snapshot = Probe(batch_size=4).measure(model, texts, Requirements(proxy="all_layers", projection=20_000))
    net = copy.deepcopy(model).double().eval()
    rows = []
    for ids, labels in zip(texts.ids, texts.labels, strict=True):
        z = net(ids[None]).logits[0]
        loss = functional.cross_entropy(z, labels) if (labels != -100).any() else (z * 0).sum()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, [net.mix.weight, net.head.weight])]))
    exact = torch.stack(rows)
    products = snapshot.proxies.astype(np.float64) @ snapshot.proxies.T
    np.testing.assert_allclose(products, exact @ exact.T, atol=0.06 * float((exact @ exact.T).max()))


@pytest.mark.parametrize("forward", ["one position fewer", "shifted labels"])
def test_other_ways_to_predict_the_next_token(forward):
    torch.manual_seed(0)
    model, texts = Tagger(), Texts()
    needs = Requirements(proxy="last_layer", projection=K, losses=True)
    causal = TinyForCausalLM()
    causal.load_state_dict(model.state_dict())
    expected = Probe().measure(causal, texts, needs)
    if forward == "one position fewer":
        actual = Probe(forward=lambda m, x: m(**x).logits[:, :-1]).measure(model, texts, needs)
    else:
        texts.labels = torch.cat([texts.labels[:, 1:], torch.full((N, 1), -100)], dim=1)
        actual = Probe().measure(model, texts, needs)
    np.testing.assert_allclose(actual.proxies, expected.proxies, atol=1e-6)
    np.testing.assert_allclose(actual.losses, expected.losses, atol=1e-6)


def test_images_with_a_label_for_each_pixel():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 1))
    x, y = torch.randn(N, 1, 5, 6), torch.randint(4, (N, 5, 6))
    y[:, 0] = 255
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    snapshot = Probe(criterion=criterion, batch_size=4).measure(
        model, TensorDataset(x, y), Requirements(proxy="logits", losses=True, curvature=Curvature(scope="example"))
    )
    for i in range(N):
        z = model(x[i : i + 1]).detach().requires_grad_()
        loss = criterion(z, y[i : i + 1])
        np.testing.assert_allclose(snapshot.losses[i], loss.item(), rtol=1e-5)
        g = torch.autograd.grad(loss, z)[0].sum((0, 2, 3))
        np.testing.assert_allclose(snapshot.proxies[i], g, atol=1e-6)
        p = z.softmax(1)[0, :, 1:].detach().flatten(1)
        np.testing.assert_allclose(snapshot.curvature[i], (p * (1 - p)).mean(1), rtol=1e-4)
    everywhere = Probe(criterion=criterion).measure(model, TensorDataset(x, y), Requirements(proxy="all_layers"))
    assert everywhere.proxies.shape == (N, 64)


def test_features_are_the_mean_over_counted_tokens(model):
    snapshot = Probe(batch_size=4).measure(model, Texts(), Requirements(features=True))
    texts, h = Texts(), model.body(Texts().ids).detach()
    labels = texts.labels
    if isinstance(model, TinyForCausalLM):
        h, labels = h[:, :-1], labels[:, 1:]
    for i in range(N):
        counted = labels[i] != -100
        if counted.any():
            np.testing.assert_allclose(snapshot.features[i], h[i][counted].mean(0), atol=1e-6)


def test_unlabelled_sequences_at_the_models_own_predictions(model):
    class Unlabelled(Texts):
        def __getitem__(self, index):
            return {"input_ids": self.ids[index], "attention_mask": (torch.arange(LENGTH) < 3).long()}

    needs = Requirements(proxy="last_layer", targets="predicted")
    snapshot = Probe().measure(model, Unlabelled(), needs)
    texts = Texts()
    texts.labels = model(texts.ids).logits.argmax(-1)
    texts.labels[:, 3:] = -100
    tagger = Tagger()
    tagger.load_state_dict(model.state_dict())
    expected = Probe().measure(tagger, texts, Requirements(proxy="last_layer"))
    np.testing.assert_allclose(snapshot.proxies, expected.proxies, atol=1e-6)


def test_sequences_are_selected(model):
    for selector in (adacore.AdaCore(proxy="last_layer"), adacore.CRAIG(proxy="penultimate"), adacore.GradientNorm()):
        assert 1 < len(adacore.select(model, Texts(), selector, budget=4)) <= 4


def test_what_does_not_fit_is_named(model):
    needs = Requirements(proxy="last_layer")
    with pytest.raises(ValueError, match=r"each token or pixel.*cross-entropy only.*forward=.*collate_fn"):
        Probe(criterion=nn.HuberLoss()).measure(model, Texts(), needs)
    with pytest.raises(ValueError, match="probabilities are not kept"):
        Probe().measure(model, Texts(), Requirements(probabilities=True))
    texts = Texts()
    texts.labels[5, 1] = WORDS
    with pytest.raises(ValueError, match=f"example 5 has a token or pixel with label {WORDS}.*-100"):
        Probe(batch_size=4).measure(model, texts, needs)
    texts.labels = texts.labels[:, :4]
    with pytest.raises(ValueError, match="one for each token"):
        Probe(batch_size=4).measure(model, texts, needs)
