"""What a state was saved with, so that it is not loaded into a training with other settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

_PLAIN = (bool, int, float, str, type(None))


def written(value: Any) -> str:
    """Write a selector, or another value, with all its settings; equal settings give equal text on every machine.

    Args:
        value: A dataclass (with its fields), another object (with its attributes), a collection or a plain value.

    Returns:
        Text. What is neither of these, such as an array, is written by its type alone.

    Example:
        >>> from adacore.selectors import PerClass, Random
        >>> written(PerClass(Random()))
        'PerClass(selector=Random())'
    """
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))})"
    kind = type(value).__name__
    if is_dataclass(value):
        settings = {field.name: getattr(value, field.name) for field in fields(value)}
    elif type(value).__module__ not in {"builtins", "numpy", "torch"} and hasattr(value, "__dict__"):
        # What begins with an underscore is a cache or a state, which may differ without the settings differing.
        settings = {name: item for name, item in vars(value).items() if not name.startswith("_")}
    else:
        return kind
    return f"{kind}({', '.join(f'{name}={written(item)}' for name, item in settings.items())})"


def check_fingerprint(saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Compare the settings that a state was saved with to those that it is loaded into.

    Args:
        saved: Plain values by name, from the state.
        here: The same of what it is loaded into.

    Raises:
        ValueError: If one differs; the message names every one that does.
    """
    # Only what is compared here: a state of a later version may hold settings that this one does not know. What a state
    # of an earlier version lacks was not there to be set.
    different = [name for name in here if saved.get(name) != here[name]]
    if different:
        theirs, ours = (
            ", ".join(f"{name}={values.get(name, 'nothing')}" for name in different) for values in (saved, here)
        )
        raise ValueError(
            f"the state was saved with {theirs}, this loader has {ours}: make it with the settings and data "
            "that the state was saved with"
        )
