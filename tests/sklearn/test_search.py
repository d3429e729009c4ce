"""CoresetSearch is the search it wraps, but for what its candidates are fitted on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import estimator_checks_generator

import sklearn
from adacore.sklearn import CoresetSearch, SlowSelectionWarning
from adacore.sklearn import search as search_module
from adacore.sklearn import selection as selection_module


def _table(n: int = 300, seed: int = 0) -> tuple[Any, Any]:
    return make_classification(n, 6, n_informative=4, n_redundant=0, class_sep=1.5, random_state=seed)


GRID = {"C": [0.1, 1.0, 10.0]}

REPEATED = "a fraction is of rows: repeating rows asks for more examples"
UNAVOIDABLE = {
    ("Pipeline", "check_sample_weight_equivalence_on_dense_data"): REPEATED,
    ("Pipeline", "check_sample_weight_equivalence_on_sparse_data"): REPEATED,
    ("Ridge", "check_supervised_y_2d"): "scikit-learn's own searches give no DataConversionWarning either",
}


def _checks() -> Any:
    for search in (
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, error_score="raise"),
        GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, error_score="raise"),
        RandomizedSearchCV(
            make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
            {"logisticregression__C": [0.1, 1.0]},
            n_iter=2,
            cv=2,
            error_score="raise",
            random_state=0,
        ),
    ):
        for checked, check in estimator_checks_generator(CoresetSearch(search, fraction=0.5)):
            name = getattr(check, "func", check).__name__
            case = (type(search.estimator).__name__, name)
            marks = [pytest.mark.xfail(reason=UNAVOIDABLE[case], strict=True)] if case in UNAVOIDABLE else []
            yield pytest.param(checked, check, marks=marks, id="-".join(case))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("search", "check"), list(_checks()))
def test_scikit_learns_own_checks(search: Any, check: Any) -> None:
    check(search)


def test_on_all_rows_it_is_the_search() -> None:
    X, y = _table()
    plain = GridSearchCV(SVC(), GRID, cv=3, return_train_score=True)
    found = CoresetSearch(plain, method="full").fit(X, y)
    plain = clone(plain).fit(X, y)
    for name in ("mean_test_score", "mean_train_score", "rank_test_score"):
        np.testing.assert_allclose(found.cv_results_[name], plain.cv_results_[name])
    assert found.best_params_ == plain.best_params_
    assert found.cv_results_["params"] == plain.cv_results_["params"]
    np.testing.assert_array_equal(found.predict(X), plain.predict(X))
    np.testing.assert_array_equal(found.decision_function(X), plain.decision_function(X))
    assert found.score(X, y) == plain.score(X, y)
    assert found.best_score_ == pytest.approx(plain.best_score_)
    assert (found.n_splits_, found.n_features_in_, found.multimetric_) == (3, 6, False)
    np.testing.assert_array_equal(found.classes_, plain.classes_)


class Recorder(LogisticRegression):
    """Notes what it was fitted on."""

    fits: list[tuple[Any, Any]] = []  # noqa: RUF012

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        Recorder.fits.append((np.asarray(X), sample_weight))
        return super().fit(X, y, sample_weight)


def test_candidates_see_each_folds_coreset_and_the_best_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table()
    calls: list[int] = []
    original = selection_module.medoids
    monkeypatch.setattr(selection_module, "medoids", lambda *a, **kw: (calls.append(1), original(*a, **kw))[1])
    Recorder.fits = []
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    found = CoresetSearch(GridSearchCV(Recorder(), GRID, cv=folds), fraction=0.1).fit(X, y)
    assert len(calls) == 3
    assert [len(rows) for rows, _ in Recorder.fits] == [20] * 9 + [300]
    assert all(weights.mean() == pytest.approx(1.0) for _, weights in Recorder.fits[:9])
    assert Recorder.fits[9][1] is None
    for (train, _), coreset, fit in zip(folds.split(X, y), found.fold_coresets_, Recorder.fits[:3], strict=True):
        np.testing.assert_array_equal(X[train][coreset.indices], fit[0])
    assert isinstance(found.best_estimator_, Recorder)
    assert found.selecting_seconds_ > 0


def test_refitting_on_a_coreset_is_a_name_away() -> None:
    X, y = _table()
    Recorder.fits = []
    found = CoresetSearch(GridSearchCV(Recorder(), GRID, cv=3), refit_on="coreset", weights="sum_to_n").fit(X, y)
    rows, weights = Recorder.fits[-1]
    np.testing.assert_array_equal(rows, X[found.coreset_.indices])
    assert weights.sum() == pytest.approx(300)
    unfitted = CoresetSearch(GridSearchCV(Recorder(), GRID, cv=3, refit=False)).fit(X, y)
    assert not hasattr(unfitted, "best_estimator_")
    assert unfitted.best_params_["C"] in GRID["C"]


def test_several_metrics_and_a_rule_for_the_best() -> None:
    X, y = _table()
    search = GridSearchCV(SVC(), GRID, cv=3, scoring=["accuracy", "roc_auc"], refit="roc_auc")
    found = CoresetSearch(search).fit(X, y)
    assert {"mean_test_accuracy", "mean_test_roc_auc"} <= set(found.cv_results_)
    assert found.multimetric_
    assert 0.5 < found.score(X, y) <= 1.0
    first = CoresetSearch(GridSearchCV(SVC(), GRID, cv=3, refit=lambda results: 0)).fit(X, y)
    assert first.best_params_ == {"C": 0.1}


@pytest.mark.parametrize("kind", ["frame", "csr", "list"])
def test_tables_of_every_kind(kind: str) -> None:
    X, y = _table()
    given: Any = {"frame": pd.DataFrame(X, columns=list("abcdef")), "csr": sparse.csr_matrix(X), "list": X.tolist()}[
        kind
    ]
    search = GridSearchCV(LogisticRegression(), GRID, cv=3)
    found, reference = CoresetSearch(search).fit(given, y), CoresetSearch(search).fit(X, y)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], reference.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(found.predict(given), reference.predict(X))


def test_categories_and_missing_values_reach_the_estimator_untouched() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.standard_normal(300), "b": pd.Categorical(rng.choice(["x", "y", "z"], 300))})
    X.loc[::7, "a"] = np.nan
    y = (X.a.fillna(0) + (X.b == "x") > 0.5).to_numpy()
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10)
    found = CoresetSearch(GridSearchCV(model, {"max_depth": [2, 4]}, cv=3), fraction=0.3).fit(X, y)
    assert found.score(X, y) > 0.8


def test_regression_groups_and_randomised_searches() -> None:
    X, y = load_diabetes(return_X_y=True)
    search = RandomizedSearchCV(Ridge(), {"alpha": loguniform(1e-3, 1e3)}, n_iter=4, cv=GroupKFold(3), random_state=0)
    groups = np.arange(len(y)) % 9
    found = CoresetSearch(search, fraction=0.2).fit(X, y, groups=groups)
    assert found.score(X, y) > 0.2
    assert [c.population for c in found.fold_coresets_] == [
        len(train) for train, _ in GroupKFold(3).split(X, y, groups)
    ]


def test_searches_without_targets_and_without_weights() -> None:
    X, y = _table()
    clusters = CoresetSearch(GridSearchCV(KMeans(n_init=1, random_state=0), {"n_clusters": [2, 3]}, cv=KFold(3))).fit(X)
    assert clusters.predict(X).shape == (300,)
    neighbours = CoresetSearch(GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}, cv=3)).fit(X, y)
    assert neighbours.score(X, y) > 0.8


def test_the_users_weights_count_in_selecting_and_in_the_refit() -> None:
    X, y = _table()
    mine = np.where(np.arange(300) % 3, 1.0, 0.0)
    Recorder.fits = []
    found = CoresetSearch(GridSearchCV(Recorder(), GRID, cv=3)).fit(X, y, sample_weight=mine)
    assert all(
        (mine[train][c.indices] > 0).all()
        for (train, _), c in zip(StratifiedKFold(3).split(X, y), found.fold_coresets_, strict=True)
    )
    np.testing.assert_array_equal(Recorder.fits[-1][1], mine)


def test_processes_and_caches_change_nothing(tmp_path: Any) -> None:
    X, y = _table()
    one = CoresetSearch(GridSearchCV(SVC(), GRID, cv=3), memory=str(tmp_path)).fit(X, y)
    again = CoresetSearch(GridSearchCV(SVC(), GRID, cv=3, n_jobs=2), memory=str(tmp_path)).fit(X, y)
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])
    assert again.selecting_seconds_ == 0


def test_metadata_is_routed() -> None:
    X, y = _table()
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        search = CoresetSearch(GridSearchCV(model, GRID, cv=GroupKFold(3))).set_fit_request(
            sample_weight=True, groups=True
        )
        found = search.fit(X, y, sample_weight=np.ones(300), groups=np.arange(300) % 5)
    assert found.best_params_["C"] in GRID["C"]


def test_a_search_that_cuts_rows_by_itself_is_refused() -> None:
    X, y = _table()
    halving = HalvingGridSearchCV(LogisticRegression(), GRID, cv=3)  # whose error_score hides what a fit raises
    with pytest.raises(ValueError, match="resource='n_samples'"):
        CoresetSearch(halving).fit(X, y)
    trees = HistGradientBoostingClassifier()
    by_iterations = HalvingGridSearchCV(trees, {"max_depth": [2, 4]}, resource="max_iter", max_resources=8, cv=3)
    assert CoresetSearch(by_iterations, fraction=0.3).fit(X, y).best_params_["max_depth"] in {2, 4}


@pytest.mark.parametrize("search", [SVC(), None, SVC])
def test_what_is_no_search_is_refused(search: Any) -> None:
    with pytest.raises(TypeError, match="is no search: pass one, as GridSearchCV"):
        CoresetSearch(search).fit(*_table())


def test_a_search_whose_selection_costs_more_than_it_saves_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table()
    monkeypatch.setattr(search_module, "NOTICED_SECONDS", 0.0)
    original = selection_module.choose
    for seconds in (1e3, -1e3):
        monkeypatch.setattr(selection_module, "choose", lambda *args, took=seconds: (original(*args)[0], took))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            CoresetSearch(GridSearchCV(LogisticRegression(), GRID, cv=3)).fit(X, y)
            # Without a refit there is no fit on all rows to compare with.
            CoresetSearch(GridSearchCV(LogisticRegression(), GRID, cv=3, refit=False)).fit(X, y)
        told = [str(w.message) for w in caught if w.category is SlowSelectionWarning]
        assert len(told) == (seconds > 0)
        assert all("fitting 3 candidates on all rows of 3 folds" in words for words in told)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"refit_on": "everything"}, ValueError, "did you mean|Known: all, coreset"),
        ({"method": "crag"}, ValueError, "did you mean 'craig'"),
        ({"weights": "mean"}, ValueError, "did you mean 'mean_one'"),
        ({"fraction": 0.0}, ValueError, "fraction=0.0"),
    ],
)
def test_bad_parameters_are_told_so(settings: Any, error: Any, message: str) -> None:
    X, y = _table(60)
    with pytest.raises(error, match=message):
        CoresetSearch(GridSearchCV(SVC(), GRID, cv=3), **settings).fit(X, y)


def test_kernels_hold_no_features_to_compare() -> None:
    X, y = _table(90)
    search = GridSearchCV(SVC(kernel="precomputed"), GRID, cv=3)
    with pytest.raises(ValueError, match="method='random'"):
        CoresetSearch(search).fit(X @ X.T, y)
    assert CoresetSearch(search, method="random", fraction=0.3).fit(X @ X.T, y).predict(X @ X.T).shape == (90,)
