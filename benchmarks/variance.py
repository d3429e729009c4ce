"""How far mini-batch gradients are from the full gradient in the middle of training, by method and batching.

    python benchmarks/variance.py --data mnist --model mlp --examples 20000 --train-batch 64
    python benchmarks/variance.py --data cifar10 --model resnet20 --examples 3000 --train-batch 256

Trains on fresh random subsets (S = 1 %, the paper's schedule) up to the middle, computes each example's gradient of all
parameters on a random part of the training set (shortened by a count sketch), and draws mini-batches. Printed is the
root mean square of ||g_B - g|| / ||g||, its ratio to that of random batches, and the largest bias in standard errors.
Writes docs/records/variance-<data>.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from adacore.experiments.analysis.variance import (
    Draw,
    batch_error,
    cluster_batches,
    coreset_batches,
    random_batches,
    sketch_gradients,
    stratified_batches,
)
from adacore.experiments.data import Splits, load
from adacore.experiments.runs.models import make_model
from adacore.experiments.runs.optimizers import learning_rate
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Snapshot
from adacore.selectors import CRAIG, AdaCore, PerClass, Random, Stratified

RECORDS = Path(__file__).parents[1] / "docs" / "records"

FLOAT32, BFLOAT16 = Probe(), Probe(autocast="bfloat16")


def train_to_the_middle(splits: Splits, options: argparse.Namespace) -> nn.Module:
    """Train on fresh random subsets for half of the epochs."""
    model = make_model(options.model, splits.shape, splits.classes, seed=options.seed)
    optimizer = torch.optim.SGD(model.parameters(), options.learning_rate, momentum=0.9, weight_decay=1e-4)
    n, generator = len(splits.train), np.random.default_rng(options.seed)  # type: ignore[arg-type]
    for epoch in range(options.epochs // 2):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate("paper", options.learning_rate, epoch, options.epochs)
        order = generator.choice(n, round(options.fraction * n), replace=False)
        for rows in np.array_split(order, max(1, len(order) // options.train_batch)):
            inputs, targets = splits.train.__getitems__(rows.tolist())  # type: ignore[attr-defined]
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Arms:
    """Mini-batches of every method on the same examples."""

    def __init__(self, model: nn.Module, data: Any, options: argparse.Namespace) -> None:
        self.model, self.data, self.options = model, data, options
        self.n, self.b = len(data), options.batch_size
        self._snapshots: dict[str, Snapshot] = {}

    def measure(self, selector: Any, probe: Probe = FLOAT32) -> Snapshot:
        """Probe once for all methods that need the same; the classes come with any probe."""
        needs = selector.requirements()
        needs = needs if needs.needs_model else Stratified().requirements()
        key = f"{needs} {probe.autocast}"
        if key not in self._snapshots:
            self._snapshots[key] = probe.measure(self.model, self.data, needs, seed=1)
        return self._snapshots[key]

    def all(self, draws: int, seed: int = 2) -> Iterator[tuple[str, Iterator[Draw]]]:
        """Name each method and draw its mini-batches."""
        n, b = self.n, self.b

        def rng() -> np.random.Generator:
            return np.random.default_rng(seed)

        yield "random", random_batches(n, b, draws, generator=rng())
        for selector in (
            Stratified(order="classes"),
            *(Stratified(proxy=proxy, balanced=False) for proxy in ("logits", "penultimate", "last_layer")),
            Stratified(order="facility", balanced=False),
            Stratified(curvature="exact", balanced=False),
            *(Stratified(proxy=proxy) for proxy in ("logits", "penultimate", "last_layer")),
        ):
            strata = selector.strata(self.measure(selector), generator=rng())
            yield name_of(selector), stratified_batches(strata, b, draws, generator=rng())
        for proxy in ("logits", "penultimate", "last_layer"):
            selector = Stratified(proxy=proxy)
            strata = selector.strata(self.measure(selector, BFLOAT16), generator=rng())
            yield f"{name_of(selector)}, probed in bfloat16", stratified_batches(strata, b, draws, generator=rng())
        for method in (CRAIG(proxy="last_layer"), AdaCore()):
            snapshot = self.measure(method)
            coreset = PerClass(method).select(snapshot, self.options.coreset, generator=rng())
            for batching in ("weighted", "proportional", "stratified"):
                drawn = coreset_batches(coreset, batching, b, draws, generator=rng())
                yield f"{method.name}, {len(coreset)} medoids: {batching} batches", drawn
            whole = [(coreset.indices, coreset.weights / coreset.weights.mean())] * 2
            yield f"{method.name}, {len(coreset)} medoids: the whole coreset", iter(whole)
            members = cluster_batches(method.coordinates(snapshot), coreset, draws, generator=rng())
            yield f"{method.name}, {len(coreset)} clusters: a random member of each", members
        k = self.options.coreset
        subsets = (Random().select(Snapshot(n), k, generator=np.random.default_rng(s)) for s in range(draws))
        yield f"random, {k} examples", ((subset.indices, np.ones(k)) for subset in subsets)


def follow(arms: Arms, steps: list[int]) -> Iterator[dict[str, Any]]:
    """Train on each method's batches, all selected at the same model, and look at the loss over all examples."""
    inputs, targets = (torch.stack(list(part)) for part in zip(*arms.data, strict=True))
    for name, draws in arms.all(max(steps)):
        if "whole" in name or "members" in name or "examples" in name:
            continue
        model, losses = copy.deepcopy(arms.model), []
        optimizer = torch.optim.SGD(model.parameters(), arms.options.learning_rate, momentum=0.9)
        for step, (rows, weights) in enumerate([(np.array([], np.int64), np.array([])), *draws]):
            if step:
                each = nn.functional.cross_entropy(model(inputs[rows]), targets[rows], reduction="none")
                optimizer.zero_grad()
                (torch.from_numpy(weights).float() * each).mean().backward()
                optimizer.step()
            if step in steps:
                with torch.no_grad():
                    losses.append(float(nn.functional.cross_entropy(model(inputs), targets)))
        print(f"{name:55} " + " ".join(f"{loss:.3f}" for loss in losses), flush=True)
        yield {"method": name, "steps": steps, "losses": losses}


