"""What selection compares, made of tables of every kind; and tables go to the estimator as they came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from adacore.sklearn import CoresetClassifier, CoresetRegressor, CoresetResampler, selection_features
from adacore.sklearn.features import as_numbers


def _frame(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.lognormal(3, 1, n),
            "count": rng.integers(0, 9, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "grade": pd.Categorical(rng.choice(["low", "high"], n)),
            "flag": rng.random(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    frame.loc[::11, "size"] = np.nan
    frame.loc[::13, "kind"] = None
    frame.loc[::17, "day"] = pd.NaT
    return frame


def _target(frame: pd.DataFrame) -> Any:
    return ((frame["size"].fillna(20) > 20) ^ (frame["kind"] == "a")).to_numpy()


def test_numbers_are_standardised_and_categories_one_hot() -> None:
    frame = _frame()
    x = as_numbers(frame, None, None, "auto")
    assert np.isfinite(x).all()
    # size, count, flag and day; kind has a, b, c and missing, grade low and high
    assert x.shape == (200, 4 + 4 + 2)
    np.testing.assert_allclose(x[:, :4].mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(x[:, :4].std(axis=0), 1.0, atol=1e-9)
    np.testing.assert_array_equal(x[:, 4:8].sum(axis=1), 1.0)


@pytest.mark.parametrize("columns", [["size"], ["kind"], ["day"], ["size", "grade"], ["flag"]])
def test_every_kind_of_column_does_alone(columns: list[str]) -> None:
    assert np.isfinite(as_numbers(_frame()[columns], None, None, "auto")).all()


def test_nullable_and_empty_columns_and_many_categories() -> None:
    frame = pd.DataFrame(
        {
            "nullable": pd.array([1, None, 3, 4] * 25, dtype="Int64"),
            "empty": [np.nan] * 100,
            "name": [f"person {i}" for i in range(100)],
            "mixed": [1, "one", None, 2.5] * 25,
        }
    )
    x = as_numbers(frame, None, None, "auto")
    assert np.isfinite(x).all()
    assert x.shape[1] < 40


def test_dates_count_alike_with_and_without_a_time_zone() -> None:
    days = _frame()[["day"]]
    zoned = days.assign(day=days["day"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    np.testing.assert_array_equal(as_numbers(zoned, None, None, "auto"), as_numbers(days, None, None, "auto"))


def test_an_array_of_objects_is_a_table_too() -> None:
    frame = _frame()[["size", "kind"]]
    np.testing.assert_allclose(
        cdist(*[as_numbers(frame.to_numpy(dtype=object), None, None, "auto")] * 2),
        cdist(*[as_numbers(frame, None, None, "auto")] * 2),
        atol=1e-6,
    )


def test_float32_stays_float32() -> None:
    X = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    for features in ("auto", None, MinMaxScaler()):
        assert as_numbers(X, None, None, features).dtype == np.float32
    assert np.shares_memory(as_numbers(X, None, None, None), X)


def test_sparse_tables_stay_sparse_and_text_counts_as_they_are() -> None:
    X = sparse.csr_array(sparse.random(80, 500, density=0.02, random_state=0, format="csr"))
    found = as_numbers(X, None, None, "auto")
    assert sparse.issparse(found)
    assert (found != X).nnz == 0
    assert len(CoresetResampler(fraction=0.1).fit_resample(X, np.arange(80) % 2)[1]) == 8


def test_the_estimator_gets_rows_untouched() -> None:
    class Recorder(HistGradientBoostingClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            self.seen_ = X
            return super().fit(X, y, sample_weight=sample_weight)

    frame = _frame().drop(columns=["day", "kind"])
    y = _target(_frame())
    model = CoresetClassifier(Recorder(categorical_features="from_dtype", max_iter=5), fraction=0.4).fit(frame, y)
    pd.testing.assert_frame_equal(model.estimator_.seen_, frame.iloc[model.sample_indices_])
    assert model.predict(frame).shape == (200,)


def test_missing_values_are_for_whoever_takes_them() -> None:
    X, y = make_classification(120, 4, random_state=0)
    X[::5, 1] = np.nan
    assert CoresetClassifier(HistGradientBoostingClassifier(max_iter=5), fraction=0.5).fit(X, y).score(X, y) > 0.6
    assert CoresetClassifier(make_pipeline(SimpleImputer(), LogisticRegression())).fit(X, y).score(X, y) > 0.6
    assert (
        CoresetRegressor(HistGradientBoostingRegressor(max_iter=5), fraction=0.5).fit(X, X[:, 0]).score(X, X[:, 0]) > 0
    )
    with pytest.raises(ValueError, match="NaN"):
        CoresetClassifier(LogisticRegression()).fit(X, y)


@pytest.mark.parametrize("method", ["craig", "adacore"])
def test_a_transformer_of_ones_own(method: str) -> None:
    X, y = make_classification(150, 5, random_state=0)
    mine = CoresetClassifier(SVC(), method=method, features=MinMaxScaler()).fit(X, y)
    reference = CoresetClassifier(SVC(), method=method, features=None).fit(MinMaxScaler().fit_transform(X), y)
    np.testing.assert_array_equal(mine.sample_indices_, reference.sample_indices_)
    plain = CoresetClassifier(SVC(), method=method).fit(X, y)
    scaled = CoresetClassifier(SVC(), method=method, features=StandardScaler()).fit(X, y)
    np.testing.assert_array_equal(plain.sample_indices_, scaled.sample_indices_)


def test_random_looks_at_no_features() -> None:
    frame = _frame()
    frame["odd"] = [{"a": 1}] * 200  # nothing can be made of dictionaries
    y = _target(frame)
    first = CoresetResampler(method="random").fit(frame, y).sample_indices_
    np.testing.assert_array_equal(first, CoresetResampler(method="random").fit(frame[["size"]], y).sample_indices_)


def test_what_is_no_table_of_numbers_is_told_so() -> None:
    frame = _frame()
    with pytest.raises(ValueError, match="no numbers"):
        CoresetResampler(features=None).fit(frame, _target(frame))
    with pytest.raises(ValueError, match="nan or infinity"):
        CoresetResampler(features=None).fit(frame[["size"]], _target(frame))
    with pytest.raises(TypeError, match="features=3"):
        CoresetResampler(features=3).fit(frame, _target(frame))


def test_the_transformer_is_there_to_be_looked_at() -> None:
    frame = _frame()
    names = [name for name, _, _ in selection_features(frame).transformers]
    assert names == ["number", "date", "category"]
