"""Batches are the same however they are fetched."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from adacore.probing.probe import Probe
from adacore.probing.reading import batch_fetcher, for_data_loader, read, same
from adacore.probing.snapshot import Requirements

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)


def draw_from_torch():
    return torch.rand(())


class Plain(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return X[index], Y[index]


class Collating(Plain):
    collates = True

    def __getitems__(self, indices):
        indices = torch.as_tensor(indices)
        return X[indices], Y[indices]


DATASETS = [
    Plain(),
    Collating(),
    TensorDataset(X, Y),
    Subset(Subset(Collating(), list(range(10))), range(10)),
    Subset(TensorDataset(X, Y), np.arange(10)),
]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("workers", [0, 2])
def test_reading_keeps_order_and_content(dataset, workers):
    positions = torch.tensor([7, 1, 1, 9, 0])
    parts = list(read(dataset, positions.split(2), loader={"num_workers": workers}))
    assert [len(part.targets) for part in parts] == [2, 2, 1]
    assert torch.cat([part.targets for part in parts]).equal(positions)
    assert torch.cat([part.positions for part in parts]).equal(positions)
    assert torch.cat([part.inputs for part in parts]).equal(X[positions])


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: type(d).__name__)
def test_a_collate_fn_gets_a_list_of_examples(dataset):
    def collate(examples):
        return torch.stack([x for x, _ in examples]), torch.tensor([int(y) for _, y in examples])

    x, y, _ = next(read(dataset, [torch.tensor([3, 4])], loader={"collate_fn": collate}))
    assert x.equal(X[3:5])
    assert y.equal(Y[3:5])


def test_what_is_in_memory_is_fetched_at_once():
    assert [batch_fetcher(dataset) is not None for dataset in DATASETS] == [False, True, True, True, True]
    plain = Plain()
    assert for_data_loader(plain, None) == (plain, None)


class Augmented(Plain):
    def __init__(self, source):
        self.source = source

    def __getitem__(self, index):
        return X[index] + self.source(), Y[index] % 2


LOGITS = Requirements(proxy="logits")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("source", [random.random, np.random.rand, draw_from_torch])
def test_augmentation_is_noticed_without_using_up_randomness(source, workers):
    model = nn.Linear(2, 2)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    probe = Probe(loader={"num_workers": workers})
    assert probe.measure(model, Augmented(source), LOGITS).augmented
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.get_rng_state().equal(states[2])


def test_fixed_data_is_not_called_augmented():
    assert not any(Probe().measure(nn.Linear(2, 10), dataset, LOGITS).augmented for dataset in DATASETS)

    class Named(Plain):
        def __getitem__(self, index):
            return {"input": X[index], "name": f"example {index}", "label": Y[index]}

    probe = Probe(forward=lambda model, inputs: model(inputs["input"]))
    assert not probe.measure(nn.Linear(2, 10), Named(), LOGITS).augmented


class Counting(Plain):
    """Tells who reads it, and how often."""

    def __init__(self):
        self.reads = []

    def __getitem__(self, index):
        self.reads.append(index)
        return super().__getitem__(index)


def test_a_probe_reads_every_example_once_and_the_first_again():
    dataset = Counting()
    Probe(batch_size=4).measure(nn.Linear(2, 10), dataset, Requirements(proxy="penultimate"))
    assert dataset.reads == [*range(10), *range(4)]


class OnlyInWorkers(Plain):
    def __getitem__(self, index):
        assert torch.utils.data.get_worker_info() is not None
        return super().__getitem__(index)


def test_nothing_is_read_in_the_main_process_beside_the_workers():
    probe = Probe(loader={"num_workers": 1})
    needs = Requirements(proxy="last_layer", features=True)
    assert probe.measure(nn.Linear(2, 10), OnlyInWorkers(), needs).proxies.shape == (10, 64)


def test_unknown_reading_settings_are_named():
    with pytest.raises(ValueError, match="did you mean 'num_workers'"):
        Probe(loader={"num_worker": 2})
    with pytest.raises(ValueError, match="'shuffle'"):
        Probe(loader={"shuffle": True})


class Indexed(Plain):
    def __getitem__(self, index):
        return X[index], X[index].sum(), index


@pytest.mark.parametrize("dataset", [Indexed(), Subset(Indexed(), [3, 1, 4, 1, 5])], ids=["whole", "subset"])
def test_the_index_in_an_item_is_not_its_target(dataset):
    positions = torch.arange(len(dataset))
    inputs, targets, _ = next(read(dataset, [positions]))
    assert targets.equal(inputs.sum(1))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, np.nan], [1.0, 0.0], False),
        ([1.0, 0.0], [1.0, np.nan], False),
        ([np.inf], [np.finfo(np.float32).max], False),
        ([np.inf, -np.inf], [np.inf, -np.inf], True),
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([True, False], [True, True], False),
    ],
)
def test_readings_are_the_same_where_all_values_are(a, b, expected):
    assert same({"x": (torch.tensor(a), "a name")}, {"x": (torch.tensor(b), "another")}) is expected
