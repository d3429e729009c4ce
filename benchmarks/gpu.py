"""Facility location on a GPU: the picks of the CPU, and how long a million rows take; writes a record.

    python benchmarks/gpu.py                      # four minutes at most
    python benchmarks/gpu.py --minutes 2 --rows 200000

Needs nothing but the package, torch for CUDA and a GPU: rows are drawn on the spot, unit vectors around some thousand
centres with a spectrum that decays as that of text embeddings does. Where
the embeddings of ``../shared/data`` are, they are selected from too. The record goes to ``$OUT/gpu.json`` if that is
set, else to ``docs/records/gpu.json``, and is written anew after every case, so that whatever was measured is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from adacore.facility import facility_location  # noqa: E402
from adacore.facility.problem import check_problem  # noqa: E402
from adacore.facility.products import fused  # noqa: E402
from adacore.facility.products.greedy import ProductGreedy  # noqa: E402
from adacore.facility.products.tensor_evaluator import TensorEvaluator  # noqa: E402
from adacore.facility.workers import Workers  # noqa: E402

EMBEDDINGS = ROOT.parent / "shared/data/debian-packages/packages-minilm.npy"
STAGES = (
    *("sum_bounds", "lower_sums", "upper_gains_of_all", "upper_gains", "served", "gain", "add"),
    *("write_lists", "list_bounds", "lists_fit"),
)


def embeddings(n: int, d: int, device: torch.device, seed: int = 0, centres: int = 2000) -> torch.Tensor:
    """Draw unit vectors around centres, axes' variances falling as 1 / (rank + 10)."""
    draw = torch.Generator(device).manual_seed(seed)
    scales = (torch.arange(d, device=device) + 10.0).rsqrt()
    middles = torch.randn((centres, d), generator=draw, device=device) * scales
    x = torch.empty((n, d), device=device)
    for first in range(0, n, 100_000):
        some = slice(first, min(first + 100_000, n))
        count = some.stop - some.start
        which = (torch.rand(count, generator=draw, device=device).square() * centres).long()
        x[some] = middles[which] + 0.8 * scales * torch.randn((count, d), generator=draw, device=device)
        x[some] /= x[some].norm(dim=1, keepdim=True)
    return x


