"""Facility location over more rows than one machine holds, on Ray: parts, merges, and a work folder."""

from __future__ import annotations

import builtins
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.budget import resolve_budget, split_budget, warn_of_few
from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.facility.metrics import METRICS
from adacore.facility.part_planning import check_memory, choosing_bytes, plan_parts
from adacore.facility.selection import FEW
from adacore.facility.selection_in_parts import Task
from adacore.integrations import ray_files
from adacore.integrations.ray_files import key_of
from adacore.integrations.ray_stages import Progress, Stages, Worker, progress_lines
from adacore.labelling.parts import Columns, Part, files_of, parts_of

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
    memory: int | None = None,
    num_gpus: float = 0.0,
    device: str | None = None,
    progress: Progress | None = None,
) -> Coreset:
    """Choose the rows that stand for all, from files that no single machine holds in memory.

    Each part of the rows chooses ``budget`` rows by greedy; greedy over these, each as heavy as what it stands for,
    chooses ``budget`` of them; a last pass over all parts gives exact weights and the exact objective. See
    ``adacore.facility.selection_in_parts`` for what is guaranteed. The answer depends on the files, the settings and
    the parts, and not on how many workers there are, or on which of them were killed.

    Args:
        source: A path, a pattern (``"data/*.parquet"``), a folder, several of them, or a ``ray.data.Dataset``, which is
            written to the work folder first. Parquet: columns of numbers and of lists of one length; ``.npy``: shape
            (n, d). URLs as fsspec opens them.
        budget: How many to select.
        fraction: Share of the rows to select, in (0, 1].
        labels: Name of a column of strata, to select within each; Parquet alone.
        quotas: How strata share the budget: ``"proportional"``, ``"equal"``, or a number for each label.
        weights: Name of a column that says how much each row counts; Parquet alone.
        initial: Positions of rows that are selected already, counted over all files in order, or a mask.
        metric: ``"euclidean"`` or ``"cosine"``.
        method: Within a part: ``"exact"``, or ``"stochastic"`` or ``"sampled"``. The latter looks at 50,000 rows of a
            part, and does nothing for the smaller ones that parts are by themselves.
        seed: Of the latter two.
        part_rows: Rows of a part at most; None for ``adacore.facility.part_planning.rows_of_part``.
        work: Folder that keeps what is done: the same call goes on from there after it was killed. All machines must
            share it. None for a temporary one on this machine.
        address: Of a Ray cluster: ``"auto"``, ``"host:6379"`` or ``"ray://host:10001"``; None for ``RAY_ADDRESS``, and
            without that for Ray on this machine, which is started.
        workers: Processes on this machine; None for its cores. A cluster has its own.
        memory: Bytes that each worker may take, some 500 MB of libraries included: parts, merges and the pieces in
            which rows are served are made so small that they fit. ``adacore.facility.plan`` with ``parts`` and
            ``memory`` predicts what is taken, ``statistics["worker_bytes"]`` tells what was. None for 2 GB.
        num_gpus: GPUs of each worker, as Ray counts them; 0.25 lets four workers share one.
        device: Where a worker computes; None for ``"cuda"`` if it has a GPU, and the CPU if not. Picks are the same.
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

    Example:
        >>> coreset = facility_location("embeddings/*.parquet", budget=10_000, work="work")  # doctest: +SKIP
        >>> coreset.save("coreset.parquet")  # doctest: +SKIP
    """
    ray = _import_ray()
    # "local" is named: without an address Ray would join whatever cluster it finds on this machine.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if work is None and address != "local" and not ray.is_initialized():
        raise ValueError("work= is needed on a cluster: pass a folder that all of its machines share")
    if isinstance(quotas, Mapping) and budget is None and fraction is None:
        budget = sum(quotas.values())
    columns, worker = Columns(labels, weights), _worker(num_gpus, device, memory)
    # Before Ray is started, which takes seconds.
    _check_names(metric, method, quotas)
    with _work_folder(work) as folder, _running(ray, address, workers):
        _check_gpus(ray, worker)
        files = files_of(_written(source, folder) if hasattr(source, "write_parquet") else source)
        asked = {"budget": budget, "fraction": fraction, "labels": labels, "quotas": _plain(quotas)}
        asked |= {"weights": weights, "metric": metric, "method": method, "seed": seed, "part_rows": part_rows}
        # A hash: the record of what was asked for stays a small text, however many rows are selected already.
        asked["initial"] = None if initial is None else key_of(np.asarray(initial))
        # Before anything is read: results of another selection in this folder would be taken for parts of this one.
        ray_files.claim(folder, asked, files)
        # ``memory`` is not part of what was asked for: after it was set too high, whatever parts remain the same are
        # not done again.
        parts = parts_of(files, columns, budget=budget or 1, part_rows=part_rows, memory=memory)
        n = sum(len(part) for part in parts)
        size, before = resolve_budget(n, budget=budget, fraction=fraction), _positions(initial, n)
        if budget is None:  # a fraction of n, which only the files know: parts have to hold so many picks
            parts = parts_of(files, columns, budget=size, part_rows=part_rows, memory=memory)
        _check_part_rows(part_rows, parts[0].width, size, memory)
        if progress is None:
            _say_plan(ray, parts, n, size, memory)
        stages = Stages(ray, folder, parts, columns, metric, worker, progress or progress_lines())
        shares = None if labels is None else _shares(stages.count_strata(), quotas, size)
        known = None if not len(before) else stages.rows_at(before)
        task = Task(size, metric, method, shares, seed, *((None, None) if known is None else (known.x, known.labels)))
        coreset = stages.run(task, before)
        warn_of_few("facility_location", len(coreset), size, FEW, stacklevel=2)
        return coreset


