"""Parts of a table too large for memory: slices of Parquet and .npy files, read one at a time."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.facility.part_planning import rows_of_part
from adacore.labelling.parquet import BLOCK, BUFFER, Source, columns_kept, columns_of


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of one file.

    Attributes:
        path: The file; a local path or a URL that fsspec opens.
        start: The first row's position in the file.
        stop: One past the last row's.
        offset: Position of the first row among the rows of all files.
        stamp: Tells the file from a later one of the same name.
        width: Number of features.
    """

    path: str
    start: int
    stop: int
    offset: int
    stamp: str = ""
    width: int = 1

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.path} rows {self.start:,} to {self.stop:,}"


@dataclass(frozen=True)
class Columns:
    """Columns that are no features.

    Attributes:
        labels: Name of the column of strata, or None.
        weights: Name of the column of weights, or None.
    """

    labels: str | None = None
    weights: str | None = None


@dataclass(frozen=True, eq=False)
class PartRows:
    """A part as read.

    Attributes:
        x: Float32 or float64, shape (rows, d).
        labels: Strata as texts, shape (rows,), or None.
        weights: Float64, shape (rows,), or None.
    """

    x: NDArray[Any]
    labels: NDArray[np.str_] | None = None
    weights: NDArray[np.float64] | None = None


def files_of(source: str | Path | Sequence[str | Path]) -> list[str]:
    """List the files of a source.

    Args:
        source: A path, a pattern such as ``data/*.parquet``, a folder, or several of them; URLs as fsspec opens them.

    Returns:
        Paths; those of a pattern or a folder sorted by name.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If a file is named twice.
    """
    if not isinstance(source, str | Path):
        found = [path for one in source for path in files_of(one)]
        if len(set(found)) < len(found):
            raise ValueError(f"{next(path for path in found if found.count(path) > 1)} is named twice: name it once")
        return found
    text = str(source)
    if "://" in text:
        import fsspec  # a dependency of torch's; only remote files need it

        system, _ = fsspec.core.url_to_fs(text)
        found = [system.unstrip_protocol(path) for path in sorted(system.glob(text))]
    elif Path(text).is_dir():
        found = sorted(str(path) for path in Path(text).iterdir() if path.suffix.lower() in {".parquet", ".pq", ".npy"})
    elif Path(text).is_file():
        found = [text]
    else:
        found = sorted(glob.glob(text))  # noqa: PTH207  # a pattern may be absolute, which Path.glob refuses
    if not found:
        raise FileNotFoundError(f"no file matches {text}: pass .parquet or .npy files, a folder of them, or a pattern")
    return found


