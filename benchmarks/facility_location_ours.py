"""Time facility_location in a fresh process, and report as JSON on the last line of stdout.

    python benchmarks/facility_location_ours.py points.npy 500 --method exact --labels labels.npy

Compilation is not counted: a small problem is solved first.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from adacore.facility import facility_location


def main() -> None:
    parser = argparse.ArgumentParser(description="Time facility_location.")
    parser.add_argument("points")
    parser.add_argument("budget", type=int)
    parser.add_argument("--labels")
    parser.add_argument("--method", default="exact")
    arguments = parser.parse_args()
    x = np.load(arguments.points)
    labels = np.load(arguments.labels) if arguments.labels else None
    # In numbers of the same kind, and enough rows for the engine that will run: kernels are compiled for each.
    warm = np.random.default_rng(0).normal(size=(3000, x.shape[1])).astype(x.dtype)
    for k in (2, 100):
        facility_location(warm, budget=k)
    facility_location(warm, budget=20, labels=np.arange(3000) % 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    coreset = facility_location(x, budget=arguments.budget, labels=labels, method=arguments.method, seed=0)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "picks": coreset.indices.tolist(),
        "objective": coreset.objective,
        "certificate": coreset.certificate,
        "bytes": peak,
        "distances": coreset.statistics["distances"],
        "method": coreset.statistics["method"],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
