"""Reading a table of features from a file, and choosing the rows that stand for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.labelling.libsvm import read_libsvm


@dataclass(frozen=True, eq=False)
class Features:
    """A table of examples.

    Attributes:
        x: Features, floating point, shape (n, d).
        labels: Classes, int64, shape (n,), or None.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None = None


def read_features(path: str | Path, *, labels: str | None = None) -> Features:
    """Read features, and classes to select within.

    Args:
        path: ``.npy`` (n, d); ``.parquet``, numeric columns and columns of fixed-length lists; anything else is read as
            LIBSVM, plain or compressed.
        labels: Where the classes are: the name of a column (parquet), ``"target"`` (LIBSVM), or an ``.npy`` file of
            shape (n,); None to select without classes. A column that holds labels is not a feature.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is unreadable or not a table of numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: pass features as .npy, .parquet or LIBSVM")
    if path.suffix == ".npy":
        x, classes = _read_npy(path), None
    elif path.suffix == ".parquet":
        x, classes = _read_parquet(path, labels)
    else:
        sparse, targets = read_libsvm(path)
        x, classes = sparse.toarray(), targets if labels == "target" else None
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds {x.dtype} of shape {x.shape}: expected numbers of shape (examples, features)")
    if labels is not None and classes is None:
        if not labels.endswith(".npy"):
            raise ValueError(f"labels {labels!r}: expected an .npy file, {_LABEL_HINTS.get(path.suffix, 'or target')}")
        classes = _read_npy(Path(labels))
    return Features(x, None if classes is None else _encode(classes, len(x)))


_LABEL_HINTS = {".parquet": "or the name of a column", ".npy": "one class for each row"}


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(path, error) from error
    return array


def _read_parquet(path: Path, labels: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    classes = None
    if labels is not None and labels in table.column_names:
        classes = np.asarray(table[labels].to_pandas())
        table = table.drop_columns([labels])
    columns = []
    for name in table.column_names:
        values = table[name].combine_chunks()
        try:
            part = np.stack(values.to_pylist()) if pa.types.is_nested(values.type) else values.to_numpy(False)
            columns.append(np.asarray(part, np.float64).reshape(len(values), -1))
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise ValueError(
                f"{path}: column {name!r} is {values.type}, expected numbers; drop it, or pass --labels {name}"
            ) from error
    if not columns:
        raise ValueError(f"{path} holds no column of numbers")
    return np.concatenate(columns, axis=1), classes


def _encode(classes: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Number the classes, whatever they are called, in sorted order."""
    if classes.shape != (n,):
        raise ValueError(f"labels have shape {classes.shape}: expected ({n},), one for each row")
    if classes.dtype.kind == "f" and not np.isfinite(classes).all():
        raise ValueError("a label is nan or infinite: give every row a class")
    if classes.dtype.kind == "O" and any(value is None for value in classes):
        raise ValueError("a label is missing: give every row a class")
    return np.unique(classes, return_inverse=True)[1].astype(np.int64)
