"""Tree or products? Both engines on rows of 12 to 32 dimensions beside the choice that is made of a sample of rows.

    OMP_NUM_THREADS=1 python benchmarks/engine_choice.py --data-root ../shared/data

The sets are none of those that the limits in ``facility/engines.py`` were set on. Printed are CPU seconds of each
engine, which one is chosen, and how many times as long as the faster one the choice takes. Writes
docs/records/engine-choice.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.data import load
from adacore.facility import engines, facility_location
from adacore.facility.problem import check_problem
from timing import cpu_seconds

RECORD = Path(__file__).resolve().parent.parent / "docs/records/engine-choice.json"
ROWS = 25_000

Rows = NDArray[np.float32]


def principal(images: NDArray[np.float64], d: int, whiten: bool = False) -> Rows:
    """Project onto the first principal axes."""
    centred = images - images.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    found = centred @ axes[:, -d:]
    return (found / np.sqrt(values[-d:]) if whiten else found).astype(np.float32)


def sets(root: str | None) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield names and rows: images' principal components, and synthetic rows of known shapes."""
    rng = np.random.default_rng(7)
    for name in ("mnist", "cifar10"):
        data = load(name, data_root=root).train
        at = rng.permutation(len(data))[:ROWS]  # type: ignore[arg-type]
        inputs = data.__getitems__(at.tolist())[0]  # type: ignore[attr-defined]
        images = np.asarray(inputs, dtype=np.float64).reshape(len(at), -1)
        for d, whiten in ((12, False), (20, False), (32, False), (16, True)):
            label = f"{name}, {d} {'whitened ' if whiten else ''}principal components"
            yield label, lambda images=images, d=d, whiten=whiten: principal(images, d, whiten)
    yield "uniform in a cube, 14", lambda: rng.uniform(size=(ROWS, 14)).astype(np.float32)
    yield "Laplace, 24", lambda: rng.laplace(size=(ROWS, 24)).astype(np.float32)
    yield "on a sphere, 18", lambda: _unit(rng.normal(size=(ROWS, 18)))
    yield "blobs of many sizes, 28", lambda: _blobs(rng, 28)
    yield "a curve with noise, 20", lambda: _curve(rng, 20)
    yield "random walks, 30", lambda: rng.normal(size=(ROWS, 30)).cumsum(axis=1).astype(np.float32)


def _unit(x: NDArray[np.float64]) -> Rows:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def _blobs(rng: np.random.Generator, d: int) -> Rows:
    centres, spreads = 5 * rng.normal(size=(200, d)), rng.lognormal(-1, 1, 200)
    at = rng.integers(0, 200, ROWS)
    return (centres[at] + spreads[at, None] * rng.normal(size=(ROWS, d))).astype(np.float32)


def _curve(rng: np.random.Generator, d: int) -> Rows:
    t = rng.uniform(0, 6, (ROWS, 1))
    return (np.sin(t * np.arange(1, d + 1)) + 0.2 * rng.normal(size=(ROWS, d))).astype(np.float32)


def compare(x: Rows) -> dict[str, float | str]:
    """Time both engines and ask which is chosen."""
    chosen = "tree" if engines._suits_tree(check_problem(x).in_own_units()) else "products"
    seconds = {}
    for engine in ("tree", "products"):
        with patch.object(engines, "_suits_tree", lambda _, tree=engine == "tree": tree):
            seconds[engine] = cpu_seconds(lambda: facility_location(x, budget=len(x) // 50))
    least = min(seconds.values())
    return {**seconds, "chosen": chosen, "times the faster": seconds[chosen] / least}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the engines' times with the choice between them.")
    parser.add_argument("--data-root", default=None)
    arguments = parser.parse_args()
    facility_location(np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32), budget=50)
    record = {}
    for name, make in sets(arguments.data_root):
        record[name] = compare(make())
        print(name, record[name], flush=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
