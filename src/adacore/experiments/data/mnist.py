"""MNIST in its published format, IDX, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.errors import unreadable
from adacore.experiments.data.arrays import ArrayDataset, Splits
from adacore.experiments.data.data_root import first_existing


def load_mnist(root: Path) -> Splits:
    """Load MNIST from ``mnist/`` (or torchvision's ``MNIST/raw/``).

    Args:
        root: The folder that holds the data sets.

    Returns:
        Inputs of shape (1, 28, 28), bytes divided by 255; ten classes.
    """
    train, test = _split(root, "train"), _split(root, "t10k")
    return Splits("mnist", train, test, tuple(train.inputs.shape[1:]), 10, tuple(str(digit) for digit in range(10)))


def _split(root: Path, prefix: str) -> ArrayDataset:
    images_path, labels_path = (_find(root, f"{prefix}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, {labels_path} {len(labels)} labels: they are not of one set"
        )
    if len(labels) and labels.max() > 9:
        raise unreadable(labels_path, f"a label is {labels.max()}, expected 0 to 9")
    return ArrayDataset(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).to(torch.int64))


def _find(root: Path, name: str) -> Path:
    # Named as in the published data sets, and as torchvision unpacks them.
    folders = ("mnist", "MNIST/raw", "MNIST")
    return first_existing(root, [f"{folder}/{name}{end}" for folder in folders for end in ("", ".gz")], "MNIST")


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes in the IDX format.

    Args:
        path: The file; gzipped if it ends in ``.gz``.
        dimensions: How many are expected.

    Returns:
        uint8, of the shape that the file states; writable.

    Raises:
        ValueError: If the file is truncated, corrupt, or of another kind.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    header = 4 + 4 * dimensions
    # Two zero bytes, 8 for unsigned bytes, and the number of dimensions: the format's own mark.
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise unreadable(path, f"this is no IDX file of bytes with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    # Exactly as many bytes as the header says: a download that was cut off has fewer.
    if len(content) - header != math.prod(shape):
        raise unreadable(path, f"{len(content) - header} bytes follow the header, expected {math.prod(shape)}")
    # A copy: the buffer is read-only, and torch warns of tensors that share such memory.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
