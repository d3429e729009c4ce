"""Which rows to label, keep or look at: rounds of labelling, what picks stand for, and simulations of both."""

from adacore.labelling.coverage import Coverage, coverage_of
from adacore.labelling.items import image_files
from adacore.labelling.rounds import Rounds

__all__ = ["Coverage", "Rounds", "coverage_of", "image_files"]
