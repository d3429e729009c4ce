"""scikit-learn: estimators and a resampler that choose a coreset and fit on it with its weights."""

from adacore.errors import require_extra

require_extra("sklearn", "adacore.sklearn")  # before the imports below, which would fail without a hint

from adacore.sklearn.accounts import FitLedger
from adacore.sklearn.estimators import CoresetClassifier, CoresetRegressor
from adacore.sklearn.resampler import CoresetResampler, WeightsDroppedWarning
from adacore.sklearn.selection import UnscaledFeaturesWarning

__all__ = [
    "CoresetClassifier",
    "CoresetRegressor",
    "CoresetResampler",
    "FitLedger",
    "UnscaledFeaturesWarning",
    "WeightsDroppedWarning",
]
