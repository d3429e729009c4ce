"""Where data sets are found, and how a file that is not there or cannot be read is reported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def find_root(data_root: str | Path | None = None) -> Path:
    """Find the folder that holds the data sets, one folder for each.

    Args:
        data_root: Given by the user; None for the environment variable ADACORE_DATA, else ``../shared/data`` beside a
            checkout of the project.

    Returns:
        A folder that exists.

    Raises:
        FileNotFoundError: If it does not.
    """
    # What was said for this call wins over the environment, and both over a guess.
    if data_root is not None:
        return _existing(Path(data_root).expanduser(), "--data-root")
    if os.environ.get("ADACORE_DATA"):
        return _existing(Path(os.environ["ADACORE_DATA"]).expanduser(), "ADACORE_DATA")
    # Only from a checkout: an installed package has no neighbours to look for.
    checkout = Path(__file__).resolve().parents[4]
    beside = checkout.parent / "shared" / "data"
    if (checkout / "pyproject.toml").exists() and beside.is_dir():
        return beside
    raise FileNotFoundError("no folder with data sets: pass --data-root, or set ADACORE_DATA; --data digits needs none")


def _existing(folder: Path, source: str) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(f"{source}={str(folder)!r} is not a folder: pass the one that holds the data sets")
    return folder


def first_existing(root: Path, candidates: Iterable[str], what: str) -> Path:
    """Find the first of several possible files.

    Args:
        root: The folder that holds the data sets.
        candidates: Paths below it, in order of preference.
        what: What is looked for, for the message.

    Returns:
        A file that exists.

    Raises:
        FileNotFoundError: If there is none.
    """
    names = list(candidates)
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"no {what} below {root}: expected {' or '.join(names)}; see --data-root")
