"""Selection methods by name: a file and a line in the table for each, and those that other packages bring."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, get_args

from adacore.errors import unknown_name
from adacore.selectors.base import Per, Selector
from adacore.selectors.naming import parse_name
from adacore.selectors.per_batch import PerBatch
from adacore.selectors.per_class import PerClass, Whole
from adacore.selectors.settings import check_choice

GROUP = "adacore.selectors"
"""Entry point group under which other packages install selectors."""

_CLASSES = {
    "adacore": "AdaCore",
    "badge": "Badge",
    "craig": "CRAIG",
    "el2n": "EL2N",
    "entropy": "Entropy",
    "facility_location": "FacilityLocation",
    "forgetting": "Forgetting",
    "full": "Full",
    "glister": "GLISTER",
    "gradient_norm": "GradientNorm",
    "gradmatch": "GradMatch",
    "k_center": "KCenter",
    "k_means": "KMeans",
    "k_medoids": "KMedoids",
    "least_confidence": "LeastConfidence",
    "loss": "Loss",
    "margin": "Margin",
    "random": "Random",
    "redundancy": "Redundancy",
    "stratified": "Stratified",
    "typiclust": "TypiClust",
}
"""The table: a method's name, which is also its file's in this folder, and its class. A new method is one line here."""


class Table(Mapping[str, type[Selector]]):
    """Selectors that come with the library, by name; the file of one is loaded when it is first looked up.

    Example:
        >>> SELECTORS["random"], "loss" in SELECTORS
        (<class 'adacore.selectors.random.Random'>, True)
    """

    def __getitem__(self, name: str) -> type[Selector]:
        class_name = _CLASSES[name]  # a KeyError for an unknown name, before anything is imported by it
        selector: type[Selector] = getattr(import_module(f"adacore.selectors.{name}"), class_name)
        return selector

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)

    def by_class(self, class_name: str) -> type[Selector] | None:
        """Find a selector by the name of its class.

        Args:
            class_name: Such as ``"AdaCore"``.

        Returns:
            The class, or None if there is none of this name.
        """
        return next((self[name] for name, known in _CLASSES.items() if known == class_name), None)


SELECTORS = Table()
"""Selectors that come with the library, by name."""


def installed_selectors() -> dict[str, type[Selector] | Exception]:
    """Load the selectors that other packages install under the entry point group ``adacore.selectors``.

    Returns:
        By name, the class; or, where loading it fails, why. A name of the library's own is refused.
    """
    found: dict[str, type[Selector] | Exception] = {}
    # Looked up each time: a package that is installed into a running notebook is found without a restart.
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
    # The library's own come last and win.
    return {**others, **SELECTORS}


def make_selector(name: str, *, per: Per | None = None, batch_size: int | None = None, **settings: Any) -> Selector:
    """Make a selector by its name.

    Args:
        name: A name in ``known_selectors()``.
        per: Choose per ``"class"``, among mini-batches (``"batch"``), or from the whole ``"data"``; None for the
            method's own.
        batch_size: Examples in a mini-batch, for ``per="batch"``.
        **settings: The selector's own settings.

    Returns:
        The selector, wrapped if ``per`` was given.

    Raises:
        ValueError: If the name or a setting is unknown or out of range, or the selector does not load.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> make_selector("random"), make_selector("gradient_norm", per="data", mode="top").selector.mode
        (Random(), 'top')
    """
    selector = _class_of(name)
    if dataclasses.is_dataclass(selector):
        # Checked by name here: Python's own message for an unknown keyword names no nearest one.
        own = {field.name for field in dataclasses.fields(selector) if field.init} | {"per", "batch_size"}
        for setting in settings.keys() - own:
            raise unknown_name(f"setting of {name}", setting, own)
    made = selector(**settings)
    if per is not None:
        check_choice("per", per, get_args(Per))
    if batch_size is not None and per != "batch":
        raise ValueError(f'batch_size={batch_size} is for per="batch": pass per="batch" too, or leave it out')
    if per == "batch":
        return PerBatch(made) if batch_size is None else PerBatch(made, batch_size)
    return made if per is None else PerClass(made) if per == "class" else Whole(made)


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
        text: ``name`` or ``name(setting=value, ...)``; ``per=batch, batch_size=64`` are settings of every method.

    Returns:
        The selector.

    Raises:
        ValueError: If it cannot be read, or a name or setting is unknown.
        TypeError: If a setting is of the wrong kind.

    Example:
        >>> parse_selector("glister(r=3, step=0.1)")
        GLISTER(r=3, step=0.1)
    """
    name, settings = parse_name(text)
    if "name" in settings:
        raise unknown_name(f"setting of {name}", "name", ["per", "batch_size"])
    return make_selector(name, **settings)
