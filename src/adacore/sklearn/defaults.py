"""What is done where nothing is said: by kind of estimator, from docs/records/sklearn-tables.json."""

from __future__ import annotations

from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR

METHOD = "craig"
"""Medoids of the features. AdaCore's gradients of a linear pilot put picks on outliers, and were worse than random rows
for most estimators; docs/sklearn.md has the table."""

KERNELS = (SVC, SVR)
FORESTS = (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)


def final_estimator(estimator: Any) -> Any:
    """Return what predicts at the end of pipelines and target transformations."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
            estimator = estimator.regressor
        else:
            return estimator


def kind_of(estimator: Any) -> str:
    """Return the row of the table that an estimator belongs to: ``"kernel"``, ``"forest"`` or ``"other"``.

    Example:
        >>> kind_of(SVC()), kind_of(Pipeline([("model", RandomForestClassifier())]))
        ('kernel', 'forest')
    """
    final = final_estimator(estimator)
    return "kernel" if isinstance(final, KERNELS) else "forest" if isinstance(final, FORESTS) else "other"


def weights_for(estimator: Any) -> str:
    """Return what the weights mean to an estimator where ``weights="auto"``; see ``scaled_weights``.

    Support vector machines with kernels overfit less than they underfit: medoids are the cleanest rows of their
    neighbourhoods, and C = 1 regularises k rows more than n. The others do best with the penalty of k rows.
    """
    return {"kernel": "sum_to_n", "forest": "none", "other": "mean_one"}[kind_of(estimator)]


def search_weights_for(estimator: Any) -> str:
    """Return what the weights mean to the candidates of a search where ``weights="auto"``.

    Weights of mean one, though the best parameters are refitted on all rows: with weights that sum to n a candidate of
    large C overfits the few rows of a coreset and loses to a smaller C, which then underfits all of them. On 8,000 rows
    of ijcnn1 (RBF SVC, 12 candidates) mean one found the parameters of the full search, 98.3 %, a sum of n others,
    94.8 %.
    """
    return "none" if kind_of(estimator) == "forest" else "mean_one"