def _worker(num_gpus: float, device: str | None, memory: int | None) -> Worker:
    if num_gpus < 0:
        raise ValueError(f"num_gpus={num_gpus} is below 0: pass how many GPUs, or what share of one, a worker has")
    return Worker(num_gpus, device or ("cuda" if num_gpus else None), memory)


def _check_part_rows(part_rows: int | None, d: int, k: int, memory: int | None) -> None:
    """Refuse parts that do not fit into the memory: both were asked for."""
    check_memory(memory, d, k)
    if part_rows is None or memory is None:
        return
    needed = choosing_bytes(part_rows, d, k)
    if needed > memory:
        raise ValueError(
            f"part_rows={part_rows:,} and memory={memory:,}: to choose in a part of {d:,} features takes up to "
            f"{needed:,} bytes; leave part_rows out, for parts that fit"
        )


def _check_gpus(ray: Any, worker: Worker) -> None:
    """Say that no machine has the GPUs which workers are to have: Ray would wait for them without a word."""
    most = max((node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
    if worker.gpus > most:
        # Not an error: a cluster that grows by itself may have none until they are asked for.
        warnings.warn(
            f"num_gpus={worker.gpus:g}, and no machine of this Ray has more than {most:g}: the selection waits until "
            "one joins; stop it and pass num_gpus=0 to select on CPUs",
            stacklevel=3,
        )


def _say_plan(ray: Any, parts: list[Part], n: int, k: int, memory: int | None) -> None:
    """Say how many parts there are and how long they may take, before anybody waits."""
    # A cluster that grows by itself may have no core yet.
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    found = plan_parts(n, parts[0].width, k, len(parts), cores, memory)
    print(
        f"adacore: {n:,} rows in {len(parts):,} parts, {cores} at a time: about {found.seconds / 60:.1f} minutes on "
        f"cores that nothing else uses, at most {found.bytes / 1e9:.1f} GB for each of them",
        file=sys.stderr,
        flush=True,
    )


def _import_ray() -> Any:
    try:
        import ray  # seconds to import, and not needed for what one machine holds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("selection in many processes needs ray: pip install 'adacore[ray]'") from error
    return ray


@contextmanager
def _running(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    """Use the Ray that this process has started, else start or join one and leave it afterwards."""
    # Whoever has started Ray goes on using it: shutting it down would take their other tasks along.
    if ray.is_initialized():
        yield
        return
    # Workers' own output is not copied here: what is wrong with a part comes back as its result.
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == "local":
        cores = workers or os.cpu_count()
        settings |= {"num_cpus": cores, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        # Ray runs its workers at a lower priority by default (nice 15): beside any other program on the same cores they
        # would get a fraction of the time that the caller's own process gets.
        settings["_system_config"] = {"worker_niceness": 0}
    # Ray's progress bars put a function of their own in the place of ``print``, and leave it there: whoever compares it
    # to the one that they know, as skorch's PrintLog does, would take it for somebody else's.
    own_print = builtins.print
    ray.init(**settings)
    try:
        yield
    finally:
        # Also after an error or Ctrl-C: the processes that Ray has started would otherwise stay.
        ray.shutdown()
        builtins.print = own_print


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
        # Whoever was killed while writing has left some of the files; Ray would add to them.
        shutil.rmtree(rows, ignore_errors=True)
        dataset.write_parquet(str(rows))
        done.touch()
    return str(rows)


def _check_names(metric: str, method: str, quotas: Any) -> None:
    """Refuse unknown names before work starts, and not in every worker."""
    for name, value, known in (
        ("metric", metric, METRICS),
        ("method", method, ("exact", "stochastic", "sampled")),
        ("quotas", quotas, ("proportional", "equal")),
    ):
        if not isinstance(value, Mapping) and value not in known:
            raise unknown_name(name, value, known)


def _shares(counts: Mapping[str, int], quotas: str | Mapping[Any, int], budget: int) -> dict[str, int]:
    """Share the budget among strata, as on one machine."""
    # Sorted, as one machine numbers strata: ties of the largest remainders then go to the same ones.
    names = sorted(counts)
    if isinstance(quotas, Mapping):
        # Texts, as the strata of parts are: one file may hold numbers where another holds texts.
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
    if positions.dtype == bool:
        if positions.shape != (n,):
            raise ValueError(f"initial= is a mask of shape {positions.shape}: expected ({n},), one entry for each row")
        return np.flatnonzero(positions)
    # An empty list is float64 to numpy, and names no row all the same.
    whole = positions.ndim == 1 and (positions.dtype.kind in "iu" or not positions.size)
    if not whole or (positions.size and not 0 <= positions.min() <= positions.max() < n):
        raise ValueError(f"initial= holds something else than positions in [0, {n}): pass a list of whole numbers")
    if np.unique(positions).size < positions.size:
        raise ValueError("initial= holds a position twice: name each row once")
    return positions.astype(np.int64)


def _plain(quotas: Any) -> Any:
    return {str(name): int(number) for name, number in quotas.items()} if isinstance(quotas, Mapping) else quotas
