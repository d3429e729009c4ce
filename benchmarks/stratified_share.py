"""What stratified mini-batches cost beside the training itself: ResNet-20 on CIFAR-10's shapes, S = 10 %, R = 20.

    python benchmarks/stratified_share.py [--repeats 5]

Measured are a training step and a probe, by example, on one thread, and the ordering of 50,000 x 64; a training of any
length is made of these. Steps and probes take turns, figures are medians of CPU seconds. The bar is 10 %. Also
measured are a probe whose images are left as they are given, and ``Probe(autocast="bfloat16")``.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

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

# So many that what is checked on the first few examples weighs little, as it does in a whole probe.
PROBED = 16 * BATCH

AS_GIVEN = patch("adacore.probing.batch_measurements.image_layout", lambda *_: None)
"""Images stay in the layout in which the data set gives them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model("resnet20", (3, 32, 32), 10, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    inputs, targets = torch.rand(PROBED, 3, 32, 32), torch.arange(PROBED) % 10
    data = TensorDataset(inputs, targets)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[:BATCH]), targets[:BATCH]).backward()
        optimizer.step()

    step()
    trained: list[float] = []
    probed: dict[str, list[float]] = {}
    arms: dict[str, tuple[Probe, str, AbstractContextManager[Any]]] = {
        "last_layer": (Probe(), "last_layer", nullcontext()),
        "last_layer, layout as given": (Probe(), "last_layer", AS_GIVEN),
        "last_layer, bfloat16": (Probe(autocast="bfloat16"), "last_layer", nullcontext()),
        "all_layers": (Probe(), "all_layers", nullcontext()),
        "all_layers, bfloat16": (Probe(autocast="bfloat16"), "all_layers", nullcontext()),
    }
    for _ in range(options.repeats):
        trained.append(cpu_seconds(step) / BATCH)
        for name, (probe, proxy, layout) in arms.items():
            needs = Stratified(proxy=proxy).requirements()  # type: ignore[arg-type]
            with layout:
                seconds = cpu_seconds(lambda probe=probe, needs=needs: probe.measure(model, data, needs))  # type: ignore[misc]
            probed.setdefault(name, []).append(seconds / len(data))
    generator = np.random.default_rng(0)
    snapshot = Snapshot(N, np.arange(N) % 10, proxies=generator.normal(size=(N, 64)).astype(np.float32))
    prepare_selector(Stratified())
    ordering = cpu_seconds(lambda: Stratified().strata(snapshot, generator=generator))
    training = statistics.median(trained) * N * FRACTION * EVERY
    print(f"{EVERY} epochs of {FRACTION:.0%}: {training:.1f} CPU s; ordering {ordering:.2f} CPU s")
    for name, each in probed.items():
        whole = statistics.median(each) * N
        print(f"{name:28} probe {whole:6.1f} CPU s: {(whole + ordering) / training:.1%} of the training (bar: 10 %)")


if __name__ == "__main__":
    main()
