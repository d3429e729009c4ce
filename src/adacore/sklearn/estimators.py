"""CoresetClassifier and CoresetRegressor: any estimator, fitted on a weighted coreset of its training data."""

from __future__ import annotations

import time
from dataclasses import field
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_method_params,
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from adacore.sklearn.break_even import FitLedger, warn_if_slow
from adacore.sklearn.defaults import final_estimator, weights_for
from adacore.sklearn.features import is_frame
from adacore.sklearn.parameters import (
    OfGradients,
    OfTargets,
    Selection,
    allows_missing,
    check_rows,
    parameters,
    settings_of,
)
from adacore.sklearn.selection import Settings, cached
from adacore.sklearn.weighting import scaled_weights, warn_if_heavy, weight_parameter


def _has(name: str) -> Any:
    """Whether the wrapped estimator, fitted if it is, has a method."""

    def check(self: Any) -> bool:
        # The fitted estimator decides where there is one: a search, say, has the methods of its best estimator.
        getattr(getattr(self, "estimator_", None) or self._wrapped(), name)
        return True

    return available_if(check)


@parameters
class _CoresetEstimator(MetaEstimatorMixin, OfGradients, Selection, BaseEstimator):  # type: ignore[misc]
    """What both estimators share; the parameters are documented there."""

    estimator: Any = field(default=None, kw_only=False)
    weights: str = "auto"

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Choose a coreset and fit the estimator on it with its weights.

        Args:
            X: Rows of any kind that the estimator takes: array, CSR or data frame, shape (n, d). The estimator gets
                those of the coreset as they are.
            y: Targets, shape (n,).
            sample_weight: Of each example, >= 0, shape (n,); the coreset stands for the data so weighted.
            **fit_params: Passed on to the estimator's ``fit`` (by its requests where metadata routing is on); what has
                one entry for each example is cut down to the coreset.

        Returns:
            Itself.

        Raises:
            ValueError: If data or a parameter is wrong.
            TypeError: If the estimator's ``fit`` takes no sample_weight, and ``weights`` is not ``"none"``.
        """
        # A clone: scikit-learn's contract is that ``fit`` leaves its parameters as they were given.
        estimator = clone(self._wrapped())
        self._check_kind(estimator)
        meaning = self.weights
        if meaning == "auto":
            meaning = weights_for(estimator)
            if meaning == "none" and sample_weight is not None:
                meaning = "mean_one"  # weights that the caller has given are there to be used
        # Of a forest too, whose default is to do without: whoever wraps a nearest neighbour has to say that they know.
        weight_name = None if self.weights == "none" else weight_parameter(estimator)
        # scikit-learn's own words: its estimator checks look for them.
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = check_rows(self, X, estimator)
        targets = self._check_targets(y)
        check_consistent_length(rows, targets)
        given = None
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, targets, dtype=np.float64, ensure_non_negative=True)
        # Codes in place of labels: a cache hashes them, and texts or objects hash slowly and not always equally.
        codes, settings = self._coded(targets, given)
        (coreset, selecting_seconds), reused = cached(self.memory)(rows, codes, given, settings)
        # A frame goes on as it came: pipelines pick columns by name, which an array has lost.
        own = X if is_frame(X) else rows
        weights = scaled_weights(coreset.weights, meaning)
        # What the caller passed for each example is cut down by the same positions as X and y.
        extra = self._extra(X, coreset.indices, fit_params)
        if weight_name is not None and meaning != "none":
            extra[weight_name] = weights
            warn_if_heavy(weights)
        chosen, chosen_targets = _safe_indexing(own, coreset.indices), targets[coreset.indices]
        # The clock starts after rows were taken out: a fit on all data would not have to.
        begin = time.perf_counter()
        estimator.fit(chosen, chosen_targets, **extra)
        fitting_seconds = time.perf_counter() - begin
        # Set only now that everything has worked: an estimator whose ``fit`` failed stays unfitted.
        self.estimator_ = estimator
        self.coreset_ = coreset
        self.sample_indices_ = coreset.indices
        self.sample_weight_ = coreset.weights
        self.weights_ = meaning
        share = float(weights.max() / weights.sum())
        self.ledger_ = FitLedger(coreset.population, len(coreset), selecting_seconds, fitting_seconds, reused, share)
        # Every other example: with strata one after the other, the first half would be of some classes alone.
        half = np.arange(0, len(coreset), 2)
        parts = _check_method_params(chosen, extra, indices=half)
        warn_if_slow(
            self.ledger_,
            lambda: clone(self._wrapped()).fit(_safe_indexing(chosen, half), chosen_targets[half], **parts),
        )
        return self

    def predict(self, X: Any) -> Any:
        """Predict with the fitted estimator; X of shape (m, d)."""
        return self._checked(X).predict(X)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who takes which metadata: ``sample_weight`` is ours, the rest the estimator's."""
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self._wrapped(), method_mapping=MethodMapping().add(caller="fit", callee="fit"))
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._wrapped()).input_tags
        # What is taken is what the wrapped estimator takes: rows reach it unchanged.
        tags.input_tags.sparse = inner.sparse
        tags.input_tags.categorical = inner.categorical
        tags.input_tags.string = inner.string
        tags.input_tags.allow_nan = allows_missing(self._wrapped())
        return tags

    def _wrapped(self) -> Any:
        raise NotImplementedError

    def _check_kind(self, estimator: Any) -> None:
        """Refuse a regressor where classes are the targets, and the other way round: either would fit, and mislead."""
        ours, other = (is_classifier, "regressor") if is_classifier(self) else (is_regressor, "classifier")
        theirs = is_regressor if other == "regressor" else is_classifier
        # What is neither, as one's own estimator without tags, is given the benefit of the doubt.
        if theirs(estimator) and not ours(estimator):
            right = "CoresetRegressor" if other == "regressor" else "CoresetClassifier"
            raise TypeError(f"{type(final_estimator(estimator)).__name__} is a {other}: wrap it in {right}")

    def _check_targets(self, y: Any) -> Any:
        raise NotImplementedError

    def _coded(self, targets: Any, given: Any) -> tuple[Any, Settings]:
        """Return the targets as the selection takes them, and its settings."""
        raise NotImplementedError

    def _extra(self, X: Any, indices: Any, fit_params: dict[str, Any]) -> dict[str, Any]:
        from sklearn import get_config

        if get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        return dict(_check_method_params(X, fit_params, indices=indices))

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self, "estimator_")
        if is_frame(X):
            validate_data(self, X, reset=False, skip_check_array=True)
        else:
            validate_data(self, X, reset=False, accept_sparse=True, dtype=None, ensure_all_finite=False)
        return self.estimator_


