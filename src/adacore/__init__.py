"""Train on the 1-10 % of the data that matters: AdaCore coresets for PyTorch, scikit-learn and plain arrays."""

from adacore.coreset import Coreset
from adacore.facility import facility_location
from adacore.selectors import (
    CRAIG,
    EL2N,
    GLISTER,
    AdaCore,
    Entropy,
    Forgetting,
    Full,
    GradientNorm,
    GradMatch,
    KCenter,
    KMedoids,
    LeastConfidence,
    Loss,
    Margin,
    PerBatch,
    PerClass,
    Random,
    Redundancy,
    Whole,
)
from adacore.training.loader import CoresetLoader
from adacore.training.reselector import select

__version__ = "0.1.0"

__all__ = [
    "CRAIG",
    "EL2N",
    "GLISTER",
    "AdaCore",
    "Coreset",
    "CoresetLoader",
    "Entropy",
    "Forgetting",
    "Full",
    "GradMatch",
    "GradientNorm",
    "KCenter",
    "KMedoids",
    "LeastConfidence",
    "Loss",
    "Margin",
    "PerBatch",
    "PerClass",
    "Random",
    "Redundancy",
    "Whole",
    "facility_location",
    "select",
]
