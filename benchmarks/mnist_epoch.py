"""MNIST as in the paper's C.6: what an epoch on AdaCore coresets costs beside a full one, and what the loop adds.

A perceptron of 100 sigmoid units, batches of 32, momentum 0.9, weight decay 1e-4; coresets of 40 %, every five epochs.
Epochs of both methods, and bare PyTorch loops over the same tensors, take turns; ratios are of medians over rounds.

    python benchmarks/mnist_epoch.py --data-root ../shared/data
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from adacore.experiments import data
from adacore.experiments.runs.models import make_model
from adacore.experiments.runs.run_folder import RunFolder, versions
from adacore.experiments.runs.settings import TrainConfig
from adacore.experiments.runs.training_loop import TrainingLoop

EVERY = 5
SETTINGS = {
    "data": "mnist",
    "model": "mlp",
    "batch_size": 32,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "learning_rate": 0.1,
    "schedule": "constant",
    "fraction": 0.4,
    "every": EVERY,
    "epochs": 1000,
    "eval_every": 1000,
    "tensorboard": False,
}


def bare_epoch(inputs: Tensor, targets: Tensor) -> float:
    """Step through everything once as one would by hand, and return the seconds."""
    model = make_model("mlp", tuple(inputs.shape[1:]), 10, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    start = time.perf_counter()
    for rows in torch.randperm(len(inputs)).split(32):
        loss = criterion(model(inputs[rows].float().div_(255)), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def timed_epoch(trainer: TrainingLoop, folder: RunFolder) -> float:
    """Run an epoch, probing and selecting included, and return the seconds."""
    start = time.perf_counter()
    trainer.run_epoch(folder)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of five epochs of each")
    arguments = parser.parse_args()
    splits = data.load("mnist", data_root=arguments.data_root)
    full, adacore = (TrainingLoop(TrainConfig(**SETTINGS, method=method), splits) for method in ("full", "adacore"))
    seconds: dict[str, list[float]] = {"bare": [], "full": [], "adacore": []}
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        folder.coresets.mkdir()
        timed_epoch(full, folder)  # what is compiled or allocated once is no part of an epoch
        for _ in range(EVERY):
            timed_epoch(adacore, folder)
        for _ in range(arguments.rounds):
            seconds["bare"].append(bare_epoch(splits.train.inputs, splits.train.targets))
            seconds["full"].append(timed_epoch(full, folder))
            seconds["adacore"].append(sum(timed_epoch(adacore, folder) for _ in range(EVERY)) / EVERY)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(", ".join(f"{name} {number}" for name, number in versions().items()))
    print(f"threads {torch.get_num_threads()}, medians of {arguments.rounds} rounds (lowest to highest):")
    for name, values in seconds.items():
        print(f"  {name:8} {median[name]:.3f} s an epoch ({min(values):.3f} to {max(values):.3f})")
    print(f"AdaCore epoch / full epoch: {median['adacore'] / median['full']:.3f} (bar: 0.65)")
    print(f"full epoch / bare loop:     {median['full'] / median['bare']:.3f} (bar: 1.3)")


if __name__ == "__main__":
    main()