@parameters
class CoresetClassifier(ClassifierMixin, _CoresetEstimator):  # type: ignore[misc]
    """Fit a classifier on a weighted coreset of its training data.

    The coreset is chosen once a fit, within each class.

    Args:
        estimator: Any classifier whose ``fit`` takes sample_weight; None for LogisticRegression.
        method: ``"auto"`` (what docs/sklearn.md found best: medoids of the features), ``"craig"`` (those medoids:
            facility location on the features), ``"adacore"`` (on preconditioned gradients of ``problem``), ``"random"``
            (which looks at no features), or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1]; at least one of each class is chosen.
        budget: How many to choose, instead of ``fraction``.
        quotas: How the classes share what is chosen: ``"proportional"`` to their sizes, ``"equal"``, or
            {label: number}, which replaces ``fraction``. Where a class has no examples that count, as in a fold of a
            search without it, its number is left out.
        weights: What the coreset's weights are to the estimator: ``"sum_to_n"`` (its loss is that of all data),
            ``"mean_one"`` (that of k examples, so that C and alpha regularise as they would on k), ``"none"``, or
            ``"auto"``, the best of them by kind of estimator: ``"sum_to_n"`` for SVC, ``"none"`` for SVR and for
            forests of classifiers, ``"mean_one"`` for the rest.
        features: What selection compares: ``"auto"`` (numbers standardised, categories one-hot, missing values
            imputed), a transformer of your own, or None for the rows as they are. The estimator never sees it.
        at: Of AdaCore, where gradients and Hessian are taken: ``"pilot"``, ``"zero"``, or parameters (those of
            ``problem``, K * (d + 1) numbers).
        problem: Of AdaCore, whose gradients they are: ``"auto"``, ``"logistic"``, ``"multinomial"`` or ``"hinge"``.
        l2: mu of that problem.
        curvature: Of AdaCore: ``"auto"``, ``"full"``, ``"diagonal"``, ``"low_rank"`` or ``"example"``.
        pilot_size: Examples that AdaCore's pilot is fitted on.
        memory: A folder or ``joblib.Memory`` that keeps selections, for one version of this library.
        random_state: Of all that is drawn.

    Attributes:
        estimator_: The fitted estimator.
        coreset_: The ``adacore.Coreset``.
        sample_indices_: Its positions, int64, shape (k,).
        sample_weight_: Its weights, summing to n (to the sum of ``sample_weight``), float64, shape (k,).
        weights_: What they were scaled to for the estimator: ``"sum_to_n"``, ``"mean_one"`` or ``"none"``.
        ledger_: What selecting and fitting took, after how many fits the selection has paid, and the largest share of
            weight: ``FitLedger``.
        classes_: The labels.
        n_features_in_: d.

    Example:
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> model = CoresetClassifier(make_pipeline(StandardScaler(), LogisticRegression()), fraction=0.2).fit(X, y)
        >>> len(model.sample_indices_), bool(model.score(X, y) > 0.95)
        (114, True)
    """

    @property
    def classes_(self) -> Any:
        """The labels, sorted."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.classes_

    @_has("predict_proba")  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities, shape (m, classes)."""
        return self._checked(X).predict_proba(X)

    @_has("predict_log_proba")  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:
        """Predict log probabilities, shape (m, classes)."""
        return self._checked(X).predict_log_proba(X)

    @_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Return the estimator's decision function."""
        return self._checked(X).decision_function(X)

    def _wrapped(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    def _check_targets(self, y: Any) -> Any:
        check_classification_targets(y)
        return column_or_1d(y, warn=True)

    def _coded(self, targets: Any, given: Any) -> tuple[Any, Settings]:
        # A class of weight 0 alone is not there: as a stratum it would be given a pick.
        counted = targets if given is None else targets[given > 0]
        classes = np.unique(counted)
        if len(classes) < 2:
            raise ValueError(f"y has {len(classes)} class among examples that count: a classifier needs at least two")
        # Labels that do not count may lie beyond the last class: clipped to a valid code, their weight of 0 drops them
        # later.
        codes = np.minimum(np.searchsorted(classes, targets), len(classes) - 1)
        return codes, settings_of(self, "classification", classes=classes)


@parameters
class CoresetRegressor(RegressorMixin, OfTargets, _CoresetEstimator):  # type: ignore[misc]
    """Fit a regressor on a weighted coreset of its training data.

    The coreset is chosen once a fit, the target being one more column of what selection compares: medoids of the
    features alone are the wrong ones wherever y depends on little of them.

    Args:
        estimator: Any regressor whose ``fit`` takes sample_weight; None for Ridge.
        method: ``"auto"`` (what docs/sklearn.md found best: medoids of the features), ``"craig"`` (those medoids:
            facility location on the features), ``"adacore"`` (on preconditioned gradients of ``problem``), ``"random"``
            (which looks at no features), or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1].
        budget: How many to choose, instead of ``fraction``.
        quotas: How the bins of ``target="bins"`` share what is chosen: ``"proportional"`` or ``"equal"``.
        weights: What the coreset's weights are to the estimator: ``"sum_to_n"`` (its loss is that of all data),
            ``"mean_one"`` (that of k examples, so that C and alpha regularise as they would on k), ``"none"``, or
            ``"auto"``, the best of them by kind of estimator: ``"sum_to_n"`` for SVC, ``"none"`` for SVR and for
            forests of classifiers, ``"mean_one"`` for the rest.
        features: What selection compares: ``"auto"`` (numbers standardised, categories one-hot, missing values
            imputed), a transformer of your own, or None for the rows as they are. The estimator never sees it.
        target: How y takes part: ``"column"`` (one more column, standardised; for ``"craig"``), ``"bins"`` (selecting
            within quantile bins of it), ``"none"``, or ``"auto"``: a column where there are columns, else bins.
        bins: How many quantile bins; None for one.
        at: Of AdaCore, where gradients are taken: ``"pilot"``, ``"zero"``, or d + 1 parameters.
        problem: Of AdaCore: ``"auto"`` or ``"ridge"``.
        l2: mu of that problem.
        curvature: As for ``CoresetClassifier``.
        pilot_size: Examples that AdaCore's pilot is fitted on.
        memory: A folder or ``joblib.Memory`` that keeps selections, for one version of this library.
        random_state: Of all that is drawn.

    Attributes:
        estimator_: The fitted estimator.
        coreset_: The ``adacore.Coreset``.
        sample_indices_: Its positions, int64, shape (k,).
        sample_weight_: Its weights, summing to n (to the sum of ``sample_weight``), float64, shape (k,).
        weights_: What they were scaled to for the estimator: ``"sum_to_n"``, ``"mean_one"`` or ``"none"``.
        ledger_: What selecting and fitting took: ``FitLedger``.
        n_features_in_: d.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((500, 4))
        >>> y = X @ np.array([1.0, -2.0, 0.0, 3.0]) + 0.1 * rng.standard_normal(500)
        >>> bool(CoresetRegressor(Ridge(), fraction=0.1).fit(X, y).score(X, y) > 0.99)
        True
    """

    def _wrapped(self) -> Any:
        return Ridge() if self.estimator is None else self.estimator

    def _check_targets(self, y: Any) -> Any:
        return _check_y(y, y_numeric=True)

    def _coded(self, targets: Any, given: Any) -> tuple[Any, Settings]:
        # float64 whatever came in: the target's mean and deviation are taken in it.
        return targets.astype(np.float64), settings_of(self, "regression")
