"""Does stratifying mini-batches raise test accuracy? Small trainings that a CPU allows, every arm at its own best rate.

    python benchmarks/stratified_training.py mnist --data-root ../shared/data
    python benchmarks/stratified_training.py --list

For each arm the learning rate is searched on a validation split of the training set, then confirmed with other seeds,
trained on the whole training set and measured on the test set. Seeds are paired: one seed means the same initial
weights for all arms. Random draws a fresh subset in every epoch. Every run is appended to <experiment>.jsonl in the
work folder, and a command that was stopped goes on there. Writes docs/records/stratified-training-<experiment>.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import adacore
from adacore.experiments.data import ArrayDataset, Splits, find_root, load
from adacore.experiments.data.split import hold_out
from adacore.experiments.evidence.verdicts import judge_all
from adacore.experiments.runs.models import make_model
from adacore.experiments.runs.optimizers import Optimization, learning_rate, make_optimizer, set_learning_rate
from adacore.selectors.registry import parse_selector
from gradient_balancing import GradientBalancing

RECORDS = Path(__file__).parents[1] / "docs" / "records"

CLASSES = "stratified(order=classes)"
GEOMETRY = ("stratified", "stratified(proxy=all_layers)", "stratified(proxy=logits)")
ABLATION = (
    "stratified(balanced=false)",
    "stratified(order=facility, balanced=false)",
    "stratified(order=facility)",
    "stratified(curvature=exact)",
)
CORESETS = ("adacore", "adacore, proportional batches", "adacore, stratified batches")


@dataclass(frozen=True)
class Experiment:
    """Settings of a comparison; every arm trains for equally many gradient evaluations.

    Attributes:
        data: Name of a data set.
        arms: Methods as ``parse_selector`` reads them, or "grab"; ", proportional batches" or ", every=5" may follow.
        rates: Learning rates searched.
        rows: How many training examples, the first of a fixed random order; None for all.
        budget: Examples in an epoch.
        model: Name of a model, or ``small_convnet``.
        every: R.
        epochs: Of a training.
        batch_size: Examples in a batch.
        searched: Seeds that a rate is searched with.
        seeds: Others, that it is confirmed with.
        optimizer: A name in ``adacore.experiments.runs.optimizers``; SGD has momentum 0.9, weight decay is 1e-4.
        evaluations: How often accuracy is measured in a training, at equal distances.
        half_precision: Whether training steps are in bfloat16 by autocast, with channels last; probes are in float32.
    """

    data: str
    arms: tuple[str, ...]
    rates: tuple[float, ...]
    rows: int | None = None
    budget: int = 600
    model: str = "mlp"
    every: int = 20
    epochs: int = 100
    batch_size: int = 64
    searched: tuple[int, ...] = (100,)
    seeds: tuple[int, ...] = tuple(range(5))
    optimizer: str = "sgd"
    evaluations: int = 20
    half_precision: bool = False


RATES = (0.4, 0.8, 1.6)
MNIST = Experiment("mnist", ("random", CLASSES, *GEOMETRY), RATES)
# A third of the rows, for what needs many arms: a reselection costs a third, and 600 of them are S = 3 %.
SMALL = replace(MNIST, rows=20_000, searched=(100, 101))
BASIC = ("random", CLASSES, "stratified")
# Rows are embeddings: the best rate is far below that of pixels.
PACKAGES = replace(SMALL, data="debian-packages", rows=None, arms=MNIST.arms, rates=(0.05, 0.1, 0.2, 0.4))
CIFAR = replace(
    SMALL,
    data="cifar10",
    rows=5000,
    budget=512,
    model="small_convnet",
    epochs=60,
    rates=(0.0125, 0.025, 0.05, 0.1),
    arms=BASIC,
)
# Of ResNet-20 what an hour of one CPU thread allows: a step in bfloat16 takes half the time.
RESNET = replace(
    CIFAR,
    model="resnet20",
    rows=10_000,
    budget=1000,
    epochs=40,
    rates=(0.05, 0.1, 0.2),
    searched=(100,),
    evaluations=2,
    half_precision=True,
)
PERMUTATIONS = replace(
    SMALL, rows=10_000, budget=10_000, every=5, epochs=20, rates=(0.4, 0.8, 1.6), arms=(*BASIC, "grab")
)
EXPERIMENTS = {
    "mnist": MNIST,
    # Weighted medoids need a lower rate than the rest.
    "mnist-ablation": replace(SMALL, arms=(*BASIC, *ABLATION, *CORESETS), rates=(0.1, 0.2, *RATES)),
    "mnist-every": replace(SMALL, arms=(*BASIC, *(f"stratified, every={r}" for r in (1, 5, 50)))),
    # A batch four times as large takes a rate up to four times as large: each has a range of its own.
    **{
        f"mnist-batch-{b}": replace(SMALL, arms=BASIC, batch_size=b, budget=512, rates=rates)
        for b, rates in ((32, (0.2, 0.4, 0.8)), (64, RATES), (256, (0.8, 1.6, 3.2, 6.4)), (512, (0.8, 1.6, 3.2, 6.4)))
    },
    "mnist-adamw": replace(SMALL, optimizer="adamw", rates=(3e-3, 1e-2, 3e-2, 1e-1), arms=BASIC),
    # Random for more epochs: how many gradient evaluations is what the strata give worth?
    **{f"mnist-random-{e}": replace(MNIST, arms=("random",), epochs=e) for e in (150, 200)},
    "mnist-permutations": PERMUTATIONS,
    "packages": PACKAGES,
    "packages-adamw": replace(PACKAGES, optimizer="adamw", rates=(3e-4, 1e-3, 3e-3, 1e-2), arms=BASIC),
    "cifar10": CIFAR,
    "cifar10-ablation": replace(CIFAR, arms=(*BASIC, *ABLATION[1:])),
    "cifar10-resnet20": RESNET,
    # Three times as long, at the rate that all three arms had found best: does what is gained last?
    "cifar10-resnet20-long": replace(RESNET, epochs=120, rates=(0.1,), seeds=tuple(range(10, 15)), evaluations=6),
    # An epoch is ten times as long here.
    "cifar10-permutations": replace(CIFAR, budget=5000, every=5, epochs=15, rates=(0.025, 0.05, 0.1), searched=(100,)),
    "cifar10-imbalanced": replace(CIFAR, data="cifar10-imbalanced", arms=BASIC),
}


def small_convnet(shape: tuple[int, ...], classes: int, *, seed: int) -> nn.Module:
    """Make three convolutions of stride two with group norm: a small part of ResNet-20's work."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs, outputs in ((shape[0], 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, classes))


