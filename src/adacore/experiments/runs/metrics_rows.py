"""The rows of ``metrics.jsonl``: what each must hold, and how a damaged one is reported."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""Plain values by name, one row for each epoch; see ``SCHEMA``."""


def _is_whole(value: Any) -> bool:
    # JSON's true is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    # JSON as Python reads it has NaN and Infinity: neither can be averaged or drawn.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epoch": (_is_whole, "a whole number"),
    "train_loss": (_is_number, "a finite number"),
    "train_accuracy": (_is_share, "a number in [0, 1]"),
    "learning_rate": (_is_amount, "a number of at least 0"),
    "coreset_size": (_is_whole, "a whole number"),
    "reselected": (_is_flag, "true or false"),
    "fraction_seen": (_is_share, "a number in [0, 1]"),
    "gradient_evaluations": (_is_whole, "a whole number"),
    "probed_examples": (_is_whole, "a whole number"),
    "probing_seconds": (_is_amount, "a number of at least 0"),
    "selecting_seconds": (_is_amount, "a number of at least 0"),
    "training_seconds": (_is_amount, "a number of at least 0"),
    "evaluating_seconds": (_is_amount, "a number of at least 0"),
    "epoch_seconds": (_is_amount, "a number of at least 0"),
}
"""What every row holds. Counts, shares and seconds are totals since the start of the run, but for ``epoch_seconds``."""

OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "test_loss": (_is_number, "a finite number or null"),
    "test_accuracy": (_is_share, "a number in [0, 1] or null"),
    "gradient_error": (_is_amount, "a number of at least 0 or null"),
    "preconditioned_gradient_error": (_is_amount, "a number of at least 0 or null"),
    "batch_gradient_error": (_is_amount, "a number of at least 0 or null"),
    "random_batch_gradient_error": (_is_amount, "a number of at least 0 or null"),
    "worst_class_accuracy": (_is_share, "a number in [0, 1] or null"),
    "seen_classes_accuracy": (_is_share, "a number in [0, 1] or null"),
}
"""What was measured in some epochs only: null, or absent, in the others."""


def parse_rows(path: Path, *, up_to: int | None = None) -> list[Row]:
    """Read rows and check each of them.

    A torn last line without an end is what a kill in the middle of a write leaves behind: it is left out. Anything
    else that is not a row is damage.

    Args:
        path: ``metrics.jsonl``; where there is no such file, there are no rows.
        up_to: How many rows to read; what follows is not looked at. None for all.

    Returns:
        Row ``i`` is of epoch ``i + 1``.

    Raises:
        ValueError: If a row is damaged, foreign, or out of order; the message names file and line.
    """
    if not path.is_file():
        return []
    # "-sig" drops the byte-order mark that some editors put at the start of a file.
    *lines, last = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    # ``up_to``: rows behind the checkpoint are cut off anyway, and damage in them must not stop a resume.
    rows = [_parse(line, path, number) for number, line in enumerate(lines[:up_to], 1)]
    if last and (up_to is None or len(rows) < up_to):
        # A whole row may lack its line end alone, and counts then; half a row does not parse.
        with contextlib.suppress(ValueError):
            rows.append(_parse(last, path, len(lines) + 1))
    return rows


def _parse(line: str, path: Path, number: int) -> Row:
    def damaged(reason: str) -> ValueError:
        return ValueError(f"{path}, line {number}, is no row of a run: {reason}; put back a good copy of the file")

    try:
        row = json.loads(line)
    except ValueError:
        raise damaged(f"{line[:40]!r} is not JSON") from None
    if not isinstance(row, dict):
        raise damaged(f"expected an object, found {line[:40]!r}")
    # The number of a line is its epoch: a lost or doubled row shows at once, with the line.
    if row.get("epoch") != number:
        raise damaged(f"expected epoch {number}, found {row.get('epoch')!r}, so that rows are missing or out of order")
    for name, (is_valid, expected) in SCHEMA.items():
        if name not in row:
            raise damaged(f"it lacks {name}")
        if not is_valid(row[name]):
            raise damaged(f"{name} is {row[name]!r}, expected {expected}")
    for name, (is_valid, expected) in OPTIONAL.items():
        if row.get(name) is not None and not is_valid(row[name]):
            raise damaged(f"{name} is {row[name]!r}, expected {expected}")
    return row
