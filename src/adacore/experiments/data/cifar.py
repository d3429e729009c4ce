"""CIFAR-10 and CIFAR-100: parquet in the Hugging Face layout, or the python pickles of the original release."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.experiments.data.arrays import ArrayDataset, Splits
from adacore.experiments.data.cache import Arrays, cached
from adacore.experiments.data.images import decode_all

_SPLITS = ("train", "test")


@dataclass(frozen=True)
class _Release:
    """How one of the two data sets was published."""

    name: str
    classes: int
    folder: str
    train_batches: tuple[str, ...]
    test_batch: str
    meta: tuple[str, str]
    label: str
    """Key of the labels in a pickle."""

    columns: tuple[str, ...]
    """Names of the labels' column in parquet."""


RELEASES = {
    "cifar10": _Release(
        "cifar10",
        10,
        "cifar-10-batches-py",
        tuple(f"data_batch_{part}" for part in range(1, 6)),
        "test_batch",
        ("batches.meta", "label_names"),
        "labels",
        ("label",),
    ),
    "cifar100": _Release(
        "cifar100",
        100,
        "cifar-100-python",
        ("train",),
        "test",
        ("meta", "fine_label_names"),
        "fine_labels",
        ("fine_label", "label"),
    ),
}


def load_cifar(root: Path, name: str) -> Splits:
    """Load CIFAR-10 or CIFAR-100; parquet is decoded once and kept in the cache folder.

    Args:
        root: The folder that holds the data sets; in it ``<name>/train.parquet`` (or ``train-*.parquet``, at any depth
            below ``<name>``), or torchvision's ``cifar-10-batches-py`` or ``cifar-100-python``, there or in ``<name>``.
        name: ``"cifar10"`` or ``"cifar100"``.

    Returns:
        Inputs of shape (3, 32, 32), bytes divided by 255.

    Raises:
        FileNotFoundError: If neither layout is found.
    """
    release = RELEASES[name]
    shards = {split: _shards(root / name, split) for split in _SPLITS}
    # Parquet first: it can be read without unpickling anything.
    if all(shards.values()):
        from adacore.experiments.data.parquet import class_names_of

        names = class_names_of(shards["train"][0], release.columns)
        arrays = {split: _from_parquet(release, split, shards[split]) for split in _SPLITS}
    else:
        folder = next((path for path in (root / release.folder, root / name / release.folder) if path.is_dir()), None)
        if folder is None:
            raise FileNotFoundError(
                f"no {name} below {root}: expected {name}/train.parquet and {name}/test.parquet, or the folder "
                f"{release.folder}; see --data-root"
            )
        names = _names(folder / release.meta[0], release.meta[1])
        batches = {"train": release.train_batches, "test": (release.test_batch,)}
        arrays = {split: _from_pickles(release, [folder / part for part in batches[split]]) for split in _SPLITS}
    # Names are for pages and galleries alone: where a file has none, numbers do.
    if len(names) != release.classes:
        names = tuple(str(c) for c in range(release.classes))
    train, test = (ArrayDataset(*map(torch.from_numpy, arrays[split])) for split in _SPLITS)
    return Splits(name, train, test, tuple(train.inputs.shape[1:]), release.classes, names)


def _shards(folder: Path, split: str) -> list[Path]:
    whole = folder / f"{split}.parquet"
    return [whole] if whole.is_file() else sorted(folder.glob(f"**/{split}-*.parquet"))


def _from_parquet(release: _Release, split: str, shards: list[Path]) -> Arrays:
    from adacore.experiments.data.parquet import read_images

    def decode() -> Arrays:
        parts = [read_images(path, release.columns) for path in shards]
        images = np.concatenate([decode_all(codes, path) for (codes, _), path in zip(parts, shards, strict=True)])
        labels = np.concatenate([labels for _, labels in parts])
        _check(release, shards[0], images, labels)
        return images, labels

    return cached(f"{release.name}-{split}", shards, decode)


def _from_pickles(release: _Release, paths: list[Path]) -> Arrays:
    images, labels = [], []
    for path in paths:
        content = read_pickle(path)
        try:
            pixels = np.asarray(content["data"])
            classes = np.asarray(content[release.label], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, f"it lacks data or {release.label} ({error})") from error
        # Checked before reshaping: another layout of as many numbers would be reshaped into noise.
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
            raise unreadable(path, f"its data is {pixels.dtype} of shape {pixels.shape}, expected uint8 (n, 3072)")
        pixels = pixels.reshape(-1, 3, 32, 32)
        _check(release, path, pixels, classes)
        images.append(pixels)
        labels.append(classes)
    return np.concatenate(images), np.concatenate(labels)


def _check(release: _Release, path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    if not len(labels) or len(images) != len(labels):
        raise unreadable(path, f"it holds {len(images)} images and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= release.classes:
        raise unreadable(path, f"labels run from {labels.min()} to {labels.max()}, expected 0 to {release.classes - 1}")


def _names(path: Path, key: str) -> tuple[str, ...]:
    try:
        # A folder without the file of names is whole for training: its pictures then say numbers.
        return tuple(str(name) for name in read_pickle(path)[key])
    except (FileNotFoundError, KeyError):
        return ()


# What a pickled array of bytes asks for, under the module names of numpy before and from version 2.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds plain values and numpy arrays; refuses everything else, which could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a data set has no use for")
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of plain values and arrays, without running any code that it may hold.

    Args:
        path: A file of the original release (Python 2 pickles).

    Returns:
        Its content.

    Raises:
        ValueError: If it is truncated, corrupt, or holds anything else.
        FileNotFoundError: If there is no such file.
    """
    try:
        # latin1 maps every byte of a Python 2 string to one character: numpy takes its buffers back from that.
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError:
        raise FileNotFoundError(f"no {path.name} in {path.parent}: the folder is incomplete, fetch it again") from None
    except Exception as error:  # a corrupt pickle may raise anything
        raise unreadable(path, error) from error
    if not isinstance(content, dict):
        raise unreadable(path, f"it holds a {type(content).__name__}, expected a dictionary")
    return content
