"""Selecting by two checkouts of this project, in turns: is what changed slower?

    git worktree add --detach ../before b94c578
    OMP_NUM_THREADS=1 python benchmarks/facility_before_after.py --before ../before --only "x 10"

Each timing is a process of its own that imports the package of one checkout or the other. A process selects once from
fewer rows, so that compiling is not counted, then ``--inner`` times; its least CPU seconds count. What is printed is
the median over ``--repeats`` such processes of each checkout, their ratio, and whether picks are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from facility_location_cases import Data, ijcnn1, softmax_gradients, text_embeddings, within_classes

ROOT = Path(__file__).resolve().parent.parent


def ijcnn1_preconditioned() -> Data:
    """Newton's steps of single examples of ijcnn1 at the pilot's parameters: what AdaCore compares on convex models."""
    from adacore.convex import logistic, pilot, preconditioned_gradients

    x, labels = ijcnn1()
    problem = logistic(x, labels)
    return preconditioned_gradients(problem, pilot(problem).w), labels


CASES: dict[str, tuple[Callable[[], Data], float, str]] = {
    "5,000 x 10": (lambda: (softmax_gradients(5_000, 10, 0), None), 0.1, "exact"),
    "10,000 x 10": (lambda: (softmax_gradients(10_000, 10, 0), None), 0.1, "exact"),
    "50,000 x 10": (lambda: (softmax_gradients(50_000, 10, 0), None), 0.1, "exact"),
    "10 classes x 6,000 x 10": (lambda: within_classes(10, 6_000, 0), 0.4, "exact"),
    "AdaCore reselects, 10 classes x 6,000 x 10": (lambda: within_classes(10, 6_000, 0), 0.4, "adacore"),
    "ijcnn1, features": (ijcnn1, 0.1, "exact"),
    "ijcnn1, preconditioned gradients": (ijcnn1_preconditioned, 0.1, "exact"),
    "20,000 x 64 Gaussian": (lambda: (np.random.default_rng(0).normal(size=(20_000, 64)), None), 0.01, "exact"),
    "5,000 x 384 text embeddings": (lambda: text_embeddings(5_000), 0.1, "exact"),
    "10,000 x 384 text embeddings": (lambda: text_embeddings(10_000), 0.1, "exact"),
    "30,000 x 384 text embeddings": (lambda: text_embeddings(30_000), 1 / 30, "exact"),
    "1,000,000 x 10, sampled": (lambda: (softmax_gradients(1_000_000, 10, 0), None), 0.001, "sampled"),
}
"""Rows and labels, the share to select, and how: a method of ``facility_location``, or the selector with curvature."""


def selection(x: Any, labels: Any, method: str) -> Callable[[int], Any]:
    """Return a function of the budget, in whichever version of the package is imported."""
    from adacore.facility import facility_location

    if method != "adacore":
        return lambda k: facility_location(x, budget=k, labels=labels, method=method, seed=0)
    from adacore.probing.snapshot import Snapshot
    from adacore.selectors import AdaCore, PerClass

    curvature = np.random.default_rng(0).uniform(0.05, 0.25, (1, x.shape[1])).astype(np.float32).repeat(len(x), axis=0)
    # The strata of a snapshot were called labels before.
    strata = "strata" if "strata" in Snapshot.__dataclass_fields__ else "labels"
    snapshot = Snapshot(len(x), proxies=x, curvature=curvature, **{strata: labels})
    return lambda k: PerClass(AdaCore()).select(snapshot, k, generator=np.random.default_rng(0))


def time_once(folder: Path, budget: int, method: str, inner: int) -> dict[str, Any]:
    """Time a selection in this process."""
    x = np.load(folder / "x.npy")
    labels = np.load(folder / "labels.npy") if (folder / "labels.npy").exists() else None
    some = np.random.default_rng(0).permutation(len(x))[:3000]
    selection(x[some], None if labels is None else labels[some], method)(300)
    select = selection(x, labels, method)
    seconds, cpu_seconds = [], []
    for _ in range(inner):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        coreset = select(budget)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
    return {"seconds": min(seconds), "cpu_seconds": min(cpu_seconds), "picks": coreset.indices.tolist()}


def compare(name: str, before: Path, repeats: int, inner: int) -> dict[str, Any]:
    """Time one case by both checkouts in turns."""
    make, fraction, method = CASES[name]
    runs: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
    with tempfile.TemporaryDirectory() as folder:
        x, labels = make()
        np.save(f"{folder}/x.npy", x)
        if labels is not None:
            np.save(f"{folder}/labels.npy", labels)
        budget = str(round(fraction * len(x)))
        command = [sys.executable, __file__, "--time", folder, budget, method, str(inner)]
        for _ in range(repeats):
            for checkout, root in (("before", before), ("after", ROOT)):
                environment = os.environ | {"PYTHONPATH": f"{root / 'src'}"}
                done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                runs[checkout].append(json.loads(done.stdout.splitlines()[-1]))
    cpu = {checkout: [run["cpu_seconds"] for run in found] for checkout, found in runs.items()}
    wall = {checkout: median(run["seconds"] for run in found) for checkout, found in runs.items()}
    middle = {checkout: median(values) for checkout, values in cpu.items()}
    print(
        f"{name}: CPU {middle['before']:.3f} s ({min(cpu['before']):.3f}-{max(cpu['before']):.3f}) -> "
        f"{middle['after']:.3f} s ({min(cpu['after']):.3f}-{max(cpu['after']):.3f}), "
        f"{middle['after'] / middle['before']:.2f} x; wall {wall['before']:.3f} -> {wall['after']:.3f} s; "
        f"picks {'equal' if runs['before'][0]['picks'] == runs['after'][0]['picks'] else 'DIFFER'}",
        flush=True,
    )
    return {"cpu_seconds": cpu, "seconds": wall}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare selecting in two checkouts.")
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--only", default="", help="cases whose names contain this, or one of these: a|b")
    parser.add_argument("--repeats", type=int, default=7, help="processes for each checkout")
    parser.add_argument("--inner", type=int, default=3, help="selections in each process; the least counts")
    parser.add_argument("--time", nargs=4, metavar=("FOLDER", "BUDGET", "METHOD", "INNER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        folder, budget, method, inner = arguments.time
        print(json.dumps(time_once(Path(folder), int(budget), method, int(inner))))
        return
    if arguments.before is None:
        parser.error("--before is missing: the folder of the checkout to compare with")
    for name in CASES:
        if any(part in name for part in arguments.only.split("|")):
            compare(name, arguments.before.resolve(), arguments.repeats, arguments.inner)


if __name__ == "__main__":
    main()
