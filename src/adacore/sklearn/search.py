"""CoresetSearch: any search over parameters, its candidates scored on coresets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import _safe_split, available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from adacore.errors import unknown_name
from adacore.sklearn.break_even import NOTICED_SECONDS, SlowSelectionWarning
from adacore.sklearn.defaults import search_weights_for
from adacore.sklearn.on_coreset import OnCoreset, Part, fingerprint
from adacore.sklearn.parameters import OfTargets, Selection, parameters, settings_of
from adacore.sklearn.selection import Settings, cached
from adacore.sklearn.weighting import scaled_weights, warn_if_heavy, weight_parameter

REFITS = ("all", "coreset")


def _search_has(name: str) -> Any:
    """Whether the search, fitted if it is, has a method."""

    def check(self: Any) -> bool:
        getattr(getattr(self, "search_", None) or self.search, name)
        return True

    return available_if(check)


@parameters
class CoresetSearch(MetaEstimatorMixin, OfTargets, Selection, BaseEstimator):  # type: ignore[misc]
    """Search over an estimator's parameters with candidates fitted on coresets, and refit the best on all data.

    For each fold of the search's cross-validation a coreset of its training rows is chosen, once. Every candidate is
    fitted on it, with its weights, and scored on all of the fold's held-out rows. The best parameters are then refitted
    on all rows: a coreset is good enough to tell parameters apart long before it is as good to learn from.

    The search itself does the rest, so that it works as it always does: scoring, several metrics, ``n_jobs``,
    ``refit`` rules, and after fitting ``best_params_``, ``best_estimator_``, ``cv_results_`` and predictions. Training
    scores, where asked for, are of the coreset's rows.

    Args:
        search: Any ``*SearchCV``, over any estimator.
        method: As for ``CoresetClassifier``.
        fraction: Share of each fold's training rows to choose.
        budget: How many of them to choose, instead of ``fraction``.
        quotas: As for ``CoresetClassifier``.
        weights: What the weights are to the candidates: ``"sum_to_n"``, ``"mean_one"``, ``"none"``, or ``"auto"``: by
            kind of estimator, so that the parameters found are those for all rows (docs/sklearn.md). An estimator that
            takes no sample_weight is fitted without.
        features: As for ``CoresetClassifier``.
        target: As for ``CoresetRegressor``.
        bins: As for ``CoresetRegressor``.
        refit_on: ``"all"`` rows, or the ``"coreset"`` of them; nothing is refitted where the search has
            ``refit=False``.
        memory: As for ``CoresetClassifier``.
        random_state: Of all that is drawn.

    Attributes:
        search_: The fitted search; its attributes are found here too.
        best_params_: And all other attributes of the search.
        fold_coresets_: The ``adacore.Coreset`` of each fold's training rows.
        coreset_: That of all rows, with ``refit_on="coreset"``.
        selecting_seconds_: What selecting took, for all folds.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.svm import SVC
        >>> X, y = load_digits(return_X_y=True)
        >>> grid = {"C": [1.0, 10.0], "gamma": [1e-4, 1e-3]}
        >>> search = CoresetSearch(GridSearchCV(SVC(), grid, cv=3), fraction=0.2).fit(X, y)
        >>> search.best_params_["gamma"], bool(search.score(X, y) > 0.98)
        (0.001, True)
    """

    search: Any = field(kw_only=False)
    weights: str = "auto"
    refit_on: str = "all"

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None, groups: Any = None, **fit_params: Any) -> Self:
        """Choose a coreset of each fold, run the search on them, and refit the best parameters.

        Args:
            X: Rows of any kind that the estimator takes, shape (n, d).
            y: Targets, shape (n,) or (n, outputs), or None. Classes are strata; one column of real targets takes part
                as ``target`` says; anything else takes no part in selecting.
            sample_weight: Of each example, >= 0, shape (n,).
            groups: For the splitter.
            **fit_params: As the search's ``fit`` takes them.

        Returns:
            Itself.

        Raises:
            ValueError: If data or a parameter is wrong.
            TypeError: If ``search`` is no search, or its estimator takes no sample_weight where weights are given.
        """
        self._check()
        estimator = self.search.estimator
        if get_tags(estimator).input_tags.pairwise and self.method != "random":
            raise ValueError("X holds distances or a kernel, not features to compare: pass method='random'")
        # Lists are made arrays once: folds take rows out of them by position.
        X, y = indexable(X if hasattr(X, "shape") else np.asarray(X), y)
        given = None
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        # Before anything is selected: an estimator that takes no weights is refused at once.
        meaning, weight_name = self._weights(estimator, given)
        splits = self._splits(X, y, groups, fit_params)
        codes, settings = self._coded(y, estimator)
        choose = cached(self.memory)
        parts: dict[str, Part] = {}
        folds, self.fold_coresets_, self.selecting_seconds_ = [], [], 0.0
        for train, test in splits:
            coreset, rows, part = self._choose(choose, X, codes, given, settings, train, meaning)
            folds.append((rows, test))
            # The key is made of the rows as the search will cut them out, pairwise kernels included.
            parts[fingerprint(*_safe_split(estimator, X, y, rows))] = part
            self.fold_coresets_.append(coreset)
        # The refit on all rows keeps the caller's weights as they are: no coreset stands in between.
        whole = Part(None, given)
        if self.refit_on == "coreset":
            every = np.arange(len(given) if given is not None else _rows(X))
            self.coreset_, rows, part = self._choose(choose, X, codes, given, settings, every, meaning)
            whole = Part(rows, part.weights)
        parts[fingerprint(X, y)] = whole
        # A clone runs: the caller's search keeps its estimator and its splitter.
        self.search_ = clone(self.search)
        self.search_.estimator, self.search_.cv = OnCoreset(clone(estimator), parts, weight_name), folds
        if groups is not None and "groups" in fit_params:
            raise ValueError("groups are given twice: pass them once")
        self.search_.fit(X, y, **fit_params)
        self._unwrap(estimator)
        self._warn_if_slow()
        return self

    def _warn_if_slow(self) -> None:
        """Warn if selecting took longer than what it saved: fits of all candidates on the folds' rows.

        The refit on all rows is the pilot: a candidate on (folds - 1) / folds of them would have taken about that share
        of it, though candidates differ.
        """
        refit = getattr(self.search_, "refit_time_", None)
        if refit is None or self.refit_on != "all" or self.selecting_seconds_ < NOTICED_SECONDS:
            return
        folds, fits = self.search_.n_splits_, np.asarray(self.search_.cv_results_["mean_fit_time"])
        on_all = len(fits) * (folds - 1) * refit
        saved = on_all - folds * float(np.nansum(fits))
        if self.selecting_seconds_ > saved:
            warnings.warn(
                f"selecting took {self.selecting_seconds_:.2g} s, and fitting {len(fits)} candidates on all rows of "
                f"{folds} folds would take about {on_all:.2g} s: run the search itself, or pass method='random', or "
                "memory= if several searches share the folds",
                SlowSelectionWarning,
                stacklevel=3,
            )

    def _check(self) -> None:
        """Refuse what could only fail later, inside of the search, whose own message would not say why."""
        if not (hasattr(self.search, "estimator") and hasattr(self.search, "cv")):
            raise TypeError(
                f"search={self.search!r} is no search: pass one, as GridSearchCV(estimator, grid); for a single "
                "estimator there are CoresetClassifier and CoresetRegressor"
            )
        if getattr(self.search, "resource", None) == "n_samples":
            raise ValueError(
                "the search halves with resource='n_samples': it cuts rows out itself, for which no coreset is chosen; "
                "name a parameter of the estimator as its resource, or use GridSearchCV or RandomizedSearchCV"
            )
        if self.refit_on not in REFITS:
            raise unknown_name("refit_on", self.refit_on, REFITS)

    def _choose(
        self,
        choose: Any,
        X: Any,
        codes: Any,
        given: NDArray[np.float64] | None,
        settings: Settings,
        rows: NDArray[np.int64],
        meaning: str,
    ) -> tuple[Any, NDArray[np.int64], Part]:
        """Choose a coreset of some rows; return it, its positions among all rows, and how to fit on it."""
        (coreset, seconds), reused = choose(
            _safe_indexing(X, rows),
            None if codes is None else codes[rows],
            None if given is None else given[rows],
            settings,
        )
        # Time that a cache saved was not spent: it would count against every later search.
        if not reused:
            self.selecting_seconds_ += seconds
        weights = None if meaning == "none" else scaled_weights(coreset.weights, meaning)
        if weights is not None:
            warn_if_heavy(weights)
        return coreset, rows[coreset.indices], Part(None, weights)

    def _weights(self, estimator: Any, given: Any) -> tuple[str, str | None]:
        """Return what weights mean to the estimator, and the name that its fit takes them under."""
        # Nothing to hand on: the estimator need not take weights.
        if self.weights == "none" and given is None:
            return "none", None
        try:
            name = weight_parameter(estimator)
        except TypeError:
            if self.weights == "auto" and given is None:
                return "none", None
            raise
        return search_weights_for(estimator) if self.weights == "auto" else self.weights, name

    def _splits(self, X: Any, y: Any, groups: Any, fit_params: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        from sklearn import get_config

        # Split here, with the rules of the search: the folds are then fixed, and a coreset is made for each.
        cv = check_cv(self.search.cv, y, classifier=is_classifier(self.search.estimator))
        routed: dict[str, Any] = {} if groups is None else {"groups": groups}
        if get_config()["enable_metadata_routing"]:
            routed |= process_routing(self.search, "fit", **fit_params).splitter.split
        splits = [(np.asarray(train), np.asarray(test)) for train, test in cv.split(X, y, **routed)]
        n = _rows(X)
        # Splitters may hand out masks, or positions from the end.
        return [(np.flatnonzero(tr) if tr.dtype == bool else tr % n, te) for tr, te in splits]

    def _coded(self, y: Any, estimator: Any) -> tuple[Any, Settings]:
        """Return the targets as the selection takes them, and its settings."""
        # Multi-output targets have no classes and no one column: selection goes by features alone.
        targets = None if y is None else np.asarray(y)
        kind = None if targets is None else type_of_target(targets)
        if is_classifier(estimator) and targets is not None and kind in {"binary", "multiclass"}:
            classes, codes = np.unique(targets.ravel(), return_inverse=True)
            return codes, settings_of(self, "classification", classes=classes)
        if is_regressor(estimator) and targets is not None and targets.size == len(targets):
            return targets.ravel().astype(np.float64), settings_of(self, "regression")
        return None, settings_of(self, "none")

    def _unwrap(self, estimator: Any) -> None:
        """Leave the search as if it had searched over the estimator itself."""
        self.search_.estimator, self.search_.cv = estimator, self.search.cv
        # Predictions must not look rows up: what is left behind is the estimator itself.
        if hasattr(self.search_, "best_estimator_"):
            self.search_.best_estimator_ = self.search_.best_estimator_.estimator

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who takes which metadata: ``sample_weight`` and ``groups`` are ours, the rest the search's."""
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(search=self.search, method_mapping=MethodMapping().add(caller="fit", callee="fit"))
        )

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.search)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "search_")

    def __getattr__(self, name: str) -> Any:
        # What fitting leaves on the search: best_params_, cv_results_, classes_, n_features_in_ and the like.
        if name.endswith("_") and not name.startswith("_") and "search_" in vars(self):
            return getattr(self.search_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Return the score of the refitted estimator, by the search's metric."""
        check_is_fitted(self)
        return float(self.search_.score(X, y, **params))

    @_search_has("predict")  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> Any:
        """Predict with the refitted estimator."""
        check_is_fitted(self)
        return self.search_.predict(X)

    @_search_has("predict_proba")  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities with the refitted estimator."""
        check_is_fitted(self)
        return self.search_.predict_proba(X)

    @_search_has("predict_log_proba")  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:
        """Predict log probabilities with the refitted estimator."""
        check_is_fitted(self)
        return self.search_.predict_log_proba(X)

    @_search_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:
        """Return the refitted estimator's decision function."""
        check_is_fitted(self)
        return self.search_.decision_function(X)

    @_search_has("score_samples")  # type: ignore[untyped-decorator]
    def score_samples(self, X: Any) -> Any:
        """Return the refitted estimator's scores of samples."""
        check_is_fitted(self)
        return self.search_.score_samples(X)

    @_search_has("transform")  # type: ignore[untyped-decorator]
    def transform(self, X: Any) -> Any:
        """Transform with the refitted estimator."""
        check_is_fitted(self)
        return self.search_.transform(X)

    @_search_has("inverse_transform")  # type: ignore[untyped-decorator]
    def inverse_transform(self, X: Any) -> Any:
        """Transform back with the refitted estimator."""
        check_is_fitted(self)
        return self.search_.inverse_transform(X)


def _rows(X: Any) -> int:
    from sklearn.utils.validation import _num_samples

    return int(_num_samples(X))