def load_packages(root: Path) -> Splits:
    """Load sentence embeddings of package descriptions and their sections; every sixth is a test example."""
    import pyarrow.parquet as parquet

    folder = root / "debian-packages"
    x = torch.from_numpy(np.load(folder / "packages-minilm.npy").astype(np.float32))
    sections = parquet.read_table(folder / "packages.parquet")["section"].to_numpy()
    y = torch.from_numpy(np.unique(sections, return_inverse=True)[1])
    # Rows have length one in 384 dimensions; entries of about one suit the usual initial weights.
    x, test = x * math.sqrt(x.shape[1]), torch.arange(len(x)) % 6 == 0
    train, held_out = ArrayDataset(x[~test], y[~test]), ArrayDataset(x[test], y[test])
    names = tuple(str(name) for name in np.unique(sections))
    return Splits("debian-packages", train, held_out, (x.shape[1],), len(names), names)


def splits_of(experiment: Experiment, root: str | None, *, search: bool) -> tuple[Any, Any, Splits]:
    """Return what is trained on and what is measured on: validation examples in a search, else the test set."""
    packages = experiment.data == "debian-packages"
    splits = load_packages(find_root(root)) if packages else load(experiment.data, data_root=root)
    if experiment.rows is not None:
        rows = np.random.default_rng(5).permutation(len(splits.train))[: experiment.rows]  # type: ignore[arg-type]
        splits = replace(splits, train=splits.train.take(torch.from_numpy(rows)))  # type: ignore[attr-defined]
    if not search:
        return splits.train, splits.test, splits
    splits = hold_out(splits, len(splits.train) // 6, seed=0)  # type: ignore[arg-type]
    return splits.train, splits.validation, splits


def accuracy(predict: Callable[[Tensor], Tensor], model: nn.Module, data: ArrayDataset) -> float:
    """Return the share of examples whose class is predicted in eval mode."""
    model.eval()
    with torch.no_grad():
        right = 0
        for rows in torch.arange(len(data)).split(2000):  # the activations of 10,000 images take gigabytes
            x, y = data.__getitems__(rows)
            right += int((predict(x).argmax(1) == y).sum())
    model.train()
    return right / len(data)


class Source:
    """Where an arm's batches come from, and what choosing them cost."""

    def __init__(self, experiment: Experiment, arm: str, model: nn.Module, data: Any, seed: int) -> None:
        self.experiment, self.data = experiment, data
        self.grab: GradientBalancing | None = None
        self.loader: adacore.CoresetLoader | None = None
        if arm == "grab":
            self.grab = GradientBalancing(model, len(data), np.random.default_rng(seed))
            return
        method, batches, every = arm, "weighted", experiment.every
        if arm.endswith(" batches"):
            method, batches = arm.removesuffix(" batches").rsplit(", ", 1)
        elif ", every=" in arm:
            method, given = arm.rsplit(", every=", 1)
            every = int(given)
        self.loader = adacore.CoresetLoader(
            data,
            model,
            parse_selector(method),
            budget=min(experiment.budget, len(data)),
            every=1 if method == "random" else every,  # Random draws a fresh subset for every epoch
            batch_size=experiment.batch_size,
            seed=seed,
            batches=batches,  # type: ignore[arg-type]
        )

    def epoch(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield an epoch's batches: inputs, targets, weights."""
        if self.loader is not None:
            yield from self.loader
            return
        grab, size = self.grab, self.experiment.batch_size
        assert grab is not None
        for rows in np.split(grab.order, range(size, len(grab.order), size)):
            inputs, targets = self.data.__getitems__(torch.from_numpy(rows))
            grab.look(rows, inputs, targets)
            yield inputs, targets, torch.ones(len(rows))
        grab.end_epoch()

    @property
    def seconds(self) -> float:
        """Seconds of probing and selecting so far."""
        if self.loader is None:
            return 0.0 if self.grab is None else self.grab.seconds
        return self.loader.ledger.seconds["probing"] + self.loader.ledger.seconds["selecting"]


def train(experiment: Experiment, arm: str, rate: float, seed: int, parts: tuple[Any, Any, Splits]) -> dict[str, Any]:
    """Train once; return the accuracy, its course, and what it cost."""
    train_on, test_on, splits = parts
    if experiment.model == "small_convnet":
        model = small_convnet(splits.shape, splits.classes, seed=seed)
    else:
        model = make_model(experiment.model, splits.shape, splits.classes, seed=seed)
    if experiment.half_precision:
        model = model.to(memory_format=torch.channels_last)

    def predict(inputs: Tensor) -> Tensor:
        if not experiment.half_precision:
            return model(inputs)  # type: ignore[no-any-return]
        with torch.autocast("cpu", torch.bfloat16):
            return model(inputs.to(memory_format=torch.channels_last)).float()  # type: ignore[no-any-return]

    optimizer = make_optimizer(model, Optimization(optimizer=experiment.optimizer), rate)
    source, course, stepped, training = Source(experiment, arm, model, train_on, seed), list[float](), 0, 0.0
    for epoch in range(experiment.epochs):
        set_learning_rate(optimizer, learning_rate("paper", rate, epoch, experiment.epochs))
        start, before = time.perf_counter(), source.seconds
        for inputs, targets, weights in source.epoch():
            loss = (weights * nn.functional.cross_entropy(predict(inputs), targets, reduction="none")).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            stepped += len(targets)
        # What is left of the epoch's seconds: reading batches and stepping.
        training += time.perf_counter() - start - (source.seconds - before)
        if (epoch + 1) % max(1, experiment.epochs // experiment.evaluations) == 0:
            course.append(round(accuracy(predict, model, test_on), 5))
    return {
        "arm": arm,
        "rate": rate,
        "seed": seed,
        "accuracy": course[-1],
        "course": course,
        "gradient_evaluations": stepped,
        "probed_examples": 0 if source.loader is None else source.loader.ledger.probed_examples,
        "training_seconds": round(training, 3),
        "selection_seconds": round(source.seconds, 3),
    }


class Runs:
    """Runs of an experiment, kept in a file: what is there already is not trained again."""

    def __init__(self, path: Path, experiment: Experiment, root: str | None) -> None:
        self.path, self.experiment, self.root = path, experiment, root
        lines = path.read_text().splitlines() if path.exists() else []
        self.done = {(r["search"], r["arm"], r["rate"], r["seed"]): r for r in map(json.loads, lines)}
        self._data: dict[bool, Any] = {}

    def run(self, arm: str, rate: float, seed: int, *, search: bool) -> dict[str, Any]:
        """Return a run, trained now if it was not before."""
        key = (search, arm, rate, seed)
        if key not in self.done:
            if search not in self._data:
                self._data[search] = splits_of(self.experiment, self.root, search=search)
            run = {"search": search, **train(self.experiment, arm, rate, seed, self._data[search])}
            with self.path.open("a") as file:
                file.write(json.dumps(run) + "\n")
            self.done[key] = run
        return self.done[key]

    def best_rate(self, arm: str) -> tuple[float, dict[str, float]]:
        """Search the rate of the highest mean validation accuracy; a single one needs no search."""
        if len(self.experiment.rates) == 1:
            return self.experiment.rates[0], {}
        found = {
            rate: statistics.fmean(self.run(arm, rate, s, search=True)["accuracy"] for s in self.experiment.searched)
            for rate in self.experiment.rates
        }
        return max(found, key=found.__getitem__), {str(rate): round(value, 5) for rate, value in found.items()}


def compare(runs: Runs) -> Iterator[list[dict[str, Any]]]:
    """Search the rates of all arms, then confirm one seed after another; yield what is known after each, judged.

    Arms take turns, so that a comparison that is stopped has equally many seeds of each.
    """
    experiment = runs.experiment
    rates = {arm: runs.best_rate(arm) for arm in experiment.arms}
    for seeds in range(2, len(experiment.seeds) + 1):  # the differences of one seed have no interval
        found = []
        for arm, (rate, searched) in rates.items():
            confirmed = [runs.run(arm, rate, seed, search=False) for seed in experiment.seeds[:seeds]]
            found.append({"arm": arm, "rate": rate, "validation": searched, **summary(confirmed)})
        judge(found)
        yield found


def summary(confirmed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean accuracies and median costs of an arm's confirming runs."""
    accuracies = {run["seed"]: run["accuracy"] for run in confirmed}
    told: dict[str, Any] = {
        "accuracy": round(statistics.fmean(accuracies.values()), 5),
        "accuracies": accuracies,
        "course": [round(statistics.fmean(v), 5) for v in zip(*(run["course"] for run in confirmed), strict=True)],
    }
    for name in ("gradient_evaluations", "probed_examples", "training_seconds", "selection_seconds"):
        told[name] = round(statistics.median(run[name] for run in confirmed), 3)
    return told


def judge(found: list[dict[str, Any]]) -> None:
    """Compare every arm with Random, and with the classes alone: intervals corrected for the number of arms (Holm)."""
    accuracies = {row["arm"]: row["accuracies"] for row in found}
    for control in {"random", CLASSES} & accuracies.keys():
        judged = judge_all({arm: v for arm, v in accuracies.items() if arm != control}, accuracies[control])
        for row in found:
            if row["arm"] in judged:
                difference, judgement = judged[row["arm"]].difference, judged[row["arm"]]
                row[f"against {control}"] = {
                    **{end: round(getattr(difference, end), 5) for end in ("mean", "low", "high")},
                    "level": judgement.level,
                    "verdict": judgement.verdict,
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", choices=[*EXPERIMENTS, []])
    parser.add_argument("--list", action="store_true", help="name the experiments")
    parser.add_argument("--data-root")
    parser.add_argument("--work", type=Path, default=Path("runs/stratified-training"), help="folder of single runs")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name}: {experiment}" for name, experiment in EXPERIMENTS.items()))
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.experiments:
        experiment = EXPERIMENTS[name]
        path = RECORDS / f"stratified-training-{name}.json"
        for arms in compare(Runs(options.work / f"{name}.jsonl", experiment, options.data_root)):
            record = {
                "command": f"python benchmarks/stratified_training.py {name}",
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared with other work",
                "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
                "experiment": {key: value for key, value in vars(experiment).items() if key != "arms"},
                "arms": arms,
            }
            path.write_text(json.dumps(record, indent=1) + "\n")
            accuracies = ", ".join(f"{arm['arm']} {arm['accuracy']:.2%} (rate {arm['rate']})" for arm in arms)
            print(f"{name}, {len(arms[0]['accuracies'])} seeds: {accuracies}", flush=True)
        print(f"written: {path}", flush=True)


if __name__ == "__main__":
    main()
