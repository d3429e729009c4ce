"""One process at a time in a folder, by a lock that the operating system frees when the process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

LOCK = ".lock"
"""Name of the locked file; it stays in the folder, since removing it would let two processes lock two files."""

PATIENCE = 2.0
"""Seconds to wait for another process: a killed one may need a moment until the system has closed its files."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_held: set[Path] = set()
"""Folders locked by this process: a POSIX lock does not keep a process from locking the same file again."""


@contextlib.contextmanager
def locked(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Own a folder while the block runs.

    The lock is a POSIX record lock. It belongs to the process, so that it ends with it even after SIGKILL, and worker
    processes that were forked within don't keep it alive.

    Args:
        folder: It exists.
        patience: Seconds to wait while another process owns it.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: If another process, or this one, owns it; the message names the process.
    """
    # Resolved, so that two names of one folder are one lock.
    path = folder.resolve() / LOCK
    # Looked up before the file is opened: closing a second handle would free a POSIX lock that this process holds.
    if path in _held:
        raise _owned(folder, "this process")
    # "a+" makes the file where there is none and does not cut off the owner's name, as "w" would.
    with path.open("a+", encoding="utf-8") as file:
        # Monotonic: the clock of the day may be set while waiting.
        deadline = time.monotonic() + patience
        while not _try_lock(file.fileno(), folder):
            if time.monotonic() >= deadline:
                file.seek(0)
                raise _owned(folder, file.read(200).strip() or "another process")
            time.sleep(0.05)
        _held.add(path)
        try:
            with contextlib.suppress(OSError):  # the name is for the message alone; a full disk must not matter here
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
            yield
        finally:
            _held.discard(path)  # closing the file frees the lock


def _owned(folder: Path, owner: str) -> BlockingIOError:
    return BlockingIOError(f"{folder} is in use by {owner}: wait until it has ended, or pass another folder")


def _try_lock(handle: int, folder: Path) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # not on Windows

            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # POSIX allows either of the first two for a lock that somebody holds.
        if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
            return False
        # Some network file systems: refusing to work there would help nobody, and neither would silence.
        if error.errno in _UNSUPPORTED:
            warnings.warn(f"{folder} lies where files can't be locked: let one process at a time use it", stacklevel=4)
            return True
        raise
    return True
