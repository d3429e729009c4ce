"""Classes are found without running a model, and never trusted blindly."""

import functools
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from adacore.probing.labels import check_labels, labels_of
from adacore.probing.target_kinds import target_kind

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


def test_kept_targets_are_not_trusted_where_a_transform_may_change_them():
    """One class of ten is merged into another in 2 of 20 examples that a glance would miss."""
    dataset = Kept(lambda y: 0 if y == 2 else y)
    np.testing.assert_array_equal(labels_of(dataset), np.where(Y == 2, 0, Y))
    assert labels_of(dataset, read_all=False) is None
    relabelled = ConcatDataset([Subset(Kept(lambda y: 1), range(10)), Subset(Kept(), range(10, 20))])
    np.testing.assert_array_equal(labels_of(relabelled), [*[1] * 10, *Y[10:]])


class Promising(Kept):
    def __init__(self):
        super().__init__()
        self.reads = 0

    @property
    def known_targets(self):
        return Y

    def __getitem__(self, index):
        raise AssertionError


def test_targets_that_a_data_set_promises_are_taken_without_reading():
    np.testing.assert_array_equal(labels_of(Promising(), read_all=False), Y)

    class Changed(Promising):
        def __getitem__(self, index):
            return torch.zeros(2), 0

    assert labels_of(Changed(), read_all=False) is None
    np.testing.assert_array_equal(labels_of(Changed()), np.zeros(20))


def torchvision_like(**attributes):
    """As torchvision's own classes look: where the class comes from, targets, transforms."""
    kind = type("MNIST", (Kept,), {"__module__": "torchvision.datasets.mnist"})
    dataset = kind()
    for name, value in {"target_transform": None, "transforms": None, **attributes}.items():
        setattr(dataset, name, value)
    return dataset


def test_torchvision_data_sets_are_trusted_unless_they_transform_targets():
    np.testing.assert_array_equal(labels_of(torchvision_like(), read_all=False), Y)
    assert labels_of(torchvision_like(target_transform=abs), read_all=False) is None
    assert labels_of(torchvision_like(transforms=lambda x, y: (x, 0)), read_all=False) is None
    by_a_user = type("Mine", (type(torchvision_like()),), {"__module__": "mine"})()
    by_a_user.target_transform = by_a_user.transforms = None
    assert labels_of(by_a_user, read_all=False) is None


def test_a_pool_without_labels_has_none():
    class Pool(Kept):
        def __getitem__(self, index):
            return torch.zeros(2)

    assert labels_of(Pool()) is None


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


def test_a_column_of_a_hugging_face_data_set_is_taken():
    class Table(Dataset):
        column_names = ("pixels", "label")
        format: ClassVar = {"type": None}

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return Y.tolist() if index == "label" else {"pixels": torch.zeros(2), "label": int(Y[index])}

    Table.__module__ = "datasets.arrow_dataset"
    np.testing.assert_array_equal(labels_of(Table(), read_all=False), Y)
    Table.format = {"type": "custom"}
    assert labels_of(Table(), read_all=False) is None


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
        ((Y > 0).float(), nn.BCELoss(), (Y > 0).long()),
        (Y > 0, nn.BCELoss(), (Y > 0).long()),
        (Y, lambda z, y: (z - y).square(), None),
    ],
)
def test_what_counts_as_classes(targets, criterion, expected):
    found = labels_of(TensorDataset(torch.zeros(20, 2), targets), criterion=criterion)
    np.testing.assert_array_equal(found, expected)


class Called:
    """A loss that is neither a module nor a function, and counts its calls."""

    __hash__ = None

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, outputs, targets):
        self.calls += 1
        return self.function(outputs, targets)


