"""Selection methods: the protocol, a file for each, and wrappers that run any of them on classes or batches."""

from adacore.selectors.adacore import AdaCore
from adacore.selectors.base import Grain, HasObjective, HasStrata, Selector, Traits
from adacore.selectors.craig import CRAIG
from adacore.selectors.el2n import EL2N
from adacore.selectors.entropy import Entropy
from adacore.selectors.forgetting import Forgetting
from adacore.selectors.full import Full
from adacore.selectors.glister import GLISTER
from adacore.selectors.gradient_norm import GradientNorm
from adacore.selectors.gradmatch import GradMatch
from adacore.selectors.grains import PerBatch, PerClass, Whole, with_grain
from adacore.selectors.k_center import KCenter
from adacore.selectors.k_medoids import KMedoids
from adacore.selectors.least_confidence import LeastConfidence
from adacore.selectors.loss import Loss
from adacore.selectors.margin import Margin
from adacore.selectors.naming import describe, label
from adacore.selectors.random import Random
from adacore.selectors.redundancy import Redundancy
from adacore.selectors.registry import SELECTORS, installed_selectors, known_selectors, make_selector, parse_selector
from adacore.selectors.scores import Score
from adacore.selectors.strata import Strata

__all__ = [
    "CRAIG",
    "EL2N",
    "GLISTER",
    "SELECTORS",
    "AdaCore",
    "Entropy",
    "Forgetting",
    "Full",
    "GradMatch",
    "GradientNorm",
    "Grain",
    "HasObjective",
    "HasStrata",
    "KCenter",
    "KMedoids",
    "LeastConfidence",
    "Loss",
    "Margin",
    "PerBatch",
    "PerClass",
    "Random",
    "Redundancy",
    "Score",
    "Selector",
    "Strata",
    "Traits",
    "Whole",
    "describe",
    "installed_selectors",
    "known_selectors",
    "label",
    "make_selector",
    "parse_selector",
    "with_grain",
]
