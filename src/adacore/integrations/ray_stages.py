"""The stages of a selection in parts on Ray: choose, merge, serve; each result a file of the work folder."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.facility.part_planning import merge_groups, rows_to_serve
from adacore.facility.selection_in_parts import PartPicks, Served, Task, half_of_bounds
from adacore.integrations import ray_files
from adacore.integrations.ray_files import key_of
from adacore.labelling.parts import Columns, Part, PartRows, join_parts, read_part

Progress = Callable[[str, int, int], None]
"""``(stage, parts done, parts in all)``, called after each part."""

Call = tuple[str, Path, tuple[Any, ...]]
"""What a part is called in messages, the file that it leaves, and what its function is given."""

IN_FLIGHT = 1_000
"""Parts that are handed to Ray at a time.

``ray.wait`` looks at all that are under way whenever one ends: with 20,000 of them the driver would be busy with that
alone."""


LABEL_NUMBERS = 25
"""A label is as large as so many numbers: as an object of Python and in an array of texts, 200 bytes."""


@dataclass(frozen=True)
class Worker:
    """What each worker has.

    Attributes:
        gpus: Share of a GPU, or number of them, that Ray sets aside for it.
        device: Where it computes: ``"cpu"``, ``"cuda"``, or None for the CPU.
        memory: Bytes that it may take; None for ``adacore.facility.part_planning.MEMORY``.
    """

    gpus: float = 0.0
    device: str | None = None
    memory: int | None = None


@dataclass(eq=False)
class Stages:
    """The parts of one selection, and the processes that work on them.

    Attributes:
        ray: The module.
        folder: The work folder.
        parts: The parts, in the order of the rows.
        columns: Which columns are no features.
        metric: Of the distances.
        worker: What each worker has.
        progress: Told of each finished part.
        worker_bytes: The most memory that a worker has had so far.
    """

    ray: Any
    folder: Path
    parts: Sequence[Part]
    columns: Columns
    metric: str
    worker: Worker
    progress: Progress
    worker_bytes: int = 0

    def run(self, task: Task, before: NDArray[np.int64]) -> Coreset:
        """Choose in parts, merge, and serve all rows.

        Args:
            task: What to choose.
            before: Positions of the rows that are selected already.

        Returns:
            The coreset.

        Raises:
            ValueError: If parts failed, each being named, or nothing was left to select.
        """
        times = [time.perf_counter()]
        files = self.choose(task, before)
        times.append(time.perf_counter())
        merged = self.merge(files, task)
        times.append(time.perf_counter())
        if not len(merged.positions):
            raise ValueError("nothing was selected: all weights are 0, or every row is in initial= already")
        served = self.serve(merged, task)
        times.append(time.perf_counter())
        known, bounds = len(before), [ray_files.load_bounds(file) for file in files]
        names = ("choosing_seconds", "merging_seconds", "serving_seconds")
        return Coreset(
            merged.positions,
            served.weights[known:],
            sum(len(part) for part in self.parts),
            objective=served.objective,
            # Beside rows selected before, the proof of the bound does not hold.
            lower_bound=None if known else half_of_bounds([bound for _, bound in bounds]),
            initial_weights=served.weights[:known] if known else None,
            statistics={
                "method": f"greedi, {task.method}",
                "parts": len(self.parts),
                "radius": served.farthest,
                "merge_error": sum(objective for objective, _ in bounds),
                "worker_bytes": self.worker_bytes,
                **dict(zip(names, np.diff(times).tolist(), strict=True)),
            },
        )

    def choose(self, task: Task, before: NDArray[np.int64]) -> list[Path]:
        """Choose in every part that is not done; return the files of all parts, in order."""
        # Hashed once: the rows selected before, which it holds, may be many megabytes, and parts are thousands.
        shared, task_key, calls = self.ray.put(task), key_of(task), []
        for number, part in enumerate(self.parts):
            inside = before[(before >= part.offset) & (before < part.offset + len(part))] - part.offset
            # Where nothing is random, a part's picks do not depend on how many parts are before it.
            stream = 0 if task.method == "exact" else number
            # Not on the device either: picks are the same on all of them.
            name = key_of("picks", *_identity(part), self.columns, task_key, inside, stream)
            arguments = (part, shared, self.columns, inside, stream, self.worker.device)
            calls.append((str(part), self.folder / f"{name}.npz", arguments))
        return self._each("choose", ray_files.choose, calls)

    def merge(self, files: Sequence[Path], task: Task) -> PartPicks:
        """Merge the picks of all parts, in workers too: together they may be more than this process holds."""
        shared, task_key = self.ray.put(task), key_of(task)
        sources = [(file, part.offset) for file, part in zip(files, self.parts, strict=True)]
        # Once at least: a single part's positions have to be taken to those among all rows.
        first = True
        while first or len(sources) > 1:
            calls: list[Call] = []
            for group in merge_groups(len(sources), self.parts[0].width, task.budget, self.worker.memory):
                some = [sources[i] for i in group]
                # Names of files are hashes of what is in them: a merge's name depends on all below it.
                name = key_of("merge", task_key, [(file.name, offset) for file, offset in some])
                label = f"merge of {some[0][0].name} to {some[-1][0].name}"
                calls.append((label, self.folder / f"{name}.npz", (some, shared, self.worker.device)))
            sources, first = [(file, 0) for file in self._each("merge", ray_files.merge_files, calls)], False
        return ray_files.load_picks(sources[0][0])

    def serve(self, merged: PartPicks, task: Task) -> Served:
        """Assign the rows of every part to the rows selected before and to the picks."""
        rows, labels = merged.rows, merged.labels
        if task.initial is not None:
            rows = np.concatenate([task.initial, rows])
            labels = None if labels is None else np.concatenate([task.initial_labels, labels])
        shared = self.ray.put((rows, labels))
        picks_key = key_of(rows, np.empty(0) if labels is None else labels)
        calls: list[Call] = []
        # Serving is linear in the rows of a part, where choosing is quadratic: larger parts are read with less effort.
        for part in join_parts(self.parts, rows_to_serve(self.parts[0].width, len(rows), self.worker.memory)):
            name = key_of("served", *_identity(part), self.columns, self.metric, picks_key)
            arguments = (part, shared, self.metric, self.columns, self.worker.device)
            calls.append((str(part), self.folder / f"{name}.npz", arguments))
        total = Served(np.zeros(len(rows)), 0.0, 0.0)
        # In the order of the parts, whoever was done first: sums of floats depend on their order.
        for file in self._each("serve", ray_files.serve, calls):
            total = total + ray_files.load_served(file)
        return total

    def count_strata(self) -> dict[str, int]:
        """Count the rows of each stratum."""
        calls: list[Call] = []
        # One column is read, so that parts may be larger: a file each, mostly.
        for part in join_parts(self.parts, rows_to_serve(LABEL_NUMBERS, 1, self.worker.memory)):
            name = key_of("strata", *_identity(part), self.columns)
            calls.append((str(part), self.folder / f"{name}.npz", (part, self.columns)))
        counts: dict[str, int] = {}
        for file in self._each("count", ray_files.count, calls):
            for label, number in ray_files.load_counts(file).items():
                counts[label] = counts.get(label, 0) + number
        return counts

    def rows_at(self, positions: NDArray[np.int64]) -> PartRows:
        """Read some rows by their positions, in the order of the positions."""
        holder = np.searchsorted([part.offset for part in self.parts], positions, side="right") - 1
        order, x, labels = [], [], []
        for number in np.unique(holder):
            part, where = self.parts[int(number)], np.flatnonzero(holder == number)
            read, inside = read_part(part, self.columns), positions[where] - part.offset
            order.append(where)
            x.append(read.x[inside])
            labels.append(np.empty(0, str) if read.labels is None else read.labels[inside])
        back = np.argsort(np.concatenate(order))
        return PartRows(np.concatenate(x)[back], None if self.columns.labels is None else np.concatenate(labels)[back])

    def _each(self, stage: str, function: Callable[..., None], calls: Sequence[Call]) -> list[Path]:
        """Make the calls whose file is not there yet, on all workers; return the files, in order."""
        # A worker that is killed, for want of memory or by a person, is replaced, and its part done again.
        remote = self.ray.remote(num_cpus=1, num_gpus=self.worker.gpus, max_retries=5)(_without_raising)
        missing = iter([call for call in calls if not call[1].exists()])
        under_way: dict[Any, str] = {}
        failures: list[str] = []
        done = sum(file.exists() for _, file, _ in calls)
        while True:
            for label, file, arguments in itertools.islice(missing, IN_FLIGHT - len(under_way)):
                under_way[remote.remote(function, str(file), *arguments)] = label
            if not under_way:
                break
            ready, _ = self.ray.wait(list(under_way), num_returns=1, timeout=0.5)  # short, so that Ctrl-C is heard
            for reference in ready:
                label = under_way.pop(reference)
                try:
                    message, held = self.ray.get(reference)
                    self.worker_bytes = max(self.worker_bytes, held)
                except self.ray.exceptions.RayError as error:  # a worker that died six times
                    message = " ".join(str(error).split())[:300]
                failures += [] if message is None else [f"{label}: {message}"]
                done += message is None
                self.progress(stage, done, len(calls))
        if failures:
            # Only now, when all others are done: whoever mends the file need not wait for them again.
            shown = "; ".join(sorted(failures)[:5]) + ("" if len(failures) <= 5 else f"; and {len(failures) - 5} more")
            raise ValueError(
                f"{len(failures)} of {len(calls)} parts failed: {shown}. Mend these files or leave them out, and call "
                "again with the same work folder: the other parts are kept there"
            )
        return [file for _, file, _ in calls]


def _without_raising(function: Callable[..., None], file: str, *arguments: Any) -> tuple[str | None, int]:
    """Run in a worker: return what is wrong with the part, and the memory that this process has had at most.

    Errors are returned, so that Ray retries dead workers and not bad files.
    """
    # Read when pyarrow is first imported, which Ray does not do. Arrow's own allocators reserve 1 GB of addresses at
    # once, which counts where what a process may allocate is limited, and keep more of what was freed.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    message = None
    try:
        function(Path(file), *arguments)
    except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:  # RuntimeError is torch's, of a GPU
        message = " ".join(str(error).split()) or type(error).__name__
    _return_freed()
    return message, peak_bytes()


def _return_freed() -> None:
    """Hand freed memory back to the system: what a part leaves in pieces would stay beside the next one."""
    import pyarrow as pa  # after the line above that says which allocator it takes

    # Of the "system" pool this is the C library's ``malloc_trim``, and so concerns numpy's and torch's memory too.
    pa.default_memory_pool().release_unused()


def peak_bytes() -> int:
    """Look how much memory this process has held at most, resident; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:  # not Linux
        pass
    try:
        import resource  # not on Windows
    except ModuleNotFoundError:
        return 0
    # On Linux this would be no less than what the process that started this one held.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _identity(part: Part) -> tuple[Any, ...]:
    """Say which rows a part has; where it lies among the others does not matter to what is chosen in it."""
    return part.path, part.start, part.stop, part.stamp


def progress_lines(every: float = 5.0) -> Progress:
    """Print a line on stderr every few seconds, with the time that is left.

    Args:
        every: Seconds between two lines.

    Returns:
        What is to be told of each finished part.

    Example:
        >>> tell = progress_lines(every=0.0)
        >>> tell("choose", 1, 8)  # the first part of a stage sets the clock
    """
    began: dict[str, tuple[float, int]] = {}
    last = [time.perf_counter()]

    def tell(stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        start, already = began.setdefault(stage, (now, done))  # parts of an earlier call take no time in this one
        if now - last[0] < every or done == already:
            return
        last[0] = now
        left = (now - start) / (done - already) * (total - done)
        print(f"adacore: {stage}: {done} of {total} parts, about {left:.0f} s left", file=sys.stderr, flush=True)

    return tell
