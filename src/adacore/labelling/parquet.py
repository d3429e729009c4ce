"""Columns of numbers: Parquet files, and tables of pyarrow from any other source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable

BLOCK, BLOCK_BYTES = 65_536, 4 << 20
"""Rows that are read at once, and bytes of them in float64: enough that what each block costs beside reading (0.1 ms)
is nothing, and little beside the array that they are written into, whatever its width."""

COLUMNS_AT_ONCE = 8
"""Columns that are read at once. For each, Arrow holds a column chunk's dictionary (1 MB by default), a page and both
decoded: of 64 columns of float64 in row groups of 100,000 rows, together 207 MB to read the first 1,000 rows, and 20 MB
where eight are read at a time, in no more time."""

BUFFER = 1 << 20
"""Bytes of a column chunk that are read at once. Without a buffer Arrow reads the chunk whole: of a list of 384 numbers
in a row group of 1,000,000 rows that is 1.5 GB. Remote files are asked for as many at a time."""

Source = Callable[[list[str], int], Iterable[Any]]
"""``(names of columns, rows at a time)``: yields the record batches of a table, with these columns alone."""

# What pandas calls an index without a name, also in files whose metadata have been dropped on the way.
_INDEX = re.compile(r"__index_level_\d+__")
# float32 has 24 bits for digits: it holds whole numbers up to 2^24, and so every one of 16 bits, but not of 32.
# As pyarrow writes their names.
_EXACT_IN_FLOAT32 = {"halffloat", "float", "bool", "int8", "uint8", "int16", "uint16"}


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
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            kept = [name for name in columns_kept(file.schema_arrow, labels) if name != without]

            def blocks(names: list[str], rows: int) -> Iterable[Any]:
                return file.iter_batches(batch_size=rows, columns=names)  # type: ignore[no-any-return]

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
    source: Source,
    n: int,
    schema: Any,
    names: list[str],
    labels: str | None,
    path: Path | str,
    *,
    first: int = 0,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Copy the columns of a table into one array, a few columns and a block of rows at a time.

    Args:
        source: The table's record batches.
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
    # All types are checked before any block is read: a date in the last column is told at once.
    kinds = [_number_kind(schema.field(name).type, name, path) for name in features]
    widths = [_width(source, schema, name, n, first, path) for name in features]
    x = np.empty((n, sum(widths)), np.result_type(np.float32, *kinds))
    column = 0
    for start in range(0, len(features), COLUMNS_AT_ONCE):
        some = slice(start, start + COLUMNS_AT_ONCE)
        width = sum(widths[some])
        _write(x[:, column : column + width], source, features[some], widths[some], first, path)
        column += width
    if labels not in names:
        return x, None
    found = [_labels(block.column(0)) for block in source([labels], BLOCK)]
    return x, np.concatenate(found) if found else None


def _write(x: NDArray[Any], source: Source, names: list[str], widths: list[int], first: int, path: Path | str) -> None:
    """Write some columns of a table into their place."""
    rows, done = max(1, min(BLOCK, BLOCK_BYTES // (8 * max(1, x.shape[1])))), 0
    ends = np.cumsum(widths)
    for block in source(names, rows):
        for name, width, end in zip(names, widths, ends, strict=True):
            part = _numbers(block.column(name), name, first + done, path)
            if part.shape[1] != width:
                raise ValueError(
                    f"{path}: lists in a column change their length from row {first + done} on: expected one length"
                )
            x[done : done + len(part), end - width : end] = part
        done += block.num_rows


def _width(source: Source, schema: Any, name: str, n: int, first: int, path: Path | str) -> int:
    """Look how many features a column is: the length of lists is in their first row, and not in the schema."""
    kind = schema.field(name).type
    if n == 0 or not _is_list(_storage(kind)):
        return 1
    row = next(iter(source([name], 1)))
    return int(_numbers(row.column(0).slice(0, 1), name, first, path).shape[1])


def _storage(kind: Any) -> Any:
    """Return what a type is stored as: fixed-shape tensors and the like are lists with a name."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _number_kind(kind: Any, name: str, path: Path | str) -> type[np.floating[Any]]:
    """Say what kind of float holds a column's numbers exactly.

    What numpy could turn into numbers, but that are no features, is refused: dates, codes in digits, encoded images.
    """
    import pyarrow as pa

    t, inner = pa.types, _storage(kind)
    while _is_list(inner):
        inner = _storage(inner.value_type)
    if t.is_integer(inner) or t.is_floating(inner) or t.is_boolean(inner):
        return np.float32 if str(inner) in _EXACT_IN_FLOAT32 else np.float64
    if t.is_decimal(inner):
        return np.float64
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


def source_of(table: Any) -> Source:
    """Cut a table of pyarrow into record batches.

    Args:
        table: The table, in memory.
    """

    def blocks(names: list[str], rows: int) -> Iterator[Any]:
        yield from table.select(names).to_batches(max_chunksize=rows)

    return blocks
