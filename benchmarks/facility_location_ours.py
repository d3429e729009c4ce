"""Time facility_location in a fresh process, and report as JSON on the last line of stdout.

    python benchmarks/facility_location_ours.py points.npy 500 --method exact --labels labels.npy
    python benchmarks/facility_location_ours.py points.npy 1000 --task k_center

Compilation is not counted: a small problem is solved first. ``--task`` is one of ``select``; ``second_half``: half of
the budget is selected beforehand, and what is timed is the other half with it in ``initial=``; ``k_center``; and
``k_center_by_torch``: farthest first as a plain loop of torch, one product with all rows a pick, from the same first.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
from numpy.typing import NDArray

from adacore.facility import facility_location, k_center


def k_center_by_torch(x: NDArray[np.float32], first: int, k: int) -> NDArray[np.int64]:
    """Farthest first in single precision: what one would write down at once."""
    import torch

    rows, picks = torch.from_numpy(x), [first]
    norms = rows.square().sum(dim=1)
    minima = torch.full((len(x),), torch.inf)
    while len(picks) < k:
        last = picks[-1]
        minima = torch.minimum(minima, norms + norms[last] - 2 * (rows @ rows[last]))
        picks.append(int(minima.argmax()))
    return np.array(picks)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time facility_location.")
    parser.add_argument("points")
    parser.add_argument("budget", type=int)
    parser.add_argument("--labels")
    parser.add_argument("--method", default="exact")
    parser.add_argument("--task", default="select", choices=["select", "second_half", "k_center", "k_center_by_torch"])
    arguments = parser.parse_args()
    x = np.load(arguments.points)
    labels = np.load(arguments.labels) if arguments.labels else None
    # In numbers of the same kind, and enough rows for the engine that will run: kernels are compiled for each.
    warm = np.random.default_rng(0).normal(size=(3000, x.shape[1])).astype(x.dtype)
    for k in (2, 100):
        facility_location(warm, budget=k)
    facility_location(warm, budget=20, labels=np.arange(3000) % 2)
    k = arguments.budget
    earlier = np.empty(0, np.int64)
    if arguments.task == "second_half":
        earlier, k = facility_location(x, budget=k // 2).indices, k - k // 2
    elif arguments.task == "k_center_by_torch":
        earlier = k_center(x, budget=1).indices
    elif arguments.task == "k_center":
        k_center(warm, budget=20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    if arguments.task == "k_center_by_torch":
        picks = k_center_by_torch(x, int(earlier[0]), k)
    elif arguments.task == "k_center":
        picks = k_center(x, budget=k).indices
    else:
        initial = earlier if earlier.size else None
        coreset = facility_location(x, budget=k, labels=labels, method=arguments.method, initial=initial, seed=0)
        picks = np.concatenate([earlier, coreset.indices])
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "picks": picks.tolist(),
        "bytes": peak,
    }
    if not arguments.task.startswith("k_center"):
        report |= {"objective": coreset.objective, "distances": coreset.statistics["distances"]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
