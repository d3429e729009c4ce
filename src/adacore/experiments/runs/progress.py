"""What a person sees while models train: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Watcher(Protocol):
    """Is told how a run gets on."""

    def begin(self, title: str, epochs: int, done: int) -> None:
        """Note that a run starts, or goes on after ``done`` epochs."""
        ...

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Note a row of metrics."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, title: str, epochs: int, done: int) -> None:
        """See ``Watcher.begin``."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See ``Watcher.epoch``."""


def describe(row: Mapping[str, Any]) -> str:
    """Put a row of metrics into words: accuracy, data seen so far, and where the time went.

    Args:
        row: As in ``metrics.jsonl``.

    Returns:
        One line.
    """
    # Epochs that were not evaluated have none: the training accuracy stands in, under its own name.
    accuracy = row["test_accuracy"]
    return (
        f"{'accuracy' if accuracy is not None else 'train accuracy'} "
        f"{(row['train_accuracy'] if accuracy is None else accuracy):6.2%}, seen {row['fraction_seen']:6.1%}, "
        f"probing {row['probing_seconds']:.1f} s, selecting {row['selecting_seconds']:.1f} s, "
        f"training {row['training_seconds']:.1f} s"
    )


class Lines:
    """One plain line for each epoch, for logs and pipes.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.epochs = console, 0

    def begin(self, title: str, epochs: int, done: int) -> None:
        """See ``Watcher.begin``."""
        self.epochs = epochs
        # After which epoch a resumed run goes on is worth a line in a log.
        self._print(f"{title}{f', going on after epoch {done}' if done else ''}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See ``Watcher.epoch``."""
        self._print(f"epoch {row['epoch']:>{len(str(self.epochs))}}/{self.epochs}: {describe(row)}")

    def _print(self, text: str) -> None:
        print_plain(self.console, text)


def print_plain(console: Console, text: str) -> None:
    """Print text as it is, on one line however long.

    Args:
        console: Where to.
        text: What to print.
    """
    # As for the commands: brackets in a method's name are no markup.
    console.print(text, highlight=False, markup=False, soft_wrap=True)


class Live:
    """A bar for each run that goes on just now, and one for all runs where there are several.

    Args:
        console: A terminal.
        runs: How many runs there will be.
    """

    def __init__(self, console: Console, runs: int = 1) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        # For a single run the second bar would say the same.
        self.all: TaskID | None = self.progress.add_task("all runs", total=runs, words="") if runs > 1 else None

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def watch_run(self) -> LiveRun:
        """Make the watcher of one more run."""
        return LiveRun(self.progress)

    def run_done(self) -> None:
        """Note that a run has ended."""
        if self.all is not None:
            self.progress.advance(self.all)


class LiveRun:
    """A bar for the epochs of one run, which goes away when the run has ended.

    Args:
        progress: The display that it is part of.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: TaskID | None = None

    def begin(self, title: str, epochs: int, done: int) -> None:
        """See ``Watcher.begin``."""
        self.task = self.progress.add_task(title, total=epochs, completed=done, words="")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See ``Watcher.epoch``."""
        if self.task is not None:
            self.progress.update(self.task, completed=row["epoch"], words=describe(row))

    def close(self) -> None:
        """Take the bar away."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
