"""Run every bar of facility location beside other libraries, in one go, and write docs/benchmarks.md.

    python benchmarks/facility_location.py                    # everything: about half an hour
    python benchmarks/facility_location.py --quick            # without the million and the curve
    OMP_NUM_THREADS=1 python benchmarks/facility_location.py  # where cores are threads of one, which share its units
    python benchmarks/facility_location.py --only k_center    # the cases so named; "curve" and "sampled ratio" are two

What was measured is kept in docs/records/facility_location.json, case by case, and the page is written from that: it
can be measured in pieces.

The other libraries live in an environment of their own, .venv-benchmarks, made on the first run: they need not agree
with this project's versions. Each timing is a process of its own; ours and theirs take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from facility_location_cases import Case, cases, objective_of, softmax_gradients

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs/records/facility_location.json"
PEERS = ROOT / ".venv-benchmarks"
PINNED = ["apricot-select==0.6.1", "submodlib-py==0.0.3"]
OUR_TASKS = ("select", "k_center_by_torch")
"""What is compared with that is no other library; see ``facility_location_ours.py``."""
CURVE = (5_000, 10_000, 20_000, 40_000, 80_000)


@dataclass
class Timings:
    """What the runs of one case reported, by library."""

    case: Case
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """Return the median."""
        return median(run["seconds"] for run in self.runs[name])

    def cpu_seconds(self, name: str) -> float:
        """Return the median of the seconds of all threads together."""
        return median(run["cpu_seconds"] for run in self.runs[name])

    def spread(self, name: str) -> str:
        """Return the least and the most."""
        values = [run["seconds"] for run in self.runs[name]]
        return f"{min(values):.3g}-{max(values):.3g}"


def install_peers() -> Path:
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINNED], check=True)
    return python


def run_json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_case(case: Case, folder: Path, peers: Path, repeats: int, peer_repeats: int) -> Timings:
    x, labels = case.make()
    np.save(folder / "x.npy", x)
    ours = [
        sys.executable,
        str(ROOT / "benchmarks/facility_location_ours.py"),
        str(folder / "x.npy"),
        str(case.budget(x)),
    ]
    ours += ["--method", case.method]
    tasks = {task: [*ours, "--task", task] for task in OUR_TASKS}
    ours += ["--task", case.task]
    if labels is not None:
        np.save(folder / "labels.npy", labels)
        ours += ["--labels", str(folder / "labels.npy")]
    timings = Timings(case, {"adacore": [], **{peer: [] for peer in case.peers}})
    for repeat in range(min(case.repeats or repeats, repeats)):
        timings.runs["adacore"].append(run_json(ours))
        for peer in case.peers if repeat < peer_repeats else ():
            script = str(ROOT / "benchmarks/facility_location_peers.py")
            library = [str(peers), script, peer, str(folder / "x.npy"), str(case.budget(x))]
            timings.runs[peer].append(run_json(tasks.get(peer, library)))
    for runs in timings.runs.values():
        runs[0]["true_objective"] = objective_of(x, np.array(runs[0]["picks"]), labels)
        for run in runs:
            del run["picks"]
    print(case.name, verdict(timings), flush=True)
    return timings


def verdict(timings: Timings) -> tuple[str, bool]:
    """Say how a case stands to its bar."""
    case, ours = timings.case, timings.seconds("adacore")
    spent = timings.cpu_seconds("adacore")
    first = timings.runs["adacore"][0]
    parts, met = [], True
    for peer, factor in case.peers.items():
        # CPU seconds: what else the machine does takes less of them than of the time on the wall.
        ratio = timings.cpu_seconds(peer) / spent
        gap = abs(timings.runs[peer][0]["true_objective"] / first["true_objective"] - 1)
        parts.append(f"{ratio:.2g} x faster than {peer} (bar {factor:g}), objectives within {gap:.0e}")
        met = met and ratio >= factor and gap <= 1e-5
    if case.seconds:
        parts.append(f"{ours:.2f} s (bar {case.seconds:g} s)")
        met = met and ours <= case.seconds
    if case.cpu_seconds:
        parts.append(f"{spent:.1f} CPU seconds (bar {case.cpu_seconds:g})")
        met = met and spent <= case.cpu_seconds
    if case.bytes:
        peak = max(run["bytes"] for run in timings.runs["adacore"])
        parts.append(f"{peak / 1e6:.0f} MB beyond the input (bar {case.bytes / 1e6:.0f} MB)")
        met = met and peak <= case.bytes
    return "; ".join(parts), met


def sampled_ratio(folder: Path) -> float:
    """L of the sampled method over L of exact greedy at n = 100,000."""
    np.save(folder / "x.npy", softmax_gradients(100_000, 10, seed=1))
    script = [sys.executable, str(ROOT / "benchmarks/facility_location_ours.py"), str(folder / "x.npy"), "1000"]
    return run_json([*script, "--method", "sampled"])["objective"] / run_json(script)["objective"]


def curve(folder: Path) -> list[tuple[int, float, float]]:
    points = []
    for n in CURVE:
        np.save(folder / "x.npy", softmax_gradients(n, 10, seed=n))
        script = [
            sys.executable,
            str(ROOT / "benchmarks/facility_location_ours.py"),
            str(folder / "x.npy"),
            str(n // 10),
        ]
        runs = [run_json(script) for _ in range(3)]
        points.append((n, median(run["seconds"] for run in runs), runs[0]["distances"] / n**2))
        print("curve", points[-1], flush=True)
    return points


def plot(points: list[tuple[int, float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = [n for n, _, _ in points]
    left.semilogx(sizes, [share for _, _, share in points], "o-")
    left.set(xlabel="n", ylabel="distances evaluated / n²", ylim=(0, None), title="k = n / 10, 10 dimensions")
    right.loglog(sizes, [seconds for _, seconds, _ in points], "o-", label="measured")
    first = points[0][1]
    right.loglog(sizes, [first * (n / sizes[0]) ** 2 for n in sizes], ":", label="n²")
    right.set(xlabel="n", ylabel="seconds")
    right.legend()
    for axes in (left, right):
        # Less than a decade: the usual labels of its minor ticks run into one another.
        axes.minorticks_off()
        axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    figure.savefig(path, dpi=120)


def describe_machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of an {model}, {platform.system()}"


def write_report(
    results: list[Timings], points: list[tuple[int, float, float]], ratio: float | None, loads: list[float], path: Path
) -> None:
    import numba
    import torch

    versions = ", ".join(
        f"{name} {version}"
        for name, version in {
            "Python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "torch": torch.__version__,
        }.items()
    )
    threads = "".join(f"{name}={os.environ[name]} " for name in ("OMP_NUM_THREADS",) if name in os.environ)
    introduction = (
        f"Hardware: {describe_machine()}. {versions}; against {', '.join(PINNED)}. Command: "
        f"`{threads}python benchmarks/facility_location.py`, which writes this page. Every timing is a process of its "
        "own, ours and theirs in turns: medians, least and most in brackets, then CPU seconds of all threads, in which "
        f"the bars on ratios are. The load was {min(loads):.1f} to {max(loads):.1f}, the benchmark itself included. "
        "Computing distances counts on both sides; compiling counts on neither. Objectives are recomputed in float64 "
        "from the indices."
    )
    lines = ["# Facility location, measured", "", introduction, ""]
    lines += ["| case | adacore | others | bar | met |", "| --- | --- | --- | --- | --- |"]
    for timings in results:
        text, met = verdict(timings)
        others = ", ".join(
            f"{peer} {timings.seconds(peer):.3g} s ({timings.spread(peer)}, {len(timings.runs[peer])} runs), "
            f"CPU {timings.cpu_seconds(peer):.3g} s"
            for peer in timings.case.peers
        )
        ours = f"{timings.seconds('adacore'):.3g} s ({timings.spread('adacore')}, {len(timings.runs['adacore'])} runs)"
        ours += f", CPU {timings.cpu_seconds('adacore'):.3g} s"
        lines.append(f"| {timings.case.name} | {ours} | {others or '-'} | {text} | {'yes' if met else '**no**'} |")
    if ratio is not None:
        lines += [
            "",
            f'`method="sampled"` at n = 100,000, k = 1,000: L is {ratio:.4f} x that of exact greedy (bar 1.03).',
        ]
    if points:
        lines += ["", "## How it grows", "", "![distances and seconds](benchmarks-distances.png)", ""]
        lines += ["| n | seconds (median of 3) | distances / n² |", "| --- | --- | --- |"]
        lines += [f"| {n:,} | {seconds:.3g} | {share:.3f} |" for n, seconds, share in points]
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run every bar of facility location.")
    parser.add_argument("--quick", action="store_true", help="leave out the million points and the curve")
    parser.add_argument("--only", default="", help="run the cases whose names contain this")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours, at most")
    parser.add_argument("--peer-repeats", type=int, default=3, help="runs of theirs, at most")
    arguments = parser.parse_args()
    peers = install_peers()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    jobs: dict[str, Callable[[Path], Any]] = {
        case.name: lambda folder, case=case: (
            run_case(case, folder, peers, arguments.repeats, arguments.peer_repeats).runs
        )
        for case in cases()
        if not (arguments.quick and case.slow)
    }
    if not arguments.quick:
        jobs |= {"curve": curve, "sampled ratio": sampled_ratio}
    with tempfile.TemporaryDirectory() as name:
        for job, run in jobs.items():
            if arguments.only in job:
                record[job] = {"found": run(Path(name)), "load": os.getloadavg()[1]}
                RECORD.write_text(json.dumps(record, indent=1) + "\n")
    results = [Timings(case, record[case.name]["found"]) for case in cases() if case.name in record]
    points, ratio = (record.get(job, {}).get("found") for job in ("curve", "sampled ratio"))
    loads = [entry["load"] for entry in record.values()]
    if points:
        plot(points, ROOT / "docs/benchmarks-distances.png")
    write_report(results, points or [], ratio, loads, ROOT / "docs/benchmarks.md")
    return 0 if all(verdict(timings)[1] for timings in results) and (ratio or 0) <= 1.03 else 1


if __name__ == "__main__":
    sys.exit(main())
