"""Selection methods by name: one file and one line for each."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from adacore.errors import unknown_name
from adacore.selectors.adacore import AdaCore
from adacore.selectors.base import Grain, HasObjective, Selector, Traits
from adacore.selectors.craig import CRAIG
from adacore.selectors.full import Full
from adacore.selectors.naming import describe, parse_name
from adacore.selectors.per_class import PerClass
from adacore.selectors.random import Random

SELECTORS: dict[str, type[Selector]] = {
    "adacore": AdaCore,
    "craig": CRAIG,
    "full": Full,
    "random": Random,
}
"""Selectors that come with the library, by name."""


def known_selectors() -> dict[str, type[Selector]]:
    """Return all selectors by name: the library's, and those installed under the entry point group adacore.selectors.

    Example:
        >>> "random" in known_selectors()
        True
    """
    installed = {point.name: point.load() for point in entry_points(group="adacore.selectors")}
    return {**installed, **SELECTORS}


def make_selector(name: str, **settings: Any) -> Selector:
    """Make a selector by its name.

    Args:
        name: A name in ``known_selectors()``.
        **settings: The selector's own settings.

    Returns:
        The selector.

    Raises:
        ValueError: If the name or a setting is unknown.

    Example:
        >>> make_selector("random")
        Random()
    """
    known = known_selectors()
    if name not in known:
        raise unknown_name("selector", name, known)
    fields = getattr(known[name], "__dataclass_fields__", None)
    for setting in settings:
        if fields is not None and setting not in fields:
            raise unknown_name(f"setting of {name}", setting, fields)
    return known[name](**settings)


def parse_selector(text: str) -> Selector:
    """Make a selector from what a person writes on the command line or in a configuration file.

    Args:
        text: ``name`` or ``name(setting=value, ...)``.

    Returns:
        The selector.

    Raises:
        ValueError: If it cannot be read, or a name or setting is unknown.

    Example:
        >>> parse_selector("craig(proxy=penultimate)")
        CRAIG(proxy='penultimate', weighting='cluster')
    """
    name, settings = parse_name(text)
    return make_selector(name, **settings)


def with_grain(selector: Selector, *, labelled: bool) -> Selector:
    """Wrap a selector in its own grain, unless it is wrapped already.

    Args:
        selector: Any selector.
        labelled: Whether the examples have classes; without them nothing can be chosen per class.

    Returns:
        A selector to be run on the whole snapshot.
    """
    if isinstance(selector, PerClass) or selector.grain != "class" or not labelled:
        return selector
    return PerClass(selector)


__all__ = [
    "CRAIG",
    "SELECTORS",
    "AdaCore",
    "Full",
    "Grain",
    "HasObjective",
    "PerClass",
    "Random",
    "Selector",
    "Traits",
    "describe",
    "known_selectors",
    "make_selector",
    "parse_selector",
    "with_grain",
]
