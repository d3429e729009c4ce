"""Selectors as people write them: ``adacore`` or ``adacore(weighting=uniform, average_gradient=false)``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from adacore.selectors.base import Selector
from adacore.selectors.per_batch import PerBatch
from adacore.selectors.per_class import Wrapper

_CALL = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse_name(text: str) -> tuple[str, dict[str, Any]]:
    """Take a selector's name and settings apart.

    Args:
        text: ``name`` or ``name(setting=value, ...)``; values are numbers, true, false, none or words.

    Returns:
        The name, and the settings.

    Raises:
        ValueError: If the text is neither, or a setting is given twice.
        TypeError: If it is no text.

    Example:
        >>> parse_name("adacore(weighting=uniform, damping=1e-3, average_gradient=false)")
        ('adacore', {'weighting': 'uniform', 'damping': 0.001, 'average_gradient': False})
    """
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no method: write for example adacore or adacore(weighting=uniform, beta1=0.8)")
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no method: write for example adacore or adacore(weighting=uniform, beta1=0.8)")
    name, inside = match.groups()
    settings: dict[str, Any] = {}
    # No setting of a selector holds a comma, so that none needs quoting.
    for item in filter(str.strip, (inside or "").split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (equals and key and value):
            raise ValueError(f"{item.strip()!r} in {text!r} is no setting: write name=value, such as weighting=uniform")
        if key in settings:
            raise ValueError(f"{text!r} gives {key} twice: give it once")
        settings[key] = _value(value)
    return name, settings


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):  # int first, so that 64 stays a whole number
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip("'\"")


def describe(selector: Selector) -> str:
    """Write a selector the way it can be read again, leaving out what is as by default.

    Args:
        selector: Any selector, wrapped or not.

    Returns:
        Text from which ``parse_selector`` makes an equal selector.

    Example:
        >>> from adacore.selectors import AdaCore, GradMatch
        >>> describe(AdaCore(weighting="uniform")), describe(PerBatch(GradMatch(), batch_size=32))
        ('adacore(weighting=uniform)', 'gradmatch(per=batch, batch_size=32)')
    """
    settings: dict[str, Any] = {"per": selector.per} if isinstance(selector, Wrapper) else {}
    if isinstance(selector, PerBatch):
        settings["batch_size"] = selector.batch_size
    inner = selector.selector if isinstance(selector, Wrapper) else selector
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(inner) if dataclasses.is_dataclass(inner) else ()
    # Defaults are left out: a label, and the folder of that name, stays the same when a setting is added.
    changed = {field.name: value for field in fields if (value := getattr(inner, field.name)) != field.default}
    inside = ", ".join(f"{name}={_written(value)}" for name, value in {**changed, **settings}.items())
    return f"{inner.name}({inside})" if inside else inner.name


def _written(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def label(selector: Selector) -> str:
    """Name a selector so that it can name a folder; the same selector always gets the same label.

    Args:
        selector: Any selector.

    Returns:
        ``describe(selector)`` in letters, digits and ``. = _ + -``.

    Example:
        >>> from adacore.selectors import AdaCore
        >>> label(AdaCore(weighting="uniform", beta1=0.8))
        'adacore-weighting=uniform-beta1=0.8'
    """
    # File systems and shells take these characters everywhere; parentheses, commas and spaces need quoting.
    return re.sub(r"[^A-Za-z0-9.=_+-]+", "-", describe(selector)).strip("-")
