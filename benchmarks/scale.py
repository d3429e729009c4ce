"""Selection in parts over Ray: rows that no process holds, workers and drivers that are killed, limited memory.

    python benchmarks/scale.py ten-million     # 10,000,000 x 10, k = 1,000: killed and restarted, then undisturbed
    python benchmarks/scale.py one-million     # the same on a tenth of the rows
    python benchmarks/scale.py limited         # 3,000,000 x 64 in 12 files of 1.9 GB together; 0.9 GB for each worker
    python benchmarks/scale.py exact           # against exact greedy on one machine, where that can be run
    python benchmarks/scale.py pieces          # what one part, one merge and serving cost on one core
    python benchmarks/scale.py embeddings      # the same on real embeddings
    python benchmarks/scale.py ten-million --slice 280   # kills the driver after so many seconds and ends; call again

Files are made under --folder (default /tmp/adacore-scale) and stay there. What is measured is written to
docs/records/scale.json. Two workers on two cores; memory and seconds of the processor are those of the driver and all
processes below it, looked at twice a second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import adacore
from adacore.facility import plan, prepare_kernels
from adacore.facility.selection_in_parts import PartPicks, Task, choose_in_part, merge, serve_part
from convex_data import data_root, machine, read, write

WORKERS = 2


@dataclass(frozen=True)
class Case:
    """Rows in files, and what is selected of them."""

    rows: int
    dims: int
    files: int
    budget: int
    dtype: str = "float32"


TEN_MILLION = Case(10_000_000, 10, 10, 1_000)
ONE_MILLION = Case(1_000_000, 10, 10, 1_000)
LIMITED = Case(3_000_000, 64, 12, 200, "float64")
LIMIT = 900_000_000
"""Of each of two workers: together less than the 1.9 GB of the files."""


def clusters(n: int, d: int, seed: int, dtype: str = "float32") -> Any:
    """Forty Gaussian clusters, the same in every file."""
    centres = 2 * np.random.default_rng(0).normal(size=(40, d))
    generator = np.random.default_rng([1, seed])
    return (centres[generator.integers(40, size=n)] + generator.normal(size=(n, d))).astype(dtype)


def make(folder: Path, case: Case) -> Path:
    """Write the files of a case, those that are not there yet."""
    data = folder / f"{case.rows}x{case.dims}"
    data.mkdir(parents=True, exist_ok=True)
    for number in range(case.files):
        path = data / f"{number:02d}.parquet"
        if not path.exists():
            x = clusters(case.rows // case.files, case.dims, number, case.dtype)
            draft = path.with_suffix(".draft")
            pq.write_table(pa.table({f"f{j}": x[:, j] for j in range(case.dims)}), draft, row_group_size=100_000)
            draft.rename(path)
    return data


def drive(data: str, work: str, out: str, budget: int, limit: int) -> None:
    """Select, in a process of its own that can be killed."""
    from adacore.integrations.ray import STORE_BYTES, facility_location

    if limit:
        # Of the stacks of Ray's threads, whose whole size counts as allocated: 8 MB for each of some twenty.
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
        import ray

        def limited() -> None:
            # What a process may allocate for itself: libraries' code and the pages of files do not count.
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        ray.init(
            "local", num_cpus=WORKERS, object_store_memory=STORE_BYTES, include_dashboard=False, log_to_driver=False,
            runtime_env={"worker_process_setup_hook": limited}, _system_config={"worker_niceness": 0},
        )  # fmt: skip
    facility_location(data, budget=budget, work=work, workers=WORKERS, memory=limit or None).save(out)


class Watch:
    """Peak memory and seconds of the processor of a process and all below it."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[int, float], float] = {}
        self.peaks: dict[tuple[int, float], int] = {}
        self.names: dict[tuple[int, float], str] = {}

    def look(self, pid: int) -> None:
        """Note what the process and all below it have used so far."""
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in family:
            try:
                key = (process.pid, process.create_time())
                times, memory = process.cpu_times(), process.memory_info()
                name = " ".join(Path(word).name for word in process.cmdline()[:2])  # paths say nothing elsewhere
            except psutil.Error:
                continue
            self.seconds[key] = times.user + times.system
            self.peaks[key] = max(self.peaks.get(key, 0), memory.rss)
            self.names[key] = name

    def workers(self) -> list[int]:
        """Processes of Ray that are at work."""
        return [p for p, created in self.names if self.names[p, created].startswith("ray::_") and psutil.pid_exists(p)]


