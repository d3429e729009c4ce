"""A cache of decoded arrays, so that images are decoded once and not at every start."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adacore.labelling.durable_files import replace_by

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]

# A part of the key: raised where what is stored changes its meaning, so that old files are never read as new ones.
_FORMAT = 1


def cache_folder() -> Path:
    """Return the folder for decoded data: ADACORE_CACHE, else ``adacore`` in the user's cache folder."""
    if os.environ.get("ADACORE_CACHE"):
        return Path(os.environ["ADACORE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "adacore"


def cached(name: str, sources: Sequence[Path], decode: Callable[[], Arrays]) -> Arrays:
    """Decode once and keep the result; a source that changes is decoded again.

    A cache that cannot be read or written is no error: it only costs the time of decoding.

    Args:
        name: Starts the file's name.
        sources: The files that are decoded; known by path, size and time of modification.
        decode: What to do where there is nothing in the cache.

    Returns:
        Images, uint8, shape (n, ...), and classes, int64, shape (n,).
    """
    try:
        path = cache_folder() / f"{name}-{_key(sources)}.npz"
    except RuntimeError:  # no home folder
        return decode()
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["images"], file["labels"]
    # A missing file, one that a kill cut short, and one of another format: all cost the time of decoding and no more.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        images, labels = decode()
        _write(path, images, labels)
        return images, labels


def _key(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for source in sources:
        status = source.stat()
        # Size and time in place of the content: hashing it would read all of it at every start.
        digest.update(f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may decode at once: the last rename wins, with the same content.
        replace_by(path, lambda temporary: np.savez(temporary, images=images, labels=labels))
