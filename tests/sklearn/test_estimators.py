"""The estimators and the resampler keep scikit-learn's and imbalanced-learn's conventions."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import Memory
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_classification, make_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator

import sklearn
from adacore.sklearn import (
    CoresetClassifier,
    CoresetRegressor,
    CoresetResampler,
    FitLedger,
    UnscaledFeaturesWarning,
    WeightsDroppedWarning,
)
from adacore.sklearn import selection as selection_module


def _table(n: int = 400, seed: int = 0, classes: int = 2) -> tuple[Any, Any]:
    return make_classification(
        n,
        6,
        n_informative=4,
        n_redundant=0,
        n_classes=classes,
        weights=[0.8] if classes == 2 else None,
        random_state=seed,
    )


UNAVOIDABLE = {
    "check_sample_weight_equivalence_on_dense_data": "a fraction is of rows: repeating rows asks for more examples",
    "check_sample_weight_equivalence_on_sparse_data": "a fraction is of rows: repeating rows asks for more examples",
}


def _checks() -> Any:
    for estimator, unavoidable in (
        (CoresetClassifier(), {}),
        (CoresetClassifier(SVC(), method="craig", fraction=0.3), UNAVOIDABLE),
        (CoresetClassifier(curvature="diagonal", scale=True), {}),
        (CoresetRegressor(), UNAVOIDABLE),
        (CoresetRegressor(DecisionTreeRegressor(random_state=0), method="random", fraction=0.5), UNAVOIDABLE),
        (CoresetResampler(), {}),
    ):
        for checked, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            marks = [pytest.mark.xfail(reason=unavoidable[name], strict=True)] if name in unavoidable else []
            yield pytest.param(checked, check, marks=marks, id=f"{type(checked).__name__}-{checked.method}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_weights_are_repeated_rows_where_the_size_is_given_outright() -> None:
    X, y = make_regression(60, 3, noise=5.0, random_state=0)
    times = np.random.default_rng(0).integers(0, 4, 60)
    model = CoresetRegressor(budget=12, bins=None)
    weighted = clone(model).fit(X, y, sample_weight=times)
    repeated = clone(model).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X))


def test_weights_sum_to_n_so_that_c_keeps_its_meaning() -> None:
    X, y = _table(3000)
    whole = LogisticRegression(C=0.01).fit(X, y)
    model = CoresetClassifier(LogisticRegression(C=0.01), fraction=0.2).fit(X, y)
    assert model.sample_weight_.sum() == pytest.approx(3000)
    norms = [float(np.linalg.norm(m.coef_)) for m in (whole, model.estimator_)]
    assert norms[1] == pytest.approx(norms[0], rel=0.1)
    unweighted = LogisticRegression(C=0.01).fit(X[model.sample_indices_], y[model.sample_indices_])
    assert abs(np.linalg.norm(unweighted.coef_) - norms[0]) > 2 * abs(norms[1] - norms[0])


def test_the_users_weights_are_honoured() -> None:
    X, y = _table()
    mine = np.where(y == 1, 3.0, 1.0)
    model = CoresetClassifier(fraction=0.2).fit(X, y, sample_weight=mine)
    for c in (0, 1):
        assert model.sample_weight_[y[model.sample_indices_] == c].sum() == pytest.approx(mine[y == c].sum())


@pytest.mark.parametrize("kind", ["frame", "csr", "strings", "list"])
def test_tables_of_every_kind_give_the_same(kind: str) -> None:
    X, y = _table()
    reference = CoresetClassifier().fit(X, y)
    given: Any = {
        "frame": pd.DataFrame(X, columns=list("abcdef"), index=np.arange(len(X))[::-1]),
        "csr": sparse.csr_matrix(X),
        "strings": X,
        "list": X.tolist(),
    }[kind]
    labels: Any = np.array(["no", "yes"])[y] if kind == "strings" else pd.Series(y) if kind == "frame" else y
    model = CoresetClassifier().fit(given, labels)
    np.testing.assert_array_equal(model.sample_indices_, reference.sample_indices_)
    predictions = model.predict(given)
    if kind == "strings":
        assert set(predictions) <= {"no", "yes"}
        predictions = (predictions == "yes").astype(int)
    np.testing.assert_array_equal(predictions, reference.predict(X))
    if kind == "frame":
        assert model.estimator_.feature_names_in_.tolist() == list("abcdef")
    if kind == "csr":
        assert reference.estimator_.coef_.shape == model.estimator_.coef_.shape


@pytest.mark.parametrize("load", [load_iris, load_digits])
def test_many_classes(load: Any) -> None:
    X, y = load(return_X_y=True)
    model = CoresetClassifier(LogisticRegression(max_iter=2000), fraction=0.3, scale=True).fit(X, y)
    random = CoresetClassifier(LogisticRegression(max_iter=2000), fraction=0.3, method="random").fit(X, y)
    assert model.score(X, y) >= random.score(X, y) - 0.02
    assert model.predict_proba(X[:3]).shape == (3, len(np.unique(y)))


def test_a_class_of_two_and_a_constant_feature_and_few_examples() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(30), rng.standard_normal((30, 80))])
    y = np.array(["rare"] * 2 + ["a"] * 14 + ["b"] * 14)
    model = CoresetClassifier(fraction=0.1).fit(X, y)
    assert set(y[model.sample_indices_]) == {"rare", "a", "b"}
    assert model.sample_weight_.sum() == pytest.approx(30)


def test_a_search_selects_once_for_each_fold(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _table(300)
    calls = []
    original = selection_module.select
    monkeypatch.setattr(selection_module, "select", lambda *args, **kw: (calls.append(1), original(*args, **kw))[1])
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("model", CoresetClassifier(SVC(), memory=Memory(tmp_path, verbose=0)))]
    )
    grid = {"model__estimator__C": [0.1, 1.0, 10.0], "model__estimator__gamma": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    assert len(calls) == 3
    model = pipeline.named_steps["model"]
    first, second = (clone(model).fit(X, y) for _ in range(2))
    assert (first.ledger_.selection_reused, second.ledger_.selection_reused) == (False, True)
    np.testing.assert_array_equal(first.sample_indices_, second.sample_indices_)
    clone(model).set_params(random_state=1).fit(X, y)
    clone(model).set_params(estimator__C=3.0).fit(X, y)
    assert len(calls) == 5


def test_the_ledger_says_when_it_pays() -> None:
    ledger = FitLedger(1000, 100, selecting_seconds=9.0, fitting_seconds=1.0, selection_reused=False)
    assert ledger.estimated_fits_until_paid == 1
    assert ledger.fits_until_paid(2.0) == 9
    assert ledger.fits_until_paid(1.0) is None
    X, y = _table()
    model = CoresetClassifier(memory=None).fit(X, y)
    assert model.ledger_.selecting_seconds > 0
    assert (model.ledger_.population, model.ledger_.size) == (400, 40)


def test_metadata_is_routed_and_cut_down_to_the_coreset() -> None:
    class Recorder(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None, group: Any = None) -> Any:
            self.group_ = group
            return super().fit(X, y, sample_weight)

    X, y = _table(100)
    group = np.arange(100)
    plain = CoresetClassifier(Recorder()).fit(X, y, group=group)
    np.testing.assert_array_equal(plain.estimator_.group_, plain.sample_indices_)
    with sklearn.config_context(enable_metadata_routing=True):
        model = CoresetClassifier(Recorder().set_fit_request(group=True)).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, model).fit(X, y, sample_weight=np.full(100, 2.0), group=group)[-1]
        np.testing.assert_array_equal(routed.estimator_.group_, routed.sample_indices_)
        assert routed.sample_weight_.sum() == pytest.approx(200)
        with pytest.raises(TypeError, match="group"):
            CoresetClassifier(LogisticRegression()).fit(X, y, group=group)


def test_a_pipeline_inside_gets_the_weights() -> None:
    X, y = _table()
    model = CoresetClassifier(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y)
    assert model.score(X, y) > 0.7
    assert cross_val_score(model, X, y, cv=3).mean() > 0.7


def test_estimators_survive_pickling() -> None:
    X, y = _table()
    model = CoresetClassifier().fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_unscaled_features_are_warned_of_once_scaling_is_offered() -> None:
    X, y = _table()
    X = X * np.array([1e-3, 1, 1, 1, 1, 1e4])
    with pytest.warns(UnscaledFeaturesWarning, match="scale=True"):
        CoresetClassifier().fit(X, y)
    with pytest.warns(UnscaledFeaturesWarning):
        CoresetClassifier().fit(sparse.csr_matrix(X), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnscaledFeaturesWarning)
        scaled = CoresetClassifier(scale=True, method="craig").fit(X, y)
        CoresetClassifier(method="random").fit(X, y)
        CoresetClassifier().fit(X / X.std(axis=0), y)
    reference = CoresetClassifier(method="craig").fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_array_equal(scaled.sample_indices_, reference.sample_indices_)


@pytest.mark.parametrize("at", ["pilot", "zero"])
def test_regression_on_a_coreset_is_near_regression_on_everything(at: str) -> None:
    X, y = make_regression(1000, 5, noise=20.0, random_state=0)
    whole = Ridge().fit(X, y)
    model = CoresetRegressor(Ridge(), at=at, fraction=0.1).fit(X, y)
    errors = [
        np.linalg.norm(CoresetRegressor(method="random", random_state=s).fit(X, y).estimator_.coef_ - whole.coef_)
        for s in range(5)
    ]
    assert model.score(X, y) > whole.score(X, y) - 0.01
    assert model.sample_weight_.sum() == pytest.approx(1000)
    if at == "pilot":
        assert np.linalg.norm(model.estimator_.coef_ - whole.coef_) < np.median(errors)


def test_the_resampler_returns_rows_of_the_kind_they_came_in() -> None:
    X, y = _table()
    frame, labels = pd.DataFrame(X), pd.Series(np.array(["a", "b"])[y])
    resampler = CoresetResampler(fraction=0.1)
    rows, chosen = resampler.fit_resample(frame, labels)
    assert isinstance(rows, pd.DataFrame)
    assert isinstance(chosen, pd.Series)
    np.testing.assert_array_equal(rows.to_numpy(), X[resampler.sample_indices_])
    assert resampler.sample_weight_.sum() == pytest.approx(400)
    thin, _ = CoresetResampler(fraction=0.1).fit_resample(sparse.coo_matrix(X), y)
    np.testing.assert_array_equal(thin.toarray(), X[resampler.sample_indices_])
    CoresetResampler(fraction=0.1).fit_resample(X, X[:, 0])


def test_imbalanced_learns_pipeline_drops_weights_and_is_told_so() -> None:
    pipeline = pytest.importorskip("imblearn.pipeline")
    X, y = _table()
    steps = [("coreset", CoresetResampler(fraction=0.1)), ("model", LogisticRegression())]
    with pytest.warns(WeightsDroppedWarning, match="CoresetClassifier"):
        pipeline.Pipeline(steps).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeightsDroppedWarning)
        CoresetResampler(fraction=0.1).fit_resample(X, y)
        pipeline.Pipeline([("coreset", CoresetResampler(method="full")), ("model", LogisticRegression())]).fit(X, y)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (CoresetClassifier(KNeighborsClassifier()), TypeError, "takes no sample_weight"),
        (CoresetClassifier(method="adacor"), ValueError, "did you mean 'adacore'"),
        (CoresetClassifier(problem="logistc"), ValueError, "did you mean 'logistic'"),
        (CoresetClassifier(fraction=2.0), ValueError, "fraction=2.0"),
        (CoresetClassifier(budget=1), ValueError, "below the number of classes"),
        (CoresetClassifier(at="plot"), ValueError, "did you mean 'pilot'"),
        (CoresetClassifier(l2=-1.0), ValueError, "l2=-1.0"),
        (CoresetResampler(problem="rdge"), ValueError, "did you mean 'ridge'"),
    ],
)
def test_bad_parameters_are_told_so(model: Any, error: Any, message: str) -> None:
    X, y = _table(100)
    with pytest.raises(error, match=message):
        model.fit(X, y)
