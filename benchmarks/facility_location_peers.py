"""Time another library's facility location, in its own environment, and report as JSON on the last line of stdout.

    .venv-benchmarks/bin/python benchmarks/facility_location_peers.py apricot points.npy 500

Seconds include the matrix of distances, by scikit-learn; the similarity is its maximum less the distance, so that all
maximize the same function. Compilation is not counted: a small problem is solved first.
"""

import importlib.metadata
import json
import sys
import time

import numpy as np


def similarity_of(x):
    from sklearn.metrics import pairwise_distances

    distances = pairwise_distances(x.astype(np.float64), metric="euclidean", n_jobs=1)
    np.subtract(distances.max(), distances, out=distances)
    return distances


def apricot(x, k):
    from apricot import FacilityLocationSelection

    chosen = FacilityLocationSelection(k, metric="precomputed", optimizer="lazy").fit(similarity_of(x))
    return np.asarray(chosen.ranking)


def submodlib(x, k):
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(
        n=len(x), mode="dense", sijs=similarity_of(x).astype(np.float32), separate_rep=False
    )
    picks = function.maximize(
        budget=k,
        optimizer="LazyGreedy",
        stopIfZeroGain=False,
        stopIfNegativeGain=False,
        verbose=False,
        show_progress=False,
    )
    return np.array([index for index, _ in picks])


PEERS = {"apricot": (apricot, "apricot-select"), "submodlib": (submodlib, "submodlib-py")}


def main():
    name, path, k = sys.argv[1], sys.argv[2], int(sys.argv[3])
    select, package = PEERS[name]
    x = np.load(path)
    select(x[:300], 20)
    start, cpu_start = time.perf_counter(), time.process_time()
    picks = select(x, k)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "picks": picks.tolist(),
        "version": importlib.metadata.version(package),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