def parts_of(
    files: Sequence[str],
    columns: Columns | None = None,
    *,
    budget: int = 1,
    part_rows: int | None = None,
    memory: int | None = None,
) -> list[Part]:
    """Divide files into parts.

    Args:
        files: Paths of .parquet and .npy files.
        columns: Which columns are no features.
        budget: How many rows each part will choose.
        part_rows: Rows of a part at most; None for ``adacore.facility.part_planning.rows_of_part``.
        memory: Bytes that a worker may take; None for ``adacore.facility.part_planning.MEMORY``.

    Returns:
        Parts, in the order of files and rows; a file's parts are of nearly equal size.

    Raises:
        ValueError: If files can't be read or differ in their columns, each being named, or ``part_rows`` is below 1.
    """
    if part_rows is not None and part_rows < 1:
        raise ValueError(f"part_rows={part_rows} is below 1: pass the most rows of a part")
    parts: list[Part] = []
    offset = 0
    for path, head in _heads(files, columns or Columns()).items():
        limit = part_rows or rows_of_part(head.width, budget, memory)
        count = max(1, -(-head.rows // limit))
        edges = [head.rows * i // count for i in range(count + 1)]
        parts += [Part(path, a, b, offset + a, head.stamp, head.width) for a, b in itertools.pairwise(edges) if b > a]
        offset += head.rows
    if not parts:
        raise ValueError("the files hold no rows: pass files that do")
    return parts


def join_parts(parts: Sequence[Part], rows: int) -> list[Part]:
    """Join consecutive parts of a file: what passes over rows once need not open and decode it so often.

    Args:
        parts: The parts, in order.
        rows: How many rows a joined part may have; a part that has more stays as it is.

    Returns:
        The parts of the same rows.

    Example:
        >>> [str(part) for part in join_parts([Part("a", 0, 3, 0), Part("a", 3, 5, 3), Part("b", 0, 2, 5)], rows=9)]
        ['a rows 0 to 5', 'b rows 0 to 2']
    """
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and last.path == part.path and len(last) + len(part) <= rows:
            joined[-1] = replace(last, stop=part.stop)
        else:
            joined.append(part)
    return joined


@dataclass(frozen=True)
class _Head:
    """What a file says of itself before its rows are read."""

    rows: int
    width: int
    names: tuple[str, ...]
    stamp: str


def _heads(files: Sequence[str], columns: Columns) -> dict[str, _Head]:
    """Read what files say of themselves; all must be usable, for otherwise no later row has a position."""
    heads: dict[str, _Head] = {}
    wrong: list[str] = []
    for path in files:
        try:
            heads[path] = _head_of(path, columns)
        except (ValueError, OSError) as error:
            wrong.append(str(error))
    filled = {path: head for path, head in heads.items() if head.rows}
    first = next(iter(filled), "")
    for path, head in filled.items():
        if (head.width, head.names) != (filled[first].width, filled[first].names):
            wrong.append(f"{path} has {_described(head)}, where {first} has {_described(filled[first])}")
    if wrong:
        shown = "; ".join(wrong[:5]) + ("" if len(wrong) <= 5 else f"; and {len(wrong) - 5} more")
        raise ValueError(f"{len(wrong)} of {len(files)} files can't be used: {shown}. Mend them, or leave them out")
    return heads


def _described(head: _Head) -> str:
    names = f" ({', '.join(head.names[:8])}{', ...' if len(head.names) > 8 else ''})" if head.names else ""
    return f"{head.width} features{names}"


def _head_of(path: str, columns: Columns) -> _Head:
    kind = Path(path).suffix.lower()
    if kind == ".npy":
        for name in (columns.labels, columns.weights):
            if name is not None:
                raise ValueError(f"{path} is .npy, which has no column {name!r}: write the table as .parquet")
        array = _mapped(path)
        return _Head(int(array.shape[0]), int(array.shape[1]), (), _stamp(path))
    if kind not in {".parquet", ".pq"}:
        raise ValueError(f"{path} ends in {kind!r}: expected .parquet or .npy")
    with _parquet(path) as file:
        kept = _names(file.schema_arrow, columns, path)
        first = Part(path, 0, min(1, file.metadata.num_rows), 0)
        x, _ = columns_of(_blocks_of(file, first), len(first), file.schema_arrow, kept, columns.labels, path)
        width = x.shape[1] - (columns.weights is not None)
        return _Head(file.metadata.num_rows, width, tuple(kept), _stamp(path))


def _names(schema: Any, columns: Columns, path: str) -> list[str]:
    """Name the columns to read, that of weights last."""
    for name in (columns.labels, columns.weights):
        if name is not None and name not in schema.names:
            raise ValueError(f"{path} has no column {name!r}: its columns are {', '.join(schema.names)}")
    kept = [name for name in columns_kept(schema, columns.labels) if name != columns.weights]
    return kept if columns.weights is None else [*kept, columns.weights]


@contextmanager
def _parquet(path: str) -> Iterator[Any]:
    """Open a Parquet file, and word what pyarrow says of a broken one, whenever it notices."""
    import pyarrow as pa  # a third of a second, which readers of .npy need not wait for
    import pyarrow.parquet as pq

    try:
        with _open(path) as opened:
            # Not all column chunks of a row group at once, as Arrow reads ahead by default: see ``BUFFER``.
            yield pq.ParquetFile(opened, pre_buffer=False, buffer_size=BUFFER)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def _open(path: str) -> Any:
    if "://" in path:
        import fsspec

        return fsspec.open(path, "rb").open()
    return Path(path).open("rb")


def _stamp(path: str) -> str:
    if "://" in path:
        import fsspec

        system, inside = fsspec.core.url_to_fs(path)
        return str(system.ukey(inside))
    found = Path(path).stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def read_part(part: Part, columns: Columns | None = None) -> PartRows:
    """Read a part's rows.

    Args:
        part: Which rows of which file.
        columns: Which columns are no features (.parquet).

    Returns:
        The rows.

    Raises:
        ValueError: If the file is unreadable or was changed since it was divided into parts, a column does not hold
            numbers, a class is missing, a number is nan or infinite, or a weight is below 0.
    """
    columns = columns or Columns()
    # Rows of another version of the file would get positions and weights that belong to the old one.
    if part.stamp and _stamp(part.path) != part.stamp:
        raise ValueError(
            f"{part.path} has changed since the selection began: call again, with a work folder of its own"
        )
    if Path(part.path).suffix.lower() == ".npy":
        read = PartRows(np.ascontiguousarray(_as_floats(_mapped(part.path)[part.start : part.stop])))
        names = []
    else:
        with _parquet(part.path) as file:
            names = _names(file.schema_arrow, columns, part.path)
            x, labels = columns_of(
                _blocks_of(file, part), len(part), file.schema_arrow, names, columns.labels, part.path, first=part.start
            )
        weights = None
        if columns.weights is not None:
            x, weights = x[:, :-1], x[:, -1].astype(np.float64)
        read = PartRows(x, None if labels is None else _texts(labels, part), weights)
        names = [name for name in names if name not in {columns.labels, columns.weights}]
    _check_finite(read, names, part)
    return read


def read_labels(part: Part, column: str) -> NDArray[np.str_]:
    """Read a part's strata, and none of its features.

    Args:
        part: Which rows of which Parquet file.
        column: Name of the column of strata.

    Returns:
        The strata as texts, shape (rows,).

    Raises:
        ValueError: If the file is unreadable, or a stratum is missing.
    """
    with _parquet(part.path) as file:
        values = [block.column(0).to_pylist() for block in _blocks_of(file, part)([column], BLOCK)]
    return _texts(np.array([value for block in values for value in block], object), part)


def _check_finite(read: PartRows, names: list[str], part: Part) -> None:
    finite = np.isfinite(read.x)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        name = f"column {names[column]!r}" if len(names) == read.x.shape[1] else f"feature {column}"
        raise ValueError(f"{part.path}: row {part.start + row}, {name}, is {read.x[row, column]}: clean it first")
    if read.weights is not None:
        wrong = np.flatnonzero(~(np.isfinite(read.weights) & (read.weights >= 0)))
        if wrong.size:
            raise ValueError(
                f"{part.path}: row {part.start + wrong[0]} has the weight {read.weights[wrong[0]]}: expected finite "
                "numbers >= 0"
            )


def _texts(labels: NDArray[Any], part: Part) -> NDArray[np.str_]:
    """Take strata as texts: one file may hold numbers where another holds texts."""
    missing = [i for i, value in enumerate(labels.tolist()) if value is None or value != value]
    if missing:
        raise ValueError(f"{part.path}: row {part.start + missing[0]} has no label: give every row a stratum")
    return np.asarray([str(value) for value in labels.tolist()])


def _mapped(path: str) -> NDArray[Any]:
    from adacore.labelling.tables import map_npy

    if "://" not in path:
        return map_npy(Path(path))
    import fsspec

    # A memory map needs a local file: fsspec keeps one copy a process, under a name that says nothing.
    return map_npy(Path(fsspec.open_local(f"filecache::{path}")), path)


def _as_floats(rows: NDArray[Any]) -> NDArray[Any]:
    return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.result_type(rows.dtype, np.float32))


def _blocks_of(file: Any, part: Part) -> Source:
    """Read the record batches that hold a part's rows, from the row groups that overlap it alone."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    groups = [g for g, end in enumerate(ends) if end > part.start and end - sizes[g] < part.stop]

    def blocks(names: list[str], rows: int) -> Iterator[Any]:
        position = int(ends[groups[0]]) - sizes[groups[0]] if groups else 0
        # On the calling thread: a worker has one core, and threads of Arrow's would each keep memory of their own.
        for batch in file.iter_batches(row_groups=groups, batch_size=rows, columns=names, use_threads=False):
            # What lies before the part in its row group has to be decoded to be passed over; what lies behind does not.
            if position >= part.stop:
                return
            low, high = max(part.start - position, 0), min(part.stop - position, batch.num_rows)
            position += batch.num_rows
            if high > low:
                yield batch.slice(low, high - low)

    return blocks
