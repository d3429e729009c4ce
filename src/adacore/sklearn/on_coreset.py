"""The estimator that a search clones and fits: an estimator as it is, but fitted with the weights of known coresets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import _check_method_params


@dataclass(frozen=True)
class Part:
    """What to fit on when a search hands over certain rows.

    Attributes:
        keep: Positions among the rows that are handed over, int64, or None for all of them.
        weights: Of what is kept, float64, or None to fit without.
    """

    keep: NDArray[np.int64] | None
    weights: NDArray[np.float64] | None


def fingerprint(X: Any, y: Any) -> str:
    """Return a text that names rows and targets by their content.

    A search cuts rows out and hands them to the estimator, maybe in another process, and says nothing of which fold
    they are. Their content tells it, whatever search it is.
    """
    return str(joblib.hash((X, y)))


class OnCoreset(BaseEstimator):  # type: ignore[misc]
    """An estimator that looks up the rows that it is fitted on, and takes the weights that belong to them.

    To a search it is the estimator itself: it has its parameters by their own names, its tags, routing and methods.

    Args:
        estimator: What is fitted.
        parts: What to do with rows, by their fingerprint.
        weight_name: Under which the estimator's ``fit`` takes weights; None if it is to get none.
    """

    def __init__(self, estimator: Any, parts: Mapping[str, Part], weight_name: str | None) -> None:
        # Assigned first: ``__getattr__`` looks it up for whatever else is missing.
        self.estimator = estimator
        self.parts = parts
        self.weight_name = weight_name

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Fit the estimator on what is known of these rows.

        Raises:
            ValueError: If they are no rows that coresets were chosen for.
        """
        # Looked up by content, since a search tells an estimator nothing of the fold.
        part = self.parts.get(fingerprint(X, y))
        if part is None:
            raise ValueError(
                "the search fits on rows that no coreset was chosen for, as HalvingGridSearchCV does with "
                "resource='n_samples': name a parameter of the estimator as its resource, or use GridSearchCV"
            )
        if part.keep is not None:
            fit_params = dict(_check_method_params(X, fit_params, indices=part.keep))
            X, y = _safe_indexing(X, part.keep), None if y is None else _safe_indexing(y, part.keep)
        if part.weights is not None and self.weight_name is not None:
            fit_params[self.weight_name] = part.weights
        # Not a clone: the search has cloned this object for each fit already.
        self.estimator.fit(X, y, **fit_params)
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the estimator's parameters."""
        # The estimator's own names: grids are written for it, and need no prefix.
        return dict(self.estimator.get_params(deep=deep))

    def set_params(self, **params: Any) -> Self:
        """Set the estimator's parameters."""
        self.estimator.set_params(**params)
        return self

    def get_metadata_routing(self) -> Any:
        """Return the estimator's routing."""
        from sklearn.utils.metadata_routing import get_routing_for_object

        return get_routing_for_object(self.estimator)

    def __sklearn_clone__(self) -> OnCoreset:
        # ``parts`` is shared and not copied: it holds weights of all folds, and each candidate is a clone.
        return OnCoreset(clone(self.estimator), self.parts, self.weight_name)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)

    def __sklearn_is_fitted__(self) -> bool:
        # Caught and turned into an answer: scikit-learn asks here, and expects no exception.
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        # Only what this class lacks comes here: predict, score, classes_ and the like. While unpickling there is no
        # estimator yet, and asking for it would come here again.
        if name.startswith("__") or "estimator" not in vars(self):
            raise AttributeError(name)
        return getattr(self.estimator, name)
