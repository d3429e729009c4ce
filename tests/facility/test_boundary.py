"""Bad input is refused before any work, each with the value, what was expected and what to do."""

import numpy as np
import pytest
import torch

import adacore
from adacore import Coreset
from adacore.facility import assign, facility_location, k_center, plan

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
        ({"x": X, "budget": 2, "weights": -np.ones(20)}, ValueError, r"weights\[0\] is -1"),
        ({"x": X, "budget": 2, "weights": np.zeros(20)}, ValueError, "zeros"),
        ({"x": X, "budget": 2, "weights": np.full(20, np.nan)}, ValueError, "nan"),
    ],
)
def test_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        facility_location(**arguments)


HUGE = 10**400
Y = np.array(["a", "b"])[np.arange(20) % 2]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: facility_location(None, budget=2), TypeError, "x is None: pass a numpy array"),
        (lambda: facility_location("rows.npy", budget=2), TypeError, "x is a str: pass"),
        (lambda: facility_location({"a": X}, budget=2), TypeError, "x is a dict: pass"),
        (lambda: facility_location(X.astype(object), budget=2), TypeError, r"pass x.astype\(float\)"),
        (lambda: facility_location([["a", 1]], budget=1), TypeError, "x has dtype <U"),
        (lambda: facility_location(np.array([[1, "b"]], object), budget=1), TypeError, r"x\[0, 1\] is 'b'"),
        (lambda: facility_location([[HUGE], [1]], budget=1), TypeError, r"x\[0, 0\] is 10+\.\.\.0+: beyond 1.8e308"),
        (lambda: facility_location(torch.empty(4, 2, device="meta"), budget=1), TypeError, "no data"),
        (
            lambda: facility_location(torch.eye(4).to_sparse(), budget=1),
            TypeError,
            "pass a scipy CSR array",
        ),
        (lambda: facility_location(X, budget=HUGE), ValueError, r"budget=10+\.\.\.0+ is outside \[1, 20\]"),
        (lambda: facility_location(X, fraction=HUGE), ValueError, r"fraction=10+\.\.\.0+ is outside"),
        (lambda: facility_location(X, tolerance=HUGE), ValueError, r"tolerance=10+\.\.\.0+ is no finite number"),
        (lambda: facility_location(X, budget=2, epsilon=HUGE), ValueError, r"epsilon=10+\.\.\.0+ is outside"),
        (lambda: facility_location(X, budget=2, seed=-1), ValueError, "seed=-1: pass a whole number >= 0"),
        (lambda: facility_location(X, budget=2, seed="a"), TypeError, "seed='a': pass a whole number >= 0"),
        (lambda: facility_location(X, budget=2, refine="no"), TypeError, "refine='no' is neither True nor False"),
        (lambda: facility_location(X, budget=2, progress=1), TypeError, "progress=1 is neither True nor False"),
        (lambda: facility_location(X, budget=2, metric=None), ValueError, "unknown metric None: Known: cosine"),
        (lambda: facility_location(X, budget=2, weights=np.r_[np.ones(19), -1]), ValueError, r"weights\[19\] is -1.0"),
        (lambda: facility_location(X, budget=2, weights=[HUGE] * 20), TypeError, r"weights\[0\] is 10+"),
        (lambda: facility_location(X, budget=2, labels="y"), TypeError, "labels is a str"),
        (lambda: facility_location(X, budget=2, initial={1, 2}), TypeError, "initial is a set"),
        (lambda: facility_location(X, budget=2, initial=[10**30]), ValueError, r"expected positions in \[0, 20\)"),
        (lambda: facility_location(X, budget=2, initial=range(20)), ValueError, "nothing is left"),
        (lambda: facility_location(X, quotas={"a": 2}), ValueError, r"quotas=\{'a': 2\} name labels"),
        (lambda: facility_location(X, labels=Y, quotas={"a": 11, "b": 1}), ValueError, r"quotas\['a'\]=11 is outside"),
        (lambda: facility_location(X, labels=Y, quotas={"a": 2, "b": HUGE}), ValueError, r"quotas\['b'\]=10+\.\.\."),
        (lambda: assign(X, facility_location(X, budget=2)), TypeError, "picks is a Coreset: pass its .indices"),
        (lambda: assign(X, X[:2]), TypeError, "picks has dtype float64: expected positions"),
        (lambda: assign(X, [20]), ValueError, r"picks holds 20: expected positions in \[0, 20\)"),
        (lambda: assign(X, []), ValueError, "picks= names no row"),
        (lambda: k_center(X, budget=20, initial=[3]), ValueError, "budget=20 exceeds the 19 rows"),
        (lambda: k_center(X), ValueError, "no size given"),
        (lambda: k_center(X, budget=2, metric="l1"), ValueError, "unknown metric 'l1'"),
        (lambda: plan(1e6, 10, 100), TypeError, "n=1000000.0 is not a whole number"),
        (lambda: plan(10, "3", 2), TypeError, "d='3' is not a whole number"),
        (lambda: plan(10, 3, 11), ValueError, "k=11 exceeds n=10"),
        (lambda: plan(10, 0, 1), ValueError, "d=0 is below 1"),
        (lambda: Coreset([1], ["a"], 10), TypeError, "weights are no real numbers"),
        (lambda: Coreset([1], [1.0], 10.5), TypeError, "population=10.5 is not a whole number"),
        (lambda: Coreset([1], [1.0], 10, objective="a"), TypeError, "objective='a' is not a number"),
        (lambda: Coreset.load("."), ValueError, "is a folder"),
        (lambda: Coreset([1], [1.0], 10).save("nowhere/c.npz"), FileNotFoundError, "no folder nowhere"),
    ],
)
def test_mistakes_are_told_in_one_line(call, error, words):
    with pytest.raises(error, match=words) as told:
        call()
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("value", [np.int64(1), 1])
def test_numbers_of_numpy_are_numbers(value):
    assert facility_location(X, budget=value, threads=value).indices.tolist() == facility_location(X, budget=1).indices


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
