"""LIBSVM text files, plain or compressed: ``label index:value index:value ...``, one row a line, zeros left out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import require_extra, unreadable

MOST_FEATURES = 2**31 - 1
"""scikit-learn's parser holds an index in 32 bits."""

_OPENERS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open}


def read_libsvm(path: Path, *, features: int | None = None) -> tuple[Any, NDArray[np.float64]]:
    """Read a LIBSVM file, plain or compressed (.bz2, .gz, .xz). The rows stay sparse.

    Args:
        path: The file.
        features: Number of features; None for the largest index that occurs.

    Returns:
        A scipy CSR matrix, float64, shape (n, features), and the targets, float64, shape (n,).

    Raises:
        ValueError: If the file is truncated or corrupt, holds no rows or no features, or a line is not LIBSVM, which is
            then named.
    """
    require_extra("sklearn", "a LIBSVM file", modules=["scipy", "sklearn"])
    # Its parser is compiled: a loop in Python over every index:value would be many times slower.
    from sklearn.datasets import load_svmlight_file  # compiled; not a part of the core

    try:
        # Read as a whole: if parsing fails, the text is gone through again for the faulty line.
        with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise unreadable(path, error) from error
    # Text holds no zero byte, and most binary formats hold one near their beginning.
    if b"\0" in content[:4096]:
        raise ValueError(f"{path} is no text: expected LIBSVM, or a name that ends in .npy, .parquet, .csv or .tsv")
    try:
        x, targets = load_svmlight_file(io.BytesIO(content), n_features=features)
    except (ValueError, IndexError, OverflowError) as error:
        # Only once parsing has failed: the compiled parser names no line, and going through the lines in Python is
        # slow.
        fault = _first_fault(content)
        raise (unreadable(path, error) if fault is None else ValueError(f"{path}, {fault}")) from error
    if x.shape[0] == 0:
        raise ValueError(f"{path} holds no rows{': every line is a comment' if content.strip() else ': it is empty'}")
    if x.nnz == 0 and x.shape[1] <= 1:
        raise ValueError(
            f"{path} holds a label a line and no features: expected 'label index:value ...'; a column of plain numbers "
            "is read from a file whose name ends in .csv"
        )
    if not (np.isfinite(x.data).all() and np.isfinite(targets).all()):
        raise ValueError(f"{path}: {_first_fault(content) or 'a value is nan or infinite: repair such rows first'}")
    return x, targets


def _first_fault(content: bytes) -> str | None:
    """Say what is wrong with the first line that is not LIBSVM; None if all are."""
    # latin-1 decodes any bytes: a message about a line must not fail on its encoding.
    for number, line in enumerate(content.decode("latin-1").splitlines(), 1):
        label, *pairs = line.partition("#")[0].split() or [""]
        fault = _fault_of(label, pairs) if label else None
        if fault is not None:
            return f"line {number}: {fault}"
    return None


def _fault_of(label: str, pairs: list[str]) -> str | None:
    if "," in label:
        return f"{label} are several labels: rows of more than one are not supported; write one"
    if _number(label) is None:
        return f"{label!r} is no label: expected a finite number, then index:value ..."
    last = -1
    for pair in pairs:
        index, colon, value = pair.partition(":")
        # Query numbers of ranking data, which scikit-learn's parser passes over as well.
        if index == "qid":
            continue
        if not colon or not index.isdigit():
            return (
                f"{pair!r} is not index:value; a table of plain numbers is read from a name that ends in .csv or .tsv"
            )
        if _number(value) is None:
            return f"{pair!r} has no finite number for a value: repair such rows first"
        # The format asks for ascending indices, and the parser refuses any other order without naming the line.
        if int(index) <= last:
            return f"index {index} comes after {last}: indices must ascend within a line, each once; sort them"
        if int(index) > MOST_FEATURES:
            return f"index {index} exceeds {MOST_FEATURES:,}, the most that can be read: number the features anew"
        last = int(index)
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
