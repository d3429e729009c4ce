"""What facility location is measured on, and the bar for each case."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Data = tuple[NDArray[np.float64], NDArray[np.int64] | None]


@dataclass(frozen=True)
class Case:
    """One case and its bar.

    Attributes:
        name: What it is.
        make: Points and labels.
        fraction: Share to select.
        peers: By how much others are to be beaten, in CPU seconds: libraries, or a task of
            ``facility_location_ours.py``.
        seconds: At most.
        cpu_seconds: Of all threads together, at most.
        bytes: Peak memory beyond the input, at most.
        method: Which method runs.
        task: What is timed; see ``facility_location_ours.py``.
        repeats: How often; the usual number if 0.
        slow: Whether it takes minutes.
    """

    name: str
    make: Callable[[], Data]
    fraction: float
    peers: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes: float = 0.0
    method: str = "exact"
    task: str = "select"
    repeats: int = 0
    slow: bool = False

    def budget(self, x: NDArray[np.float64]) -> int:
        """Return how many to select."""
        return round(self.fraction * len(x))


def softmax_gradients(n: int, classes: int, seed: int, temperature: float = 2.0) -> NDArray[np.float32]:
    """Gradients of cross-entropy with respect to Gaussian logits: p - y."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * temperature
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(n), rng.integers(0, classes, n)] -= 1
    return p.astype(np.float32)


def within_classes(classes: int, size: int, seed: int) -> Data:
    """Softmax gradients of a classifier that is mostly right, class by class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), size)
    logits = rng.normal(size=(labels.size, classes))
    logits[np.arange(labels.size), labels] += 2.0
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(labels.size), labels] -= 1
    return p.astype(np.float32), labels


def ijcnn1() -> Data:
    """The training set of ijcnn1, by its labels."""
    from sklearn.datasets import load_svmlight_file

    root = Path(os.environ.get("ADACORE_DATA", Path(__file__).resolve().parent.parent.parent / "shared/data"))
    x, labels = load_svmlight_file(str(root / "ijcnn1" / "ijcnn1.bz2"), n_features=22)
    return x.toarray(), labels.astype(np.int64)


def text_embeddings(n: int) -> Data:
    """Sentence embeddings of the descriptions of Debian packages, 384 dimensions."""
    root = Path(os.environ.get("ADACORE_DATA", Path(__file__).resolve().parent.parent.parent / "shared/data"))
    return np.load(root / "debian-packages" / "packages-minilm.npy")[:n].astype(np.float32), None


def many_embeddings(n: int) -> Data:
    """Text embeddings, with as many again slightly moved as are needed."""
    x = text_embeddings(n)[0]
    again = x[np.random.default_rng(0).integers(0, len(x), n - len(x))]
    moved = again + 0.02 * np.random.default_rng(1).normal(size=again.shape).astype(np.float32)
    return np.concatenate([x, moved]), None


def cases() -> list[Case]:
    """Return all cases."""
    both = {"apricot": 45.0, "submodlib": 25.0}
    return [
        Case("5,000 x 10, k = 500", lambda: (softmax_gradients(5_000, 10, 0), None), 0.1, both),
        Case("10,000 x 10, k = 1,000", lambda: (softmax_gradients(10_000, 10, 0), None), 0.1, {"apricot": 32.0}),
        Case(
            "20,000 x 64 Gaussian, k = 200",
            lambda: (np.random.default_rng(0).normal(size=(20_000, 64)), None),
            0.01,
            {"apricot": 20.0},
        ),
        Case(
            "5,000 x 384 text embeddings, k = 500",
            lambda: text_embeddings(5_000),
            0.1,
            {"apricot": 8.0, "submodlib": 6.0},
        ),
        Case(
            "10,000 x 384 text embeddings, k = 1,000",
            lambda: text_embeddings(10_000),
            0.1,
            {"apricot": 8.0, "submodlib": 15.0},
        ),
        Case(
            "30,000 x 384 text embeddings, k = 1,000",
            lambda: text_embeddings(30_000),
            1 / 30,
            cpu_seconds=25.0,
            bytes=3 * 4 * 384 * 30_000,
            repeats=3,
        ),
        Case(
            "k_center, 100,000 x 384, 1,000 picks",
            lambda: many_embeddings(100_000),
            0.01,
            {"k_center_by_torch": 3.0},
            task="k_center",
            repeats=1,
        ),
        Case(
            "500 rows in initial and 500 more, 10,000 x 384",
            lambda: text_embeddings(10_000),
            0.1,
            {"select": 1.0},
            task="second_half",
            repeats=3,
        ),
        Case("10 classes x 6,000 x 10, 40 %", lambda: within_classes(10, 6_000, 0), 0.4, seconds=1.0),
        Case("ijcnn1, 10 %, both classes", ijcnn1, 0.1, seconds=5.0, bytes=200e6),
        Case("50,000 x 10, k = 5,000", lambda: (softmax_gradients(50_000, 10, 0), None), 0.1, seconds=8.0),
        Case(
            "1,000,000 x 10, k = 1,000, sampled",
            lambda: (softmax_gradients(1_000_000, 10, 0), None),
            0.001,
            seconds=600.0,
            bytes=2e9,
            method="sampled",
            repeats=1,
            slow=True,
        ),
    ]


def objective_of(x: NDArray[np.float64], picks: NDArray[np.int64], labels: NDArray[np.int64] | None) -> float:
    """Compute L(S) in float64, within classes if there are labels."""
    total = 0.0
    groups = [np.arange(len(x))] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]
    for members in groups:
        chosen = x[picks[np.isin(picks, members)]].astype(np.float64)
        for rows in np.array_split(members, max(1, len(members) // 500)):
            points = x[rows].astype(np.float64)
            squares = np.full(len(rows), np.inf)
            for part in np.array_split(chosen, max(1, len(chosen) // 200)):
                squares = np.minimum(squares, ((points[:, None] - part[None]) ** 2).sum(axis=-1).min(axis=1))
            total += float(np.sqrt(squares).sum())
    return total
