"""Checks of selectors' settings, at construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from adacore.errors import unknown_name


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check a setting that is one of a few names.

    Args:
        name: The setting.
        value: What was given.
        choices: What there is.

    Raises:
        ValueError: If there is no such name; the nearest is named.

    Example:
        >>> check_choice("proxy", "logits", ["logits", "penultimate"])
    """
    if value not in choices:
        raise unknown_name(name, str(value), choices)


def check_number(
    name: str,
    value: object,
    *,
    least: float = 0.0,
    above: float | None = None,
    most: float | None = None,
    below: float = math.inf,
    example: float,
) -> None:
    """Check a setting that is a real number, from ``least`` or ``above`` on, to ``most`` or ``below``.

    Args:
        name: The setting.
        value: What was given.
        least: Smallest number allowed.
        above: What it must be above, in place of ``least``.
        most: Largest number allowed, in place of ``below``.
        below: What it must be below.
        example: A sensible number, for the error.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is out of range.

    Example:
        >>> check_number("beta1", 0.9, below=1.0, example=0.9)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} is not a number: pass for example {example}")
    number = float(value)
    inside = (number >= least if above is None else number > above) and (
        number < below if most is None else number <= most
    )
    if not inside:
        start = f"[{least:g}" if above is None else f"({above:g}"
        end = f"{below:g})" if most is None else f"{most:g}]"
        raise ValueError(f"{name}={value} is outside {start}, {end}: pass for example {example}")


def check_whole(name: str, value: object, *, least: int = 1, optional: bool = False) -> None:
    """Check a setting that is a whole number.

    Args:
        name: The setting.
        value: What was given.
        least: Smallest number allowed.
        optional: Whether None will do.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is too small.

    Example:
        >>> check_whole("block_size", 64)
    """
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} is not a whole number: pass an int of at least {least}")
    if value < least:
        raise ValueError(f"{name}={value} is below {least}: pass an int of at least {least}")


def check_flag(name: str, value: object) -> None:
    """Check a setting that is true or false.

    Args:
        name: The setting.
        value: What was given.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> check_flag("average_gradient", True)
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} is neither true nor false: pass one of them")
