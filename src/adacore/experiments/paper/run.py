"""Running a figure or table: its comparisons, their reports and their records."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from adacore.experiments.paper.records import make_record, write_record
from adacore.experiments.paper.set_ups import Scale, configure, group, parts_of
from adacore.experiments.report import write_report
from adacore.experiments.runs.comparison import compare, method_folder
from adacore.experiments.runs.experiment import experiment_of
from adacore.experiments.runs.folder_lock import LOCK
from adacore.experiments.runs.recorded_runs import read_methods
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import CompareConfig, to_mapping

RECORDS = "records"
"""Folder of the records within the folder of all that is reproduced."""


def reproduce(
    name: str,
    *,
    scale: Scale = "paper",
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
) -> list[Path]:
    """Run a figure or table of the paper; what is done is skipped, what is half done goes on.

    Args:
        name: Such as ``table2``, or ``table2-r20`` for a part of it.
        scale: ``"small"`` for the smaller scale of ``adacore.experiments.paper.small``.
        overrides: Settings that win over the set-up's, by name.
        out: Folder for runs, reports and records; ``runs/reproduce`` or ``runs/reproduce-small`` if None.
        console: Where to print; None for nowhere.

    Returns:
        Paths of the records, one for each comparison, to be copied to ``docs/records``.

    Raises:
        ValueError: If the name or a setting is unknown, or the folder holds runs with other settings.
    """
    console = Console(quiet=True) if console is None else console
    root = Path(out) if out is not None else Path("runs") / ("reproduce" if scale == "paper" else "reproduce-small")
    configs = configure(parts_of(name), scale=scale, overrides=overrides)
    records = []
    for comparison, parts in group(configs).items():
        folder = root / comparison
        # Each part into a folder of its own: parts may differ in settings, which one comparison may not.
        for part in parts:
            _say(console, f"{part}: {_describe(configs[part], scale)}")
            taken = take_over(configs[part], folder / part, root)
            if taken:
                _say(console, f"{taken} of its runs are there already, of another figure or table")
            compare(configs[part], folder / part, console=console)
        # Of all parts together: a figure's methods may be spread over several of them.
        report = write_report(folder)
        records.append(write_record(make_record(read_methods(folder).methods, comparison), root / RECORDS))
        _say(console, f"Report, to open in a browser: {report}")
        _say(console, f"Record, for docs/records: {records[-1]}")
    return records


def take_over(config: CompareConfig, folder: Path, root: Path) -> int:
    """Copy runs that another figure or table has finished with the very same settings, seed included.

    Several figures of the paper show one experiment; a run depends on nothing but its settings.

    Args:
        config: Of the comparison that is to be run.
        folder: Its folder.
        root: Where to look for others.

    Returns:
        Number of runs that were copied.
    """
    wanted = {}
    for run in config.runs():
        place = folder / method_folder(run.method) / f"seed-{run.seed}"
        if not place.exists():
            wanted[experiment_of(to_mapping(run)), run.method, run.seed] = place
    copied = 0
    for path in sorted(root.rglob("metrics.jsonl")) if wanted else ():
        source = RunFolder(path.parent)
        if not source.config_file.is_file():
            continue
        settings = source.settings()
        key = (experiment_of(settings), str(settings.get("method")), int(settings.get("seed", 0)))
        if key in wanted and source.has_ended(config.epochs):
            target = wanted.pop(key)
            # Into place at once: a copy that was interrupted would look like a run to go on with.
            partial = target.with_name(f"{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(path.parent, partial, ignore=shutil.ignore_patterns(LOCK))
            partial.rename(target)
            copied += 1
    return copied


def _describe(config: CompareConfig, scale: Scale) -> str:
    size = f"budget {config.budget}" if config.budget is not None else f"{config.size['fraction']:.3g} of the data"
    text = (
        f"{config.model} on {config.data}, {', '.join(config.methods)}; {size}, R = {config.every}, "
        f"{config.epochs} epochs, {config.seeds} seed{'s' * (config.seeds > 1)}"
    )
    return text if scale == "paper" else f"{text}. A smaller scale: its accuracies are not the paper's to compare with."


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
