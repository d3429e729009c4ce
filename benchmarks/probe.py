"""What a probe costs beside a bare forward pass over the same tensors, in the same precision, side by side.

    python benchmarks/probe.py [--images 10000] [--repeats 7] [--model resnet20] [--data cifar10]

The bar is 1.15 for CIFAR-10 with ResNet-20; proxies of all layers also need a backward pass to the layers' outputs, and
have no bar. The bare pass indexes tensors that are floats already; the probe reads the data set, which holds bytes.
Seconds are CPU seconds of the process, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, get_args

import torch
from torch import Tensor, nn

from adacore.experiments.data import load
from adacore.experiments.data.arrays import ArrayDataset
from adacore.experiments.runs.models import make_model
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Proxy, Requirements
from timing import cpu_seconds


def bare_forward(model: nn.Module, inputs: Tensor, batch_size: int) -> None:
    model.eval()
    with torch.no_grad():
        for start in range(0, len(inputs), batch_size):
            model(inputs[start : start + batch_size])
    model.train()


def compare(bare: Callable[[], Any], probed: Callable[[], Any], repeats: int) -> tuple[float, float, list[float]]:
    """Time both in turns, after one of each to warm up; medians, and the ratio of each pair."""
    pairs = [(cpu_seconds(bare), cpu_seconds(probed)) for _ in range(repeats + 1)][1:]
    ratios = sorted(b / a for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=512)
    options = parser.parse_args()
    splits = load(options.data)
    data = splits.train.take(torch.arange(min(options.images, len(splits.train))))
    assert isinstance(data, ArrayDataset)
    print(
        f"{options.model} on {len(data)} examples of {options.data}, batches of {options.batch_size}, "
        f"{options.repeats} repeats in turns; {os.cpu_count()} cores ({platform.machine()}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(
        f"{'precision':22} {'proxy':12} {'bare s':>8} {'probe s':>8} {'ratio':>7}   ratios of pairs, lowest to highest"
    )
    inputs = data.__getitems__(torch.arange(len(data)))[0]
    for precision in ("float32", "bfloat16 channels_last"):
        model = make_model(options.model, splits.shape, splits.classes, seed=0)
        given, autocast = inputs, nullcontext()
        if precision != "float32":
            model, given = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
            autocast: AbstractContextManager[Any] = torch.autocast("cpu", dtype=torch.bfloat16)
        for proxy in get_args(Proxy):
            needs = Requirements(proxy=proxy, curvature=None if proxy == "all_layers" else Curvature())
            with autocast:
                bare, probed, ratios = compare(
                    lambda: bare_forward(model, given, options.batch_size),  # noqa: B023
                    lambda: Probe(batch_size=options.batch_size).measure(model, data, needs),  # noqa: B023
                    options.repeats,
                )
            spread = " ".join(f"{ratio:.3f}" for ratio in ratios)
            print(f"{precision:22} {proxy:12} {bare:8.2f} {probed:8.2f} {probed / bare:7.3f}   {spread}", flush=True)


if __name__ == "__main__":
    main()
