"""The report: one HTML file about a run, or a comparison of several, that opens from disk and needs nothing else."""

from __future__ import annotations

from pathlib import Path

from adacore.experiments.report.page import render
from adacore.experiments.runs.recorded_runs import read_methods
from adacore.labelling.durable_files import replace_file

__all__ = ["write_report"]


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run's folder, or of a folder that holds several.

    Args:
        folder: What ``adacore train`` or ``adacore compare`` wrote.
        out: Where to; ``report.html`` in that folder if None.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no run with an evaluated epoch, or a damaged one.
    """
    folder = Path(folder)
    target = folder / "report.html" if out is None else Path(out)
    # Drawn whole before anything is written: a page that is there already stays if a run turns out damaged.
    return replace_file(target, render(read_methods(folder)))
