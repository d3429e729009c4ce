"""Batches are the same however they are fetched."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from adacore.probing.reading import fetcher, loadable, read, varies

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)


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
    parts = list(read(dataset, positions, batch_size=2, num_workers=workers))
    assert [len(y) for _, y in parts] == [2, 2, 1]
    assert torch.cat([y for _, y in parts]).equal(positions)
    assert torch.cat([x for x, _ in parts]).equal(X[positions])


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: type(d).__name__)
def test_a_collate_fn_gets_a_list_of_examples(dataset):
    def collate(examples):
        return torch.stack([x for x, _ in examples]), torch.tensor([int(y) for _, y in examples])

    x, y = next(read(dataset, torch.tensor([3, 4]), collate_fn=collate))
    assert x.equal(X[3:5])
    assert y.equal(Y[3:5])


def test_what_is_in_memory_is_fetched_at_once():
    assert [fetcher(dataset) is not None for dataset in DATASETS] == [False, True, True, True, True]
    plain = Plain()
    assert loadable(plain, None) == (plain, None)


class Augmented(Plain):
    def __init__(self, source):
        self.source = source

    def __getitem__(self, index):
        return X[index] + self.source(), Y[index]


@pytest.mark.parametrize("source", [random.random, np.random.rand, lambda: torch.rand(())])
def test_augmentation_is_noticed_without_using_up_randomness(source):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert varies(Augmented(source), 10)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.get_rng_state().equal(states[2])


def test_fixed_data_is_not_called_augmented():
    assert not any(varies(dataset, 10) for dataset in DATASETS)

    class WithNan(Plain):
        def __getitem__(self, index):
            return {"x": torch.tensor(float("nan")), "name": f"example {index}"}

    assert not varies(WithNan(), 10)
