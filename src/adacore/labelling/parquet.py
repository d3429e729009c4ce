"""Columns of numbers: Parquet files, and tables of pyarrow from any other source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable

BLOCK = 65_536
"""Rows that are read at once: of 1,000 columns 0.5 GB beside the array that they are written into, and enough of them
that what each block costs beside reading (0.1 ms) is nothing."""

# What pandas calls an index without a name, also in files whose metadata have been dropped on the way.
_INDEX = re.compile(r"__index_level_\d+__")
# float32 has 24 bits for digits: it holds whole numbers up to 2^24, and so every one of 16 bits, but not of 32.
_EXACT_IN_FLOAT32 = {"float16", "float32", "bool", "int8", "uint8", "int16", "uint16"}


def read_parquet(
    path: Path, labels: str | None, without: str | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read columns of numbers from a Parquet file, a block at a time.

    Args:
        path: The file.
        labels: The column that holds classes, which is no feature; None, or a name that is no column, for none.
        without: A column that is left out; or None.

    Returns:
        Features, shape (n, d), float32 if that holds every column exactly and float64 if not; and classes, shape (n,).

    Raises:
        ValueError: If the file is no Parquet file, truncated or corrupt, or a column does not hold numbers.
    """
    import pyarrow as pa  # a third of a second, which readers of other files need not wait for
    import pyarrow.parquet as pq

    # Looked at before pyarrow does: its own message for a file of another format is of footers and offsets.
    with path.open("rb") as opened:
        if opened.read(4) != b"PAR1":
            raise ValueError(f"{path} is no Parquet file: it does not begin with PAR1; check its name and its format")
    try:
        # A memory map, and a block at a time: reading the whole table first would hold the data twice.
        with pq.ParquetFile(path, memory_map=True) as file:
            kept = [name for name in columns_kept(file.schema_arrow, labels) if name != without]
            blocks = file.iter_batches(batch_size=BLOCK, columns=kept)
            return columns_of(blocks, file.metadata.num_rows, file.schema_arrow, kept, labels, path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def columns_kept(schema: Any, labels: str | None) -> list[str]:
    """Name the columns of a file that are read: all but those in which pandas keeps a frame's index.

    Args:
        schema: The file's, of pyarrow.
        labels: The column that holds classes, which is read in any case; or None.

    Returns:
        Names, in the order of the file.
    """
    index = _pandas_index(schema)
    # An index that is asked for as labels is kept: people do index by class.
    return [name for name in schema.names if name == labels or name not in index]


def _pandas_index(schema: Any) -> set[str]:
    """Name the columns in which pandas keeps a frame's index: row numbers, or whatever a selection of rows left."""
    metadata = (schema.metadata or {}).get(b"pandas")
    known = json.loads(metadata).get("index_columns", []) if metadata else []
    return {name for name in known if isinstance(name, str)} | {name for name in schema.names if _INDEX.fullmatch(name)}


def columns_of(
    blocks: Iterable[Any],
    n: int,
    schema: Any,
    names: list[str],
    labels: str | None,
    path: Path | str,
    *,
    first: int = 0,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Copy the columns of record batches into one array.

    Args:
        blocks: The record batches.
        n: Rows of all of them.
        schema: Their schema.
        names: The columns, in the order wanted.
        labels: The column that holds classes, or None.
        path: The file, for errors.
        first: Position of the first row in the file, for errors.

    Returns:
        Features, shape (n, d), and classes, shape (n,), or None where ``labels`` is none of the columns.

    Raises:
        ValueError: If a column does not hold numbers.
    """
    features = [name for name in names if name != labels]
    # By name, pyarrow would hand out one of the two, or neither.
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two columns of one name, {next(n for n in names if names.count(n) > 1)!r}")
    if not features:
        raise ValueError(f"{path} holds no features: its columns are {', '.join(map(repr, names)) or 'none'}")
    for name in features:
        # All types are checked before any block is read: a date in the last column is told at once.
        _check_numeric(schema.field(name).type, name, path)
    classes: list[NDArray[Any]] = []
    x, widths, done = np.empty((0, len(features)), np.float32), [], 0
    for block in blocks:
        parts = [_numbers(block.column(name), name, first + done, path) for name in features]
        # The width of list columns is in the data and not in the schema, so that the array can be allocated from the
        # first block on only.
        if done == 0:
            widths = [part.shape[1] for part in parts]
            x = np.empty((n, sum(widths)), np.result_type(*map(_kept_as, parts)))
        if [part.shape[1] for part in parts] != widths:
            raise ValueError(
                f"{path}: lists in a column change their length from row {first + done} on: expected one length"
            )
        for part, end in zip(parts, np.cumsum(widths), strict=True):
            x[done : done + len(part), end - part.shape[1] : end] = part
        if labels in names:
            classes.append(_labels(block.column(labels)))
        done += block.num_rows
    return x, np.concatenate(classes) if classes else None


def _kept_as(part: NDArray[Any]) -> type[np.floating[Any]]:
    return np.float32 if part.dtype.name in _EXACT_IN_FLOAT32 else np.float64


def _check_numeric(kind: Any, name: str, path: Path | str) -> None:
    """Refuse what numpy could turn into numbers, but that are no features: dates, codes in digits, encoded images."""
    import pyarrow as pa

    t, inner = pa.types, kind
    while True:
        # Fixed-shape tensors and the like are lists with a name: what they are stored as decides.
        if isinstance(inner, pa.BaseExtensionType):
            inner = inner.storage_type
        elif _is_list(inner):
            inner = inner.value_type
        else:
            break
    if t.is_integer(inner) or t.is_floating(inner) or t.is_boolean(inner) or t.is_decimal(inner):
        return
    fields = {inner.field(k).name for k in range(inner.num_fields)} if t.is_struct(inner) else set()
    # Each of these would turn into numbers without an error, and into wrong ones: nanoseconds since 1970, digits of
    # postcodes, bytes of images.
    if t.is_temporal(inner):
        what = "a time: write what matters of it as numbers"
    elif t.is_binary(inner) or t.is_large_binary(inner) or t.is_fixed_size_binary(inner) or "bytes" in fields:
        what = "encoded images or other files: compute features of them first, as adacore.embed does"
    elif t.is_string(inner) or t.is_large_string(inner) or t.is_dictionary(inner):
        what = f"text: write numbers, digits too, as numbers; if these are classes, pass --labels {name}"
    elif t.is_null(inner):
        what = "without any value"
    else:
        what = "not supported"
    raise ValueError(f"{path}: column {name!r} is {kind}, {what}; or leave the column out of the file")


def _is_list(kind: Any) -> bool:
    """Tell lists from structs; pyarrow's ``is_nested`` forgets lists of a fixed size before version 17."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _numbers(column: Any, name: str, row: int, path: Path | str) -> NDArray[Any]:
    """Return a column as numbers, shape (rows, width): a list is as many features as it is long."""
    import pyarrow as pa

    n, width = len(column), 1
    while True:
        if column.null_count:
            # Counted from the first row of the file and in rows: within lists ``width`` values stand for one row.
            missing = row + int(np.flatnonzero(np.asarray(column.is_null()))[0]) // width
            raise ValueError(f"{path}: column {name!r} has no value in row {missing}: drop or fill such rows first")
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        if not _is_list(column.type):
            break
        lengths = np.unique(np.asarray(column.value_lengths()))
        if len(lengths) > 1:
            raise ValueError(
                f"{path}: column {name!r} holds lists of {lengths[0]} to {lengths[-1]}: expected one length"
            )
        width *= int(lengths[0]) if len(lengths) else 1
        column = column.flatten()
    # numpy has no decimals: without the cast each value would be a Python object.
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(n, -1 if n else width)


def _labels(column: Any) -> NDArray[Any]:
    """Return classes as they are called; a missing one stays None, for ``facility_location`` to refuse."""
    import pyarrow as pa

    # pandas' categories: the codes alone would lose the classes' names, and differ between blocks.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type))
    if plain or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    # Filled and not converted: ``np.array`` of texts and None would turn None into the text "None".
    values = np.empty(len(column), object)
    values[:] = column.to_pylist()
    return values


def rows_in_blocks(table: Any) -> Iterator[Any]:
    """Cut a table of pyarrow into record batches."""
    yield from table.to_batches(max_chunksize=BLOCK)
