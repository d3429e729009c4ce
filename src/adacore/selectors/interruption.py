"""How a long loop of a selector gives up when another class's was interrupted."""

from __future__ import annotations

from adacore.facility.workers import enclosing_workers


def check_interrupted() -> None:
    """Give up if the selection that this thread works for was interrupted; call it in every round of a long loop.

    Ctrl-C reaches the main thread alone. It sets an event that all threads of the selection share; without a look at it
    the classes that run side by side would be finished first.

    Raises:
        CancelledError: If it was interrupted.

    Example:
        >>> check_interrupted()  # nothing was
    """
    # None where no threads were started: Ctrl-C then reaches this loop itself.
    workers = enclosing_workers()
    if workers is not None:
        workers.check()
