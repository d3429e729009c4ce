"""Selection methods: the protocol, one small file a method, and wrappers that run any of them per class or per batch.

Methods are loaded when they are first used. A new one is a file and a line in the table of ``registry.py``; it is then
known by name everywhere, and its class can be imported from here. (The names below are for type checkers.)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adacore.selectors.base import HasObjective, HasStrata, Per, Selector, Traits
from adacore.selectors.naming import describe, label
from adacore.selectors.ordered_strata import Strata
from adacore.selectors.partition import partitioned
from adacore.selectors.per_batch import PerBatch
from adacore.selectors.per_class import PerClass, Whole
from adacore.selectors.registry import SELECTORS, installed_selectors, known_selectors, make_selector, parse_selector

if TYPE_CHECKING:
    from adacore.selectors.adacore import AdaCore
    from adacore.selectors.badge import Badge
    from adacore.selectors.craig import CRAIG
    from adacore.selectors.el2n import EL2N
    from adacore.selectors.entropy import Entropy
    from adacore.selectors.facility_location import FacilityLocation
    from adacore.selectors.forgetting import Forgetting
    from adacore.selectors.full import Full
    from adacore.selectors.glister import GLISTER
    from adacore.selectors.gradient_norm import GradientNorm
    from adacore.selectors.gradmatch import GradMatch
    from adacore.selectors.k_center import KCenter
    from adacore.selectors.k_means import KMeans
    from adacore.selectors.k_medoids import KMedoids
    from adacore.selectors.least_confidence import LeastConfidence
    from adacore.selectors.loss import Loss
    from adacore.selectors.margin import Margin
    from adacore.selectors.random import Random
    from adacore.selectors.redundancy import Redundancy
    from adacore.selectors.scores import Score
    from adacore.selectors.stratified import Stratified
    from adacore.selectors.typiclust import TypiClust

__all__ = [
    "CRAIG",
    "EL2N",
    "GLISTER",
    "SELECTORS",
    "AdaCore",
    "Badge",
    "Entropy",
    "FacilityLocation",
    "Forgetting",
    "Full",
    "GradMatch",
    "GradientNorm",
    "HasObjective",
    "HasStrata",
    "KCenter",
    "KMeans",
    "KMedoids",
    "LeastConfidence",
    "Loss",
    "Margin",
    "Per",
    "PerBatch",
    "PerClass",
    "Random",
    "Redundancy",
    "Score",
    "Selector",
    "Strata",
    "Stratified",
    "Traits",
    "TypiClust",
    "Whole",
    "describe",
    "installed_selectors",
    "known_selectors",
    "label",
    "make_selector",
    "parse_selector",
    "partitioned",
]


def __getattr__(name: str) -> Any:
    """Load a selector's class when it is first used (PEP 562)."""
    # The base of methods that score has no line in the table: it is no method by itself.
    if name == "Score":
        return import_module("adacore.selectors.scores").Score
    selector = SELECTORS.by_class(name)
    if selector is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return selector
