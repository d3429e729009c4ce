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
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
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
        (CoresetClassifier(method="adacore", curvature="diagonal"), {}),
        (CoresetClassifier(HistGradientBoostingClassifier(max_iter=5), fraction=0.3), {}),
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


def _given_weights(model: Any, X: Any, y: Any, **fit: Any) -> Any:
    """Return the weights that reach the estimator, or None."""

    class Recorder(type(model.estimator)):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            self.given_ = sample_weight
            return super().fit(X, y, sample_weight=sample_weight)

    Recorder.__name__ = type(model.estimator).__name__
    model = clone(model).set_params(estimator=Recorder(**model.estimator.get_params()))
    return model.fit(X, y, **fit).estimator_.given_


@pytest.mark.parametrize("estimator", [LogisticRegression(), SVC(), RandomForestClassifier(3), GaussianNB()])
def test_weights_mean_what_is_asked_for(estimator: Any) -> None:
    X, y = _table(300)
    model = CoresetClassifier(estimator)
    assert _given_weights(model.set_params(weights="sum_to_n"), X, y).sum() == pytest.approx(300)
    assert _given_weights(model.set_params(weights="mean_one"), X, y).mean() == pytest.approx(1.0)
    assert _given_weights(model.set_params(weights="none"), X, y) is None
    fitted = model.set_params(weights="auto").fit(X, y)
    assert fitted.weights_ == {"SVC": "sum_to_n", "RandomForestClassifier": "none"}.get(
        type(estimator).__name__, "mean_one"
    )
    assert fitted.sample_weight_.sum() == pytest.approx(300)


def test_a_forest_gets_the_users_weights_though_it_does_best_without() -> None:
    X, y = _table(300)
    mine = np.where(y == 1, 3.0, 1.0)
    given = _given_weights(CoresetClassifier(RandomForestClassifier(3)), X, y, sample_weight=mine)
    assert given is not None
    assert len(np.unique(given)) > 1


def test_a_weightless_estimator_is_fitted_where_that_is_said() -> None:
    X, y = _table(300)
    assert CoresetClassifier(KNeighborsClassifier(), weights="none").fit(X, y).score(X, y) > 0.7


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
    model = CoresetClassifier(LogisticRegression(max_iter=2000), fraction=0.3).fit(X, y)
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
    original = selection_module.medoids
    monkeypatch.setattr(selection_module, "medoids", lambda *args, **kw: (calls.append(1), original(*args, **kw))[1])
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


def test_features_are_scaled_for_selecting_alone() -> None:
    X, y = _table()
    wild = X * np.array([1e-3, 1, 1, 1, 1, 1e4])
    with pytest.warns(UnscaledFeaturesWarning, match="features='auto'"):
        CoresetClassifier(SVC(), features=None).fit(wild, y)
    with pytest.warns(UnscaledFeaturesWarning):
        CoresetClassifier(SVC(), features=None).fit(sparse.csr_matrix(wild), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnscaledFeaturesWarning)
        scaled = CoresetClassifier(SVC()).fit(wild, y)
        CoresetClassifier(SVC(), method="random").fit(wild, y)
    reference = CoresetClassifier(SVC(), features=None).fit(StandardScaler().fit_transform(X), y)
    np.testing.assert_array_equal(scaled.sample_indices_, reference.sample_indices_)
    np.testing.assert_array_equal(
        scaled.estimator_.support_vectors_[0], wild[scaled.sample_indices_][scaled.estimator_.support_[0]]
    )


@pytest.mark.parametrize("at", ["pilot", "zero"])
def test_regression_on_a_coreset_is_near_regression_on_everything(at: str) -> None:
    X, y = make_regression(1000, 5, noise=20.0, random_state=0)
    whole = Ridge().fit(X, y)
    model = CoresetRegressor(Ridge(), method="adacore", at=at, fraction=0.1, weights="sum_to_n").fit(X, y)
    errors = [
        np.linalg.norm(
            CoresetRegressor(method="random", random_state=s, weights="sum_to_n").fit(X, y).estimator_.coef_
            - whole.coef_
        )
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
        (CoresetClassifier(method="adacore", at="plot"), ValueError, "did you mean 'pilot'"),
        (CoresetClassifier(method="adacore", l2=-1.0), ValueError, "l2=-1.0"),
        (CoresetClassifier(weights="mean"), ValueError, "did you mean 'mean_one'"),
        (CoresetClassifier(quotas="equall"), ValueError, "did you mean 'equal'"),
        (CoresetClassifier(quotas={0: 3, 2: 4}), ValueError, "each of the classes"),
        (CoresetClassifier(quotas={0: 2.5, 1: 4}), TypeError, r"quotas\[0\]=2.5 is not a whole number"),
        (CoresetResampler(quotas={0: 3, 1: True}), TypeError, r"quotas\[1\]=True is not a whole number"),
        (CoresetClassifier(features="standard"), TypeError, "features='standard'"),
        (CoresetResampler(problem="rdge"), ValueError, "did you mean 'ridge'"),
    ],
)
def test_bad_parameters_are_told_so(model: Any, error: Any, message: str) -> None:
    X, y = _table(100)
    with pytest.raises(error, match=message):
        model.fit(X, y)


def test_an_estimator_of_the_other_kind_is_refused() -> None:
    X, y = make_classification(60, 4, random_state=0)
    with pytest.raises(TypeError, match="Ridge is a regressor: wrap it in CoresetRegressor"):
        CoresetClassifier(Ridge()).fit(X, y)
    with pytest.raises(TypeError, match="LogisticRegression is a classifier: wrap it in CoresetClassifier"):
        CoresetRegressor(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y.astype(float))


@pytest.mark.parametrize("method", ["random", "craig"])
@pytest.mark.parametrize("cell", [{"a": 1}, [1.0]], ids=["dict", "list"])
def test_a_cell_that_holds_several_values_is_refused_chosen_or_not(method: str, cell: Any) -> None:
    X = np.ones((50, 2), object)
    X[:, 0] = np.arange(50)
    X[49, 1] = cell  # random rows need not hold it
    for model in (CoresetRegressor(method=method, fraction=0.1), CoresetClassifier(method=method, fraction=0.1)):
        with pytest.raises(TypeError, match="argument must be a string or a number"):
            model.fit(X, np.arange(50) % 2)


def test_unknown_parameters_and_classes_for_instances_are_named() -> None:
    with pytest.raises(TypeError, match=r"CoresetClassifier.__init__.*'frction'"):
        CoresetClassifier(frction=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"features=StandardScaler is a class: pass an instance"):
        CoresetClassifier(features=StandardScaler).fit(*make_classification(60, 4, random_state=0))
