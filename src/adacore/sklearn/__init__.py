"""scikit-learn: estimators, a resampler and a search that choose a coreset and fit on it with its weights."""

from adacore.errors import require_extra

require_extra("sklearn", "adacore.sklearn")  # before the imports below, which would fail without a hint

# Imported at once and not on first use, as at the package's top: whoever imports this room has scikit-learn loaded
# anyway.
from adacore.sklearn.break_even import FitLedger, SlowSelectionWarning
from adacore.sklearn.estimators import CoresetClassifier, CoresetRegressor
from adacore.sklearn.features import selection_features
from adacore.sklearn.resampler import CoresetResampler, TargetKindWarning, WeightsDroppedWarning
from adacore.sklearn.search import CoresetSearch
from adacore.sklearn.selection import UnscaledFeaturesWarning
from adacore.sklearn.weighting import HeavyExampleWarning

__all__ = [
    "CoresetClassifier",
    "CoresetRegressor",
    "CoresetResampler",
    "CoresetSearch",
    "FitLedger",
    "HeavyExampleWarning",
    "SlowSelectionWarning",
    "TargetKindWarning",
    "UnscaledFeaturesWarning",
    "WeightsDroppedWarning",
    "selection_features",
]
