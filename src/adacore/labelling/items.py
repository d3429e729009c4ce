"""Items: the texts or images that stand behind the rows of a table of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adacore.errors import unknown_name, unreadable
from adacore.labelling.texts import check_table_is_utf8, delimiter_of, not_utf8, read_text

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Endings of files that count as images."""
_DELIMITED = (".csv", ".tsv")


@dataclass(frozen=True)
class Items:
    """What stands behind each row.

    Attributes:
        values: A text for each row, or a path of an image; None for nothing but positions.
        images: Whether the values are paths of images.
    """

    values: Sequence[Any] | None = None
    images: bool = False


def read_items(source: str | Path, n: int) -> Items:
    """Read what stands behind the rows of a table, in the order of the table.

    Args:
        source: A folder of images, taken in the order of their names; a ``.txt`` file with a text a line; or a
            ``.parquet``, ``.csv`` or ``.tsv`` file with a column of texts or of paths of images,
            ``file.parquet:column``, where the column may be left out if there is one column of texts alone.
        n: Rows in the table.

    Returns:
        The items.

    Raises:
        FileNotFoundError: If there is nothing there.
        ValueError: If there are more or fewer items than rows, or the column is not clear.
    """
    path, column = _split(str(source))
    if path.is_dir():
        items = Items(image_files(path), images=True)
    elif not path.is_file():
        raise FileNotFoundError(f"no file or folder {path}: pass --items as a folder of images, or a file of texts")
    elif path.suffix.lower() == ".txt":
        items = Items(_lines(path))
    elif path.suffix.lower() in {".parquet", *_DELIMITED}:
        items = _of_column(path, column)
    else:
        raise ValueError(f"{path} ends in {path.suffix!r}: expected .txt, .csv, .parquet, or a folder of images")
    held = 0 if items.values is None else len(items.values)
    # A list of another length belongs to another table, or misses a line in the middle: every item behind it would be
    # shown with the wrong row.
    if held != n:
        raise ValueError(f"{path} holds {held:,} items, the table {n:,} rows: they must be as many, in the same order")
    if items.images:
        _check_images(items)
    return items


def _check_images(items: Items) -> None:
    """Make sure that every image begins as one, before anything is computed that shows it.

    Only the beginning of each file is read, some 0.1 ms: decoding 30,000 photographs would take minutes. An image that
    is cut short later on is found when it is shown, and then stands on the page by its name.
    """
    try:
        from PIL import Image  # of the extra "experiments"; without it nothing is shown either
    except ModuleNotFoundError:
        return
    for row, path in enumerate(items.values or ()):
        try:
            with Image.open(path):
                pass
        # Pillow's readers raise almost anything: SyntaxError for a PNG, struct.error, an error of its own for sizes
        # that look like an attack.
        except Exception as error:
            words = " ".join(str(error).split())
            raise ValueError(f"row {row}: cannot read the image {path}: {words[:200]}; mend or replace it") from error


def image_files(folder: str | Path) -> list[Path]:
    """List the images of a folder in the order in which they stand for rows: that of their names.

    Args:
        folder: The folder; folders within it are not looked into.

    Returns:
        Paths.

    Raises:
        ValueError: If it holds no images.
        FileNotFoundError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.png", "a.jpg", "notes.txt"):
        ...     (folder / name).touch()
        >>> [file.name for file in image_files(folder)]
        ['a.jpg', 'b.png']
    """
    found = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in IMAGES)
    if not found:
        raise ValueError(f"{folder} holds no images: expected files that end in {', '.join(IMAGES)}")
    return found


def item_column(source: str | Path | None, table: str | Path) -> str | None:
    """Name the column of a table of features that holds its items, and is no feature.

    Args:
        source: Of the items, as ``read_items`` takes it.
        table: The file of the features.

    Returns:
        The column, where the items come from a named column of the same file; else None.

    Example:
        >>> item_column("rows.csv:text", "rows.csv"), item_column("texts.txt", "rows.npy")
        ('text', None)
    """
    path, column = _split(str(source or ""))
    return column if column is not None and path == Path(table) else None


def _lines(path: Path) -> list[str]:
    """Split at line feeds alone: splitlines() also splits at characters that may stand within a text."""
    lines = read_text(path).split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _split(source: str) -> tuple[Path, str | None]:
    """Take ``file.parquet:column`` apart; a colon may also be part of a path."""
    head, colon, column = source.rpartition(":")
    # The whole text is looked for first: a file may have a colon in its name, and C: is a drive.
    if colon and Path(head).suffix.lower() in {".parquet", *_DELIMITED} and not Path(source).exists():
        return Path(head), column
    return Path(source), None


def _of_column(path: Path, column: str | None) -> Items:
    table = _read_table(path, column)
    texts = [name for name in table.column_names if _is_text(table.schema.field(name).type)]
    if column is None:
        # Guessing between two columns of texts would show the wrong one with no sign of it.
        if len(texts) != 1:
            known = ", ".join(texts) or "none"
            raise ValueError(f"{path} has these columns of texts: {known}; name one, as in --items {path}:column")
        column = texts[0]
    if column not in table.column_names:
        raise unknown_name(f"column of {path}", column, table.column_names)
    values = table[column].to_pylist()
    # The first value decides: looking whether every path exists would take a file system call a row.
    first = next((value for value in values if value), "")
    if isinstance(first, str) and Path(first).suffix.lower() in IMAGES:
        # Paths are taken as they stand, or from the folder of the table.
        base = Path() if Path(first).is_file() else path.parent
        if (base / first).is_file():
            missing = next((row for row, value in enumerate(values) if not value), None)
            if missing is not None:
                raise ValueError(f"{path}: row {missing} of column {column!r} names no image: fill it in")
            return Items([base / str(value) for value in values], images=True)
    return Items(["" if value is None else value for value in values])


def _is_text(kind: Any) -> bool:
    """Whether a column holds texts; newer writers (polars, pandas 3) write large_string, or a dictionary of texts."""
    import pyarrow as pa  # a tenth of a second, which no other kind of items needs

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read_table(path: Path, column: str | None) -> Any:
    import pyarrow as pa

    try:
        if path.suffix.lower() in _DELIMITED:
            from pyarrow import csv

            with path.open("rb") as file:
                head = file.readline().decode("utf-8-sig", errors="replace")
            table = csv.read_csv(
                path,
                # Texts may hold line ends: without being told so, pyarrow cuts a large file between any two lines.
                parse_options=csv.ParseOptions(delimiter=delimiter_of(head), newlines_in_values=True),
                # As they stand: else 007 would be shown as 7, and the text NA as none.
                convert_options=csv.ConvertOptions(column_types={column: pa.string()} if column else None),
            )
            check_table_is_utf8(path, table.schema)
            return table
        # Late: a table in .csv does not need it.
        import pyarrow.parquet as pq

        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        if "invalid UTF8" in str(error):
            raise not_utf8(path, f", column {column!r},") from error
        # The text is there but is no table: lines of different lengths, or none at all.
        raise ValueError(f"{path} is no table: {' '.join(str(error).split())[:200]}") from error
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
