"""CoresetClassifier and CoresetRegressor: any estimator, fitted on a weighted coreset of its training data."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_method_params,
    _check_sample_weight,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from adacore.sklearn.accounts import FitLedger
from adacore.sklearn.selection import Settings, cached, warn_if_unscaled


def _has(name: str) -> Any:
    """Whether the wrapped estimator, fitted if it is, has a method."""

    def check(self: Any) -> bool:
        getattr(getattr(self, "estimator_", None) or self._wrapped(), name)
        return True

    return available_if(check)


class _CoresetEstimator(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share; the parameters are documented there."""

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "adacore",
        fraction: float = 0.1,
        budget: int | None = None,
        at: Any = "pilot",
        problem: str = "auto",
        l2: float = 1e-5,
        curvature: str = "auto",
        scale: bool = False,
        pilot_size: int = 2_500,
        memory: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.fraction = fraction
        self.budget = budget
        self.at = at
        self.problem = problem
        self.l2 = l2
        self.curvature = curvature
        self.scale = scale
        self.pilot_size = pilot_size
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Choose a coreset and fit the estimator on it with its weights.

        Args:
            X: Features, numeric: array, CSR or data frame, shape (n, d).
            y: Targets, shape (n,).
            sample_weight: What each example counts, >= 0, shape (n,); the coreset stands for the data so weighted.
            **fit_params: Passed on to the estimator's ``fit`` (by its requests where metadata routing is on); what has
                one entry for each example is cut down to the coreset.

        Returns:
            Itself.

        Raises:
            ValueError: If data or a parameter is wrong.
            TypeError: If the estimator's ``fit`` takes no sample_weight.
        """
        estimator = clone(self._wrapped())
        weight_name = _weight_name(estimator)
        rows, targets = self._validate(X, y)
        masses = None
        if sample_weight is not None:
            masses = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        settings = self._settings(self._codes(targets, masses))
        warn_if_unscaled(rows, settings)
        (coreset, selecting_seconds), reused = cached(self.memory)(rows, self._codes(targets, masses), masses, settings)
        own = X if hasattr(X, "iloc") else rows
        extra = self._extra(X, coreset.indices, fit_params)
        begin = time.perf_counter()
        estimator.fit(
            _safe_indexing(own, coreset.indices),
            targets[coreset.indices],
            **{**extra, weight_name: coreset.weights},
        )
        fitting_seconds = time.perf_counter() - begin
        self.estimator_ = estimator
        self.coreset_ = coreset
        self.sample_indices_ = coreset.indices
        self.sample_weight_ = coreset.weights
        self.ledger_ = FitLedger(coreset.population, len(coreset), selecting_seconds, fitting_seconds, reused)
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
        tags.input_tags.sparse = get_tags(self._wrapped()).input_tags.sparse
        return tags

    def _wrapped(self) -> Any:
        raise NotImplementedError

    def _auto_problem(self, codes: Any) -> str:
        raise NotImplementedError

    def _validate(self, X: Any, y: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def _codes(self, targets: Any, masses: Any) -> Any:
        raise NotImplementedError

    def _settings(self, codes: Any) -> Settings:
        return Settings(
            method=self.method,
            fraction=self.fraction,
            budget=self.budget,
            at=self.at,
            problem=self._auto_problem(codes) if self.problem == "auto" else self.problem,
            l2=self.l2,
            curvature=self.curvature,
            scale=self.scale,
            pilot_size=self.pilot_size,
            bins=getattr(self, "bins", None),
            seed=_seed(self.random_state),
        )

    def _extra(self, X: Any, indices: Any, fit_params: dict[str, Any]) -> dict[str, Any]:
        from sklearn import get_config

        if get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        return dict(_check_method_params(X, fit_params, indices=indices))

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self, "estimator_")
        validate_data(self, X, reset=False, accept_sparse=True, dtype=None)
        return self.estimator_


class CoresetClassifier(ClassifierMixin, _CoresetEstimator):  # type: ignore[misc]
    """Fit a classifier on a weighted coreset of its training data.

    The coreset is chosen once a fit, by class, for a logistic regression (multinomial with more than two classes): see
    ``adacore.convex.select``. Its weights sum to n (to the sum of ``sample_weight``), so that ``C`` of
    LogisticRegression or SVC, which weighs the sum of losses against the regulariser, means what it means on all data.

    Args:
        estimator: Any classifier whose ``fit`` takes sample_weight; None for LogisticRegression.
        method: ``"adacore"``, ``"craig"``, ``"random"`` or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1]; at least one of each class is chosen.
        budget: How many to choose, instead of ``fraction``.
        at: ``"pilot"``, ``"zero"``, or parameters (those of ``problem``, K * (d + 1) numbers): where gradients and
            Hessian are taken.
        problem: ``"auto"``, ``"logistic"``, ``"multinomial"`` or ``"hinge"``: whose gradients they are.
        l2: mu of that problem.
        curvature: ``"auto"``, ``"full"``, ``"diagonal"``, ``"low_rank"`` or ``"example"``.
        scale: Whether to select on scaled features; the estimator gets them as they are.
        pilot_size: Examples that the pilot is fitted on.
        memory: A folder or ``joblib.Memory`` that keeps selections: a search over the estimator's parameters then
            selects once for each fold, not once for each candidate.
        random_state: Of all that is drawn.

    Attributes:
        estimator_: The fitted estimator.
        coreset_: The ``adacore.Coreset``.
        sample_indices_: Its positions, int64, shape (k,).
        sample_weight_: Its weights, float64, shape (k,).
        ledger_: What selecting and fitting took, and after how many fits the selection has paid: ``FitLedger``.
        classes_: The labels.
        n_features_in_: d.

    Example:
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.preprocessing import scale
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> model = CoresetClassifier(LogisticRegression(), fraction=0.2).fit(scale(X), y)
        >>> len(model.sample_indices_), bool(model.score(scale(X), y) > 0.95)
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

    def _validate(self, X: Any, y: Any) -> tuple[Any, Any]:
        rows, targets = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(targets)
        return rows, targets

    def _codes(self, targets: Any, masses: Any) -> Any:
        counted = targets if masses is None else targets[masses > 0]
        classes = np.unique(counted)
        if len(classes) < 2:
            raise ValueError(f"y has {len(classes)} class among examples that count: a classifier needs at least two")
        return np.minimum(np.searchsorted(classes, targets), len(classes) - 1)

    def _auto_problem(self, codes: Any) -> str:
        return "logistic" if codes.max() < 2 else "multinomial"


