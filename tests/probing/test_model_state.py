"""What acts when a model changes its mode, or changes itself when it is run, leaves no trace."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.probing import model_state
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Requirements

DATA = TensorDataset(torch.randn(20, 4), torch.arange(20) % 3)
LOGITS = Requirements(proxy="logits")


class Merging(nn.Module):
    """A low-rank adapter that merges itself into the weight when the mode changes, as loralib's does."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(4, 3)
        self.a, self.b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(3, 2))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode is self.merged:
            self.base.weight.data += (-1 if mode else 1) * self.b @ self.a
            self.merged = not mode
        return self

    def eval(self):
        return self.train(False)

    def forward(self, x):
        adapted = 0 if self.merged else x @ self.a.T @ self.b.T
        return self.base(x) + adapted


@pytest.mark.parametrize("mode", [True, False])
def test_layers_that_merge_their_weights_are_left_alone(mode):
    model = Merging().train(mode)
    before, merged = {name: value.clone() for name, value in model.state_dict().items()}, model.merged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Probe().measure(model, DATA, LOGITS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.merged) == (mode, merged)


class Clamping(nn.Linear):
    """Changes its own weight in forward, behind the version counter."""

    def forward(self, x):
        self.weight.data.clamp_(min=0)
        return super().forward(x)


def test_parameters_that_change_are_put_back_and_reported():
    model = nn.Sequential(Clamping(4, 3))
    before = model[0].weight.clone()
    with pytest.warns(RuntimeWarning, match=r"changed its parameters.*0\.weight"):
        Probe().measure(model, DATA, LOGITS)
    assert torch.equal(model[0].weight, before)


def test_parameters_that_are_too_large_to_be_copied_are_an_error(monkeypatch):
    monkeypatch.setattr(model_state, "COPIED_BYTES", 0)
    with pytest.raises(RuntimeError, match="too large to have been copied"):
        Probe().measure(nn.Sequential(Clamping(4, 3)), DATA, LOGITS)
    Probe().measure(nn.Linear(4, 3), DATA, LOGITS)


def test_an_error_in_the_model_is_not_hidden_by_the_report():
    class Failing(Clamping):
        def forward(self, x):
            super().forward(x)
            raise ZeroDivisionError

    model = Failing(4, 3)
    before = model.weight.clone()
    with pytest.raises(ZeroDivisionError):
        Probe().measure(model, DATA, LOGITS)
    assert torch.equal(model.weight, before)


def test_nan_in_a_parameter_is_no_change():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(2, 2))
    model[1].weight.data.fill_(float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Probe(forward=lambda m, x: m[0](x)).measure(model, DATA, LOGITS)
