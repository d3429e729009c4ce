"""LIBSVM text files, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable

_OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open}


def read_libsvm(path: Path, *, features: int | None = None) -> tuple[Any, NDArray[np.float64]]:
    """Read a LIBSVM file, plain or compressed (.bz2, .gz, .xz).

    Args:
        path: The file.
        features: Number of features; None for the largest index that occurs.

    Returns:
        A scipy CSR matrix, float64, shape (n, features), and the targets, float64, shape (n,).

    Raises:
        ValueError: If the file is empty, truncated, corrupt, or not LIBSVM.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            content = file.read()
        x, targets = load_svmlight_file(io.BytesIO(content), n_features=features)
    except (OSError, EOFError, ValueError, IndexError, OverflowError, zlib.error, lzma.LZMAError) as error:
        raise unreadable(path, error) from error
    if x.shape[0] == 0:
        raise unreadable(path, "it holds no rows")
    if not (np.isfinite(x.data).all() and np.isfinite(targets).all()):
        raise unreadable(path, "a value is nan or infinite")
    return x, targets