class CoresetRegressor(RegressorMixin, _CoresetEstimator):  # type: ignore[misc]
    """Fit a regressor on a weighted coreset of its training data.

    The coreset is chosen once a fit, for ridge regression (whose Hessian LASSO and elastic net share), within quantile
    bins of the targets: see ``adacore.convex.select``. Its weights sum to n (to the sum of ``sample_weight``).

    Args:
        estimator: Any regressor whose ``fit`` takes sample_weight; None for Ridge.
        method: ``"adacore"``, ``"craig"``, ``"random"`` or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1].
        budget: How many to choose, instead of ``fraction``.
        at: ``"pilot"``, ``"zero"``, or d + 1 parameters: where gradients are taken.
        problem: ``"auto"`` or ``"ridge"``.
        l2: mu of that problem.
        curvature: As for ``CoresetClassifier``.
        scale: Whether to select on scaled features; the estimator gets them as they are.
        pilot_size: Examples that the pilot is fitted on.
        bins: Quantile bins of the targets to select within; None for none.
        memory: As for ``CoresetClassifier``.
        random_state: Of all that is drawn.

    Attributes:
        estimator_: The fitted estimator.
        coreset_: The ``adacore.Coreset``.
        sample_indices_: Its positions, int64, shape (k,).
        sample_weight_: Its weights, float64, shape (k,).
        ledger_: What selecting and fitting took: ``FitLedger``.
        n_features_in_: d.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((500, 4))
        >>> y = X @ np.array([1.0, -2.0, 0.0, 3.0]) + 0.1 * rng.standard_normal(500)
        >>> bool(CoresetRegressor(Ridge(), fraction=0.1).fit(X, y).score(X, y) > 0.99)
        True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "adacore",
        fraction: float = 0.1,
        budget: int | None = None,
        at: Any = "pilot",
        problem: str = "auto",
        l2: float = 1e-5,
        curvature: str = "auto",
        scale: bool = False,
        pilot_size: int = 2_500,
        bins: int | None = 10,
        memory: Any = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(
            estimator,
            method=method,
            fraction=fraction,
            budget=budget,
            at=at,
            problem=problem,
            l2=l2,
            curvature=curvature,
            scale=scale,
            pilot_size=pilot_size,
            memory=memory,
            random_state=random_state,
        )
        self.bins = bins

    def _wrapped(self) -> Any:
        return Ridge() if self.estimator is None else self.estimator

    def _validate(self, X: Any, y: Any) -> tuple[Any, Any]:
        rows, targets = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True)
        return rows, targets

    def _codes(self, targets: Any, masses: Any) -> Any:
        return targets.astype(np.float64)

    def _auto_problem(self, codes: Any) -> str:
        return "ridge"


def _weight_name(estimator: Any) -> str:
    """Return the name under which the estimator's fit takes weights."""
    from sklearn import get_config

    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not has_fit_parameter(final, "sample_weight"):
        raise TypeError(
            f"{type(final).__name__}.fit takes no sample_weight, without which a coreset misrepresents the data: wrap "
            "an estimator that does"
        )
    if isinstance(estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
        return f"{estimator.steps[-1][0]}__sample_weight"
    return "sample_weight"


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
