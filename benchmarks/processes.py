"""What probing and selecting cost each of two processes, beside one process: CPU seconds, one thread each.

    python benchmarks/processes.py [--repeats 5]     # writes docs/records/processes.json

MNIST's 60,000 training images, a network of 784-512-512-10, AdaCore on the logits, 10 % of each class. Processes talk
over gloo. The bar for probing is 0.65 times one process's seconds. Selecting divides the ten classes.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import socket
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.probing.processes import Processes
from adacore.training.choosing import choose
from convex_data import machine, write

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))


def load() -> TensorDataset:
    pixels, labels = (
        np.frombuffer(gzip.decompress((DATA / "mnist" / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (("train-images-idx3-ubyte.gz", 16), ("train-labels-idx1-ubyte.gz", 8))
    )
    return TensorDataset(torch.tensor(pixels).view(-1, 784) / 255, torch.tensor(labels).long())


def work(rank: int, size: int, port: int, repeats: int, results: Any) -> None:
    """Probe and select some times as one of several processes, and report the CPU seconds of each time."""
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    data, selector, processes = load(), adacore.AdaCore(), Processes.current()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    seconds = []
    for reselection in range(repeats + 1):
        start = time.process_time()
        snapshot = adacore.Probe().measure(
            model, data, selector.requirements(), reselection=reselection, processes=processes
        )
        probed = time.process_time()
        generator = np.random.default_rng(reselection)
        choose(selector, snapshot, 6000, batches="weighted", generator=generator, processes=processes)
        seconds.append((probed - start, time.process_time() - probed))
    results.put((size, rank, seconds[1:]))  # the first compiles kernels and touches pages


def run(size: int, repeats: int) -> list[tuple[float, float]]:
    """Return the median seconds of probing and of selecting of each process."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    children = [context.Process(target=work, args=(rank, size, port, repeats, results)) for rank in range(size)]
    for child in children:
        child.start()
    measured = [results.get(timeout=280)[2] for _ in children]
    for child in children:
        child.join()
    return [(median(probe for probe, _ in each), median(choosing for _, choosing in each)) for each in measured]


def main() -> None:
    """Print the seconds, and the ratios to those of one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    ((probing, selecting),) = run(1, repeats)
    print(f"one process: probing {probing:.2f} s, selecting {selecting:.2f} s", flush=True)
    halves = run(2, repeats)
    for half, part in halves:
        print(
            f"each of two: probing {half:.2f} s ({half / probing:.2f}), selecting {part:.2f} s "
            f"({part / selecting:.2f})",
            flush=True,
        )
    found: dict[str, Any] = {"command": f"python benchmarks/processes.py --repeats {repeats}", "repeats": repeats}
    found |= {"one process, CPU seconds": {"probing": probing, "selecting": selecting}}
    found |= {"each of two": [{"probing": half, "selecting": part} for half, part in halves]}
    found |= {"larger share in probing": max(half for half, _ in halves) / probing}
    write("processes", found | {"machine": machine()})


if __name__ == "__main__":
    main()