def parts_done(work: Path) -> int:
    return len(list(work.glob("*.npz"))) if work.exists() else 0


def select(folder: Path, case: Case, name: str, kills: tuple[tuple[str, int], ...], limit: int, pause: float) -> Any:
    """Run a selection to its end, killing a worker or the driver when so many parts are done; return what it took.

    After ``pause`` seconds the driver is killed and the benchmark ends; the next call starts a driver again.
    """
    data, work, out = make(folder, case), folder / f"work-{name}", folder / f"{name}.npz"
    # What earlier calls have used, and which kills are left.
    state = folder / f"{name}.json"
    spent: dict[str, Any] = {"seconds": 0.0, "processor": 0.0, "drivers": 0, "loads": [], "peaks": [], "killed": []}
    spent |= json.loads(state.read_text()) if state.exists() else {}
    log = (folder / f"{name}.log").open("a")
    while True:
        watch, begin = Watch(), time.perf_counter()
        words = ["drive", str(data), str(work), str(out), str(case.budget), str(limit)]
        driver = subprocess.Popen([sys.executable, __file__, *words], stderr=log)
        paused = False
        while driver.poll() is None:
            watch.look(driver.pid)
            left = kills[len(spent["killed"]) :]
            paused = time.perf_counter() - begin > pause
            if left and parts_done(work) >= left[0][1]:
                victims = [driver.pid] if left[0][0] == "driver" else watch.workers()[:1]
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                if victims:
                    spent["killed"].append([left[0][0], parts_done(work)])
                    print(f"killed the {left[0][0]} at {parts_done(work)} files", flush=True)
            elif paused:
                driver.kill()
                driver.wait()
            time.sleep(0.5)
        spent["seconds"] += time.perf_counter() - begin
        spent["processor"] += sum(watch.seconds.values())
        spent["drivers"] += 1
        spent["loads"].append(os.getloadavg()[0])
        spent["peaks"] += sorted(([peak, watch.names[key]] for key, peak in watch.peaks.items()), reverse=True)[:4]
        state.write_text(json.dumps(spent))
        if paused and driver.returncode == -signal.SIGKILL:
            raise SystemExit(f"{name}: {parts_done(work)} files after {spent['seconds']:.0f} s; call again to go on")
        if driver.returncode != -signal.SIGKILL:
            break
    if driver.returncode:
        raise SystemExit(f"{name} failed with {driver.returncode}: see {log.name}")
    coreset = adacore.Coreset.load(out)
    return {
        "case": vars(case),
        "killed at files": spent["killed"],
        "drivers": spent["drivers"],
        "seconds": spent["seconds"],
        "processor_seconds": spent["processor"],
        "loads": spent["loads"],
        "largest_process_bytes": max(peak for peak, _ in spent["peaks"]),
        "largest_processes": sorted(spent["peaks"], reverse=True)[:5],
        "limit_bytes": limit or None,
        "file_bytes": sum(path.stat().st_size for path in data.iterdir()),
        "work_bytes": sum(path.stat().st_size for path in work.iterdir()),
        "objective": coreset.objective,
        "lower_bound": coreset.lower_bound,
        "statistics": coreset.statistics,
        "machine": machine(),
    }


def note(name: str, values: Any) -> None:
    record = read("scale")
    record[name] = values
    write("scale", record)
    print(name, json.dumps(values), flush=True)


def ten_million(folder: Path, pause: float) -> None:
    killed_or_not(folder, TEN_MILLION, "10,000,000 x 10", pause)


def one_million(folder: Path, pause: float) -> None:
    killed_or_not(folder, ONE_MILLION, "1,000,000 x 10", pause)


