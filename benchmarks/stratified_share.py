"""What stratified mini-batches cost beside the training itself: ResNet-20 on CIFAR-10's shapes, S = 10 %, R = 20.

    python benchmarks/stratified_share.py [--repeats 5]

Measured are a training step and a probe, by example, on one thread, and the ordering of 50,000 x 64; a training of any
length is made of these. Steps and probes take turns, figures are medians of CPU seconds. The bar is 10 %.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.experiments.runs.models import make_model
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Snapshot
from adacore.selectors import Stratified
from adacore.selectors.preparation import prepare_selector
from timing import cpu_seconds

N, FRACTION, EVERY, BATCH = 50_000, 0.1, 20, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model("resnet20", (3, 32, 32), 10, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    inputs, targets = torch.rand(2 * BATCH, 3, 32, 32), torch.arange(2 * BATCH) % 10
    data = TensorDataset(inputs, targets)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[:BATCH]), targets[:BATCH]).backward()
        optimizer.step()

    step()
    trained: list[float] = []
    probed: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        trained.append(cpu_seconds(step) / BATCH)
        for proxy in ("last_layer", "all_layers"):
            needs = Stratified(proxy=proxy).requirements()
            seconds = cpu_seconds(lambda needs=needs: Probe().measure(model, data, needs))  # type: ignore[misc]
            probed.setdefault(proxy, []).append(seconds / len(data))
    generator = np.random.default_rng(0)
    snapshot = Snapshot(N, np.arange(N) % 10, proxies=generator.normal(size=(N, 64)).astype(np.float32))
    prepare_selector(Stratified())
    ordering = cpu_seconds(lambda: Stratified().strata(snapshot, generator=generator))
    training = statistics.median(trained) * N * FRACTION * EVERY
    print(f"{EVERY} epochs of {FRACTION:.0%}: {training:.1f} CPU s; ordering {ordering:.2f} CPU s")
    for proxy, seconds in probed.items():
        probe = statistics.median(seconds) * N
        print(f"{proxy:10} probe {probe:6.1f} CPU s: {(probe + ordering) / training:.1%} of the training (bar: 10 %)")


if __name__ == "__main__":
    main()
