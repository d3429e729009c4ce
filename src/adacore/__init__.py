"""Train on the 1-10 % of the data that matters: AdaCore coresets for PyTorch, scikit-learn and plain arrays."""

from adacore.coreset import Coreset
from adacore.facility import facility_location
from adacore.loader import CoresetLoader
from adacore.reselect import select
from adacore.selectors import CRAIG, AdaCore, Full, Random

__version__ = "0.1.0"

__all__ = ["CRAIG", "AdaCore", "Coreset", "CoresetLoader", "Full", "Random", "facility_location", "select"]