def killed_or_not(folder: Path, case: Case, title: str, pause: float) -> None:
    """Select with a worker killed halfway and the driver later, and without, and compare to the last index."""
    count = plan(case.rows, case.dims, case.budget, parts="auto").parts
    kills = (("worker", count // 2), ("driver", 3 * count // 4))
    names = [f"{case.rows}-killed", f"{case.rows}-undisturbed"]
    for name, what in zip(names, (kills, ()), strict=True):
        # Written when it is done: a benchmark that was paused goes on with the other.
        if not (folder / f"{name}.npz").exists():
            note(f"{title}, {name.rpartition('-')[2]}", select(folder, case, name, what, 0, pause))
    one, two = (adacore.Coreset.load(folder / f"{name}.npz") for name in names)
    same = {
        "indices": bool(np.array_equal(one.indices, two.indices)),
        "weights": bool(np.array_equal(one.weights, two.weights)),
        "objective": one.objective == two.objective,
        "lower_bound": one.lower_bound == two.lower_bound,
    }
    note(f"{title}, the same whether killed or not", same)


def limited(folder: Path, pause: float) -> None:
    note("3,000,000 x 64, limited", select(folder, LIMITED, "limited", (), LIMIT, pause))


def exact(folder: Path, pause: float) -> None:
    """Selection in 8 parts against exact greedy on one machine."""
    embeddings = np.load(data_root() / "debian-packages" / "packages-minilm.npy")[:30_000].astype(np.float32)
    for name, x, budget, metric in (
        ("50,000 x 10", clusters(50_000, 10, 0), 500, "euclidean"),
        ("30,000 x 384", embeddings, 300, "cosine"),
    ):
        data = folder / name.replace(" ", "").replace(",", "")
        data.mkdir(parents=True, exist_ok=True)
        for number, rows in enumerate(np.array_split(x, 8)):
            np.save(data / f"{number}.npy", rows)
        begin = time.process_time()
        whole = adacore.facility_location(x, budget=budget, metric=metric)
        seconds = time.process_time() - begin
        from adacore.integrations.ray import facility_location

        found = facility_location(data, budget=budget, metric=metric, workers=WORKERS, part_rows=len(x) // 8)
        note(
            f"{name}, 8 parts, over exact greedy",
            {
                "budget": budget,
                "metric": metric,
                "parts": found.statistics["parts"],
                "ratio": found.objective / whole.objective,
                "lower_bound_share": found.lower_bound / whole.objective,
                "exact_processor_seconds": seconds,
                "machine": machine(),
            },
        )


def pieces(folder: Path, pause: float) -> None:
    """One core's seconds for a part, a merge, and serving; medians of three."""
    prepare_kernels()
    for d, k in ((10, 1_000), (64, 500), (384, 300)):
        found: dict[str, Any] = {}
        for m in (5_000, 10_000, 20_000) if d < 384 else (5_000, 10_000):
            x = clusters(m, d, 0)
            found[f"choose of {m:,}"] = _median(lambda x=x, k=k: choose_in_part(x, Task(k)))
            found[f"serve {m:,}"] = _median(lambda x=x, k=k: serve_part(x, x[:k]))
        x = clusters(10_000, d, 1)
        heavy = np.random.default_rng(0).uniform(1, 20, len(x))
        some = [
            PartPicks(np.arange(len(part)), part, w) for part, w in zip(np.split(x, 2), np.split(heavy, 2), strict=True)
        ]
        found["merge of 10,000"] = _median(lambda some=some, k=k: merge(some, Task(k)))
        note(f"pieces, {d} dimensions, k = {k}", found | {"machine": machine()})


def embeddings(folder: Path, pause: float) -> None:
    """One core's seconds on real embeddings, with as many picks for each row as 10^9 x 384 rows and k = 10,000 have."""
    prepare_kernels()
    z = np.load(data_root() / "debian-packages" / "packages-minilm.npy").astype(np.float32)
    found: dict[str, Any] = {}
    for m in (3_750, 7_500):
        x, k = z[:m], m * 10_000 // 43_690
        task = Task(k, "cosine")
        found[f"choose {k:,} of {m:,}"] = _median(lambda x=x, task=task: choose_in_part(x, task), 1)
        heavy = np.random.default_rng(0).uniform(1, 9, m)
        some = [PartPicks(np.arange(m // 5), a, w) for a, w in zip(np.split(x, 5), np.split(heavy, 5), strict=True)]
        wide = Task(m // 5, "cosine")
        found[f"merge {m // 5:,} of {m:,}"] = _median(lambda some=some, wide=wide: merge(some, wide), 1)
        found[f"serve {m:,} by {k:,}"] = _median(lambda x=x, k=k: serve_part(x, x[:k], metric="cosine"), 1)
    note("embeddings, 384 dimensions", found | {"machine": machine()})


def _median(function: Any, times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        begin = time.process_time()
        function()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        data, work, out, budget, limit = sys.argv[2:]
        drive(data, work, out, int(budget), int(limit))
        return
    cases = {
        "ten-million": ten_million,
        "one-million": one_million,
        "limited": limited,
        "exact": exact,
        "pieces": pieces,
        "embeddings": embeddings,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=cases)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/adacore-scale"))
    parser.add_argument("--slice", type=float, default=float("inf"), help="kill the driver after so many seconds")
    given = parser.parse_args()
    cases[given.case](given.folder, given.slice)


if __name__ == "__main__":
    main()
