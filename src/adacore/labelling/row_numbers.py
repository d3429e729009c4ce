"""Positions of rows in files: which are labelled already, which must not be chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.errors import unreadable
from adacore.labelling.texts import read_cells, read_text

COLUMNS = ("position", "index", "row")
"""Names of the column of positions in a .csv file; ``position`` is that of the table to label in."""


def read_positions(path: str | Path, n: int) -> NDArray[np.int64]:
    """Read positions of rows from a file.

    Args:
        path: ``.npy``: whole numbers, or a mask of n truth values; ``.npz`` or ``.parquet``: a saved coreset; ``.csv``:
            a column ``position``, ``index`` or ``row``, or a single column; anything else: one position a line.
        n: Rows in the table.

    Returns:
        Int64, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds something else, a position twice, or one outside of ``[0, n)``.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: pass a file of positions, as .txt, .csv or .npy, or a coreset")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: pass positions as .txt, .csv or .npy, or a coreset")
    kind = path.suffix.lower()
    if kind in {".npz", ".parquet"}:
        # A coreset of an earlier round is the commonest answer to which rows are labelled already.
        positions: NDArray[Any] = Coreset.load(path).indices
    elif kind == ".npy":
        positions = _read_npy(path, n)
    else:
        positions = _whole_numbers(path, _csv_cells(path) if kind == ".csv" else _lines(path))
    _check(path, positions, n)
    return positions.astype(np.int64)


def read_known_labels(path: str | Path) -> dict[int, str]:
    """Read the labels that stand beside positions in a table that was labelled in.

    Args:
        path: As ``read_positions`` takes it.

    Returns:
        Label by position, empty text where a line has none yet; nothing where the file is no .csv with a column
        ``label``.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        return {}
    rows = read_cells(path)
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    place = next((head.index(name) for name in COLUMNS if name in head), None)
    if place is None or "label" not in head:
        return {}
    column = head.index("label")
    # Positions were checked by ``read_positions``, which reads the same cells.
    return {int(row[place]): row[column].strip() if len(row) > column else "" for row in rows[1:] if len(row) > place}


def _read_npy(path: Path, n: int) -> NDArray[Any]:
    try:
        held: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(path, error) from error
    # Before whole numbers: as such a mask would mean rows 0 and 1, many times over.
    if held.dtype == bool:
        if held.shape != (n,):
            raise ValueError(f"{path} holds a mask of shape {held.shape}: expected ({n},), one for each row")
        return np.flatnonzero(held)
    if held.ndim != 1 or held.dtype.kind not in "iu":
        raise ValueError(f"{path} holds {held.dtype} of shape {held.shape}: expected whole numbers of shape (m,)")
    return held


def _lines(path: Path) -> list[tuple[int, str]]:
    lines = read_text(path).splitlines()
    return [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]


def _csv_cells(path: Path) -> list[tuple[int, str]]:
    rows = [(number, row) for number, row in enumerate(read_cells(path), 1) if row]
    if not rows:
        return []
    head = [cell.strip().lower() for cell in rows[0][1]]
    # By name first, so that the table to label in can be handed back as it is, whatever columns were added to it.
    named = next((head.index(name) for name in COLUMNS if name in head), None)
    if named is None and len(head) > 1:
        raise ValueError(f"{path} has the columns {', '.join(head)}: name one of them {' or '.join(COLUMNS)}")
    # A first cell that is no number is a name; a number is the first position already.
    body = rows if named is None and head[0].lstrip("+-").isdigit() else rows[1:]
    return [(number, row[named or 0].strip() if len(row) > (named or 0) else "") for number, row in body]


def _whole_numbers(path: Path, cells: list[tuple[int, str]]) -> NDArray[np.int64]:
    for number, cell in cells:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", cell):
            raise ValueError(f"{path}, line {number}: {cell!r} is no position, expected a whole number")
    return np.array([int(cell) for _, cell in cells], dtype=np.int64)


def _check(path: Path, positions: NDArray[Any], n: int) -> None:
    outside = positions[(positions < 0) | (positions >= n)]
    if len(outside):
        raise ValueError(
            f"{path} holds position {outside[0]}: the table has {n:,} rows, positions run from 0 to {n - 1:,}"
        )
    # A row named twice is a slip more often than a wish: two lists pasted together, or a row that was counted from 1.
    values, counts = np.unique(positions, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path} holds position {values[counts > 1][0]} twice: name every row once")
