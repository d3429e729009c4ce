"""ijcnn1, a data set in LIBSVM format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from adacore.errors import unreadable
from adacore.experiments.data.arrays import ArrayDataset, Splits
from adacore.experiments.data.data_root import first_existing
from adacore.labelling.libsvm import read_libsvm


def load_ijcnn1(root: Path) -> Splits:
    """Load ijcnn1: 49,990 rows to train on, 91,701 to test, 22 features, nine examples of class -1 to one of +1.

    Args:
        root: The folder that holds the data sets; ``ijcnn1/ijcnn1`` and ``ijcnn1/ijcnn1.t`` in it, plain or .bz2.

    Returns:
        Inputs float32, shape (22,); class 0 is -1, class 1 is +1.
    """
    train, test = (_split(root, name) for name in ("ijcnn1", "ijcnn1.t"))
    return Splits("ijcnn1", train, test, (22,), 2, ("-1", "+1"))


def _split(root: Path, name: str) -> ArrayDataset:
    path = first_existing(root, [f"ijcnn1/{name}{end}" for end in ("", ".bz2")], "ijcnn1")
    # 22 in both files: the largest index that occurs in one of them may be smaller.
    x, targets = read_libsvm(path, features=22)
    if not np.isin(targets, (-1.0, 1.0)).all():
        raise unreadable(path, f"labels are {np.unique(targets)[:5].tolist()}, expected -1 and 1")
    # Dense: 22 features are nearly all filled, and batches are cut out of an array.
    inputs = torch.from_numpy(x.toarray().astype(np.float32))
    return ArrayDataset(inputs, torch.from_numpy((targets > 0).astype(np.int64)))