class Stages:
    """Seconds and calls of each of the evaluator's methods, while it is entered; nested calls count for both."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._kept: dict[str, Callable[..., Any]] = {}

    def __enter__(self) -> Stages:
        for name in STAGES:
            self._kept[name] = getattr(TensorEvaluator, name)
            setattr(TensorEvaluator, name, self._timed(name, self._kept[name]))
        return self

    def __exit__(self, *_: object) -> None:
        for name, method in self._kept.items():
            setattr(TensorEvaluator, name, method)

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                synchronize()
                entry = self.seconds.setdefault(name, [0.0, 0])
                entry[0] += time.perf_counter() - start
                entry[1] += 1

        return timed


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def solve(x: torch.Tensor, k: int, device: torch.device, seconds: float) -> dict[str, Any]:
    """Select with the time of each stage; give up after so many seconds, and say how far it came."""
    start = time.perf_counter()
    problem = check_problem(x).in_own_units()
    checked = time.perf_counter() - start
    progress: list[tuple[int, float]] = []

    def report(picks: int) -> None:
        now = time.perf_counter() - start
        if not progress or now - progress[-1][1] > 5:
            progress.append((picks, round(now, 2)))
            print(f"   {picks} picks after {now:.1f} s", flush=True)

    finished, bounds = True, np.empty(0)
    with Stages() as stages, Workers(1, device=device if device.type == "cuda" else None) as workers:
        timer = threading.Timer(seconds, workers.stop.set)
        timer.daemon = True
        timer.start()
        greedy = ProductGreedy(problem, workers, report, compiled=False)
        try:
            greedy.extend(k)
            bounds = greedy.remaining_bounds(1e9)
        except CancelledError:
            finished = False
        finally:
            timer.cancel()
    synchronize()
    total = time.perf_counter() - start
    result = {
        "rows": int(x.shape[0]),
        "dimensions": int(x.shape[1]),
        "picks": greedy.count,
        "finished": finished,
        "seconds": total,
        "seconds_of_checks": checked,
        "stages": {name: {"seconds": s, "calls": int(c)} for name, (s, c) in stages.seconds.items()},
        "evaluations_over_pairs": greedy.distances / x.shape[0] ** 2,
        "lists": greedy._evaluator.listed,
        "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }
    if finished:
        loss = float(problem.loss_in_units(greedy.total))
        largest = np.sort(bounds)[::-1][:k].sum()
        result |= {"objective": loss, "certificate": max(0.0, 1 - float(problem.loss_in_units(largest)) / loss)}
    return result


def agreement(x: torch.Tensor, k: int, device: torch.device, **options: Any) -> dict[str, Any]:
    """Select on the GPU and on the CPU, and compare."""
    start = time.perf_counter()
    there = facility_location(x, budget=k, device=device, **options)
    synchronize()
    middle = time.perf_counter()
    here = facility_location(x.cpu(), budget=k, device="cpu", **options)
    end = time.perf_counter()
    return {
        "rows": int(x.shape[0]),
        "picks": k,
        "equal": there.indices.tolist() == here.indices.tolist(),
        "objective_gap": abs(there.objective / here.objective - 1),
        "gpu_seconds": middle - start,
        "cpu_seconds": end - middle,
        "cpu_threads": torch.get_num_threads(),
    }


def describe(device: torch.device) -> dict[str, Any]:
    import numba

    return {
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none: on the CPU, for a trial run",
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "fused": fused.fused_works(device),
    }


def product_rate(device: torch.device) -> float:
    """Measure float32 products, in TFLOP/s: what bounds everything here."""
    n = 8192 if device.type == "cuda" else 512
    a, b, out = (torch.rand((n, n), device=device) for _ in range(3))
    torch.mm(a, b, out=out)
    synchronize()
    start = time.perf_counter()
    for _ in range(5):
        torch.mm(a, b, out=out)
    synchronize()
    return 5 * 2 * n**3 / (time.perf_counter() - start) / 1e12


def main() -> int:
    parser = argparse.ArgumentParser(description="Facility location on a GPU.")
    parser.add_argument("--minutes", type=float, default=4.0, help="at most, in all")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the largest case")
    parser.add_argument("--picks", type=int, default=1_000, help="of the largest case")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    start = time.monotonic()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("torch finds no GPU here: pass --device cpu with few --rows for a trial run", file=sys.stderr)
        return 2
    folder = Path(os.environ["OUT"]) if os.environ.get("OUT") else ROOT / "docs/records"
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"machine": describe(device), "product_tflops": product_rate(device), "cases": {}}
    print(record["machine"], f"{record['product_tflops']:.1f} TFLOP/s", flush=True)
    options = {
        "metric": "cosine",
        "initial": np.arange(0, 5000, 50),
        "candidates": np.setdiff1d(np.arange(101, 4901), np.arange(0, 5000, 50)),
        "weights": np.random.default_rng(0).random(5000),
    }
    cuda = device.type == "cuda"
    agreeing, middle = (20_000, 100_000) if cuda else (3_000, 4_000)
    cases: dict[str, Callable[[float], dict[str, Any]]] = {
        "warm-up": lambda left: agreement(embeddings(3000, 64, device), 50, device),
        f"agreement, {agreeing:,} x 384": lambda left: agreement(embeddings(agreeing, 384, device, 1), 500, device),
        "agreement, all options": lambda left: agreement(embeddings(5000, 128, device, 2), 200, device, **options),
        f"{middle:,} x 384": lambda left: solve(embeddings(middle, 384, device, 3), 1000, device, left),
        f"{arguments.rows:,} x 384": lambda left: solve(
            embeddings(arguments.rows, 384, device, 4), arguments.picks, device, left
        ),
    }
    if EMBEDDINGS.exists():
        real = torch.from_numpy(np.load(EMBEDDINGS)[:10_000].astype(np.float32)).to(device)
        cases["agreement, text embeddings"] = lambda left: agreement(real, 500, device)
    for name, case in cases.items():
        left = 60 * arguments.minutes - (time.monotonic() - start) - 5
        if left < 5:
            record["cases"][name] = {"skipped": "no time left"}
            continue
        try:
            record["cases"][name] = case(left)
        except Exception as error:  # the other cases are still worth measuring
            record["cases"][name] = {"failed": f"{type(error).__name__}: {error}"}
        print(name, json.dumps(record["cases"][name]), flush=True)
        (folder / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    wrong = [n for n, r in record["cases"].items() if "failed" in r or r.get("equal") is False]
    print("all agree" if not wrong else f"wrong: {wrong}", f"{time.monotonic() - start:.0f} s", folder / "gpu.json")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