class Own(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


FORMS = {
    "function": lambda f: f,
    "partial": lambda f: functools.partial(f, reduction="none"),
    "lambda": lambda f: lambda z, y: f(z, y, reduction="none"),
    "callable object": lambda f: Called(functools.partial(f, reduction="none")),
    "own module": lambda f: Own(functools.partial(f, reduction="none")),
}

KINDS = {
    "mse_loss": "numbers",
    "l1_loss": "numbers",
    "smooth_l1_loss": "numbers",
    "huber_loss": "numbers",
    "cross_entropy": "classes",
    "nll_loss": "classes",
    "multi_margin_loss": "classes",
    "binary_cross_entropy": "binary",
    "binary_cross_entropy_with_logits": "binary",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KINDS)
def test_what_a_loss_takes_its_targets_for_does_not_depend_on_how_it_is_written(name, form):
    criterion = FORMS[form](getattr(functional, name))
    assert target_kind(criterion) == KINDS[name]
    if isinstance(criterion, Called):
        assert criterion.calls == 0  # it was tried on a copy


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (functools.partial(functional.poisson_nll_loss, reduction="none"), "numbers"),
        (functools.partial(functional.gaussian_nll_loss, var=torch.ones(1)), "numbers"),
        (nn.PoissonNLLLoss(), "numbers"),
        (nn.GaussianNLLLoss(), "numbers"),
        (nn.BCELoss(), "binary"),
        (nn.SoftMarginLoss(), "binary"),
        (lambda z, y: (z.squeeze() - y.squeeze()).abs() ** 1.5, "numbers"),
        (lambda z, y: functional.cross_entropy(z, y.long(), reduction="none"), "classes"),
        (lambda z, y: -z.log_softmax(-1).gather(-1, y[:, None])[:, 0], "classes"),
        (lambda z, y: -(functional.one_hot(y, 3) * z.log_softmax(-1)).sum(-1), "classes"),
    ],
)
def test_kinds_of_other_losses(criterion, expected):
    state = torch.get_rng_state()
    assert target_kind(criterion) == expected
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_minus_one_and_one_are_two_classes():
    data = TensorDataset(torch.zeros(20, 2), torch.where(Y > 0, 1.0, -1.0))
    np.testing.assert_array_equal(labels_of(data, criterion=nn.SoftMarginLoss()), Y > 0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint64", "bool", "int64"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, lambda a: a.tolist(), lambda a: pd.Series(a.ravel())])
def test_labels_of_any_width(dtype, shape, make):
    labels = make(np.array([1, 0, 0, 1]).astype(dtype).reshape(shape))
    np.testing.assert_array_equal(check_labels(labels, 4), [1, 0, 0, 1])


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "b"],
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], object),
        pd.Series(["b", "a", "b"]),
        pd.Categorical(["b", "a", "b"]),
        pd.to_datetime(["2025-01-02", "2025-01-01", "2025-01-02"]),
        pd.array([7, 3, 7], dtype="Int64") - 6 + 0 * 1,
        np.ma.masked_array([1, 0, 1], [False] * 3),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_texts_dates_and_what_pandas_has(labels):
    found = check_labels(labels, 3)
    assert found.dtype == np.int64
    assert found[0] == found[2] > found[1]


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "b"],
        ["a", np.nan, "b"],
        ("a", float("nan"), "b"),
        [["a"], [float("nan")], ["b"]],
        pd.Series(["a", np.nan, "b"]).tolist(),
        np.array(["a", np.nan, "b"], object),
        [1.0, np.nan, 2.0],
        pd.Series(["a", pd.NA, "b"]),
        pd.array([1, None, 2], dtype="Int64"),
        pd.to_datetime(["2025-01-01", None, "2025-01-02"]),
        np.array(["2025-01-01", "NaT", "2025-01-02"], "datetime64[D]"),
        np.ma.masked_array([1, 0, 1], [False, True, False]),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_missing_labels_are_named(labels):
    with pytest.raises(ValueError, match=r"at row 1|masked entries"):
        check_labels(labels, 3)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"labels have shape \(3,\): expected \(2,\)"):
        check_labels([1, 2, 3], 2)
    for both in (np.array([1, "a"], object), [1, "1"], ["True", True], (b"a", "a")):
        with pytest.raises(TypeError, match="pass numbers, or texts, not both"):
            check_labels(both, 2)
    np.testing.assert_array_equal(check_labels(np.array([1, 2**63, 0], np.uint64), 3), [1, 2, 0])
