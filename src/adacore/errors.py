"""How errors at the boundary are worded: the value, the expectation, the remedy."""

import difflib
import importlib.util
import os
import re
import reprlib
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

EXTRAS: dict[str, tuple[str, ...]] = {
    "accelerate": ("accelerate",),
    "experiments": (
        "jinja2",
        "lightning_fabric",
        "matplotlib",
        "PIL",
        "pytorch_optimizer",
        "scipy",
        "sklearn",
        "tensorboard",
    ),
    "huggingface": ("accelerate", "transformers"),
    "lightning": ("lightning",),
    "ray": ("ray",),
    "skorch": ("skorch",),
    "sklearn": ("scipy", "sklearn"),
}
"""Modules that each extra of pyproject.toml installs; the core does without them. A test compares the two lists."""


def require_extra(extra: str, what: str, *, modules: Iterable[str] | None = None) -> None:
    """Check that an extra is installed, before anything imports from it.

    Args:
        extra: A name in ``EXTRAS``.
        what: What needs it, to begin the message with.
        modules: Those of its modules that are needed; None for all of them.

    Raises:
        ModuleNotFoundError: If one is missing, with the command that installs it.

    Example:
        >>> require_extra("sklearn", "CoresetClassifier")
    """
    for module in EXTRAS[extra] if modules is None else modules:
        # find_spec looks for the files without running them: importing matplotlib alone would take half a second
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"{what} needs {module}, which is not installed: pip install 'adacore[{extra}]'", name=module
            )


def shown(value: object) -> str:
    """Write a value for an error: one line, cut in the middle where it is long.

    Args:
        value: Whatever was passed.

    Returns:
        Its repr, of at most some 80 characters.

    Example:
        >>> import numpy as np
        >>> shown(np.float64(0.5)), len(shown("a" * 1000)) <= 80
        ('0.5', True)
    """
    numpy = sys.modules.get("numpy")  # a value of NumPy's comes with it; ``adacore --help`` does not wait for it
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()  # as the user wrote it: NumPy 2 writes a number as np.float64(0.5)
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    try:
        return " ".join(short.repr(value).split())
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Make the error for a name that is not in a by-name table, with the nearest known one.

    Args:
        kind: What the name stands for, such as ``"selector"``.
        name: The name that was given.
        known: The names that exist.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown_name("selector", "adcore", ["adacore", "craig"]))
        unknown selector 'adcore': did you mean 'adacore'? Known: adacore, craig
    """
    names = sorted(known)
    # 0.5: below difflib's 0.6, since names are short and two letters of four may be swapped.
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if isinstance(name, str) else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {kind} {shown(name)}: {hint}Known: {', '.join(names)}")


def unreadable(path: Path | str, reason: object) -> ValueError:
    """Make the error for a file that is truncated, corrupt, or not what it should be.

    Args:
        path: The file.
        reason: What went wrong.

    Returns:
        The error, to be raised by the caller.
    """
    # Libraries' messages may hold line breaks and whole paragraphs: an error is one line.
    words = " ".join(str(reason).split()) or type(reason).__name__
    return ValueError(f"cannot read {path}: {words[:300]}; the file is truncated or corrupt, fetch it again")


def parser_error(message: str, command: str, kinds: Mapping[str, Any], flags: Iterable[str]) -> ValueError:
    """Word what jsonargparse says of a command line or a file of settings, which takes it several lines.

    Args:
        message: Its message.
        command: The command, to point at its help.
        kinds: Types of the settings by name.
        flags: The flags that there are.

    Returns:
        The error: flag or setting, value, expectation, remedy.

    Example:
        >>> print(parser_error("unrecognized arguments: --epoch 3", "adacore train", {}, ["--epochs"]))
        unknown flag --epoch: did you mean --epochs? See adacore train --help
    """
    # By its text, since jsonargparse gives no parts. What no pattern fits is passed on as it is.
    wrong_kind = re.match(r'Parser key "([\w.]+)":.*?(?:Got value|Given value): (.*)', message, re.DOTALL)
    if wrong_kind is not None:
        name, value = wrong_kind.group(1).rpartition(".")[2], wrong_kind.group(2).strip()
        # The choices of a Literal lie one level deeper where the type is a union, such as Literal["auto"] | int.
        options = get_args(kinds[name]) or (kinds[name],)
        words = [word for option in options for word in get_args(option) or (option,) if isinstance(word, str)]
        expected = [text for kind, text in _KINDS.items() if kind in options]
        if words:
            return unknown_name(name, value, [*words, *expected])
        return ValueError(f"{name}={value!r} is not {' or '.join(expected) or 'of its kind'}: see {command} --help")
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if unknown is None:
        return ValueError(message)
    flag = unknown.group(1).split("=")[0]
    if not flag.startswith("-"):
        return ValueError(f"unexpected argument {flag!r}: see {command} --help")
    near = difflib.get_close_matches(flag, list(flags))
    return ValueError(f"unknown flag {flag}: {f'did you mean {near[0]}? ' if near else ''}See {command} --help")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

EXPECTED = (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError)
"""What the library raises at its boundary."""


def one_line(error: Exception) -> str | None:
    """Word an error for the command line.

    Args:
        error: What ended a command.

    Returns:
        One line, with the place where a module of the user's own raised it (a data set, a model); None if it is neither
        that nor one of ``EXPECTED``: a fault of the library, of which the trace must be seen.

    Example:
        >>> print(one_line(ValueError("epochs=0 is below 1")), one_line(KeyError("batch")))
        epochs=0 is below 1 None
    """
    expected, place = isinstance(error, EXPECTED), _place_of(error)
    # A KeyError out of the library's own code is no message for a user.
    if place is None and not expected:
        return None
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    if "Original Traceback" in text:  # a DataLoader's worker sends its whole trace as the message
        text = text.strip().splitlines()[-1]
    words = " ".join(text.split())
    if not (expected and words):
        words = f"{type(error).__name__}: {words}".removesuffix(": ")
    return words if place is None else f"{words} (in {place})"


def _place_of(error: BaseException) -> str | None:
    """Name the innermost line of a file that is neither the library's, an installed package's, nor Python's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    # The cause first: the line in the user's data set, not the one where the library wrapped its error.
    inner = _place_of(error.__cause__) if error.__cause__ is not None else None
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # A worker's trace comes as text in the message, with frames that this process never had.
    frames += [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', str(error))]
    installed = (str(Path(__file__).parent), sys.prefix, sys.base_prefix, str(Path(os.__file__).parent), "<")
    # Compiled packages name their sources by paths of the machine on which they were built.
    foreign = (".pyx", ".pxd", ".pxi", ".c", ".cpp")
    users = [
        f"{file}, line {line}" for file, line in frames if not file.startswith(installed) and not file.endswith(foreign)
    ]
    return inner or (users[-1] if users else None)
