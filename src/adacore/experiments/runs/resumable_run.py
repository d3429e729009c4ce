"""A training run that can be killed and resumed at any moment."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from adacore.experiments import data
from adacore.experiments.data import Splits
from adacore.experiments.runs.devices import describe_device
from adacore.experiments.runs.experiment import MOVABLE
from adacore.experiments.runs.folder_lock import LOCK
from adacore.experiments.runs.loggers import logging
from adacore.experiments.runs.metrics_rows import Row
from adacore.experiments.runs.progress import Silent, Watcher
from adacore.experiments.runs.run_folder import RunFolder
from adacore.experiments.runs.settings import TrainConfig, from_mapping, to_mapping
from adacore.experiments.runs.training_loop import DivergedError, TrainingLoop
from adacore.probing.model_state import preserving_random_streams


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    splits: Splits | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    side_by_side: int = 1,
) -> list[Row]:
    """Train a model on coresets and keep the run in a folder.

    Global random streams are seeded within, and put back at the end.

    Args:
        config: Settings.
        out: The run's folder.
        splits: The data set, if it is loaded already; None to load it.
        resume: Whether to go on with the run that the folder holds, if it holds one.
        watcher: Is told about every epoch.
        side_by_side: How many runs share this machine, which is written down beside the seconds.

    Returns:
        The rows of metrics, one for each epoch.

    Raises:
        ValueError: If settings, data, model and folder do not fit together, or the training diverges.
        FileExistsError: If the folder holds a run already, or belongs to a comparison.
        BlockingIOError: If another process works in the folder.
        OSError: If the folder cannot be written, such as on a full disk.
    """
    folder = RunFolder(Path(out))
    if not resume:
        folder.check_free()
    # Remembered before anything is made: what was there before is never removed.
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        with folder.owned():
            return _train(config, folder, splits, watcher or Silent(), resume=resume, side_by_side=side_by_side)
    # Ctrl-C included: it must not leave an empty folder that looks like a run.
    except BaseException:
        if made and not folder.config_file.exists():  # refused before any work: leave no trace of the attempt
            _remove_empty(made)
        raise


def _train(
    config: TrainConfig, folder: RunFolder, splits: Splits | None, watcher: Watcher, *, resume: bool, side_by_side: int
) -> list[Row]:
    if not resume:
        folder.check_free()  # again, now that nobody else can write here
    state = folder.load_checkpoint() if resume else None
    if state is not None:
        # Before the data are loaded, which takes longer than telling that the settings differ.
        _check_same(config, state["config"], folder)
        if state["epoch"] >= config.epochs:
            # Rewound and not only read: a kill after the last checkpoint may have left partial files.
            return folder.rewind(config.epochs)
    if splits is None:
        splits = data.load(config.data, data_root=config.data_root, validation=config.validation, seed=config.seed)
    # Whoever calls this from Python finds their own streams as they were.
    with preserving_random_streams(), _threads(config.threads):
        loop = TrainingLoop(config, splits)
        if state is None:
            # Only once the loop stands: a refused model or data set leaves no run behind.
            folder.create(config, device=describe_device(loop.device), side_by_side=side_by_side)
        else:
            loop.load_state_dict(state, folder)
        # A kill between row and checkpoint leaves a row of an epoch that will be run again.
        rows = folder.rewind(loop.epoch)
        watcher.begin(f"{config.method} on {config.data}, seed {config.seed}", config.epochs, loop.epoch)
        told = logging(config.loggers, folder.path, to_mapping(config), rows)
        with _events(config, folder, rows) as write_events, told as tell_loggers:
            while loop.epoch < config.epochs:
                try:
                    row = loop.run_epoch(folder)
                except DivergedError as error:
                    folder.save_divergence(error.divergence)
                    raise
                # Row, then checkpoint, then the TensorBoard log: whatever a kill cuts off is behind the checkpoint and
                # can be made again.
                folder.append(row)
                folder.save_checkpoint(loop.state_dict())
                write_events(row)
                tell_loggers(row)
                rows.append(row)
                watcher.epoch(row)
    return rows


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that were made for a run which then was not started, the innermost first."""
    with contextlib.suppress(OSError):
        (folders[0] / LOCK).unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads; 0 leaves it alone."""
    before = torch.get_num_threads()
    # Process-wide in torch: put back, since the caller may compute with all cores.
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_same(config: TrainConfig, saved: Mapping[str, Any], folder: RunFolder) -> None:
    for name, value in to_mapping(config).items():
        # A setting that the saved run does not know came later, and was at its default.
        if name not in MOVABLE and saved.get(name, value) != value:
            raise ValueError(
                f"{folder.path} was run with {name}={saved[name]!r}, now it is {value!r}: put {name} back, or start "
                "another run in another folder"
            )


@contextlib.contextmanager
def _events(config: TrainConfig, folder: RunFolder, rows: list[Row]) -> Iterator[Callable[[Row], None]]:
    """Open the TensorBoard log.

    The log is a copy of the rows, so that it is written anew where a run goes on: TensorBoard reads files in the order
    of the clock time in their names, and would stop at the first one if the clock has gone back in between.
    """
    # Old files are removed where they would be wrong: written anew, or of a run that starts over.
    if config.tensorboard or not rows:
        for path in folder.path.glob("events.out.tfevents.*"):
            path.unlink()
    if not config.tensorboard:
        yield lambda row: None
        return
    # Late: TensorBoard is slow to import, and can be switched off.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder.path)) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, float(value), row["epoch"])

        for row in rows:
            write(row)
        yield write


def resume(run: str | Path, *, watcher: Watcher | None = None, **moved: Any) -> list[Row]:
    """Go on with a run that was stopped; a finished one is left as it is.

    Args:
        run: Its folder.
        watcher: Is told about every epoch.
        **moved: ``data_root``, ``device``, ``num_workers``, ``tensorboard`` or ``loggers``, if they have changed.

    Returns:
        All rows of metrics.

    Raises:
        FileNotFoundError: If the folder holds no run.
        ValueError: If its settings name a module that lies in it: code found in a run's folder is never executed.
    """
    folder = RunFolder(Path(run))
    # As plain values first: whether they name a module in this folder is checked before they are used.
    settings = folder.settings()
    for name in ("data", "model"):
        _check_not_within(str(settings.get(name, "")), name, folder.path)
    config = from_mapping(TrainConfig, {**settings, **moved})
    for path in config.loggers:
        _check_not_within(path, "loggers", folder.path)
    return train(config, run, resume=True, watcher=watcher)


def _check_not_within(path: str, kind: str, folder: Path) -> None:
    """Refuse to import a module that lies in the folder of the run: whoever sent the folder could run anything."""
    module, colon, _ = path.partition(":")
    if not colon or not module:
        return
    top = module.partition(".")[0]
    # Where Python would look: the name itself says nothing of where the module lies.
    for place in (Path.cwd(), *(Path(entry) for entry in sys.path if entry)):
        found = [place / f"{top}.py", place / top]
        if any(item.exists() and item.resolve().is_relative_to(folder.resolve()) for item in found):
            raise ValueError(
                f"{folder} names {kind}={path}, a module in that very folder: code in a run's folder is not executed; "
                "move it out of there, if you trust it"
            )
