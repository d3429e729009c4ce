"""What training through CoresetLoader costs: per step beside a bare loop, and per epoch with AdaCore, all included.

    python benchmarks/loop.py [--rounds 5] [--every 5] [--fraction 0.4]

The paper's set-up for MNIST (C.6): 100 sigmoid units, batches of 32, momentum 0.9, weight decay 1e-4. The bars: a step
at most 1.3 times that of a bare PyTorch loop that indexes the same tensors; the mean AdaCore epoch at 40 % and R = 5,
probing and selecting included, at most 0.65 of a full epoch of the same loop.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import adacore
from adacore.experiments.data import load
from adacore.experiments.data.arrays import ArrayDataset
from adacore.experiments.runs.models import make_model

BATCH = 32


def learner(splits: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = make_model("mlp", splits.shape, splits.classes, seed=0)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)


def bare_epoch(data: ArrayDataset, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The shortest loop there is, over the same tensors: bytes, made floats batch by batch."""
    criterion = nn.CrossEntropyLoss()
    order = torch.randperm(len(data)).split(BATCH)
    for indices in order:
        loss = criterion(model(data.inputs[indices].float().div_(255)), data.targets[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(order)


def epoch(loader: adacore.CoresetLoader, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    criterion = nn.CrossEntropyLoss(reduction="none")
    steps = 0
    for inputs, targets, weights in loader:
        loss = (weights * criterion(model(inputs), targets)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return steps


def timed(function: Callable[[], int]) -> tuple[float, float]:
    """Seconds in all, and for each step."""
    start = time.perf_counter()
    steps = function()
    elapsed = time.perf_counter() - start
    return elapsed, elapsed / steps


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--fraction", type=float, default=0.4)
    options = parser.parse_args()
    splits = load("mnist")
    print(
        f"MNIST, mlp, batches of {BATCH}; {options.rounds} rounds in turns; {os.cpu_count()} cores "
        f"({platform.machine()}), {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    bare, full, coreset = learner(splits), learner(splits), learner(splits)
    everything = adacore.CoresetLoader(splits.train, full[0], adacore.Full(), batch_size=BATCH)
    selected = adacore.CoresetLoader(
        splits.train, coreset[0], adacore.AdaCore(), fraction=options.fraction, every=options.every, batch_size=BATCH
    )
    steps, epochs = [], []
    for turn in range(options.rounds + 1):
        _, bare_step = timed(lambda: bare_epoch(splits.train, *bare))
        full_seconds, full_step = timed(lambda: epoch(everything, *full))
        period = [timed(lambda: epoch(selected, *coreset))[0] for _ in range(options.every)]
        if turn:  # the first compiles and warms up
            steps.append(full_step / bare_step)
            epochs.append(statistics.mean(period) / full_seconds)
            print(
                f"step: bare {bare_step * 1e6:.0f} us, loader {full_step * 1e6:.0f} us; epoch: full "
                f"{full_seconds:.2f} s, AdaCore {statistics.mean(period):.2f} s",
                flush=True,
            )
    print(f"step, loader / bare: {spread(steps)}; bar 1.3")
    print(f"mean epoch, AdaCore at {options.fraction:.0%}, R = {options.every} / full: {spread(epochs)}; bar 0.65")
    seconds = selected.ledger.seconds
    print("AdaCore's seconds: " + ", ".join(f"{part} {value:.2f}" for part, value in seconds.items()))


if __name__ == "__main__":
    main()
