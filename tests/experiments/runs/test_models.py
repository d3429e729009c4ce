import numpy as np
import pytest
import torch
from torch import nn

from adacore.experiments.runs.models import MODELS, PaddedShortcut, make_model


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_maps_a_batch_of_images_to_logits_for_each_class(name):
    model = make_model(name, (3, 32, 32), 7, seed=0)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet8", 0.08), ("resnet20", 0.27), ("resnet18", 11.17), ("resnet50", 23.52)]
)
def test_resnets_have_the_published_number_of_parameters(name, millions):
    count = sum(parameter.numel() for parameter in make_model(name, (3, 32, 32), 10, seed=0).parameters())
    assert round(count / 1e6, 2) == millions


def test_the_papers_perceptron_has_one_layer_of_100_sigmoid_units():
    layers = list(make_model("mlp", (1, 28, 28), 10, seed=0))
    assert [type(layer) for layer in layers] == [nn.Flatten, nn.Linear, nn.Sigmoid, nn.Linear]
    assert layers[1].out_features == 100


@pytest.mark.parametrize("side", [8, 15, 16, 32])
def test_a_lenet_takes_images_of_any_side(side):
    assert make_model("lenet", (1, side, side), 10, seed=0)(torch.rand(2, 1, side, side)).shape == (2, 10)


def test_large_images_go_through_the_standard_stem():
    small, large = (make_model("resnet18", (3, size, size), 10, seed=0) for size in (32, 224))
    assert small[0].kernel_size == (3, 3)
    assert large[0].kernel_size == (7, 7)
    assert large(torch.rand(1, 3, 224, 224)).shape == (1, 10)


def test_the_padded_shortcut_keeps_every_other_pixel_and_adds_channels_of_zeros():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y = PaddedShortcut(channels=2, stride=2)(x)
    assert y[0, 1].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert not y[0, [0, 2]].any()


def test_the_seed_decides_the_weights_and_global_streams_stay_where_they_were():
    before = torch.get_rng_state()
    a, b, c = (make_model("mlp", (4,), 2, seed=seed)[1].weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resnet_on_rows_of_numbers_is_refused():
    with pytest.raises(ValueError, match=r"images of shape .* use mlp"):
        make_model("resnet20", (22,), 2, seed=0)


def test_unknown_names_come_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="did you mean 'resnet20'"):
        make_model("resnet21", (3, 32, 32), 10, seed=0)


@pytest.mark.parametrize(
    "body",
    [
        "def make(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes))",
        "def make(num_classes=3): return nn.Linear(4, num_classes)",
        "def make(**settings): return nn.Linear(4, settings['num_classes'])",
        "class make(nn.Linear):\n    def __init__(self, classes): super().__init__(4, classes)",
    ],
)
def test_a_factory_by_import_path_gets_what_it_asks_for(tmp_path, monkeypatch, body):
    module = f"user_model_{abs(hash(body))}"
    (tmp_path / f"{module}.py").write_text(f"from torch import nn\n{body}\n")
    monkeypatch.chdir(tmp_path)
    assert make_model(f"{module}:make", (4,), 5, seed=0)(torch.zeros(1, 4)).shape == (1, 5)


@pytest.mark.parametrize("path", ["no_such_module:make", "torch.nn:NoSuchThing", ":make", "torch.nn:"])
def test_a_factory_that_cannot_be_imported_is_a_clear_error(path):
    with pytest.raises(ValueError, match="import"):
        make_model(path, (4,), 2, seed=0)


def test_a_factory_that_asks_for_something_else_is_told_what_it_may_have():
    with pytest.raises(TypeError, match="may ask for any of shape"):
        make_model("torch.nn:Linear", (4,), 2, seed=0)


def test_a_factory_must_return_a_module():
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        make_model("collections:OrderedDict", (4,), 2, seed=0)


def test_resnet20_starts_with_logits_of_a_sane_size():
    logits = make_model("resnet20", (3, 32, 32), 10, seed=0)(torch.rand(8, 3, 32, 32))
    assert np.abs(logits.detach().numpy()).max() < 20
