"""Bad input is refused before any work, each with the value, what was expected and what to do."""

import numpy as np
import pytest

import adacore
from adacore.facility import facility_location

X = np.random.default_rng(0).normal(size=(20, 3))


def with_value(value):
    x = X.copy()
    x[4, 1] = value
    return x


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": with_value(np.nan), "budget": 2}, ValueError, r"x\[4, 1\] is nan"),
        ({"x": with_value(np.inf), "budget": 2}, ValueError, r"x\[4, 1\] is inf"),
        ({"x": with_value(-np.inf), "budget": 2}, ValueError, r"x\[4, 1\] is -inf"),
        ({"x": np.empty((0, 3)), "budget": 2}, ValueError, "empty"),
        ({"x": np.empty((3, 0)), "budget": 2}, ValueError, "features"),
        ({"x": X[:, 0], "budget": 2}, ValueError, r"\(20,\): expected \(n, d\)"),
        ({"x": X[None], "budget": 2}, ValueError, r"expected \(n, d\)"),
        ({"x": X.astype(complex), "budget": 2}, TypeError, "complex"),
        ({"x": X.astype(str), "budget": 2}, TypeError, "real numbers"),
        ({"x": [[1.0], [1.0, 2.0]], "budget": 1}, TypeError, "array"),
        ({"x": X}, ValueError, "no size given"),
        ({"x": X, "budget": 0}, ValueError, r"budget=0 is outside \[1, 20\]"),
        ({"x": X, "budget": 21}, ValueError, "budget=21 is outside"),
        ({"x": X, "budget": 2.5}, TypeError, "whole number"),
        ({"x": X, "fraction": 0.0}, ValueError, "outside"),
        ({"x": X, "fraction": 1.5}, ValueError, "outside"),
        ({"x": X, "fraction": float("nan")}, ValueError, "outside"),
        ({"x": X, "budget": 2, "fraction": 0.1}, ValueError, "two sizes"),
        ({"x": X, "budget": 2, "tolerance": 0.1}, ValueError, "two sizes"),
        ({"x": X, "fraction": 0.1, "tolerance": 0.1}, ValueError, "two sizes"),
        ({"x": X, "tolerance": -1.0}, ValueError, "tolerance=-1.0"),
        ({"x": X, "tolerance": float("nan")}, ValueError, "finite"),
        ({"x": X, "tolerance": "0.1"}, TypeError, "not a number"),
        ({"x": X, "tolerance": 0.1, "method": "stochastic"}, ValueError, "exact"),
        ({"x": X, "budget": 2, "method": "exakt"}, ValueError, "did you mean 'exact'"),
        ({"x": X, "budget": 2, "epsilon": 0.0}, ValueError, "epsilon=0.0"),
        ({"x": X, "budget": 2, "labels": np.zeros(19)}, ValueError, r"labels have shape \(19,\)"),
        ({"x": X, "budget": 2, "labels": np.full(20, np.nan)}, ValueError, "labels"),
        ({"x": X, "budget": 2, "labels": np.arange(20) % 3}, ValueError, "below the number of classes"),
        ({"x": X, "budget": 2, "weights": np.ones(19)}, ValueError, r"weights have shape"),
        ({"x": X, "budget": 2, "weights": -np.ones(20)}, ValueError, "negative"),
        ({"x": X, "budget": 2, "weights": np.zeros(20)}, ValueError, "zeros"),
        ({"x": X, "budget": 2, "weights": np.full(20, np.nan)}, ValueError, "nan"),
    ],
)
def test_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        facility_location(**arguments)


def test_labels_may_be_anything_that_sorts():
    names = np.array(["b", "a"])[np.arange(20) % 2]
    coreset = facility_location(X, budget=4, labels=names)
    assert names[coreset.indices].tolist() == ["a", "a", "b", "b"]
    flags = facility_location(X, budget=4, labels=(names == "b").tolist())
    assert flags.indices.tolist() == coreset.indices.tolist()


def test_classes_of_one_example_and_gaps_between_classes():
    labels = np.array([0] * 15 + [5] * 4 + [9])
    coreset = facility_location(X, budget=5, labels=labels)
    assert (labels[coreset.indices] == 9).sum() == 1
    assert coreset.indices[-1] == 19
    assert coreset.weights[-1] == 1


def test_points_of_mass_zero_count_for_nothing():
    masses = np.ones(20)
    masses[3] = 0
    coreset = facility_location(X, budget=3, weights=masses)
    assert coreset.weights.sum() == 19


def test_the_package_offers_it():
    assert adacore.facility_location is facility_location
