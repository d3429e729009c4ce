"""What in a batch is input and what is target."""

from collections import UserDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from adacore.probing.batch_layout import as_rows, attach, call, length_of, move, split

X, Y, W = torch.ones(2, 3), torch.tensor([0, 1]), torch.tensor([0.5, 1.5])


@pytest.mark.parametrize("key", ["labels", "label", "targets", "target"])
@pytest.mark.parametrize("kind", [dict, UserDict])
def test_mappings_keep_their_targets_under_a_known_key(key, kind):
    inputs, targets = split(kind({"x": X, key: Y}))
    assert targets is Y
    assert inputs == {"x": X}


def test_tuples_end_with_the_targets():
    assert split((X, Y))[0] is X
    assert split([X, Y])[1] is Y
    inputs, targets = split((X, X, Y))
    assert isinstance(inputs, tuple)
    assert targets is Y


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({"x": X}, ValueError, "keys"),
        ((X,), ValueError, "1 items"),
        (X, TypeError, "Tensor"),
        ((X, ["a", "b"]), TypeError, "list"),
    ],
)
def test_batches_without_targets_are_refused(batch, error, message):
    with pytest.raises(error, match=message):
        split(batch)


def test_weights_come_last_or_by_name():
    assert attach([X, Y], W) == (X, Y, W)
    batch = {"x": X, "label": Y}
    assert attach(batch, W)["weights"] is W
    assert "weights" not in batch
    assert isinstance(attach(UserDict(batch), W), UserDict)
    with pytest.raises(ValueError, match="weights"):
        attach({"weights": X}, W)
    with pytest.raises(TypeError, match="Tensor"):
        attach(X, W)


def test_moving_keeps_the_structure():
    Pair = namedtuple("Pair", "a b")
    moved = move({"x": Pair(X, [X, "text"])}, torch.device("meta"))
    assert moved["x"].a.is_meta
    assert moved["x"].b[0].is_meta
    assert moved["x"].b[1] == "text"
    images = move(torch.ones(2, 3, 4, 4), torch.device("cpu"), torch.channels_last)
    assert images.is_contiguous(memory_format=torch.channels_last)


class Echo(nn.Module):
    def forward(self, x, scale=1):
        return x * scale


def test_models_are_called_as_their_inputs_are_shaped():
    two = torch.tensor(2)
    assert call(Echo(), X).equal(X)
    assert call(Echo(), (X, two)).equal(2 * X)
    assert call(Echo(), {"x": X, "scale": two}).equal(2 * X)
    assert call(Echo(), X, lambda model, x: model(x, 3)).equal(3 * X)


def test_outputs_with_logits_are_accepted():
    assert call(Echo(), X, lambda _m, x: SimpleNamespace(logits=x)) is X
    assert call(Echo(), X, lambda _m, x: {"logits": x, "loss": None}) is X
    with pytest.raises(TypeError, match="forward="):
        call(Echo(), X, lambda _m, x: (x, x))


def test_logits_are_one_vector_for_each_example():
    assert as_rows(torch.ones(4)).shape == (4, 1)
    assert as_rows(torch.ones(4, 3)).shape == (4, 3)


def test_only_map_style_data_with_examples_is_taken():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(TypeError, match="map-style"):
        length_of(Stream())
    with pytest.raises(ValueError, match="validation is empty"):
        length_of(TensorDataset(torch.ones(0, 3)), "validation")
