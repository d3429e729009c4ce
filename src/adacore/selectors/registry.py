"""Selection methods by name: one file and one line in the table for each, and those that other packages bring."""

from __future__ import annotations

import dataclasses
from importlib.metadata import entry_points
from typing import Any, get_args

from adacore.errors import unknown_name
from adacore.selectors.adacore import AdaCore
from adacore.selectors.base import Grain, Selector
from adacore.selectors.craig import CRAIG
from adacore.selectors.el2n import EL2N
from adacore.selectors.entropy import Entropy
from adacore.selectors.forgetting import Forgetting
from adacore.selectors.full import Full
from adacore.selectors.glister import GLISTER
from adacore.selectors.gradient_norm import GradientNorm
from adacore.selectors.gradmatch import GradMatch
from adacore.selectors.grains import PerBatch, PerClass, Whole
from adacore.selectors.k_center import KCenter
from adacore.selectors.k_medoids import KMedoids
from adacore.selectors.least_confidence import LeastConfidence
from adacore.selectors.loss import Loss
from adacore.selectors.margin import Margin
from adacore.selectors.naming import parse_name
from adacore.selectors.random import Random
from adacore.selectors.redundancy import Redundancy
from adacore.selectors.settings import check_choice

GROUP = "adacore.selectors"
"""Entry point group under which other packages install selectors."""

SELECTORS: dict[str, type[Selector]] = {
    "adacore": AdaCore,
    "craig": CRAIG,
    "el2n": EL2N,
    "entropy": Entropy,
    "forgetting": Forgetting,
    "full": Full,
    "glister": GLISTER,
    "gradient_norm": GradientNorm,
    "gradmatch": GradMatch,
    "k_center": KCenter,
    "k_medoids": KMedoids,
    "least_confidence": LeastConfidence,
    "loss": Loss,
    "margin": Margin,
    "random": Random,
    "redundancy": Redundancy,
}
"""Selectors that come with the library, by name."""


def installed_selectors() -> dict[str, type[Selector] | Exception]:
    """Load the selectors that other packages install under the entry point group ``adacore.selectors``.

    Returns:
        By name, the class; or, where loading it fails, why. A name of the library's own is refused.
    """
    found: dict[str, type[Selector] | Exception] = {}
    for point in entry_points(group=GROUP):
        if point.name in SELECTORS:
            found[point.name] = ValueError(f"{point.value} takes the name of a built-in selector: rename it")
            continue
        try:
            found[point.name] = point.load()
        except Exception as error:  # whatever another package raises must not break the rest
            found[point.name] = error
    return found


def known_selectors() -> dict[str, type[Selector]]:
    """Return all selectors by name: the library's own, and those of other packages that load.

    Example:
        >>> "random" in known_selectors()
        True
    """
    others = {name: value for name, value in installed_selectors().items() if not isinstance(value, Exception)}
    return {**others, **SELECTORS}


def make_selector(name: str, *, grain: Grain | None = None, batch_size: int | None = None, **settings: Any) -> Selector:
    """Make a selector by its name.

    Args:
        name: A name in ``known_selectors()``.
        grain: Choose per ``"class"``, among mini-batches (``"batch"``), or from the ``"whole"``; None for the method's
            own.
        batch_size: Examples in a mini-batch, for ``grain="batch"``.
        **settings: The selector's own settings.

    Returns:
        The selector, wrapped if a grain was given.

    Raises:
        ValueError: If the name or a setting is unknown or out of range, or the selector does not load.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> make_selector("random"), make_selector("craig", grain="whole", weighting="sqrt")
        (Random(), Whole(selector=CRAIG(proxy='logits', weighting='sqrt')))
    """
    selector = _class_of(name)
    if dataclasses.is_dataclass(selector):
        own = {field.name for field in dataclasses.fields(selector) if field.init} | {"grain", "batch_size"}
        for setting in settings.keys() - own:
            raise unknown_name(f"setting of {name}", setting, own)
    made = selector(**settings)
    if grain is not None:
        check_choice("grain", grain, get_args(Grain))
    if batch_size is not None and grain != "batch":
        raise ValueError(f'batch_size={batch_size} is for grain="batch": pass grain="batch" too, or leave it out')
    if grain == "batch":
        return PerBatch(made) if batch_size is None else PerBatch(made, batch_size)
    return made if grain is None else PerClass(made) if grain == "class" else Whole(made)


def _class_of(name: str) -> type[Selector]:
    if name in SELECTORS:
        return SELECTORS[name]
    installed = installed_selectors()
    if name not in installed:
        raise unknown_name("selector", name, {**installed, **SELECTORS})
    found = installed[name]
    if isinstance(found, Exception):
        raise ValueError(f"the installed selector {name!r} does not load ({found!r}): repair or remove its package")
    return found


def parse_selector(text: str) -> Selector:
    """Make a selector from what a person writes on the command line or in a configuration file.

    Args:
        text: ``name`` or ``name(setting=value, ...)``; ``grain=batch, batch_size=64`` are settings of every method.

    Returns:
        The selector.

    Raises:
        ValueError: If it cannot be read, or a name or setting is unknown.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> parse_selector("craig(proxy=penultimate)")
        CRAIG(proxy='penultimate', weighting='cluster')
    """
    name, settings = parse_name(text)
    if "name" in settings:
        raise unknown_name(f"setting of {name}", "name", ["grain", "batch_size"])
    return make_selector(name, **settings)
