"""A training run that can be killed and resumed at any moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from adacore.experiments import data
from adacore.experiments.data import Splits
from adacore.experiments.runs.progress import Silent, Watcher
from adacore.experiments.runs.run_folder import Row, RunFolder
from adacore.experiments.runs.settings import TrainConfig, from_mapping, to_mapping
from adacore.experiments.runs.training_loop import TrainingLoop
from adacore.probing.preserving import preserving_random_streams

MOVABLE = ("data_root", "device", "num_workers", "tensorboard")
"""Settings that a resumed run may change, since they change no result."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    splits: Splits | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> list[Row]:
    """Train a model on coresets and keep the run in a folder.

    Global random streams are seeded within, and put back at the end.

    Args:
        config: Settings.
        out: The run's folder.
        splits: The data set, if it is loaded already; None to load it.
        resume: Whether to go on with the run that the folder holds, if it holds one.
        watcher: Is told about every epoch.

    Returns:
        The rows of metrics, one for each epoch.

    Raises:
        ValueError: If settings, data, model and folder do not fit together, or the loss becomes nan.
        FileExistsError: If the folder holds a run already.
    """
    folder = RunFolder(Path(out))
    if folder.path.exists() and not folder.path.is_dir():
        raise FileExistsError(f"{out} is a file: pass a folder for the run")
    if not resume and folder.holds_run():
        raise FileExistsError(f"{out} already holds a run: go on with it by --resume {out}, or pass another folder")
    state = folder.load_checkpoint() if resume else None
    if state is not None:
        _check_same(config, state["config"], folder)
        if state["epoch"] >= config.epochs:
            return folder.rewind(config.epochs)
    if splits is None:
        splits = data.load(config.data, data_root=config.data_root, validation=config.validation, seed=config.seed)
    with preserving_random_streams(), _threads(config.threads):
        trainer = TrainingLoop(config, splits)
        if state is None:
            folder.create(config)
        else:
            trainer.load_state_dict(state, folder)
        rows = folder.rewind(trainer.epoch)
        watcher = Silent() if watcher is None else watcher
        watcher.begin(f"{config.method} on {config.data}, seed {config.seed}", config.epochs, trainer.epoch)
        with _events(config, folder, trainer.epoch) as write_events:
            while trainer.epoch < config.epochs:
                row = trainer.run_epoch(folder)
                folder.append(row)
                folder.save_checkpoint(trainer.state_dict())
                write_events(row)
                rows.append(row)
                watcher.epoch(row)
    return rows


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads; 0 leaves it alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_same(config: TrainConfig, saved: Mapping[str, Any], folder: RunFolder) -> None:
    for name, value in to_mapping(config).items():
        if name not in MOVABLE and saved.get(name, value) != value:
            raise ValueError(
                f"{folder.path} was run with {name}={saved[name]!r}, now it is {value!r}: put {name} back, or start "
                "another run in another folder"
            )


@contextlib.contextmanager
def _events(config: TrainConfig, folder: RunFolder, done: int) -> Iterator[Callable[[Row], None]]:
    """Open the TensorBoard log; what an earlier process wrote after the checkpoint is marked as void."""
    if not config.tensorboard:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder.path), purge_step=done + 1) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, float(value), row["epoch"])

        yield write


def resume(run: str | Path, *, watcher: Watcher | None = None, **moved: Any) -> list[Row]:
    """Go on with a run that was stopped; a finished one is left as it is.

    Args:
        run: Its folder.
        watcher: Is told about every epoch.
        **moved: ``data_root``, ``device``, ``num_workers`` or ``tensorboard``, if they have changed.

    Returns:
        All rows of metrics.
    """
    config = from_mapping(TrainConfig, {**to_mapping(RunFolder(Path(run)).config()), **moved})
    return train(config, run, resume=True, watcher=watcher)
