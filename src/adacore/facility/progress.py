"""A progress bar on stderr, for selections that take long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from adacore.facility.planning import plan
from adacore.facility.problem import Problem

LONG = 5.0
"""Predicted seconds from which on a person at a terminal wants to see that something happens."""


@contextmanager
def show_progress(
    parts: Sequence[Problem], budgets: NDArray[np.int64], threads: int, wanted: bool | None
) -> Iterator[Callable[[int, int], None]]:
    """Show how many examples are selected, if that is wanted or will take long.

    Args:
        parts: The problem of each stratum.
        budgets: How many to select in each.
        threads: How many threads are used.
        wanted: Whether to show it; if None, where stderr is a terminal and the prediction exceeds 5 s.

    Yields:
        A function of a stratum and its number of picks.
    """
    if wanted is None and sys.stderr.isatty():
        # Predicted before anything is selected: the bar has to be there from the start, or not at all.
        plans = [
            plan(part.clients.size, part.d, int(min(k, part.clients.size)))
            for part, k in zip(parts, budgets, strict=True)
            if k
        ]
        wanted = sum(p.seconds for p in plans) > LONG
    if not wanted:
        yield lambda c, picks: None
        return
    # Here, for ``rich`` is needed only where a bar is shown.
    from rich.console import Console
    from rich.progress import Progress

    done = np.zeros(len(parts), np.int64)
    # On stderr, for results go to stdout; transient, so that nothing is left in the terminal.
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("selecting", total=int(np.sum(budgets)))

        def report(c: int, picks: int) -> None:
            done[c] = picks
            bar.update(task, completed=int(done.sum()))

        yield report
