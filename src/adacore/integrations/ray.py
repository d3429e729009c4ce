"""Facility location over more rows than one machine holds, on Ray: parts, merges, and a work folder."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.facility.partitioned import PartPicks, Served, Task, half_of_bounds, merge_groups
from adacore.integrations import part_files
from adacore.integrations.part_files import key_of
from adacore.labelling.parts import Columns, Part, PartRows, files_of, parts_of, read_part

Progress = Callable[[str, int, int], None]
"""``(stage, parts done, parts in all)``, called after each part."""

STORE_BYTES = 200 << 20
"""Memory of Ray's object store on this machine: rows travel through files, and only picks through the store. Ray takes
a third of the memory by default."""


def facility_location(
    source: Any,
    *,
    budget: int | None = None,
    fraction: float | None = None,
    labels: str | None = None,
    quotas: str | Mapping[Any, int] = "proportional",
    weights: str | None = None,
    initial: ArrayLike | None = None,
    metric: str = "euclidean",
    method: str = "exact",
    seed: int | None = None,
    part_rows: int | None = None,
    work: str | Path | None = None,
    address: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Coreset:
    """Choose the rows that stand for all, from files that no single machine holds in memory.

    Each part of the rows chooses ``budget`` rows by greedy; greedy over these, each as heavy as what it stands for,
    chooses ``budget`` of them; a last pass over all parts gives exact weights and the exact objective. See
    ``adacore.facility.partitioned`` for what is guaranteed. The answer depends on the files, the settings and the
    parts, and not on how many workers there are, or on which of them were killed.

    Args:
        source: A path, a pattern (``"data/*.parquet"``), a folder, several of them, or a ``ray.data.Dataset``, which is
            written to the work folder first. Parquet: columns of numbers and of lists of one length; ``.npy``: shape
            (n, d). URLs as fsspec opens them.
        budget: How many to select.
        fraction: Share of the rows to select, in (0, 1].
        labels: Name of a column of strata, to select within each; Parquet alone.
        quotas: How strata share the budget: ``"proportional"``, ``"equal"``, or a number for each label.
        weights: Name of a column that says how much each row counts; Parquet alone.
        initial: Positions of rows that are selected already, counted over all files in order.
        metric: ``"euclidean"`` or ``"cosine"``.
        method: Within a part: ``"exact"``, or ``"stochastic"`` or ``"sampled"`` where parts are large.
        seed: Of the latter two.
        part_rows: Rows of a part at most; see ``adacore.labelling.parts.parts_of``.
        work: Folder that keeps what is done: the same call goes on from there after it was killed. All machines must
            share it. None for a temporary one on this machine.
        address: Of a Ray cluster: ``"auto"``, ``"host:6379"`` or ``"ray://host:10001"``; None for ``RAY_ADDRESS``, and
            without that for Ray on this machine, which is started.
        workers: Processes on this machine; None for its cores. A cluster has its own.
        progress: Told of each finished part; None for lines on stderr every few seconds.

    Returns:
        The coreset, positions counted over all files in order: exact ``weights`` and ``objective``; a ``lower_bound``
        where no rows were selected before. ``statistics`` name the number of ``parts``, the ``radius``, the
        ``merge_error`` (by how much L over the merged picks may differ from L over the rows) and the seconds of stages.

    Raises:
        ModuleNotFoundError: If ray is not installed.
        FileNotFoundError: If there are no files.
        ValueError: If a setting is out of range, the work folder belongs to another selection, or parts can't be read:
            these are named, and what others chose is kept in the work folder.
    """
    ray = _import_ray()
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if work is None and address != "local" and not ray.is_initialized():
        raise ValueError("work= is needed on a cluster: pass a folder that all of its machines share")
    if isinstance(quotas, Mapping) and budget is None and fraction is None:
        budget = sum(quotas.values())
    columns = Columns(labels, weights)
    with _work_folder(work) as folder, _running(ray, address, workers):
        files = files_of(_written(source, folder) if hasattr(source, "write_parquet") else source)
        asked = {"budget": budget, "fraction": fraction, "labels": labels, "quotas": _plain(quotas)}
        asked |= {"weights": weights, "metric": metric, "method": method, "seed": seed, "part_rows": part_rows}
        asked["initial"] = None if initial is None else key_of(np.asarray(initial))
        _check_names(metric, method, quotas)
        part_files.claim(folder, asked, files)
        parts = parts_of(files, columns, budget=budget or 1, part_rows=part_rows)
        n = sum(len(part) for part in parts)
        size, before = resolve_budget(n, budget=budget, fraction=fraction), _positions(initial, n)
        job = _Job(ray, folder, parts, columns, metric, progress or _lines())
        shares = None if labels is None else _shares(job.count_strata(), quotas, size)
        known = None if not len(before) else job.rows_at(before)
        task = Task(size, metric, method, shares, seed, *((None, None) if known is None else (known.x, known.labels)))
        return job.run(task, before)


class _Job:
    """The parts of one selection, and the processes that work on them."""

    def __init__(
        self, ray: Any, folder: Path, parts: list[Part], columns: Columns, metric: str, progress: Progress
    ) -> None:
        self.ray, self.folder, self.parts = ray, folder, parts
        self.columns, self.metric, self.progress = columns, metric, progress

    def run(self, task: Task, before: NDArray[np.int64]) -> Coreset:
        """Choose in parts, merge, and serve all rows."""
        times = [time.perf_counter()]
        files = self.choose(task, before)
        times.append(time.perf_counter())
        merged = self.merge(files, task)
        times.append(time.perf_counter())
        if not len(merged.positions):
            raise ValueError("nothing was selected: all weights are 0, or every row is in initial= already")
        served = self.serve(merged, task)
        times.append(time.perf_counter())
        known, bounds = len(before), [part_files.load_bounds(file) for file in files]
        names = ("choosing_seconds", "merging_seconds", "serving_seconds")
        return Coreset(
            merged.positions,
            served.weights[known:],
            sum(len(part) for part in self.parts),
            objective=served.objective,
            lower_bound=None if known else half_of_bounds([bound for _, bound in bounds]),
            initial_weights=served.weights[:known] if known else None,
            statistics={
                "method": f"greedi, {task.method}",
                "parts": len(self.parts),
                "radius": served.farthest,
                "merge_error": sum(objective for objective, _ in bounds),
                **dict(zip(names, np.diff(times).tolist(), strict=True)),
            },
        )

    def choose(self, task: Task, before: NDArray[np.int64]) -> list[Path]:
        """Choose in every part that is not done."""
        shared, calls = self.ray.put(task), []
        for number, part in enumerate(self.parts):
            inside = before[(before >= part.offset) & (before < part.offset + len(part))] - part.offset
            # Where nothing is random, a part's picks do not depend on how many parts are before it.
            stream = 0 if task.method == "exact" else number
            name = key_of("picks", *_identity(part), self.columns, task, inside, stream)
            calls.append((str(part), self.folder / f"{name}.npz", (part, shared, self.columns, inside, stream)))
        return self._each("choose", part_files.choose, calls)

    def merge(self, files: Sequence[Path], task: Task) -> PartPicks:
        """Merge the picks of all parts, in workers too: together they may be more than this process holds."""
        shared = self.ray.put(task)
        sources = [(file, part.offset) for file, part in zip(files, self.parts, strict=True)]
        first = True
        while first or len(sources) > 1:
            calls = []
            for group in merge_groups(len(sources), task.budget):
                some = [sources[i] for i in group]
                name = key_of("merge", task, [(file.name, offset) for file, offset in some])
                label = f"merge of {some[0][0].name} to {some[-1][0].name}"
                calls.append((label, self.folder / f"{name}.npz", (some, shared)))
            sources, first = [(file, 0) for file in self._each("merge", part_files.merge_files, calls)], False
        return part_files.load_picks(sources[0][0])

    def serve(self, merged: PartPicks, task: Task) -> Served:
        """Assign the rows of every part to the rows selected before and to the picks."""
        rows, labels = merged.rows, merged.labels
        if task.initial is not None:
            rows = np.concatenate([task.initial, rows])
            labels = None if labels is None else np.concatenate([task.initial_labels, labels])
        names = np.empty(0) if labels is None else labels
        shared, calls = self.ray.put((rows, labels)), []
        for part in self.parts:
            name = key_of("served", *_identity(part), self.columns, self.metric, rows, names)
            calls.append((str(part), self.folder / f"{name}.npz", (part, shared, self.metric, self.columns)))
        total = Served(np.zeros(len(rows)), 0.0, 0.0)
        for file in self._each("serve", part_files.serve, calls):
            total = total + part_files.load_served(file)
        return total

    def count_strata(self) -> dict[str, int]:
        """Count the rows of each stratum."""
        calls: list[tuple[str, Path, tuple[Any, ...]]] = []
        for part in self.parts:
            name = key_of("strata", *_identity(part), self.columns)
            calls.append((str(part), self.folder / f"{name}.npz", (part, self.columns)))
        counts: dict[str, int] = {}
        for file in self._each("count", part_files.count, calls):
            for label, number in part_files.load_counts(file).items():
                counts[label] = counts.get(label, 0) + number
        return counts

    def rows_at(self, positions: NDArray[np.int64]) -> PartRows:
        """Read some rows by their positions, in the order of the positions."""
        holder = np.searchsorted([part.offset for part in self.parts], positions, side="right") - 1
        order, x, labels = [], [], []
        for number in np.unique(holder):
            part, where = self.parts[int(number)], np.flatnonzero(holder == number)
            read, inside = read_part(part, self.columns), positions[where] - self.parts[int(number)].offset
            order.append(where)
            x.append(read.x[inside])
            labels.append(np.empty(0, str) if read.labels is None else read.labels[inside])
        back = np.argsort(np.concatenate(order))
        return PartRows(np.concatenate(x)[back], None if self.columns.labels is None else np.concatenate(labels)[back])

    def _each(
        self, stage: str, function: Callable[..., None], calls: Sequence[tuple[str, Path, tuple[Any, ...]]]
    ) -> list[Path]:
        """Make the calls whose file is not there yet, on all workers; return the files, in order."""
        # A worker that is killed, for want of memory or by a person, is replaced, and its part done again.
        remote = self.ray.remote(num_cpus=1, max_retries=5)(_without_raising)
        left = {
            remote.remote(function, str(file), *arguments): label
            for label, file, arguments in calls
            if not file.exists()
        }
        failures: list[str] = []
        done = len(calls) - len(left)
        while left:
            ready, _ = self.ray.wait(list(left), num_returns=1, timeout=0.5)  # short, so that Ctrl-C is heard
            for reference in ready:
                label = left.pop(reference)
                try:
                    message = self.ray.get(reference)
                except self.ray.exceptions.RayError as error:  # a worker that died six times
                    message = " ".join(str(error).split())[:300]
                failures += [] if message is None else [f"{label}: {message}"]
                done += message is None
                self.progress(stage, done, len(calls))
        if failures:
            shown = "; ".join(sorted(failures)[:5]) + ("" if len(failures) <= 5 else f"; and {len(failures) - 5} more")
            raise ValueError(
                f"{len(failures)} of {len(calls)} parts failed: {shown}. Mend these files or leave them out, and call "
                "again with the same work folder: the other parts are kept there"
            )
        return [file for _, file, _ in calls]


def _without_raising(function: Callable[..., None], file: str, *arguments: Any) -> str | None:
    """Run in a worker: return what is wrong with the part, so that Ray retries dead workers and not bad files."""
    try:
        function(Path(file), *arguments)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _identity(part: Part) -> tuple[Any, ...]:
    """Say which rows a part has; where it lies among the others does not matter to what is chosen in it."""
    return part.path, part.start, part.stop, part.stamp


def _import_ray() -> Any:
    try:
        import ray  # seconds to import, and not needed for what one machine holds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("selection in many processes needs ray: pip install 'adacore[ray]'") from error
    return ray


@contextmanager
def _running(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    """Use the Ray that this process has started, else start or join one and leave it afterwards."""
    if ray.is_initialized():
        yield
        return
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == "local":
        cores = workers or os.cpu_count()
        settings |= {"num_cpus": cores, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    ray.init(**settings)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _work_folder(work: str | Path | None) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory(prefix="adacore-") as name:
            yield Path(name)
        return
    folder = Path(work).absolute()  # workers have another current folder
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _written(dataset: Any, folder: Path) -> str:
    """Write a Ray data set to the work folder, once, so that its rows have positions."""
    rows, done = folder / "rows", folder / "rows.done"
    if not done.exists():
        dataset.write_parquet(str(rows))
        done.touch()
    return str(rows)


def _check_names(metric: str, method: str, quotas: Any) -> None:
    """Refuse unknown names before work starts, and not in every worker."""
    for name, value, known in (
        ("metric", metric, ("euclidean", "cosine")),
        ("method", method, ("exact", "stochastic", "sampled")),
        ("quotas", quotas, ("proportional", "equal")),
    ):
        if not isinstance(value, Mapping) and value not in known:
            raise unknown_name(name, value, known)


def _shares(counts: Mapping[str, int], quotas: str | Mapping[Any, int], budget: int) -> dict[str, int]:
    """Share the budget among strata, as on one machine."""
    names = sorted(counts)
    if isinstance(quotas, Mapping):
        given = {str(name): int(number) for name, number in quotas.items()}
        if given.keys() != counts.keys():
            odd = sorted(given.keys() ^ counts.keys())[0]
            raise ValueError(f"quotas do not fit the labels at {odd!r}: give a number for each of {len(names)} labels")
        if sum(given.values()) != budget:
            raise ValueError(f"quotas sum to {sum(given.values())}, and budget={budget}: pass their sum")
        return given
    sizes = np.array([counts[name] for name in names])
    shared = split_budget(np.ones_like(sizes) if quotas == "equal" else sizes, budget, available=sizes)
    return dict(zip(names, shared.tolist(), strict=True))


def _positions(initial: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if initial is None:
        return np.empty(0, np.int64)
    positions = np.asarray(initial)
    whole = positions.ndim == 1 and (positions.dtype.kind in "iu" or not positions.size)
    if not whole or (positions.size and not 0 <= positions.min() <= positions.max() < n):
        raise ValueError(f"initial= holds something else than positions in [0, {n}): pass a list of whole numbers")
    if np.unique(positions).size < positions.size:
        raise ValueError("initial= holds a position twice: name each row once")
    return positions.astype(np.int64)


def _plain(quotas: Any) -> Any:
    return {str(name): int(number) for name, number in quotas.items()} if isinstance(quotas, Mapping) else quotas


def _lines(every: float = 5.0) -> Progress:
    """Print a line on stderr every few seconds, with the time that is left."""
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
