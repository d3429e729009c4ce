"""Settings of selectors and commands: checks at construction, and reading them from YAML."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from adacore.errors import shown, unknown_name


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
    if isinstance(value, bool) or not isinstance(value, Real):  # True is a number to Python, seldom to its user
        raise TypeError(f"{name}={value!r} is not a number: pass for example {example}")
    # A whole number beyond float64 is beyond every bound there is, and no conversion takes it.
    try:
        number = float(value)
    except OverflowError:
        huge: Any = value
        number = math.inf if huge > 0 else -math.inf
    # nan fails either comparison, and so is refused with the rest.
    inside = (number >= least if above is None else number > above) and (
        number < below if most is None else number <= most
    )
    if not inside:
        start = f"[{least:g}" if above is None else f"({above:g}"
        end = f"{below:g})" if most is None else f"{most:g}]"
        raise ValueError(f"{name}={shown(value)} is outside {start}, {end}: pass for example {example}")


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


def check_fields(settings: Any) -> None:
    """Check every field of a frozen dataclass, and keep it as a plain value that YAML can write; for ``__post_init__``.

    Args:
        settings: Each field's type is made of ``int``, ``float``, ``bool``, ``str``, ``Literal``, ``None`` and
            ``tuple[str, ...]``; its metadata may hold ``bounds``, as ``check_number`` takes them.

    Raises:
        TypeError: If a value is of the wrong kind.
        ValueError: If it is out of bounds, or none of the words that may stand there.
    """
    # Annotations are texts (from __future__ import annotations): this evaluates them.
    hints = typing.get_type_hints(type(settings))
    for setting in dataclasses.fields(settings):
        checked = _checked(
            setting.name, hints[setting.name], getattr(settings, setting.name), setting.metadata.get("bounds", {})
        )
        # The only way to write a frozen dataclass, and only from its own __post_init__.
        object.__setattr__(settings, setting.name, checked)


def _checked(name: str, hint: Any, value: Any, bounds: Mapping[str, Any]) -> Any:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in {types.UnionType, typing.Union} else (hint,)
    words = [word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    if value is None and types.NoneType in kinds:
        return None
    if words and isinstance(value, str):
        if value not in words:
            raise unknown_name(name, value, [*words, "a whole number"] if int in kinds else words)
        return value
    if int in kinds:
        check_whole(name, value, **bounds)
        # numpy's integers become Python's: YAML would write them as objects.
        return int(value)
    if float in kinds:
        check_number(name, value, **bounds, example=0.1)
        return float(value)
    if bool in kinds:
        check_flag(name, value)
        return value
    if words or str in kinds:
        if not isinstance(value, str):
            raise TypeError(f"{name}={value!r} is not a text: pass {words or 'one, in quotes'}")
        return value
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name}={value!r}: expected names, such as ('adacore', 'random')")
    return tuple(value)


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings from a YAML file that a person wrote.

    Args:
        path: The file.

    Returns:
        Plain values by name, with underscores.

    Raises:
        ValueError: If it is not YAML, holds no settings, or gives one twice, of which YAML would keep the last.
        FileNotFoundError: If there is no such file.
    """
    import yaml

    # SafeLoader builds plain values only: no file of settings can run code.
    class UniqueKeys(yaml.SafeLoader):
        """Refuses a mapping in which a key stands twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: dict[Any, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                name = str(key.value).replace("-", "_")  # batch-size, as on the command line, is batch_size
                if name in seen:
                    raise ValueError(f"{path} gives {name} twice, in lines {seen[name]} and {line}")
                seen[name] = line
            return super().construct_mapping(node, deep)

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"--config {path} {what}: pass a YAML file")
    try:
        # utf-8-sig reads files with and without a byte-order mark, which Windows' editors write.
        values = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{path} holds no settings: expected lines such as 'epochs: 50'")
    return {key.replace("-", "_"): value for key, value in values.items()}
