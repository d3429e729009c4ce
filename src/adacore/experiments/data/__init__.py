"""Data sets by name: one file for each format, one line for each data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adacore.errors import unknown_name
from adacore.experiments.data.arrays import ArrayDataset, Splits
from adacore.experiments.data.bdd100k import load_bdd100k
from adacore.experiments.data.cifar import load_cifar
from adacore.experiments.data.custom import import_factory, load_custom
from adacore.experiments.data.data_root import find_root
from adacore.experiments.data.digits import load_digits
from adacore.experiments.data.libsvm import load_ijcnn1
from adacore.experiments.data.mnist import load_mnist
from adacore.experiments.data.split import hold_out, imbalanced
from adacore.labelling.libsvm import read_libsvm

DATASETS: dict[str, Callable[[Path], Splits]] = {
    "bdd100k": load_bdd100k,
    "cifar10": lambda root: load_cifar(root, "cifar10"),
    "cifar10-imbalanced": lambda root: imbalanced(load_cifar(root, "cifar10")),
    "cifar100": lambda root: load_cifar(root, "cifar100"),
    "cifar100-imbalanced": lambda root: imbalanced(load_cifar(root, "cifar100")),
    "ijcnn1": load_ijcnn1,
    "mnist": load_mnist,
}
"""What loads a data set from the folder that holds them all; digits needs no folder."""


def check_name(name: str) -> None:
    """Check that a data set is known, without loading it.

    Args:
        name: A name, or an import path with a colon.

    Raises:
        ValueError: If it is neither.
    """
    if ":" not in name and name not in {"digits", *DATASETS}:
        raise unknown_name("data set", name, ("digits", *DATASETS))


def load(name: str, *, data_root: str | Path | None = None, validation: float = 0, seed: int = 0) -> Splits:
    """Load a data set.

    Args:
        name: digits, mnist, cifar10, cifar100, cifar10-imbalanced, cifar100-imbalanced, ijcnn1, bdd100k, or
            ``package.module:function`` of your own, which returns (train, test), given ``data_root`` if it takes that.
        data_root: The folder that holds the data sets; None for ADACORE_DATA.
        validation: Share in (0, 1), or number, of training examples to hold out; 0 for none.
        seed: Of the draw of the validation set.

    Returns:
        Training, test and validation sets with their shape and classes.

    Raises:
        ValueError: If the name is unknown or a file unreadable.
        FileNotFoundError: If the data is not there.

    Example:
        >>> splits = load("digits", validation=0.1)
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.shape
        (1293, 144, 360, (1, 8, 8))
    """
    check_name(name)
    if ":" in name:
        splits = load_custom(name, data_root)
    elif name == "digits":
        splits = load_digits()
    else:
        # Digits are shipped with scikit-learn: they need no folder, and so no root that exists.
        splits = DATASETS[name](find_root(data_root))
    # Last, and for every source alike: what is held out is a part of the training set, never of the test set.
    return hold_out(splits, validation, seed=seed)


__all__ = ["DATASETS", "ArrayDataset", "Splits", "check_name", "find_root", "import_factory", "load", "read_libsvm"]
