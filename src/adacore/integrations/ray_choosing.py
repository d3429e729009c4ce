"""Choosing rows of many files on Ray, as ``adacore select --engine ray`` does."""

from __future__ import annotations

from pathlib import Path

from adacore.coreset import Coreset
from adacore.integrations.ray import facility_location
from adacore.labelling.choosing import SelectSettings, parse_quotas
from adacore.labelling.parts import Columns, files_of, parts_of
from adacore.labelling.row_numbers import read_positions


def choose_rows_of_files(source: str, settings: SelectSettings) -> Coreset:
    """Choose the rows of files that stand for all, and save them.

    Args:
        source: A path, a pattern or a folder.
        settings: How to choose, and where to save.

    Returns:
        The coreset, positions counted over all files in order.

    Raises:
        ModuleNotFoundError: If ray is not installed.
        ValueError: If a file or a setting is not as described.
    """
    initial = None
    if settings.initial is not None:
        # A mask has a value for each row of all files: their heads are read to count the rows, and no row itself.
        parts = parts_of(files_of(source), Columns(settings.labels))
        initial = read_positions(settings.initial, sum(len(part) for part in parts))
    coreset = facility_location(
        source,
        budget=settings.budget,
        fraction=settings.fraction,
        labels=settings.labels,
        quotas=parse_quotas(settings.quotas),
        initial=initial,
        metric=settings.metric,
        method=settings.method,
        seed=settings.seed,
        work=settings.work,
        address=settings.address,
        memory=None if settings.memory is None else round(settings.memory * 1e9),
    )
    out = Path(settings.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    coreset.save(out)
    return coreset
