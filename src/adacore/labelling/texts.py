"""Reading text files, which are UTF-8 with or without a byte-order mark; others are told from damaged ones."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    r"""Read a text file, its line ends as ``\n``.

    Args:
        path: The file.

    Returns:
        Its text, without a byte-order mark: editors on Windows put one first, which would become part of the first
        word.

    Raises:
        ValueError: If it is not UTF-8; the message names the line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, f", line {line}: byte 0x{content[error.start]:02x}") from error


def delimiter_of(line: str) -> str:
    """Tell what separates the cells of a table: a comma, a semicolon or a tab.

    Args:
        line: The first of the table; the one that occurs most in it, since names and numbers seldom hold any of them.

    Example:
        >>> delimiter_of("position;item;weight;label"), delimiter_of("position")
        (';', ',')
    """
    return max(",;\t", key=line.count)


def read_cells(path: Path) -> list[list[str]]:
    """Read a table in text as it is written, cell by cell.

    Args:
        path: The file. Spreadsheets of countries with a decimal comma separate cells by semicolons.

    Returns:
        The cells of each line, the first of which may be names.

    Raises:
        ValueError: If it is not UTF-8.
    """
    text = read_text(path)
    # newline="": a cell may hold line ends of its own.
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text.partition("\n")[0])))


def not_utf8(path: Path, place: str = "") -> ValueError:
    """Make the error for a text file of another encoding.

    Args:
        path: The file.
        place: Where in it, as it follows the path; empty if that is not known.
    """
    return ValueError(f"{path}{place} is not UTF-8: save the file as UTF-8, as iconv -f latin1 -t utf8 does")


def check_table_is_utf8(path: Path, schema: Any) -> None:
    """Refuse a table that pyarrow has read from text of another encoding, of which it makes columns of bytes.

    Args:
        path: The file.
        schema: Of the table, of pyarrow.

    Raises:
        ValueError: If a column, or the line of names, is of another encoding.
    """
    import pyarrow as pa  # a tenth of a second, which readers of other files need not wait for

    try:
        # pyarrow decodes names when they are asked for, and not before.
        names = schema.names
    except UnicodeDecodeError as error:
        raise not_utf8(path, ", line of names,") from error
    for name, kind in zip(names, schema.types, strict=True):
        if pa.types.is_binary(kind):
            raise not_utf8(path, f", column {name!r},")
