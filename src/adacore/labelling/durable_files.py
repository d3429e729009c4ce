"""Writing files so that neither a kill, a full disk nor a power cut leaves half of one behind."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def replace_file(path: Path, content: bytes | str) -> Path:
    """Put new content in the place of a file: who reads it finds the old content or the new one, whole.

    The content is written beside the file, forced to disk, and only then renamed over it, since POSIX promises that a
    rename within one folder is atomic. Where writing fails, the old file is untouched and the half-written one is gone.

    Args:
        path: The file; its folder exists.
        content: Bytes, or text that is written as UTF-8.

    Returns:
        ``path``.

    Raises:
        OSError: If it cannot be written, such as on a full disk; the message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replace_file(Path(folder) / "note.txt", "whole").read_text()
        'whole'
    """
    data = content.encode() if isinstance(content, str) else content
    return _replace(path, lambda file: file.write(data))


def replace_by(path: Path, save: Callable[[Path], object]) -> Path:
    """Let a function write a file, and put the result in the place of another one; see ``replace_file``.

    Args:
        path: The file to be replaced.
        save: Is given a path beside it, with the same suffix, and writes there.

    Returns:
        ``path``.

    Raises:
        OSError: If it cannot be written.
    """
    # In the same folder: a rename across file systems is a copy, and not atomic. A known beginning, so that what a kill
    # leaves behind is found; the process's number, so that two writers of one file (workers of which one was taken for
    # dead) do not share a draft.
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        save(temporary)
        # Content before name: a rename may reach the disk first, and a power cut then leave an empty file.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    # The system's message names the temporary file, which a person has never heard of.
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        # After a rename there is nothing to remove; after a failure this must not hide the first error.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    # A rename is an entry of the folder, and is on disk only once the folder is.
    _sync_folder(path.parent)
    return path


def prepare_file(path: Path) -> None:
    """Make sure that a file can be written, before the work whose result it is to hold; its folders are made.

    Args:
        path: The file; one that exists is left as it is.

    Raises:
        OSError: If it cannot be written, since a file stands where a folder should be, say; the message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepare_file(Path(folder) / "new" / "note.txt")
        ...     sorted(path.name for path in Path(folder).rglob("*"))
        ['new']
    """
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; pass the name of a file")
    draft = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Tried and not asked for: of network folders and access lists the rights of a folder do not tell.
        draft.touch()
        draft.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot write {path}: {reason}; pass a file in another folder") from error


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    return replace_by(path, save)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, and wait until it is on disk.

    Args:
        path: The file; it is made where there is none.
        line: Without the line's end.

    Raises:
        OSError: If it cannot be written; the message names the file.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            # Python's buffer first, then the system's: fsync knows nothing of the former.
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace a file by tensors and plain values, as ``torch.load(weights_only=True)`` reads them.

    Args:
        path: The file.
        state: What to save.

    Raises:
        OSError: If it cannot be written.
    """
    # Late: whoever writes texts alone does not wait for torch.
    import torch

    # torch.save into a file reports a full disk as an internal error of its zip writer (a RuntimeError); into memory it
    # can't fail, and the write that follows reports it as the OSError that it is.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    _replace(path, lambda file: file.write(buffer.getbuffer()))


def _unwritable(path: Path, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot write {path}: {reason}; what it held before is kept")


def _sync_folder(folder: Path) -> None:
    """Force a rename to disk; where a folder can't be opened or synchronised (Windows), the rename stays atomic."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
