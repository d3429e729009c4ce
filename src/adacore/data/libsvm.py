"""LIBSVM text files, and ijcnn1, which comes in that format."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.data.arrays import ArrayDataset, Splits
from adacore.data.root import first_existing, unreadable

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


def load_ijcnn1(root: Path) -> Splits:
    """Load ijcnn1: 49,990 rows to train on, 91,701 to test, 22 features, nine examples of class -1 to one of +1.

    Args:
        root: The folder that holds the data sets; ``ijcnn1/ijcnn1`` and ``ijcnn1/ijcnn1.t`` in it, plain or .bz2.

    Returns:
        Inputs float32, shape (22,); class 0 is -1, class 1 is +1.
    """
    train, test = (_split(root, name) for name in ("ijcnn1", "ijcnn1.t"))
    return Splits("ijcnn1", train, test, (22,), 2, ("-1", "+1"))


def _split(root: Path, name: str) -> ArrayDataset:
    path = first_existing(root, [f"ijcnn1/{name}{end}" for end in ("", ".bz2")], "ijcnn1")
    x, targets = read_libsvm(path, features=22)
    if not np.isin(targets, (-1.0, 1.0)).all():
        raise unreadable(path, f"labels are {np.unique(targets)[:5].tolist()}, expected -1 and 1")
    inputs = torch.from_numpy(x.toarray().astype(np.float32))
    return ArrayDataset(inputs, torch.from_numpy((targets > 0).astype(np.int64)))
