"""What ``"auto"`` means, by kind of estimator; the choices rest on docs/records/sklearn-tables.json."""

from __future__ import annotations

from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR

METHOD = "craig"
"""Medoids of the features. AdaCore's gradients of a linear pilot put picks on outliers, and were worse than random rows
for most estimators; docs/sklearn.md has the table."""

WEIGHTS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((SVC,), "sum_to_n"),
    ((SVR,), "none"),
    ((BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier), "none"),
)
"""What weights mean to estimators of a kind, and ``"mean_one"`` to all others.

Points above random rows at 5 and 10 %, mean over the sets of docs/sklearn.md (two to three seeds when it was decided):
SVC 6.4 and 4.2 with a sum of n, 3.1 and 2.4 with a mean of one, for medoids are the cleanest rows of their
neighbourhoods and C = 1 regularises k rows more than n. SVR 5.8 and 4.5 without weights, below 0 on no set; with a sum
of n it loses 20 points on the noisiest one. Forests of classifiers 3.1 and 1.1 without, 2.4 and 1.1 with. The penalties
of linear models need weights on the scale of k rows: LogisticRegression 4.2 and 1.9 with a mean of one, 2.7 and 0.8
with a sum of n; Ridge 3.4 and 1.5, -8.4 and -2.0, and -1.8 and -1.7 without."""


def final_estimator(estimator: Any) -> Any:
    """Return what predicts at the end of pipelines and target transformations."""
    # Pipelines hold target transformations and the other way round, to any depth.
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
            estimator = estimator.regressor
        else:
            return estimator


def weights_for(estimator: Any) -> str:
    """Return what the weights mean to an estimator where ``weights="auto"``; see ``scaled_weights``.

    Example:
        >>> weights_for(SVC()), weights_for(Pipeline([("model", RandomForestClassifier())]))
        ('sum_to_n', 'none')
    """
    final = final_estimator(estimator)
    # The first kind that fits: a subclass of SVC takes weights as SVC does.
    return next((meaning for kinds, meaning in WEIGHTS if isinstance(final, kinds)), "mean_one")


def search_weights_for(estimator: Any) -> str:
    """Return what the weights mean to the candidates of a search where ``weights="auto"``.

    Those of one fit, but for SVC a mean of one: with weights that sum to n a candidate of large C overfits the few rows
    of a coreset and loses to a smaller C, which then underfits all rows in the refit. On 8,000 rows of ijcnn1 (RBF SVC,
    12 candidates) mean one found the parameters of the full search, 98.3 %, a sum of n others, 94.8 %.
    """
    meaning = weights_for(estimator)
    return "mean_one" if meaning == "sum_to_n" else meaning