def name_of(selector: Stratified) -> str:
    if selector.order == "classes":
        return "stratified by class"
    parts = [f"stratified, {selector.order}, {selector.proxy}"]
    parts += ["curvature"] if selector.curvature else []
    parts += ["balanced"] if selector.balanced else []
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=200, help="of the whole training; measured after half of them")
    parser.add_argument("--fraction", type=float, default=0.01)
    parser.add_argument("--train-batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--coreset", type=int, default=200, help="size of the coresets that batches are drawn from")
    parser.add_argument("--sketch", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[], help="train on each method's batches; say the losses"
    )
    parser.add_argument("--layer", help="measure the gradients of this module's parameters alone")
    parser.add_argument("--out", help="name of the record (default: the data's)")
    parser.add_argument("--checkpoint", type=Path, help="a model's state to load in place of training, or to save")
    options = parser.parse_args()
    start = time.perf_counter()
    splits = load(options.data, data_root=options.data_root)
    if options.checkpoint and options.checkpoint.exists():
        model = make_model(options.model, splits.shape, splits.classes, seed=options.seed)
        model.load_state_dict(torch.load(options.checkpoint, weights_only=True))
    else:
        model = train_to_the_middle(splits, options)
        if options.checkpoint:
            torch.save(model.state_dict(), options.checkpoint)
    rows = np.random.default_rng(5).choice(len(splits.train), options.examples, replace=False)  # type: ignore[arg-type]
    data = Subset(splits.train, rows.tolist())
    gradients = sketch_gradients(model, data, dimension=options.sketch, layer=options.layer)
    found, base = [], None
    arms = Arms(model, data, options)
    for name, draws in arms.all(options.draws):
        error = batch_error(gradients, draws)
        base = error.relative_error if base is None else base
        found.append({"method": name, **error.to_dict(), "ratio": error.relative_error / base})
        print(f"{name:55} {error.relative_error:8.3f} {error.relative_error / base:6.3f} {error.bias:5.1f}", flush=True)
    squares = np.sort(np.square(gradients).sum(1))[::-1]
    record = {
        "command": "python benchmarks/variance.py "
        + " ".join(
            f"--{name.replace('_', '-')} {value}"
            for name, value in vars(options).items()
            if value not in (None, []) and name not in {"data_root", "checkpoint", "steps"}
        ),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "seconds": round(time.perf_counter() - start),
        "share_of_squared_norm_in_top": {
            str(q): float(squares[: int(q * len(squares))].sum() / squares.sum()) for q in (0.01, 0.05, 0.1)
        },
        "errors": found,
        "training": list(follow(arms, options.steps)) if options.steps else [],
    }
    path = RECORDS / f"variance-{options.out or options.data}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
