"""What the running averages weigh in a checkpoint, and what measuring them takes at the second reselection.

    python benchmarks/state_size.py

A linear model over random inputs: 50,000 examples of 10 classes, and 20,000 of 1,000. Printed are the bytes of the
saved averages, and the peak of what numpy allocates while the model is probed the second time and averaged.
"""

from __future__ import annotations

import io
import tracemalloc

import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.probing.curvature import RunningAverages
from adacore.probing.probe import Probe
from adacore.selectors import CRAIG, AdaCore, Stratified
from adacore.selectors.base import Selector

SELECTORS: dict[str, Selector] = {
    "AdaCore()": AdaCore(),
    'AdaCore(proxy="last_layer")': AdaCore(proxy="last_layer"),
    "AdaCore without averages": AdaCore(average_gradient=False, average_curvature=False),
    "CRAIG()": CRAIG(),
    "Stratified()": Stratified(),
}


def main() -> None:
    for n, classes in ((50_000, 10), (20_000, 1_000)):
        data = TensorDataset(torch.randn(n, 20), torch.arange(n) % classes)
        model = nn.Linear(20, classes)
        for name, selector in SELECTORS.items():
            needs = selector.requirements()
            averages, peak = RunningAverages.init(needs.beta1, needs.beta2), 0
            for reselection in range(2):
                tracemalloc.start()
                snapshot = Probe().measure(model, data, needs, reselection=reselection)
                averages, snapshot = averages.update(snapshot, overwrite=True)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                del snapshot
            file = io.BytesIO()
            torch.save(averages.state_dict(), file)
            floats = 4 * n * classes
            print(
                f"n={n} C={classes} {name:28} saved {file.tell() / 1e6:6.1f} MB, "
                f"{file.tell() / floats:5.2f} n C floats; peak {peak / floats:5.2f} n C floats",
                flush=True,
            )


if __name__ == "__main__":
    main()
