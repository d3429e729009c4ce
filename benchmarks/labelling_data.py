"""Data sets with known classes on which choosing what to label is measured.

The rows of a seed are drawn from all of a data set, so that the pools of two seeds share few rows (digits apart, which
are few): the spread over seeds is then nearly that of fresh data.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))
RUNS = Path(os.environ.get("ADACORE_RUNS", ROOT / "runs")) / "labelling"
POOL, TESTED = 6000, 3000
"""Rows that a seed chooses from, and rows that it tests on, where the data set has more."""


@dataclass(frozen=True)
class Labelled:
    """A data set.

    Attributes:
        rows: Shape (n, d).
        classes: Shape (n,).
        pool: The most rows of a seed that are chosen from.
        test: Share of the rows that a seed tests on.
    """

    rows: Any
    classes: Any
    pool: int | None
    test: float


def digits() -> Labelled:
    """1,797 images of 8 x 8, pixels in [0, 1]; a third to test on."""
    from sklearn.datasets import load_digits

    held = load_digits()
    return Labelled(held.data / 16, held.target, None, 1 / 3)


def _mnist_images() -> tuple[Any, Any]:
    folder = DATA / "mnist"
    pixels, classes = (
        np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (("train-images-idx3-ubyte.gz", 16), ("train-labels-idx1-ubyte.gz", 8))
    )
    return pixels.reshape(-1, 784), classes.astype(int)


def mnist() -> Labelled:
    """60,000 training images, 50 principal components of all of them (which takes no labels)."""
    from sklearn.decomposition import PCA

    pixels, classes = _mnist_images()
    pca = PCA(50, svd_solver="covariance_eigh", random_state=0)
    rows = pca.fit_transform(pixels.astype(np.float32) / 255).astype(np.float32)
    return Labelled(rows, classes, POOL, TESTED / len(rows))


def imbalanced() -> Labelled:
    """MNIST with classes 0 to 4 ten times as rare as 5 to 9, in the pool and in the test rows."""
    whole = mnist()
    kept = (whole.classes >= 5) | (np.random.default_rng(0).random(len(whole.classes)) < 0.1)
    return Labelled(whole.rows[kept], whole.classes[kept], POOL, TESTED / int(kept.sum()))


def packages() -> Labelled:
    """Embeddings (384 dimensions) of the package descriptions in the 20 largest sections; half as many rows of a seed.

    With 384 dimensions a seed of 6,000 rows takes four times as long, and more seeds tell more than more rows.
    """
    import pyarrow.parquet as pq

    folder = DATA / "debian-packages"
    rows = np.load(folder / "packages-minilm.npy").astype(np.float32)
    sections = np.array(pq.read_table(folder / "packages.parquet")["section"].to_pylist())
    names, counts = np.unique(sections, return_counts=True)
    kept = np.flatnonzero(np.isin(sections, names[np.argsort(-counts)[:20]]))
    return Labelled(rows[kept], np.unique(sections[kept], return_inverse=True)[1], POOL // 2, TESTED / 2 / len(kept))


def cifar_tenth() -> Any:
    """Return CIFAR-10 with a tenth of its training images, drawn at random: what the features' ResNet-20 learns from.

    For ``adacore train --data labelling_data:cifar_tenth``.
    """
    from dataclasses import replace

    from adacore.experiments.data import load

    whole = load("cifar10", data_root=DATA)
    return replace(whole, train=whole.train.take(np.sort(_order_of_cifar()[:5000]).tolist()))


def _order_of_cifar() -> Any:
    return np.random.default_rng(10).permutation(50_000)


def cifar10() -> Labelled:
    """20,000 training images; the 64 features before the last layer of a ResNet-20 trained on 5,000 others."""
    import torch

    import adacore
    from adacore.experiments.data import load
    from adacore.experiments.runs.models import make_model

    file = RUNS / "cifar10-features.npz"
    if not file.exists():
        run = RUNS / "resnet20-tenth"
        if not (run / "checkpoint.pt").exists():
            raise SystemExit(f"no features yet: cd benchmarks; {TRAINING} --out {run}")
        whole = load("cifar10", data_root=DATA)
        model = make_model("resnet20", whole.shape, whole.classes, seed=0)
        model.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["model"])
        rest = whole.train.take(np.sort(_order_of_cifar()[5000:25_000]).tolist())
        features = adacore.embed(model, rest, batch_size=500)
        np.savez(file, rows=features, classes=rest.known_targets.numpy())
    held = np.load(file)
    return Labelled(held["rows"], held["classes"], POOL // 2, TESTED / 2 / len(held["rows"]))


TRAINING = (
    "adacore train --data labelling_data:cifar_tenth --model resnet20 --method full --epochs 12 --eval-every 12 "
    "--schedule cosine --batch-size 128 --threads 1 --no-tensorboard"
)
DATASETS: dict[str, Callable[[], Labelled]] = {
    "digits": digits,
    "mnist": mnist,
    "packages": packages,
    "cifar10": cifar10,
    "imbalanced": imbalanced,
}
