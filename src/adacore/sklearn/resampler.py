"""CoresetResampler: a coreset by imbalanced-learn's convention, fit_resample."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data

from adacore.errors import unknown_name
from adacore.sklearn.accounts import FitLedger
from adacore.sklearn.estimators import _seed
from adacore.sklearn.selection import PROBLEMS, Settings, cached, warn_if_unscaled


class WeightsDroppedWarning(UserWarning):
    """A pipeline took the coreset's examples and dropped their weights."""


class CoresetResampler(BaseEstimator):  # type: ignore[misc]
    """Choose a weighted coreset: ``fit_resample`` returns its rows, ``sample_weight_`` holds their weights.

    Pass the weights on to whatever is fitted on the rows. A pipeline of imbalanced-learn cannot: it takes the rows and
    drops the weights, so that what is fitted sees other proportions than the data has. There a
    ``WeightsDroppedWarning`` is given; a ``CoresetClassifier`` as the last step does without a resampler.

    Args:
        method: ``"adacore"``, ``"craig"``, ``"random"`` or ``"full"``.
        fraction: Share of the examples to choose, in (0, 1]; at least one of each class is chosen.
        budget: How many to choose, instead of ``fraction``.
        at: As for ``CoresetClassifier``.
        problem: ``"auto"`` (logistic, multinomial, or, for real targets, ridge), or one of them, or ``"hinge"``.
        l2: mu of that problem.
        curvature: As for ``CoresetClassifier``.
        scale: Whether to select on scaled features; the rows are returned as they are.
        pilot_size: Examples that the pilot is fitted on.
        bins: For real targets: quantile bins to select within; None for none.
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

    _estimator_type = "sampler"

    def __init__(
        self,
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
        self.method = method
        self.fraction = fraction
        self.budget = budget
        self.at = at
        self.problem = problem
        self.l2 = l2
        self.curvature = curvature
        self.scale = scale
        self.pilot_size = pilot_size
        self.bins = bins
        self.memory = memory
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose the coreset; see ``fit_resample``."""
        rows, targets = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        masses = None
        if sample_weight is not None:
            masses = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        problem = self._problem(targets)
        codes = targets.astype(np.float64) if problem == "ridge" else np.unique(targets, return_inverse=True)[1]
        settings = self._settings(problem)
        warn_if_unscaled(rows, settings)
        (coreset, seconds), reused = cached(self.memory)(rows, codes, masses, settings)
        self.coreset_ = coreset
        self.sample_indices_ = coreset.indices
        self.sample_weight_ = coreset.weights
        self.ledger_ = FitLedger(coreset.population, len(coreset), seconds, 0.0, reused)
        return self

    def fit_resample(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """Choose a coreset and return its rows.

        Args:
            X: Features, numeric: array, CSR or data frame, shape (n, d).
            y: Targets, shape (n,).
            sample_weight: What each example counts, >= 0, shape (n,).

        Returns:
            X and y of the k chosen examples, of the kinds they came in.

        Raises:
            ValueError: If data or a parameter is wrong.
        """
        self.fit(X, y, sample_weight)
        weights = self.sample_weight_
        if _inside_pipeline() and not np.allclose(weights, weights.mean(), rtol=0.01):
            warnings.warn(
                f"imbalanced-learn's pipeline drops the coreset's weights (they run from {weights.min():.3g} to "
                f"{weights.max():.3g}): what follows is fitted on other proportions than the data has; make "
                "CoresetClassifier(estimator) the last step instead, or use method='random'",
                WeightsDroppedWarning,
                stacklevel=2,
            )
        rows = X.tocsr() if hasattr(X, "tocsr") else X
        chosen_X, chosen_y = (_safe_indexing(part, self.sample_indices_) for part in (rows, y))
        return chosen_X, chosen_y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def _problem(self, targets: Any) -> str:
        if self.problem != "auto":
            if self.problem not in PROBLEMS:
                raise unknown_name("problem", self.problem, ["auto", *PROBLEMS])
            return self.problem
        kind = type_of_target(targets, input_name="y", raise_unknown=True)
        known = {"binary": "logistic", "multiclass": "multinomial", "continuous": "ridge"}
        if kind not in known:
            raise ValueError(f"y is {kind}: expected a column of labels or of real numbers")
        return known[kind]

    def _settings(self, problem: str) -> Settings:
        return Settings(
            method=self.method,
            fraction=self.fraction,
            budget=self.budget,
            at=self.at,
            problem=problem,
            l2=self.l2,
            curvature=self.curvature,
            scale=self.scale,
            pilot_size=self.pilot_size,
            bins=self.bins,
            seed=_seed(self.random_state),
        )


def _inside_pipeline() -> bool:
    """Whether imbalanced-learn's pipeline is among the callers: it alone hands the rows on by itself."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("imblearn.pipeline"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
