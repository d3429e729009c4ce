"""How errors at the boundary are worded: the value, the expectation, the remedy."""

import difflib
from collections.abc import Iterable
from pathlib import Path


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
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")


def unreadable(path: Path, reason: object) -> ValueError:
    """Make the error for a file that is truncated, corrupt, or not what it should be.

    Args:
        path: The file.
        reason: What went wrong.

    Returns:
        The error, to be raised by the caller.
    """
    words = " ".join(str(reason).split()) or type(reason).__name__
    return ValueError(f"cannot read {path}: {words[:300]}; the file is truncated or corrupt, fetch it again")
