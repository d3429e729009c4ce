"""The data set that training reads: examples with their weights, whoever asks."""

import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate

from adacore.training.plan import EpochPlan, Key
from adacore.training.weighted import WeightedDataset, unpack

N = 12
X, Y = torch.arange(2.0 * N).reshape(N, 2), torch.arange(N) % 3
KEYS = [Key((7, 0.5)), Key((0, 1.5)), Key((11, 1.0))]


class Singly(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return X[index], Y[index]


class AllAtOnce(Singly):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Collating(Singly):
    collates = True

    def __getitems__(self, indices):
        return X[indices], Y[indices]


class Dicts(Singly):
    def __getitem__(self, index):
        return {"x": X[index], "label": Y[index]}


class Augmented(Singly):
    def __getitem__(self, index):
        return X[index] + torch.rand(2) + np.random.rand() + random.random(), Y[index]  # noqa: NPY002


KINDS = {
    "tensors": TensorDataset(X, Y),
    "subset": Subset(TensorDataset(X.flip(0), Y.flip(0)), range(N - 1, -1, -1)),
    "singly": Singly(),
    "all at once": AllAtOnce(),
    "collating": Collating(),
    "subset of collating": Subset(Collating(), range(N)),
    "augmented": Augmented(),
}


@pytest.fixture(params=[kind for kind in KINDS if kind != "augmented"])
def dataset(request):
    return WeightedDataset(KINDS[request.param])


def test_it_returns_input_target_and_weight(dataset):
    x, y, w = default_collate(dataset.__getitems__(KEYS))
    assert torch.equal(x, X[[7, 0, 11]])
    assert torch.equal(y, Y[[7, 0, 11]])
    assert torch.equal(w, torch.tensor([0.5, 1.5, 1.0]))
    assert w.dtype == torch.float32
    x, y, w = dataset[KEYS[0]]
    assert torch.equal(x, X[7])
    assert w.item() == 0.5


def test_a_plan_is_read_as_its_keys_are(dataset):
    plan = EpochPlan(0, (torch.tensor([7, 0, 11]),), (torch.tensor([0.5, 1.5, 1.0]),))
    for a, b in zip(dataset.read(plan, 0), unpack(dataset.__getitems__(plan.keys(0))), strict=True):
        assert torch.equal(a, b)


def test_it_goes_to_another_process(dataset):
    copied = pickle.loads(pickle.dumps(dataset))
    for a, b in zip(unpack(copied.__getitems__(KEYS)), unpack(dataset.__getitems__(KEYS)), strict=True):
        assert torch.equal(a, b)


def test_a_user_s_collate_fn_sees_examples_without_weights():
    def collate(examples):
        return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])

    for kind in ("tensors", "subset", "singly", "all at once", "collating", "subset of collating"):
        x, _, w = unpack(WeightedDataset(KINDS[kind], collate_fn=collate).__getitems__(KEYS))
        assert torch.equal(x, X[[7, 0, 11]])
        assert len(w) == 3


def test_dicts_get_a_key_of_the_user_s_name():
    batch = unpack(WeightedDataset(Dicts(), weight_key="gamma").__getitems__(KEYS))
    assert batch.keys() == {"x", "label", "gamma"}
    assert set(WeightedDataset(Dicts())[KEYS[0]]) == {"x", "label", "weights"}
    with pytest.raises(ValueError, match="pass another weight_key="):
        WeightedDataset(Dicts(), weight_key="label").__getitems__(KEYS)


def test_positions_without_weights_are_refused(dataset):
    """Whoever puts another sampler in place of ours would train on the full data, unweighted."""
    with pytest.raises(TypeError, match=r"batch_sampler=loader\.batch_sampler"):
        next(iter(DataLoader(dataset, batch_size=4)))
    with pytest.raises(TypeError, match="asked for 3"):
        dataset[3]


def test_another_collate_fn_is_refused(dataset):
    def collate(examples):
        return torch.stack([x for x, *_ in examples])

    with pytest.raises(TypeError, match="give yours to CoresetLoader"):
        next(iter(DataLoader(dataset, batch_sampler=[KEYS], collate_fn=collate)))


def test_batches_that_take_no_weights_and_lost_examples_are_refused():
    class Bare(Singly):
        def __getitem__(self, index):
            return X[index]

    with pytest.raises(TypeError, match="a batch is a Tensor"):
        WeightedDataset(Bare()).__getitems__(KEYS)
    with pytest.raises(ValueError, match="3 examples came out with 2 rows"):
        WeightedDataset(Singly(), collate_fn=lambda examples: default_collate(examples[1:])).__getitems__(KEYS)


def test_augmentation_depends_on_seed_epoch_and_batch_alone():
    plan = EpochPlan(4, (torch.tensor([1, 2]), torch.tensor([3, 4])), (torch.ones(2), torch.ones(2)))
    dataset = WeightedDataset(Augmented(), seed=1)
    expected = dataset.read(plan, 1)[0]
    torch.rand(3)
    assert torch.equal(dataset.read(plan, 1)[0], expected)
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).read(plan, 1)[0], expected)
    other_epoch = EpochPlan(5, plan.batches, plan.weights)
    for different in (WeightedDataset(Augmented(), seed=2).read(plan, 1)[0], dataset.read(other_epoch, 1)[0]):
        assert not torch.equal(different, expected)
    draws = dataset.read(plan, 0)[0] - X[[1, 2]], expected - X[[3, 4]]
    assert len(torch.cat(draws).unique()) == 8  # no number is drawn twice


def test_reading_leaves_global_streams_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    WeightedDataset(Augmented()).__getitems__(KEYS)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
