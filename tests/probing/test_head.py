"""The last linear layer is the one that ran last and reaches the logits."""

import pytest
import torch
from torch import nn

from adacore.probing.head import find_head, watching


class Net(nn.Module):
    """An auxiliary head runs after the main one and is thrown away; an unused layer is registered last."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(4, 3)
        self.body = nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)
        self.unused = nn.Linear(4, 3)

    def forward(self, x):
        h = self.body(x).relu()
        logits = self.head(input=h)
        self.aux(h)
        return logits


def head_of(model, x=None, layer=None):
    x = torch.randn(2, 5) if x is None else x
    with torch.no_grad():
        return find_head(model, lambda: model(x), layer)


def test_it_reaches_the_logits():
    head = head_of(Net())
    assert (head.name, head.direct) == ("head", True)


def test_frozen_models_have_one_too():
    assert head_of(Net().requires_grad_(False)).name == "head"


@pytest.mark.parametrize("tail", [nn.LogSoftmax(1), nn.Dropout(0.0), nn.Flatten()])
def test_what_follows_it_is_noticed(tail):
    head = head_of(nn.Sequential(Net(), tail))
    assert (head.name, head.direct) == ("0.head", not isinstance(tail, nn.LogSoftmax))


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(x) + self.a(x)


class LowRank(nn.Module):
    """A linear layer with an adapter beside it, as PEFT builds it."""

    def __init__(self):
        super().__init__()
        self.base_layer, self.lora_A, self.lora_B = nn.Linear(5, 3), nn.Linear(5, 2, bias=False), nn.Linear(2, 3)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


class FunctionalHead(nn.Module):
    """The last layer is no module; a linear layer comes before it."""

    def __init__(self):
        super().__init__()
        self.body, self.weight = nn.Linear(5, 4), nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return nn.functional.linear(self.body(x).relu(), self.weight)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Sum(), ["'a'", "'b'"]),
        (LowRank(), ["'base_layer'", "'lora_B'"]),
        (FunctionalHead(), ["'body'", "'weight'"]),
        (
            nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (6, 1)), nn.Conv1d(6, 3, 1), nn.Flatten()),
            ["'0'", "'2.weight'"],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_several_layers_that_make_the_logits_are_named(model, names, frozen):
    model.requires_grad_(not frozen)
    with pytest.raises(ValueError, match=r"Probe\(layer=\.\.\.\).*proxy=\"logits\"") as caught:
        head_of(model)
    assert all(name in str(caught.value) for name in names)
    assert all(p.requires_grad is not frozen for p in model.parameters())


def test_one_of_them_can_be_chosen_by_name():
    head = head_of(Sum(), layer="b")
    assert (head.name, head.direct) == ("b", False)


def test_an_adapter_inside_a_linear_layer_is_refused_before_it_has_learnt_anything():
    class Lora(nn.Linear):  # as in loralib
        def __init__(self):
            super().__init__(5, 3)
            self.lora_A, self.lora_B = nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.zeros(3, 2))

        def forward(self, x):
            return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T

    with pytest.raises(ValueError, match="does more than weight @ input"):
        head_of(Lora())


def test_autocast_inside_forward():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.head(self.body(x).relu())

    assert head_of(Own()).name == "head"


def test_a_model_that_works_in_place_has_a_head_too():
    assert (
        head_of(nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3), nn.Hardtanh(inplace=True))).name
        == "2"
    )


def test_a_name_decides():
    model = Net()
    assert head_of(model, layer="body").layer is model.body
    with pytest.raises(ValueError, match="did you mean 'head'"):
        head_of(model, layer="haed")
    with pytest.raises(ValueError, match="layer='aux' does not feed the logits"):
        head_of(model, layer="aux")
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Linear"):
        head_of(nn.Sequential(Net(), nn.ReLU()), layer="1")


def test_names_inside_wrappers_are_the_users_own():
    wrapped = nn.ModuleDict({"_orig_mod": Net()})
    wrapped.forward = wrapped["_orig_mod"].forward
    assert head_of(wrapped, layer="head").name == "head"


def test_models_without_one_are_refused():
    with pytest.raises(ValueError, match='proxy="logits"'):
        head_of(nn.Sequential(nn.Flatten(), nn.ReLU()))


def test_a_layer_on_sequences_is_refused():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(x).mean(1)

    with pytest.raises(ValueError, match="expected one vector for each example"):
        head_of(Pooled(), torch.randn(2, 7, 5))


def test_a_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(x) - self.head(-x)

    with pytest.raises(ValueError, match="more than once"):
        head_of(Twice())


def test_an_adapter_around_a_linear_layer_is_refused():
    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + x.sum(1, keepdim=True)

    with pytest.raises(ValueError, match="does more than weight @ input"):
        head_of(nn.Sequential(Adapted(5, 3)))


def test_no_hook_stays():
    model = Net()
    head = head_of(model)
    with pytest.raises(KeyboardInterrupt), watching(head):
        raise KeyboardInterrupt
    assert not any(module._forward_hooks for module in model.modules())
