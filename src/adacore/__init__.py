"""Which k examples stand for all n? Coresets for arrays, PyTorch and scikit-learn, by facility location and AdaCore.

The public names are loaded when they are first used: ``import adacore`` takes milliseconds, and whoever only selects
rows of an array loads no other part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors read; at run time the table below loads the same names
    from adacore.coreset import Coreset
    from adacore.facility import assign, facility_location, k_center
    from adacore.probing.embedding import embed
    from adacore.probing.probe import Probe
    from adacore.selectors import (
        CRAIG,
        EL2N,
        GLISTER,
        AdaCore,
        Badge,
        Entropy,
        FacilityLocation,
        Forgetting,
        Full,
        GradientNorm,
        GradMatch,
        KCenter,
        KMeans,
        KMedoids,
        LeastConfidence,
        Loss,
        Margin,
        PerBatch,
        PerClass,
        Random,
        Redundancy,
        Stratified,
        TypiClust,
        Whole,
    )
    from adacore.training.loader import CoresetLoader
    from adacore.training.single_selection import select
    from adacore.training.stream_loader import StreamLoader

__version__ = "0.2.0"

__all__ = [
    "CRAIG",
    "EL2N",
    "GLISTER",
    "AdaCore",
    "Badge",
    "Coreset",
    "CoresetLoader",
    "Entropy",
    "FacilityLocation",
    "Forgetting",
    "Full",
    "GradMatch",
    "GradientNorm",
    "KCenter",
    "KMeans",
    "KMedoids",
    "LeastConfidence",
    "Loss",
    "Margin",
    "PerBatch",
    "PerClass",
    "Probe",
    "Random",
    "Redundancy",
    "Stratified",
    "StreamLoader",
    "TypiClust",
    "Whole",
    "assign",
    "embed",
    "facility_location",
    "k_center",
    "select",
]

_MODULES = {
    "Coreset": "adacore.coreset",
    "CoresetLoader": "adacore.training.loader",
    "Probe": "adacore.probing.probe",
    "StreamLoader": "adacore.training.stream_loader",
    "embed": "adacore.probing.embedding",
    "assign": "adacore.facility",
    "facility_location": "adacore.facility",
    "k_center": "adacore.facility",
    "select": "adacore.training.single_selection",
}
"""Where a public name is defined; every name that is not listed here is a selector, of ``adacore.selectors``."""

_ROOMS = ("convex", "facility", "labelling", "probing", "selectors", "sklearn", "training")
"""Packages that are reached as attributes: ``adacore.facility.plan`` works after ``import adacore`` alone."""


def __getattr__(name: str) -> Any:
    """Load a public name, or a room, when it is first used (PEP 562)."""
    if name in __all__:
        value = getattr(import_module(_MODULES.get(name, "adacore.selectors")), name)
    elif name in _ROOMS:
        value = import_module(f"adacore.{name}")
    else:
        raise AttributeError(f"module 'adacore' has no attribute {name!r}", name=name, obj=None)
    globals()[name] = value  # the next look-up finds it without coming here
    return value


def __dir__() -> list[str]:
    """List what can be reached, loaded or not, for completion."""
    return sorted({*globals(), *__all__, *_ROOMS})
