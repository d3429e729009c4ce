"""CoresetResampler: a coreset by imbalanced-learn's convention, fit_resample."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from adacore.sklearn.break_even import FitLedger
from adacore.sklearn.parameters import OfGradients, OfTargets, Selection, check_rows, parameters, settings_of
from adacore.sklearn.selection import Settings, cached

UNLIKE_CLASSES = ((20, 5), (100, 20))
"""More distinct whole numbers than the first, with fewer rows each than the second, are no classes: 214 of 442 rows are
the diabetes scores, 2,000 with ten rows each are prices. A hundred classes with twenty rows each are classes."""


class TargetKindWarning(UserWarning):
    """Whole numbers were taken for the targets of a regression."""


class WeightsDroppedWarning(UserWarning):
    """A pipeline took the coreset's examples and dropped their weights."""


@parameters
class CoresetResampler(OfGradients, OfTargets, Selection, BaseEstimator):  # type: ignore[misc]
    """Choose a weighted coreset: ``fit_resample`` returns its rows, ``sample_weight_`` holds their weights.

    Pass the weights on to whatever is fitted on the rows. A pipeline of imbalanced-learn cannot: it takes the rows and
    drops the weights, so that what is fitted sees other proportions than the data has. There a
    ``WeightsDroppedWarning`` is given; a ``CoresetClassifier`` as the last step does without a resampler.

    Args:
        method: ``"auto"`` or ``"craig"`` (medoids of the features), ``"adacore"``, ``"random"`` (looks at no features)
            or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1]; at least one of each class is chosen.
        budget: How many to choose, instead of ``fraction``.
        quotas: As for ``CoresetClassifier``.
        features: What selection compares, as for ``CoresetClassifier``; the rows are returned as they are.
        target: How real targets take part, as for ``CoresetRegressor``.
        bins: For real targets: quantile bins to select within; None for one.
        at: Of AdaCore, as for ``CoresetClassifier``.
        problem: ``"auto"``: ``"ridge"`` where the targets are real numbers, and whole ones too of which there are so
            many that they can't be classes (then there is a ``TargetKindWarning``); ``"logistic"`` or ``"multinomial"``
            for classes; or one of these, or ``"hinge"``.
        l2: mu of that problem.
        curvature: As for ``CoresetClassifier``.
        pilot_size: Examples that AdaCore's pilot is fitted on.
        memory: As for ``CoresetClassifier``.
        random_state: Of all that is drawn.

    Attributes:
        sample_indices_: Positions of the chosen rows, int64, shape (k,).
        sample_weight_: Their weights, float64, shape (k,), summing to n (to the sum of ``sample_weight``).
        coreset_: The ``adacore.Coreset``.
        ledger_: What selecting took: ``FitLedger``.
        n_features_in_: d.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.standard_normal((300, 3))
        >>> resampler = CoresetResampler(fraction=0.1)
        >>> Xs, ys = resampler.fit_resample(X, X[:, 0] > 1)
        >>> Xs.shape, resampler.sample_weight_.sum()
        ((30, 3), np.float64(300.0))
    """

    # As imbalanced-learn's own samplers declare themselves.
    _estimator_type = "sampler"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose the coreset; see ``fit_resample``."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = check_rows(self, X, None)
        targets = column_or_1d(y, warn=True)
        check_consistent_length(rows, targets)
        given = None
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, targets, dtype=np.float64, ensure_non_negative=True)
        # The same path as the estimators': one selection, one cache.
        codes, settings = self._coded(targets)
        (coreset, seconds), reused = cached(self.memory)(rows, codes, given, settings)
        self.coreset_ = coreset
        self.sample_indices_ = coreset.indices
        self.sample_weight_ = coreset.weights
        share = float(coreset.weights.max() / coreset.weights.sum())
        self.ledger_ = FitLedger(coreset.population, len(coreset), seconds, 0.0, reused, share)
        return self

    def fit_resample(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Choose a coreset and return its rows.

        Args:
            X: Rows: array, CSR or data frame, shape (n, d).
            y: Targets, shape (n,).
            sample_weight: What each example counts, >= 0, shape (n,).

        Returns:
            X and y of the k chosen examples, of the kinds they came in.

        Raises:
            ValueError: If data or a parameter is wrong.
        """
        self.fit(X, y, sample_weight)
        weights = self.sample_weight_
        # Weights that are equal within 1 % say nothing that rows alone do not: there is nothing to lose.
        if _inside_pipeline() and not np.allclose(weights, weights.mean(), rtol=0.01):
            warnings.warn(
                f"imbalanced-learn's pipeline drops the coreset's weights (they run from {weights.min():.3g} to "
                f"{weights.max():.3g}): what follows is fitted on other proportions than the data has; make "
                "CoresetClassifier(estimator) the last step instead, or use method='random'",
                WeightsDroppedWarning,
                stacklevel=2,
            )
        # COO and DIA matrices can't be indexed by rows.
        rows = X.tocsr() if hasattr(X, "tocsr") else X
        chosen_X, chosen_y = (_safe_indexing(part, self.sample_indices_) for part in (rows, y))
        return chosen_X, chosen_y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        # Classes are strata, and real targets take part: without y there is another selection to make.
        tags.target_tags.required = True
        return tags

    def _coded(self, targets: Any) -> tuple[Any, Settings]:
        """Return the targets as the selection takes them, and its settings."""
        # A problem that is named decides alone: whole numbers may be a target, and the caller knows.
        regression = self.problem == "ridge" or (self.problem == "auto" and _are_real(targets))
        if regression:
            return targets.astype(np.float64), settings_of(self, "regression")
        classes, codes = np.unique(targets, return_inverse=True)
        return codes, settings_of(self, "classification", classes=classes)


def _are_real(targets: Any) -> bool:
    """Decide whether targets are real numbers, not classes, and say so where they look like either."""
    kind = type_of_target(targets, input_name="y", raise_unknown=True)
    if kind not in {"binary", "multiclass", "continuous"}:
        raise ValueError(f"y is {kind}: expected a column of labels or of real numbers")
    # Texts and truth values are classes, however many there are.
    if kind == "continuous" or targets.dtype.kind not in "iuf":
        return bool(kind == "continuous")
    distinct, n = len(np.unique(targets)), len(targets)
    if not any(distinct > most and n < rows * distinct for most, rows in UNLIKE_CLASSES):
        return False
    warnings.warn(
        f"y holds {distinct} distinct whole numbers in {n} examples: taken for the targets of a regression; pass "
        "problem='multinomial' if they are classes, problem='ridge' to say that they are not",
        TargetKindWarning,
        stacklevel=4,
    )
    return True


def _inside_pipeline() -> bool:
    """Whether imbalanced-learn's pipeline is among the callers: it alone hands the rows on by itself."""
    # Looking at the callers is a last resort: imbalanced-learn tells a sampler nothing of who calls it.
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("imblearn.pipeline"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
