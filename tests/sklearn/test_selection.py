"""Strata, targets, caches and clocks of selecting on tables."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_diabetes, make_classification, make_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import adacore
from adacore.sklearn import (
    CoresetClassifier,
    CoresetRegressor,
    CoresetResampler,
    CoresetSearch,
    HeavyExampleWarning,
    SlowSelectionWarning,
    TargetKindWarning,
)
from adacore.sklearn import break_even as accounts_module
from adacore.sklearn import selection as selection_module


def _table(n: int = 300) -> tuple[Any, Any]:
    return make_classification(n, 5, weights=[0.9], random_state=0)


@pytest.mark.parametrize("method", ["craig", "random", "adacore"])
def test_classes_share_as_asked(method: str) -> None:
    X, y = _table()
    labels = np.array(["no", "yes"])[y]

    def counts(**how: Any) -> list[int]:
        model = CoresetClassifier(method=method, **how).fit(X, labels)
        assert model.sample_weight_.sum() == pytest.approx(300)
        return [int(np.sum(labels[model.sample_indices_] == c)) for c in ("no", "yes")]

    assert counts(quotas="equal", budget=20) == [10, 10]
    assert counts(quotas={"no": 7, "yes": 12}) == [7, 12]
    assert counts(budget=20)[1] < 5


@pytest.mark.parametrize("method", ["craig", "random"])
def test_quotas_go_by_label_where_a_class_is_missing(method: str) -> None:
    """Of classes 0, 1 and 2, 1 has no weight, or is missing in one of two folds: the others get their own numbers."""
    X, y = np.random.default_rng(0).standard_normal((60, 2)), np.repeat([0, 1, 2, 0, 2, 1], 10)
    quotas = {0: 2, 1: 3, 2: 4}
    resampler = CoresetResampler(method=method, quotas=quotas).fit(X, y, sample_weight=(y != 1).astype(float))
    np.testing.assert_array_equal(np.bincount(y[resampler.sample_indices_], minlength=3), [2, 0, 4])
    half = np.arange(60) >= 30
    y[:30][y[:30] == 1] = 2
    folds = [(np.flatnonzero(~half), np.flatnonzero(half)), (np.flatnonzero(half), np.flatnonzero(~half))]
    search = CoresetSearch(GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=folds), method=method, quotas=quotas)
    search.fit(X, y)
    assert [len(coreset) for coreset in search.fold_coresets_] == [6, 9]


def test_a_regressions_target_is_one_more_column() -> None:
    X, y = make_regression(80, 3, noise=5.0, random_state=0)
    model = CoresetRegressor(budget=5).fit(X, y)
    x = StandardScaler().fit_transform(X)
    x = np.column_stack([x, 0.5 * np.sqrt(3) * (y - y.mean()) / y.std()])
    D = cdist(x, x)
    chosen: list[int] = []
    for _ in range(5):
        chosen.append(int(np.argmin([D[:, [*chosen, j]].min(axis=1).sum() for j in range(80)])))
    assert model.sample_indices_.tolist() == chosen


def test_bins_and_no_target_by_name() -> None:
    X, y = make_regression(100, 3, random_state=0)
    binned = CoresetRegressor(budget=20, target="bins", bins=5).fit(X, y).sample_indices_
    edges = np.quantile(y, [0.2, 0.4, 0.6, 0.8])
    assert np.bincount(np.searchsorted(edges, y[binned], side="right")).tolist() == [4] * 5
    alone = CoresetRegressor(budget=20, target="none").fit(X, y).sample_indices_
    np.testing.assert_array_equal(alone, CoresetRegressor(budget=20, target="none").fit(X, -y[::-1]).sample_indices_)
    for how in ({"target": "column", "method": "adacore"}, {"target": "binns"}, {"target": "bins", "bins": -5}):
        with pytest.raises(ValueError, match=r"target|bins"):
            CoresetRegressor(**how).fit(X, y)


@pytest.mark.parametrize("estimator", [Ridge(), KNeighborsRegressor()])
def test_regressors_without_weights_say_so(estimator: Any) -> None:
    X, y = make_regression(100, 3, random_state=0)
    model = CoresetRegressor(estimator, weights="none").fit(X, y)
    assert model.weights_ == "none"


def test_whole_numbers_of_a_regression_are_no_classes() -> None:
    X, y = load_diabetes(return_X_y=True)
    resampler = CoresetResampler(fraction=0.05)
    with pytest.warns(TargetKindWarning, match="214 distinct"):
        rows, _ = resampler.fit_resample(X, y.astype(int))
    assert len(rows) == 22
    rng = np.random.default_rng(0)
    prices = rng.integers(0, 2000, 8000)
    with pytest.warns(TargetKindWarning):
        assert len(CoresetResampler(fraction=0.01).fit_resample(prices[:, None] / 7.0, prices)[1]) == 80
    with warnings.catch_warnings():
        warnings.simplefilter("error", TargetKindWarning)
        CoresetResampler(problem="ridge").fit(X, y.astype(int))
        CoresetResampler().fit(rng.standard_normal((300, 2)), np.arange(300) % 30)


def test_another_version_selects_anew(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table()
    model = CoresetClassifier(memory=str(tmp_path))
    assert [model.fit(X, y).ledger_.selection_reused for _ in range(2)] == [False, True]
    monkeypatch.setattr(adacore, "__version__", "99.0")
    assert not model.fit(X, y).ledger_.selection_reused


def test_a_first_fit_does_not_book_the_loading_of_libraries() -> None:
    """In a new process the first selection takes about as long as the second."""
    code = """
import numpy as np
from adacore.sklearn import CoresetClassifier
X = np.random.default_rng(0).standard_normal((400, 4))
for method in ("craig", "adacore"):
    print(*[CoresetClassifier(method=method).fit(X, X[:, 0] > 0).ledger_.selecting_seconds for _ in range(4)])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        first, *later = map(float, line.split())
        assert first < 0.25 + 10 * max(later), run.stdout


def test_selecting_that_costs_more_than_fitting_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table()
    monkeypatch.setattr(accounts_module, "NOTICED_SECONDS", 0.0)
    original = selection_module.choose
    monkeypatch.setattr(selection_module, "choose", lambda *args: (original(*args)[0], 1e3))
    with pytest.warns(SlowSelectionWarning, match=r"all 300 examples"):
        CoresetClassifier(LogisticRegression()).fit(X, y)
    monkeypatch.setattr(selection_module, "choose", lambda *args: (original(*args)[0], 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowSelectionWarning)
        CoresetClassifier(LogisticRegression()).fit(X, y)


def test_an_example_that_outweighs_the_rest_is_told_of() -> None:
    rng = np.random.default_rng(0)
    X = np.vstack([np.zeros((900, 2)), rng.standard_normal((100, 2)) * 50])
    y = np.arange(1000) % 2
    with pytest.warns(HeavyExampleWarning, match="of all weight"):
        model = CoresetClassifier(SVC(), fraction=0.1).fit(X, y)
    assert model.ledger_.largest_share > 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error", HeavyExampleWarning)
        CoresetClassifier(SVC(), fraction=0.1, weights="none").fit(X, y)


def test_float32_rows_reach_estimator_and_engine_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table()
    seen: list[Any] = []
    original = selection_module.medoids
    monkeypatch.setattr(selection_module, "medoids", lambda x, *args: (seen.append(x.dtype), original(x, *args))[1])
    model = CoresetClassifier(SVC()).fit(X.astype(np.float32), y)
    assert model.score(X.astype(np.float32), y) > 0.8
    assert seen == [np.float32]
