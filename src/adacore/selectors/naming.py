"""Selectors as people write them: ``adacore`` or ``adacore(weighting=uniform, average_gradient=false)``."""

from __future__ import annotations

import re
from typing import Any

import yaml

from adacore.selectors.base import Selector

_CALL = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def parse_name(text: str) -> tuple[str, dict[str, Any]]:
    """Take a selector's name and settings apart.

    Args:
        text: ``name`` or ``name(setting=value, ...)``, values as in YAML.

    Returns:
        The name, and the settings.

    Raises:
        ValueError: If the text is neither.

    Example:
        >>> parse_name("adacore(weighting=uniform, beta1=0.8, average_gradient=false)")
        ('adacore', {'weighting': 'uniform', 'beta1': 0.8, 'average_gradient': False})
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no method: write for example adacore or adacore(weighting=uniform, beta1=0.8)")
    name, inside = match.groups()
    settings: dict[str, Any] = {}
    for item in filter(str.strip, (inside or "").split(",")):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"{item.strip()!r} in {text!r} is no setting: write name=value, such as weighting=uniform")
        settings[key.strip()] = yaml.safe_load(value)
    return name, settings


def describe(selector: Selector) -> str:
    """Write a selector the way ``parse_name`` reads it, leaving out what is as by default.

    Example:
        >>> from adacore.selectors import AdaCore
        >>> describe(AdaCore(weighting="uniform"))
        'adacore(weighting=uniform)'
    """
    fields = getattr(selector, "__dataclass_fields__", {})
    changed = {
        name: getattr(selector, name) for name, field in fields.items() if getattr(selector, name) != field.default
    }
    inside = ", ".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in changed.items()
    )
    return f"{selector.name}({inside})" if inside else selector.name
