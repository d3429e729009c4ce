"""Classes are found without running a model, and never trusted blindly."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from adacore.probing.labels import check_labels, labels_of

Y = torch.arange(20) % 3


class Kept(Dataset):
    """Like torchvision's: targets as an attribute, and perhaps a transform of them."""

    def __init__(self, transform=lambda y: y):
        self.targets, self.transform, self.reads = Y.tolist(), transform, 0

    def __len__(self):
        return 20

    def __getitem__(self, index):
        self.reads += 1
        return torch.zeros(2), self.transform(self.targets[index])


def test_kept_targets_are_taken_after_a_glance():
    dataset = Kept()
    np.testing.assert_array_equal(labels_of(dataset), Y)
    assert dataset.reads <= 8


def test_kept_targets_that_the_examples_contradict_are_not():
    dataset = Kept(lambda y: 2 - y)
    assert labels_of(dataset, read_all=False) is None
    np.testing.assert_array_equal(labels_of(dataset), 2 - Y)


def test_through_subsets_and_concatenations():
    dataset = ConcatDataset([Subset(Kept(), [5, 3, 1]), TensorDataset(torch.zeros(2, 2), torch.tensor([2, 2]))])
    np.testing.assert_array_equal(labels_of(dataset), [2, 0, 1, 2, 2])


def test_any_data_set_is_read_if_need_be():
    class Dicts(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            return {"x": torch.zeros(2), "label": int(Y[index])}

    np.testing.assert_array_equal(labels_of(Dicts()), Y)


def test_a_column_is_taken_where_there_is_one():
    class Table(Dataset):
        column_names = ("pixels", "label")

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return Y.tolist() if index == "label" else {"pixels": torch.zeros(2), "label": int(Y[index])}

    np.testing.assert_array_equal(labels_of(Table(), read_all=False), Y)


@pytest.mark.parametrize(
    ("targets", "criterion", "expected"),
    [
        (torch.rand(20), None, None),
        (Y, nn.MSELoss(), None),
        (Y, nn.HuberLoss(), None),
        (Y, functools.partial(functional.mse_loss, reduction="none"), None),
        (torch.rand(20, 3), nn.MSELoss(), None),
        ((Y > 0).float(), nn.BCEWithLogitsLoss(), (Y > 0).long()),
        ((Y > 0).float().unsqueeze(1), nn.BCEWithLogitsLoss(), (Y > 0).long()),
        (torch.rand(20), nn.BCEWithLogitsLoss(), None),
        (torch.ones(20, 3), nn.BCEWithLogitsLoss(), None),
    ],
)
def test_what_counts_as_classes(targets, criterion, expected):
    found = labels_of(TensorDataset(torch.zeros(20, 2), targets), criterion=criterion)
    np.testing.assert_array_equal(found, expected)


def test_given_labels_are_checked():
    np.testing.assert_array_equal(check_labels(torch.tensor([1, 2]), 2), [1, 2])
    with pytest.raises(ValueError, match=r"labels have shape \(3,\): expected \(2,\)"):
        check_labels([1, 2, 3], 2)
    with pytest.raises(TypeError, match="whole numbers"):
        check_labels([1.0, 2.0], 2)
    with pytest.raises(TypeError, match="whole numbers"):
        check_labels(["a", "b"], 2)
