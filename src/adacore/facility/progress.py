"""How far a long computation is: a bar on a terminal, elsewhere a line now and then, both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONG, LONG_WITHOUT_TERMINAL = 5.0, 60.0
"""Predicted seconds from which on a person at a terminal wants to see that something happens, and from which on a log
should say so."""

EVERY = 30.0
"""Seconds between two lines where there is no terminal: what takes an hour leaves 120 lines in a log."""

Report = Callable[[int], None]


@contextmanager
def show_progress(what: str, total: int, seconds: float, wanted: bool | None) -> Iterator[Report]:
    """Show how much is done, if that is wanted or will take long.

    Args:
        what: What is being done, such as ``"selecting"``.
        total: When all is done.
        seconds: How long it is predicted to take.
        wanted: Whether to show it; if None, where more than 5 s are predicted on a terminal, 60 s elsewhere.

    Yields:
        A function of what is done so far.

    Example:
        >>> with show_progress("selecting", 10, seconds=1.0, wanted=None) as report:
        ...     report(5)
    """
    terminal = sys.stderr.isatty()
    if wanted is None:
        # Predicted before anything is done: a bar has to be there from the start, or not at all.
        wanted = seconds > (LONG if terminal else LONG_WITHOUT_TERMINAL)
    if not wanted:
        yield lambda done: None
    elif terminal:
        # Here, for ``rich`` is needed only where a bar is shown.
        from rich.console import Console
        from rich.progress import Progress

        # On stderr, for results go to stdout; transient, so that nothing is left in the terminal.
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield _Lines(what, total)


class _Lines:
    """Writes a line on stderr whenever some time has passed since the last one."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            print(
                f"adacore: {self._what}, {done:,} of {self._total:,} after {now - self._start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
