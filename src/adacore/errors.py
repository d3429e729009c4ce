"""How errors at the boundary are worded: the value, the expectation, the remedy."""

import difflib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

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
        "yaml",
    ),
    "huggingface": ("transformers", "datasets"),
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
