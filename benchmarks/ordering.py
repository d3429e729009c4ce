"""How long it takes to order examples for stratified mini-batches, and to draw an epoch.

    python benchmarks/ordering.py [--examples 50000] [--dimensions 64] [--repeats 5]

The bars are 2 s for ordering 50,000 x 64 in ten classes on 2 cores, and 10 ms for drawing an epoch's batches. Proxies
are synthetic: a mean of each class plus noise of falling variance.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from adacore.probing.snapshot import Snapshot
from adacore.selectors import Stratified
from adacore.selectors.preparation import prepare_selector


@contextmanager
def measured(timed: dict[str, list[tuple[float, float]]], what: str) -> Iterator[None]:
    start = time.perf_counter(), time.process_time()
    yield
    timed.setdefault(what, []).append((time.perf_counter() - start[0], time.process_time() - start[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    n, d, generator = options.examples, options.dimensions, np.random.default_rng(0)
    labels, scales = generator.integers(0, options.classes, size=n), 1 / np.arange(1, d + 1)
    proxies = (generator.normal(size=(options.classes, d))[labels] + generator.normal(size=(n, d))) * scales
    snapshot = Snapshot(n, labels, proxies=proxies.astype(np.float32))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    for selector in (Stratified(), Stratified(balanced=False), Stratified(order="facility")):
        prepare_selector(selector)
        timed: dict[str, list[tuple[float, float]]] = {}
        for _ in range(options.repeats):
            with measured(timed, "order"):
                strata = selector.strata(snapshot, generator=generator)
            for fraction in (0.01, 0.1, 1.0):
                with measured(timed, f"epoch at {fraction:g}"):
                    strata.batches(round(fraction * n), 64, generator=generator)
        print(f"{selector.order}, {'balanced' if selector.balanced else 'not balanced'}")
        for what, seconds in timed.items():
            wall, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
            print(f"  {what:15} {1000 * wall:8.1f} ms, {1000 * cpu:8.1f} ms of CPU (median of {options.repeats})")


if __name__ == "__main__":
    main()
