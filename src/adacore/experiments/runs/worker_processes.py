"""Several runs side by side, each worker process training one after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from adacore.experiments import data
from adacore.experiments.data import Splits
from adacore.experiments.data.split import hold_out
from adacore.experiments.runs.progress import Watcher
from adacore.experiments.runs.resumable_run import train
from adacore.experiments.runs.settings import TrainConfig
from adacore.experiments.runs.training_loop import DivergedError

Task = tuple[TrainConfig, Path]
"""Settings of a run, and its folder."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Read by the numerical libraries when they are loaded."""


class LoadedData:
    """Loads the data set of a comparison once in each process; each seed holds out examples of its own."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str | None], Splits] = {}

    def splits(self, config: TrainConfig) -> Splits:
        """Return the data set of a run, without its held-out examples."""
        # Held-out examples are no part of the key: they are drawn from the loaded set for each seed.
        key = (config.data, config.data_root)
        if key not in self._loaded:
            self._loaded[key] = data.load(config.data, data_root=config.data_root)
        return hold_out(self._loaded[key], config.validation, seed=config.seed)


def train_one(
    config: TrainConfig, folder: Path, loaded: LoadedData, watcher: Watcher, *, side_by_side: int = 1
) -> str | None:
    """Train one run of a comparison, or go on with it.

    Args:
        config: Settings of the run.
        folder: Of the run.
        loaded: Data sets that this process has loaded.
        watcher: Is told about every epoch.
        side_by_side: How many runs share the machine.

    Returns:
        None, or how the training diverged: that is an outcome of the method, and no reason to stop a comparison.
    """
    try:
        train(config, folder, splits=loaded.splits(config), resume=True, watcher=watcher, side_by_side=side_by_side)
    # This error alone: any other is a fault of settings or machine, and would hit every run.
    except DivergedError as error:
        return str(error)
    return None


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    task: int | None = None  # position of the run that it works on


def run_side_by_side(
    tasks: Sequence[Task], jobs: int, *, notify: Callable[[int, str, Any], None] = lambda *_: None
) -> None:
    """Train several runs in worker processes until all have ended.

    Workers are spawned, not forked: a fork would inherit threads of torch and numba that no longer run, and CUDA can't
    be used after a fork. The cores are shared out among them. A worker that is killed, or whose parent is, leaves a run
    that goes on from its last checkpoint.

    Args:
        tasks: What to run, in order.
        jobs: Number of processes.
        notify: Is called with the position of a run and what became of it: ``("begin", (title, epochs, done))``,
            ``("epoch", row)``, and last ``("done", None)`` or ``("diverged", message)``.

    Raises:
        ValueError: If a run fails for a reason that a user can mend; the others are stopped, and can be resumed.
        ChildProcessError: If a worker was killed.
        RuntimeError: If a run fails for any other reason, with its traceback.
    """
    # Reversed, so that ``pop`` from the end hands tasks out in order.
    waiting = list(range(len(tasks)))[::-1]
    with _workers(min(jobs, len(tasks))) as workers:
        for worker in workers:
            _hand_out(worker, waiting, tasks)
        while busy := [worker for worker in workers if worker.task is not None]:
            # Waits on all at once: polling each would cost a core.
            ready = set(wait([worker.connection for worker in busy]))
            for worker in busy:
                if worker.connection in ready and _receive(worker, tasks, notify):
                    _hand_out(worker, waiting, tasks)


def _hand_out(worker: _Worker, waiting: list[int], tasks: Sequence[Task]) -> None:
    worker.task = waiting.pop() if waiting else None
    with contextlib.suppress(OSError):  # a worker that has gone is noticed when it is listened to
        worker.connection.send(None if worker.task is None else tasks[worker.task])


def _receive(worker: _Worker, tasks: Sequence[Task], notify: Callable[[int, str, Any], None]) -> bool:
    """Take one message of a worker; tell whether its run has ended."""
    position = worker.task
    assert position is not None  # only busy workers are listened to
    config, folder = tasks[position]
    try:
        kind, content = worker.connection.recv()
    # The pipe's end without a message: the process has gone, and took its run with it.
    except EOFError:
        worker.process.join(5)
        raise ChildProcessError(
            f"the process that trained {config.method}, seed {config.seed}, ended with exit code "
            f"{worker.process.exitcode} (negative: killed by that signal; memory may have run out): start the same "
            f"comparison again with fewer --jobs; {folder} goes on from its checkpoint"
        ) from None
    if kind == "refused":
        raise ValueError(f"{config.method}, seed {config.seed}: {content}")
    if kind == "crashed":
        raise RuntimeError(f"{config.method}, seed {config.seed}, failed in a worker process:\n{content}")
    notify(position, kind, content)
    return kind in {"done", "diverged"}


@contextlib.contextmanager
def _workers(count: int) -> Iterator[list[_Worker]]:
    """Start processes, and end them whatever happens: what they were at goes on from its last checkpoint."""
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Shared out: more threads than cores, times several processes, is slower than one process.
    threads = max(1, cores // count)
    workers: list[_Worker] = []
    try:
        # Set while workers start: numerical libraries read these once, when they are loaded.
        with _environment({name: str(threads) for name in _THREADS}):
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, threads, count), daemon=False)
                process.start()
                theirs.close()  # so that the end of the worker is the end of the pipe
                workers.append(_Worker(process, ours))
        yield workers
        for worker in workers:
            # Workers that were told to stop end by themselves; ten seconds are for closing libraries.
            worker.process.join(10)
    finally:
        for worker in workers:
            if worker.process.is_alive():
                # SIGKILL is safe here: runs are written so that any moment can be recovered from.
                worker.process.kill()
            worker.process.join()
            worker.connection.close()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that spawned processes inherit; what the user has set already, to fewer threads, stays."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        given = before[name]
        if given is None or not given.isdigit() or int(given) > int(value):
            os.environ[name] = value
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _work(connection: Connection, threads: int, side_by_side: int) -> None:
    """Train what is handed out, until nothing is."""
    # Ctrl-C reaches every process of the terminal: the parent alone answers it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A daemon: it must not keep the process alive by itself.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    loaded = LoadedData()
    with connection, contextlib.suppress(EOFError, BrokenPipeError):
        while (task := connection.recv()) is not None:
            config, folder = task
            try:
                message = train_one(config, folder, loaded, _Reporter(connection), side_by_side=side_by_side)
                connection.send(("done", None) if message is None else ("diverged", message))
            except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
                # These are what a user can mend: they go back as one line, all else with its traceback.
                connection.send(("refused", f"{error}" or type(error).__name__))
            except Exception:
                connection.send(("crashed", traceback.format_exc()))


def _die_with_parent() -> None:
    """End this process when its parent has gone, even by SIGKILL: nobody would use, or stop, what it computes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # No cleaning up: the main thread may sit in compiled code for minutes.
        os._exit(1)


class _Reporter:
    """Tells the parent how a run gets on."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def begin(self, title: str, epochs: int, done: int) -> None:
        """See ``Watcher.begin``."""
        self.connection.send(("begin", (title, epochs, done)))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See ``Watcher.epoch``."""
        self.connection.send(("epoch", dict(row)))
