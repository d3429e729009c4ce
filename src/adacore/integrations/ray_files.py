"""What workers leave in a work folder: one file for each part that was chosen from, merged or served.

A file is there whole or not at all, and its name is a hash of all that its content depends on: whoever finds it need
not do the work again, and can't take the results of another selection for its own.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.facility.selection_in_parts import PartPicks, Served, Task, choose_in_part, merge, serve_part
from adacore.labelling.durable_files import replace_file
from adacore.labelling.parts import Columns, Part, read_labels, read_part


def key_of(*values: Any) -> str:
    """Hash what a result depends on.

    Args:
        *values: Arrays, and plain values whose ``repr`` tells them apart.

    Returns:
        24 hexadecimal digits.

    Example:
        >>> key_of(1, np.arange(3)) == key_of(1, np.arange(3)), key_of(1) == key_of(2)
        (True, False)
    """
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, Task):
            # Field by field: arrays among them, whose ``repr`` leaves numbers out.
            digest.update(key_of(*(getattr(value, name) for name in Task.__dataclass_fields__)).encode())
        else:
            digest.update(repr(value).encode())
        # Between two values, so that ("ab", "c") and ("a", "bc") differ.
        digest.update(b"\0")
    # 96 bits: among a million parts two keys are equal by chance with a probability of some 10^-17.
    return digest.hexdigest()[:24]


def claim(folder: Path, settings: Mapping[str, Any], files: Sequence[str]) -> None:
    """Make sure that a work folder belongs to this selection.

    Files may be mended, left out or added: what was done with the others stays good.

    Args:
        folder: The folder.
        settings: What was asked for, plain values.
        files: From which files.

    Raises:
        ValueError: If the folder belongs to another selection.
    """
    record, mine = folder / "selection.json", json.loads(json.dumps({**settings, "files": list(files)}))
    if record.exists():
        # Through JSON and back: lists and tuples, and numbers of numpy, compare as they were written.
        old = json.loads(record.read_text(encoding="utf-8"))
        differs = [name for name in settings if mine[name] != old.get(name)]
        here, there = set(mine["files"]), set(old.get("files", []))
        if differs or not (here <= there or there <= here):
            raise ValueError(
                f"{folder} belongs to another selection, which differs in {', '.join(differs or ['files'])}: pass "
                "another work folder, or remove this one"
            )
    replace_file(record, json.dumps(mine, indent=1))


def choose(
    file: Path,
    part: Part,
    task: Task,
    columns: Columns,
    excluded: NDArray[np.int64],
    stream: int,
    device: str | None,
) -> None:
    """Choose in a part, and write the picks with positions in the part.

    Args:
        file: Where to.
        part: The part.
        task: What to choose.
        columns: Which columns are no features.
        excluded: Positions in the part that are selected already.
        stream: Number of the part's random stream.
        device: Where to compute.
    """
    read = read_part(part, columns)
    picks = choose_in_part(
        read.x, task, labels=read.labels, weights=read.weights, excluded=excluded, stream=stream, device=device
    )
    save_picks(file, picks)


def merge_files(file: Path, sources: Sequence[tuple[Path, int]], task: Task, device: str | None) -> None:
    """Merge the picks of several files, and write the result with positions among all rows.

    Args:
        file: Where to.
        sources: Files, and what is to be added to the positions in each.
        task: What to choose.
        device: Where to compute.
    """
    parts = [load_picks(source) for source, _ in sources]
    # Positions in a part become positions among all rows here, and not when they are chosen: a part's file then serves
    # wherever the part lies, also after a file before it was left out.
    moved = [replace(part, positions=part.positions + offset) for part, (_, offset) in zip(parts, sources, strict=True)]
    save_picks(file, merge(moved, task, device=device))


def serve(
    file: Path,
    part: Part,
    picks: tuple[NDArray[Any], NDArray[Any] | None],
    metric: str,
    columns: Columns,
    device: str | None,
) -> None:
    """Assign a part's rows to the picks, and write what each pick serves.

    Args:
        file: Where to.
        part: The part.
        picks: Rows and strata of the picks.
        metric: Of the distances.
        columns: Which columns are no features.
        device: Where to compute.
    """
    read = read_part(part, columns)
    labels, weights = read.labels, read.weights
    served = serve_part(
        read.x, picks[0], metric=metric, labels=labels, pick_labels=picks[1], weights=weights, device=device
    )
    _save(file, weights=served.weights, sums=np.array([served.objective, served.farthest]))


def count(file: Path, part: Part, columns: Columns) -> None:
    """Count the rows of each stratum of a part.

    Args:
        file: Where to.
        part: The part.
        columns: Which columns are no features.
    """
    assert columns.labels is not None
    names, counts = np.unique(read_labels(part, columns.labels), return_counts=True)
    _save(file, names=names, counts=counts)


def save_picks(file: Path, picks: PartPicks) -> None:
    """Write picks to a file.

    Args:
        file: Where to.
        picks: The picks.
    """
    _save(
        file,
        positions=picks.positions,
        rows=picks.rows,
        weights=picks.weights,
        bounds=np.array([picks.objective, picks.lower_bound]),
        **({} if picks.labels is None else {"labels": picks.labels}),
    )


def load_picks(file: Path) -> PartPicks:
    """Read picks from a file.

    Args:
        file: From where.
    """
    # No pickles, here and below: nothing that is found in a work folder is ever executed.
    with np.load(file, allow_pickle=False) as held:
        labels = held["labels"] if "labels" in held.files else None
        return PartPicks(held["positions"], held["rows"], held["weights"], labels, *held["bounds"].tolist())


def load_bounds(file: Path) -> tuple[float, float]:
    """Read the objective and the lower bound of picks, without the picks.

    Args:
        file: From where.
    """
    # An .npz is read member by member: the rows of the picks are left where they are.
    with np.load(file, allow_pickle=False) as held:
        objective, bound = held["bounds"].tolist()
        return objective, bound


def load_served(file: Path) -> Served:
    """Read what each pick serves of a part.

    Args:
        file: From where.
    """
    with np.load(file, allow_pickle=False) as held:
        return Served(held["weights"], *held["sums"].tolist())


def load_counts(file: Path) -> dict[str, int]:
    """Read how many rows of each stratum a part has.

    Args:
        file: From where.
    """
    with np.load(file, allow_pickle=False) as held:
        return dict(zip(held["names"].tolist(), held["counts"].tolist(), strict=True))


def _save(file: Path, **arrays: Any) -> None:
    # Through memory, so that the file is put in place as a whole: a worker killed while writing leaves none.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    replace_file(file, buffer.getvalue())
