"""The probe measures what a slow loop over examples would, and leaves no trace."""

import pickle
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements

N, INPUTS, HIDDEN, CLASSES = 37, 6, 5, 4

MEASURING = ("strata", "validation", "seed", "reselection", "forgetting")


def probe(model, dataset, requirements, **settings):
    """Measure with a probe of these settings."""
    measuring = {name: settings.pop(name) for name in MEASURING if name in settings}
    return Probe(**settings).measure(model, dataset, requirements, **measuring)


class Dicts(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"pixels": self.x[index], "label": self.y[index]}


class DictModel(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixels):
        return SimpleNamespace(logits=self.inner(pixels))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.Tanh(), nn.Dropout(0.5), nn.Linear(HIDDEN, CLASSES)
    ).double()
    model(torch.randn(64, INPUTS, dtype=torch.float64))  # BatchNorm has seen something
    return model


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, INPUTS, dtype=torch.float64, generator=generator)
    return TensorDataset(x, torch.randint(CLASSES, (N,), generator=generator))


EVERYTHING = Requirements(
    proxy="penultimate",
    curvature=Curvature(scope="example"),
    losses=True,
    probabilities=True,
    features=True,
    last_layer=True,
    validation=True,
)


def test_every_array_is_what_a_slow_loop_gives(model, data):
    snapshot = probe(model, data, EVERYTHING, validation=data, batch_size=8)
    model.eval()
    body, head = model[:-1], model[-1]
    for i in range(N):
        x, y = data[i]
        h = body(x[None])[0].detach()

        def loss(h, y=y):
            return functional.cross_entropy(head(h)[None], y[None])

        np.testing.assert_allclose(snapshot.features[i], h, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(snapshot.losses[i], loss(h).item(), rtol=1e-5)
        np.testing.assert_allclose(snapshot.probabilities[i], head(h).softmax(0).detach(), rtol=1e-5)
        np.testing.assert_allclose(snapshot.proxies[i], grad(loss)(h).detach(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(snapshot.curvature[i], hessian(loss)(h).diagonal().detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(snapshot.targets, data.tensors[1])
    np.testing.assert_allclose(snapshot.last_layer.weight, head.weight.detach(), rtol=1e-6)
    np.testing.assert_allclose(snapshot.last_layer.bias, head.bias.detach(), rtol=1e-6)
    for name, array in snapshot.per_example().items():
        np.testing.assert_array_equal(getattr(snapshot.validation, name), array)


def test_last_layer_proxies_are_the_projected_gradient_of_its_weight(model, data):
    snapshot = probe(model, data, Requirements(proxy="last_layer", projection=50_000), batch_size=8)
    model.eval()
    gradients = []
    for x, y in data:
        weights = dict(model.named_parameters())
        loss = functional.cross_entropy(functional_call(model, weights, x[None]), y[None])
        gradients.append(torch.autograd.grad(loss, model[-1].weight)[0].flatten())
    oracle = torch.stack(gradients)
    products = snapshot.proxies.astype(np.float64) @ snapshot.proxies.T
    np.testing.assert_allclose(products, oracle @ oracle.T, atol=0.05)


@pytest.mark.parametrize("proxy", ["penultimate", "last_layer"])
@pytest.mark.parametrize("kind", ["exact", "hutchinson"])
def test_what_follows_the_last_layer_is_differentiated_too(model, data, proxy, kind):
    """Cross-entropy of logits is the negative log-likelihood of their log-softmax."""
    needs = Requirements(proxy=proxy, curvature=Curvature(kind, "example"))
    direct = probe(model, data, needs)
    through = probe(nn.Sequential(model, nn.LogSoftmax(1)), data, needs, criterion=nn.NLLLoss())
    np.testing.assert_allclose(through.proxies, direct.proxies, atol=1e-6)
    np.testing.assert_allclose(through.curvature, direct.curvature, atol=1e-6)


def test_blocks_share_the_mean_of_the_examples_diagonals(model, data):
    single = probe(model, data, Requirements(proxy="logits", curvature=Curvature(scope="example"))).curvature
    blocks = probe(model, data, Requirements(proxy="logits", curvature=Curvature(block_size=10))).curvature
    shared = [np.flatnonzero((blocks == row).all(1)) for row in np.unique(blocks, axis=0)]
    assert sorted(map(len, shared)) == [7, 10, 10, 10]
    for rows in shared:
        np.testing.assert_allclose(blocks[rows[0]], single[rows].mean(0), rtol=1e-5)


def test_blocks_change_from_one_reselection_to_the_next_but_the_projection_does_not(model, data):
    needs = Requirements(proxy="last_layer", curvature=Curvature(block_size=10))
    first, again = probe(model, data, needs), probe(model, data, needs)
    second, other = probe(model, data, needs, reselection=1), probe(model, data, needs, seed=1)
    np.testing.assert_array_equal(first.curvature, again.curvature)
    np.testing.assert_array_equal(first.proxies, second.proxies)
    assert not np.array_equal(first.curvature, second.curvature)
    assert not np.array_equal(first.proxies, other.proxies)


@pytest.mark.parametrize("kind", ["exact", "hutchinson"])
def test_the_batch_size_and_workers_change_nothing(model, data, kind):
    needs = Requirements(proxy="penultimate", curvature=Curvature(kind), losses=True)
    expected = probe(model, data, needs)
    for settings in (
        {"batch_size": 1},
        {"batch_size": 7, "loader": {"num_workers": 2}},
        {"loader": {"collate_fn": collate}},
    ):
        actual = probe(model, data, needs, **settings)
        for name, array in expected.per_example().items():
            np.testing.assert_allclose(getattr(actual, name), array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_log_probabilities_are_told_by_many_rows(batch_size):
    """The exponentials of one row of logits add up to one by chance; a criterion of logits must be left alone then."""
    x = torch.randn(20, 3)
    x[0] = x[0].log_softmax(0)
    rows = TensorDataset(x, torch.arange(20) % 3)

    def margins(z, y):
        return (1 - z.gather(1, y[:, None])[:, 0]).square()

    needs = Requirements(proxy="logits")
    expected = probe(nn.Identity(), rows, needs, criterion=margins)
    actual = probe(nn.Identity(), rows, needs, criterion=margins, batch_size=batch_size)
    np.testing.assert_allclose(actual.proxies, expected.proxies)
    with pytest.raises(ValueError, match="takes log-probabilities"):
        probe(nn.Identity(), rows, needs, criterion=nn.NLLLoss(), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_coupled_loss_is_found_in_batches_of_any_size(data, model, batch_size):
    def coupled(z, y):
        return functional.cross_entropy(z, y, reduction="none") / len(z)

    with pytest.raises(ValueError, match="depends on the others"):
        probe(model, data, Requirements(proxy="logits"), criterion=coupled, batch_size=batch_size)


def collate(examples):
    return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])


def test_dict_batches_and_outputs_with_logits(model, data):
    needs = Requirements(proxy="penultimate", curvature=Curvature())
    expected = probe(model, data, needs)
    actual = probe(DictModel(model), Dicts(*data.tensors), needs)
    np.testing.assert_allclose(actual.proxies, expected.proxies, atol=1e-7)
    np.testing.assert_array_equal(actual.targets, expected.targets)


def test_forward_replaces_the_call(model, data):
    expected = probe(model, data, Requirements(proxy="logits")).proxies
    odd = nn.Module()
    odd.inner = model
    actual = probe(odd, data, Requirements(proxy="logits"), forward=lambda m, x: m.inner(x)).proxies
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.HuberLoss()])
def test_regression(outputs, criterion):
    torch.manual_seed(0)
    model, x = nn.Linear(INPUTS, outputs), torch.randn(N, INPUTS)
    targets = torch.randn(N, outputs)
    snapshot = probe(model, TensorDataset(x, targets), Requirements("logits", Curvature()), criterion=criterion)
    assert snapshot.targets is None
    z = model(x).detach().requires_grad_()
    (sum(criterion(z[i], targets[i]) for i in range(N))).backward()
    np.testing.assert_allclose(snapshot.proxies, z.grad, rtol=1e-5, atol=1e-7)
    if outputs == 1:  # also with targets of shape (n,), and outputs as well
        flat = TensorDataset(x, targets[:, 0])
        squeezed = nn.Sequential(model, nn.Flatten(0))
        for other in (model, squeezed):
            actual = probe(other, flat, Requirements("logits", Curvature()), criterion=criterion)
            np.testing.assert_allclose(actual.proxies, snapshot.proxies, atol=1e-7)


def test_a_function_sees_outputs_in_the_models_own_shape():
    data = TensorDataset(torch.randn(N, INPUTS), torch.randn(N))
    model = nn.Sequential(nn.Linear(INPUTS, 1), nn.Flatten(0))
    snapshot = probe(model, data, Requirements("penultimate"), criterion=lambda z, y: (z - y) ** 2)
    expected = probe(model, data, Requirements("penultimate"), criterion=nn.MSELoss())
    np.testing.assert_allclose(snapshot.proxies, expected.proxies, rtol=1e-5)


def test_one_logit_for_two_classes():
    data = TensorDataset(torch.randn(N, INPUTS), (torch.arange(N) % 2).float())
    model = nn.Linear(INPUTS, 1)
    snapshot = probe(model, data, Requirements("logits", Curvature(scope="example")), criterion=nn.BCEWithLogitsLoss())
    p = model(data.tensors[0]).sigmoid().detach()
    np.testing.assert_allclose(snapshot.proxies, p - data.tensors[1][:, None], atol=1e-6)
    np.testing.assert_allclose(snapshot.curvature, p * (1 - p), atol=1e-6)
    np.testing.assert_array_equal(snapshot.targets, np.arange(N) % 2)


def test_nothing_is_run_when_nothing_is_required(data):
    def explode(_model, _inputs):
        raise AssertionError

    snapshot = probe(nn.Linear(1, 1), data, Requirements(), forward=explode, strata=np.zeros(N, int))
    assert snapshot.per_example().keys() == {"strata"}


def test_within_inference_mode(model, data):
    with torch.inference_mode():
        snapshot = probe(model, data, Requirements("logits", Curvature()), criterion=focal)
    np.testing.assert_array_equal(
        snapshot.curvature, probe(model, data, Requirements("logits", Curvature()), criterion=focal).curvature
    )


def focal(z, y):
    return (1 - z.softmax(1).gather(1, y[:, None])[:, 0]) ** 2 * functional.cross_entropy(z, y, reduction="none")


def test_no_state_changes(model, data):
    with state_unchanged(model):
        probe(model, Noisy(data), EVERYTHING, validation=data)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_no_state_changes_when_it_is_interrupted(model, data, error):
    def forward(inner, x):
        if len(x) < 8:  # the last batch
            raise error
        return inner(x)

    for needs in (EVERYTHING, Requirements(proxy="logits")):
        with state_unchanged(model), pytest.raises(error):
            probe(model, Noisy(data), needs, validation=data, batch_size=8, forward=forward)


class Noisy(Dataset):
    """Draws from every global stream, as augmentations do."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        x, y = self.inner[index]
        return x + 1e-3 * (random.random() + np.random.rand() + torch.rand(())), y  # noqa: NPY002


def count(module, _inputs):
    module.seen.add_(1)


class state_unchanged:
    """Compare everything that a probe might touch, by identity and by bits."""

    def __init__(self, model):
        self.model = model
        model.train()
        model[1].eval()  # a user's frozen BatchNorm
        model[0].weight.grad = torch.full_like(model[0].weight, 3.0)
        model[0].bias.requires_grad_(False)
        model[-1].register_forward_hook(lambda *_: None)
        model[2].register_buffer("calls", torch.zeros(()))
        model[2].register_forward_pre_hook(lambda module, _: setattr(module, "calls", module.calls + 1))
        model[3].register_buffer("seen", torch.zeros(()))
        model[3].register_forward_pre_hook(count)

    def state(self):
        named = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        return {
            "tensors": named,
            "bits": {name: tensor.detach().clone() for name, tensor in named.items()},
            "requires_grad": {name: tensor.requires_grad for name, tensor in named.items()},
            "grads": {n: None if p.grad is None else p.grad.clone() for n, p in self.model.named_parameters()},
            "flags": [module.training for module in self.model.modules()],
            "hooks": [list(m._forward_hooks) + list(m._forward_pre_hooks) for m in self.model.modules()],
            "python": random.getstate(),
            "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
            "torch": torch.get_rng_state(),
            "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        }

    def __enter__(self):
        self.before = self.state()

    def __exit__(self, *_):
        after = self.state()
        for name, tensor in self.before["tensors"].items():
            assert after["tensors"][name] is tensor, name
            assert after["bits"][name].equal(self.before["bits"][name]), name
        for name, gradient in self.before["grads"].items():
            other = after["grads"][name]
            assert (gradient is None) == (other is None)
            assert gradient is None or gradient.equal(other)
        assert after["torch"].equal(self.before["torch"])
        for key in ("requires_grad", "flags", "hooks", "python", "numpy", "modes"):
            assert after[key] == self.before[key], key


def test_training_goes_on_under_the_same_autocast(model, data):
    """Casts of weights that autocast caches without gradients would cut the graph."""
    model = model.float()
    x, y = data.tensors[0].float(), data.tensors[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        snapshot = probe(model, TensorDataset(x, y), Requirements("penultimate", Curvature(), features=True))
        functional.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())
    full = probe(model, TensorDataset(x, y), Requirements("penultimate", Curvature()))
    assert not np.array_equal(snapshot.proxies, full.proxies)  # it did run in bfloat16
    np.testing.assert_allclose(snapshot.proxies, full.proxies, atol=0.05)


@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_models_in_half_precision(data, proxy):
    x, y = data.tensors[0].bfloat16(), data.tensors[1]
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).bfloat16()
    needs = Requirements(proxy, Curvature())
    direct = probe(body, TensorDataset(x, y), needs)
    through = probe(nn.Sequential(body, nn.LogSoftmax(1)), TensorDataset(x, y), needs, criterion=nn.NLLLoss())
    if proxy != "logits":
        np.testing.assert_allclose(through.proxies, direct.proxies, atol=0.05)


def test_images_follow_the_models_memory_format():
    seen = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).to(memory_format=torch.channels_last)
    model.register_forward_pre_hook(
        lambda _m, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    probe(model, TensorDataset(torch.rand(5, 3, 4, 4), torch.zeros(5, dtype=torch.long)), Requirements("logits"))
    assert seen
    assert all(seen)


@pytest.mark.parametrize(
    ("width", "targets", "settings", "message"),
    [
        (3, torch.full((N,), 3), {}, "example 0 has label 3, the model gives 3 logits"),
        (3, torch.zeros(N), {}, "float32"),
        (3, torch.zeros(N).long(), {"strata": [0] * 5}, r"labels have shape \(5,\)"),
        (3, torch.zeros(N).long(), {"criterion": lambda z, y: functional.cross_entropy(z, y)}, 'reduction="none"'),
        (1, torch.zeros(N).long(), {}, "one logit"),
        (3, torch.zeros(N).long(), {"layer": "heed"}, "unknown layer 'heed'"),
        (3, torch.zeros(N).long(), {"forward": lambda m, x: m(x)[:, :, None]}, "one for each token or pixel"),
        (3, torch.zeros(N).long(), {"forward": lambda m, x: m(x)[:-1]}, "rows of logits"),
    ],
)
def test_bad_input_is_named(width, targets, settings, message):
    data = TensorDataset(torch.randn(N, INPUTS), targets)
    with pytest.raises(ValueError, match=message):
        probe(nn.Linear(INPUTS, width), data, Requirements(proxy="penultimate"), **settings)


def test_the_first_example_with_nan_is_named():
    x = torch.randn(N, INPUTS)
    x[21, 2] = float("nan")
    data = TensorDataset(x, torch.zeros(N).long())
    with pytest.raises(ValueError, match="logits of example 21 hold nan, and so does its input"):
        probe(nn.Linear(INPUTS, 2), data, Requirements(proxy="logits"), batch_size=8)


def test_a_model_whose_every_output_is_nan_has_diverged():
    model = nn.Linear(INPUTS, 2)
    model.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="diverged; lower the learning rate"):
        probe(model, TensorDataset(torch.randn(N, INPUTS), torch.zeros(N).long()), Requirements(proxy="logits"))


def test_one_example_that_only_the_model_makes_nan_is_named():
    data = TensorDataset(torch.rand(N, 2), torch.zeros(N).long())
    data.tensors[0][30] = -1
    with pytest.raises(ValueError, match="example 30 hold nan, though its input is finite"):
        probe(nn.Identity(), data, Requirements(proxy="logits"), forward=lambda m, x: x.sqrt())


def test_a_second_derivative_that_is_not_finite_is_named():
    data = TensorDataset(torch.rand(N, 2) + 1, torch.rand(N, 2))
    data.tensors[0][7] = data.tensors[1][7]
    root = lambda z, y: (z - y).abs().pow(1.5).sum(1)  # noqa: E731
    with pytest.raises(ValueError, match="second derivative of the loss of example 7 is"):
        probe(nn.Identity(), data, Requirements("logits", Curvature()), criterion=root, forward=lambda m, x: x)


def hinge(outputs, targets):
    return (1 - outputs * targets.sign()).clamp_min(0).sum(1)


@pytest.mark.parametrize("criterion", [nn.L1Loss(), nn.L1Loss(reduction="sum"), hinge, lambda z, y: -z[:, 0]])
@pytest.mark.parametrize("kind", ["exact", "hutchinson"])
@pytest.mark.parametrize("proxy", ["logits", "penultimate"])
def test_losses_without_curvature_are_refused_where_it_is_needed(criterion, kind, proxy):
    data, model = TensorDataset(torch.randn(N, INPUTS), torch.randn(N, 3)), nn.Linear(INPUTS, 3)
    assert probe(model, data, Requirements(proxy), criterion=criterion).proxies.any()
    with pytest.raises(ValueError, match=r"no curvature.*HuberLoss.*CRAIG or AdaCore\(curvature=None\)"):
        probe(model, data, Requirements(proxy, Curvature(kind)), criterion=criterion)


def test_losses_that_couple_examples_are_refused():
    def info_nce(z, _y):
        return functional.cross_entropy(z @ z.T, torch.arange(len(z)), reduction="none")

    data = TensorDataset(torch.randn(N, INPUTS), torch.zeros(N).long())
    for proxy in ("logits", "penultimate"):
        with pytest.raises(ValueError, match="InfoNCE"):
            probe(nn.Linear(INPUTS, 3), data, Requirements(proxy), criterion=info_nce)


class Similarities(nn.Module):
    def forward(self, x):
        return x @ x.T


@pytest.mark.parametrize("model", [Similarities(), nn.BatchNorm1d(INPUTS, track_running_stats=False)])
def test_models_that_couple_examples_are_refused(model):
    data = TensorDataset(torch.randn(N, INPUTS), torch.zeros(N).long())
    with pytest.raises(ValueError, match=r"depends on the others in its batch.*Probe\(forward=\.\.\.\)"):
        probe(model, data, Requirements("logits"))


def test_models_with_chance_in_them_are_not_mistaken_for_coupled_ones():
    noisy = lambda m, x: m(x) + torch.rand(len(x), 3)  # noqa: E731
    data = TensorDataset(torch.randn(N, INPUTS), torch.zeros(N).long())
    assert probe(nn.Linear(INPUTS, 3), data, Requirements("logits"), forward=noisy).proxies.shape == (N, 3)


def test_running_out_of_memory_names_the_remedy(model, data):
    def forward(_model, _inputs):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError) as caught:
        probe(model, data, Requirements("logits"), forward=forward, batch_size=7)
    assert "7 examples at a time: lower Probe(batch_size=...)" in caught.value.__notes__[0]


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.HuberLoss()])
def test_an_index_behind_the_target_is_no_target(criterion):
    x, y = torch.randn(N, INPUTS), torch.randn(N, 1)
    expected = probe(nn.Linear(INPUTS, 1), TensorDataset(x, y), Requirements("logits"), criterion=criterion)
    model = nn.Linear(INPUTS, 1)
    expected = probe(model, TensorDataset(x, y), Requirements("logits"), criterion=criterion)
    indexed = TensorDataset(x, y, torch.arange(N))
    for forward in (None, lambda m, inputs: m(inputs)):
        actual = probe(model, indexed, Requirements("logits"), criterion=criterion, forward=forward)
        np.testing.assert_array_equal(actual.proxies, expected.proxies)
    elsewhere = TensorDataset(x, y, torch.arange(N) + 100)  # the index of another data set
    with pytest.raises(ValueError, match="looks like an index"):
        probe(model, elsewhere, Requirements("logits"), criterion=criterion, forward=lambda m, inputs: m(inputs[0]))


@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_gradients_at_the_models_own_predictions(model, data, proxy):
    pool = TensorDataset(data.tensors[0])
    needs = Requirements(proxy=proxy, curvature=Curvature(scope="example"), targets="predicted")
    with torch.no_grad():
        predicted = model.eval()(data.tensors[0]).argmax(1)
    snapshot = probe(model, pool, needs)
    expected = probe(model, TensorDataset(data.tensors[0], predicted), replace(needs, targets="given"))
    np.testing.assert_array_equal(snapshot.proxies, expected.proxies)
    np.testing.assert_array_equal(snapshot.curvature, expected.curvature)
    np.testing.assert_array_equal(snapshot.targets, predicted)
    assert snapshot.strata is None  # what the model predicts is nothing to select within
    np.testing.assert_array_equal(probe(model, data, needs).proxies, expected.proxies)
    with pytest.raises(ValueError, match=r"expected \(inputs, targets\)"):
        probe(model, pool, replace(needs, targets="given"))
    with pytest.raises(ValueError, match="its own prediction is zero"):
        probe(model, pool, needs, criterion=nn.MSELoss())


def test_what_needs_no_targets_is_measured_without_any(model, data):
    snapshot = probe(model, TensorDataset(data.tensors[0]), Requirements(probabilities=True, features=True))
    expected = probe(model, data, Requirements(probabilities=True, features=True))
    np.testing.assert_array_equal(snapshot.features, expected.features)
    np.testing.assert_array_equal(snapshot.probabilities, expected.probabilities)
    assert snapshot.targets is None


def test_masked_classes_are_no_error():
    mask = torch.tensor([0.0, 0.0, -torch.inf])
    data = TensorDataset(torch.randn(N, INPUTS), torch.zeros(N).long())
    model = nn.Linear(INPUTS, 3)
    snapshot = probe(model, data, Requirements("logits", Curvature()), forward=lambda m, x: m(x) + mask)
    assert np.isfinite(snapshot.proxies).all()
    assert (snapshot.curvature[:, 2] == 0).all()


def test_validation_data_that_is_required_is_asked_for(model, data):
    with pytest.raises(ValueError, match="validation="):
        probe(model, data, EVERYTHING)


def test_a_single_logit_is_that_of_the_second_of_two_classes():
    torch.manual_seed(0)
    x, y = torch.randn(9, INPUTS), torch.randint(2, (9, 1)).float()
    model = nn.Linear(INPUTS, 1)
    snapshot = probe(model, TensorDataset(x, y), Requirements(probabilities=True), criterion=nn.BCEWithLogitsLoss())
    expected = model(x).sigmoid().detach().numpy()
    np.testing.assert_allclose(snapshot.probabilities, np.concatenate([1 - expected, expected], axis=1), rtol=1e-5)


def test_a_probe_is_a_value_that_can_be_sent_to_another_process():
    settings = Probe(criterion=nn.HuberLoss(), layer="head", batch_size=3, loader={"num_workers": 2})
    again = pickle.loads(pickle.dumps(settings))
    assert (again.layer, again.batch_size, again.loader) == ("head", 3, {"num_workers": 2})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0 is below 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size=2.5 is not a whole number"),
        ({"criterion": "mse"}, TypeError, "not a loss"),
        ({"forward": "x"}, TypeError, "cannot be called"),
        ({"loader": [1]}, TypeError, "no mapping"),
    ],
)
def test_settings_are_checked_when_they_are_given(settings, error, message):
    with pytest.raises(error, match=message):
        Probe(**settings)
