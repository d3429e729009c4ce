"""Tables of numbers in text: ``.csv`` and ``.tsv``, with a line of names or without."""

from __future__ import annotations

import csv
import lzma
import warnings
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.labelling.parquet import columns_of, source_of
from adacore.labelling.texts import check_table_is_utf8, delimiter_of


def read_delimited(
    path: Path, labels: str | None, without: str | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read columns of numbers from text that is separated by commas, semicolons or tabs, plain or compressed.

    The first line is one of names if it holds something that is no number, or counts 0, 1, 2, ..., as pandas names
    columns. A first column without a name is pandas' index, and left out. Lines at the top that begin with # are too.

    Args:
        path: The file, UTF-8.
        labels: The column that holds classes, which is no feature; None, or a name that is no column, for none.
        without: A column that is left out; or None.

    Returns:
        Features, shape (n, d), float64, and classes, shape (n,), or None.

    Raises:
        ValueError: If the file is empty, its lines differ in length, or a column does not hold numbers.
    """
    import pyarrow as pa  # a third of a second, which readers of other files need not wait for
    from pyarrow import csv as reader

    try:
        with _opened(path) as stream:
            # A megabyte is enough for any line of names, and is read before pyarrow reads all: it must be told
            # beforehand what to skip and what separates.
            head = stream.read(1 << 20).decode("utf-8-sig", errors="replace").splitlines()
        skipped = next((number for number, line in enumerate(head) if line.strip() and line[0] != "#"), None)
        if skipped is None:
            raise ValueError(f"{path} holds no rows{': every line is a comment' if any(head) else ': it is empty'}")
        first = head[skipped]
        delimiter = "\t" if ".tsv" in path.suffixes else delimiter_of(first)
        names = next(csv.reader([first], delimiter=delimiter))
        # Parsed with the csv module, since a quoted name may hold the separator.
        named = not all(map(_is_number, names)) or (len(names) > 1 and names == [str(k) for k in range(len(names))])
        table = reader.read_csv(
            _opened(path),
            read_options=reader.ReadOptions(skip_rows=skipped, autogenerate_column_names=not named),
            # Only texts are quoted and may hold line ends; where none can, a large file is read in half the time.
            parse_options=reader.ParseOptions(
                delimiter=delimiter, newlines_in_values=any('"' in line for line in head)
            ),
        )
    # The text is there but is no table (lines of different lengths, say): that is a fault of format and not of the
    # file.
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no table: {' '.join(str(error).split())[:200]}") from error
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    check_table_is_utf8(path, table.schema)
    if table.num_rows == 0:
        raise ValueError(f"{path} holds no rows: only a line of names")
    kept = list(table.column_names)
    # ``to_csv`` writes the row numbers of a frame unless told not to: as a feature they would outweigh all others.
    if named and kept[0] in {"", "Unnamed: 0"} and len(kept) > 1:
        warnings.warn(f"{path}: its first column has no name, as pandas writes an index; it is left out", stacklevel=2)
        kept = kept[1:]
    kept = [name for name in kept if name != without]
    table = table.select(kept)
    x, classes = columns_of(source_of(table), table.num_rows, table.schema, kept, labels, path)
    if classes is not None and classes.dtype == object:
        # An empty cell is an empty text to pyarrow, and would be a class of its own.
        classes[classes == ""] = None
    return x, classes


def _opened(path: Path) -> Any:
    """Open a file for reading, decompressed by the ending of its name."""
    import pyarrow as pa

    # Arrow knows .bz2, .gz and others, and takes .xz for plain text.
    return lzma.open(path) if path.suffix.lower() == ".xz" else pa.input_stream(str(path), compression="detect")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
