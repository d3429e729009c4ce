"""How long GradMatch takes, per class, at the size of CIFAR-10, and how near its gradient comes.

    python benchmarks/gradmatch.py [--examples 50000] [--dimensions 64] [--fraction 0.01] [--repeats 5]

The bar is 10 s for 50,000 x 64, 1 %, ten classes, on 2 cores. Proxies are synthetic: a mean of each class plus noise of
falling variance, as gradients in the penultimate space are.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time

import numpy as np

from adacore.facility.threads import thread_count
from adacore.probing.snapshot import Snapshot
from adacore.selectors import GradMatch, PerClass, Random


def make_snapshot(n: int, d: int, classes: int, seed: int = 0) -> Snapshot:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, size=n)
    scales = 1 / np.arange(1, d + 1)
    proxies = generator.normal(size=(classes, d))[labels] * scales + generator.normal(size=(n, d)) * scales
    return Snapshot(n, labels, proxies=proxies.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.01)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    snapshot = make_snapshot(options.examples, options.dimensions, options.classes)
    budget = round(options.fraction * options.examples)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {thread_count()} threads, ", end="")
    print(f"Python {platform.python_version()}, numpy {np.__version__}")
    for lam in (0.5, 0.0):
        selector, seconds = PerClass(GradMatch(lam=lam)), []
        for repeat in range(options.repeats):
            start = time.perf_counter()
            coreset = selector.select(snapshot, budget, generator=np.random.default_rng(repeat))
            seconds.append(time.perf_counter() - start)
        drawn = PerClass(Random()).select(snapshot, budget, generator=np.random.default_rng(0))
        ratio = selector.objective(snapshot, coreset) / selector.objective(snapshot, drawn)
        print(
            f"lam={lam}: {len(coreset)} of {budget} examples ({coreset.statistics['short']} short), "
            f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f}), "
            f"objective {ratio:.2g} of a random subset's"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
