"""Convolution networks on the CPU run on images with channels last, and give what they give without."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.probing.image_layout import image_layout
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements

IMAGES = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(IMAGES, torch.arange(40) % 4)


class Net(nn.Module):
    """A small network that notes whether its images came with channels last."""

    def __init__(self, *, view: bool = False, strict: bool = False) -> None:
        super().__init__()
        widths = zip((3, 8, 8, 8), (8, 8, 8, 8), strict=True)
        blocks = [nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()) for i, o in widths]
        self.body = nn.Sequential(*blocks, nn.AvgPool2d(2))
        self.head = nn.Linear(128, 4)
        self.view, self.strict, self.channels_last = view, strict, list[bool]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.channels_last.append(x.is_contiguous(memory_format=torch.channels_last))
        assert x.is_contiguous() or not self.strict
        h = self.body(x)
        return self.head(h.view(len(h), -1) if self.view else h.flatten(1))


def net(**settings):
    torch.manual_seed(0)
    return Net(**settings)


@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer", "all_layers"])
def test_a_probe_measures_the_same_in_either_layout(proxy, monkeypatch):
    needs = Requirements(proxy, None if proxy == "all_layers" else Curvature(), losses=True, features=True)
    model = net()
    measured = Probe(batch_size=16).measure(model, DATA, needs)
    assert all(model.channels_last[-2:]), "the batches of the data set ran with channels last"
    monkeypatch.setattr("adacore.probing.batch_measurements.image_layout", lambda *_: None)
    model.channels_last.clear()
    expected = Probe(batch_size=16).measure(model, DATA, needs)
    assert not any(model.channels_last)
    for name in ("proxies", "curvature", "losses", "features"):
        if getattr(expected, name) is not None:
            np.testing.assert_allclose(getattr(measured, name), getattr(expected, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"view": True}, {"strict": True}])
def test_models_that_need_their_images_as_they_are_get_them_so(settings):
    model = net(**settings)
    measured = Probe(batch_size=16).measure(model, DATA, Requirements("logits"))
    expected = Probe(batch_size=16).measure(net(), DATA, Requirements("logits"))
    np.testing.assert_allclose(measured.proxies, expected.proxies, atol=1e-6)
    assert not any(model.channels_last[-2:])
    assert adacore.embed(model, DATA, batch_size=16).shape == (40, 128)


def test_embeddings_run_with_channels_last_too():
    model = net()
    found = adacore.embed(model, DATA, batch_size=16)
    assert all(model.channels_last[-2:])
    model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(found, model.body(IMAGES).flatten(1), atol=1e-6)


def test_models_without_convolutions_or_with_chance_are_left_alone():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    assert image_layout(linear, linear, IMAGES) is None
    assert image_layout(net().body[0], lambda x: x.mean((2, 3)), IMAGES) is None
    assert image_layout(nn.Sequential(net()), lambda x: torch.rand(len(x), 4), IMAGES) is None
    assert image_layout(net().to("meta"), lambda _: None, IMAGES) is None
    assert image_layout(net(), lambda x: x.mean((2, 3)), IMAGES) is torch.channels_last
    assert image_layout(net(), lambda x: x.mean((2, 3)) * float("nan"), IMAGES) is None


def test_a_dict_of_images_and_other_tensors_runs_too():
    model = net()

    def forward(module: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return module(inputs["pixels"]) + inputs["bias"]

    class Dicts(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
            return {"pixels": IMAGES[i], "bias": torch.ones(4), "label": torch.tensor(i % 4)}

    measured = Probe(forward=forward, batch_size=16).measure(model, Dicts(), Requirements("logits"))
    assert all(model.channels_last[-3:-1])
    np.testing.assert_allclose(
        measured.proxies, Probe().measure(net(), DATA, Requirements("logits")).proxies, atol=1e-6
    )
