"""Reading a table of features, and classes to select within, from a file of any of the usual formats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.labelling.libsvm import read_libsvm
from adacore.labelling.texts import read_text

_COMPRESSED = {".bz2", ".gz", ".xz"}
_FOREIGN = {
    ".npz": "an archive of arrays: save the features alone, with np.save",
    ".pkl": "a pickle, which could run code: save the features with np.save",
    ".pickle": "a pickle, which could run code: save the features with np.save",
    ".pt": "a file of torch.save: save the features with np.save(path, tensor.numpy())",
    ".pth": "a file of torch.save: save the features with np.save(path, tensor.numpy())",
    ".safetensors": "a file of tensors: save the features with np.save",
    ".h5": "HDF5: save the features with np.save",
    ".hdf5": "HDF5: save the features with np.save",
    ".json": "JSON: write the features as .csv",
    ".jsonl": "JSON: write the features as .csv",
    ".xls": "a spreadsheet: write it as .csv",
    ".xlsx": "a spreadsheet: write it as .csv",
    ".feather": "Feather: write it as .parquet",
    ".arrow": "Arrow: write it as .parquet",
    ".mat": "a MATLAB file: save the features with np.save",
}
"""Formats that are told from a wrong or damaged file, with what to do."""


@dataclass(frozen=True, eq=False)
class Features:
    """A table of examples.

    Attributes:
        x: Features, real numbers, shape (n, d): an array, a memory map, or a scipy CSR matrix.
        labels: Classes as they are called, shape (n,), or None.
    """

    x: Any
    labels: NDArray[Any] | None = None


def read_features(path: str | Path, *, labels: str | None = None, without: str | None = None) -> Features:
    """Read features, and classes to select within.

    Args:
        path: ``.npy``, shape (n, d), which is mapped and not read; ``.parquet``, columns of numbers and of lists of one
            length; ``.csv`` and ``.tsv``; anything else is read as LIBSVM. Text may be compressed (.bz2, .gz, .xz).
        labels: Where the classes are: the name of a column (Parquet, CSV), ``"target"`` (LIBSVM), an ``.npy`` file of
            shape (n,), or a ``.txt`` file with a label a line; None to select without classes. A column that holds
            labels is not a feature.
        without: A column (Parquet, CSV) that is no feature either, such as one of texts; or None.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another format, not supported, truncated or corrupt, or no table of numbers.
    """
    path = Path(path)
    _check_exists(path, "features")
    suffix = next((s for s in reversed([s.lower() for s in path.suffixes]) if s not in _COMPRESSED), "")
    columns: str | None = "the name of a column"
    x: Any
    if suffix in _FOREIGN:
        raise ValueError(f"{path} is {_FOREIGN[suffix]}; .npy, .parquet, .csv, .tsv and LIBSVM are supported")
    if suffix in {".npy", ".parquet", ".pq"} and path.suffix.lower() in _COMPRESSED:
        raise ValueError(f"{path} is compressed, and {suffix} is read in place: unpack it first, as gunzip does")
    if suffix == ".npy":
        x, classes, columns = map_npy(path), None, None
    elif suffix in {".parquet", ".pq"}:
        from adacore.labelling.parquet import read_parquet

        x, classes = read_parquet(path, labels, without)
    elif suffix in {".csv", ".tsv"}:
        from adacore.labelling.delimited import read_delimited

        x, classes = read_delimited(path, labels, without)
    else:
        x, targets = read_libsvm(path)
        classes, columns = targets if labels == "target" else None, "target"
    if labels is not None and classes is None:
        readers = {".npy": _read_labels, ".txt": _read_label_lines}
        reader = readers.get(Path(labels).suffix.lower())
        if reader is None:
            other = f", or {columns}" if columns else ""
            raise ValueError(
                f"{path} has no labels {labels!r}: pass a .txt file with a label a line, an .npy file{other}"
            )
        classes = reader(Path(labels), x.shape[0])
    return Features(x, classes)


def _check_exists(path: Path, what: str) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: pass a file of {what}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: check the path, or pass another file of {what}")


def map_npy(path: Path, name: str | None = None) -> NDArray[Any]:
    """Map a table of numbers in an .npy file.

    Args:
        path: The file, whatever it is called.
        name: What messages call it; None for its path.

    Returns:
        A memory map, shape (n, d).

    Raises:
        ValueError: If the file is no .npy file, truncated or corrupt, or holds no table of numbers.
    """
    name = name or str(path)
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{name} is no .npy file: it does not begin as numpy.save writes it")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if "object" in str(error).lower():
            raise ValueError(
                f"{name} holds Python objects: save plain numbers, as np.save(path, array.astype('float32'))"
            ) from error
        raise unreadable(name, error) from error
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {array.dtype}: expected numbers; write what it means as numbers")
    if array.ndim != 2:
        raise ValueError(f"{name} holds shape {array.shape}: expected (examples, features), one row per example")
    return array


def _read_labels(path: Path, n: int) -> NDArray[Any]:
    _check_exists(path, "labels")
    try:
        labels: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if "object" in str(error).lower():
            raise ValueError(f"{path} holds Python objects: save labels as numbers or texts, astype('str')") from error
        raise unreadable(path, error) from error
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # a column, as scikit-learn and pandas hand it out
    if labels.shape != (n,):
        raise ValueError(f"{path} holds labels of shape {labels.shape}: expected ({n},), one for each row")
    return labels


def _read_label_lines(path: Path, n: int) -> NDArray[Any]:
    """Read a label a line: whole numbers where every line is one, texts where not."""
    _check_exists(path, "labels")
    # Split at line ends alone: ``splitlines`` would also end a label at a form feed or a Unicode separator.
    lines = [line.strip() for line in read_text(path).split("\n")]
    # The line end of the last line begins no label; editors leave several.
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise ValueError(f"{path}, line {lines.index('') + 1}, is empty: give every row a label, one a line")
    if len(lines) != n:
        raise ValueError(f"{path} holds {len(lines):,} labels: expected {n:,}, one a line for each row")
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", line) for line in lines):
        return np.array([int(line) for line in lines], np.int64)
    return np.array(lines)
