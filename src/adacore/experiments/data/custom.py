"""Anything by its import path: a user's data set, or a user's model."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from adacore.experiments.data.arrays import Splits
from adacore.probing.batch_layout import length_of
from adacore.probing.labels import labels_of
from adacore.probing.reading import read


def import_factory(path: str, kind: str) -> Callable[..., Any]:
    """Import a function by its path; modules in the current folder are found too.

    Args:
        path: ``package.module:function``.
        kind: What it makes, for messages.

    Returns:
        The function, or a class.

    Raises:
        ValueError: If there is no such module or function.
        TypeError: If it cannot be called.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ValueError(f"{kind} {path!r} is not an import path: expected package.module:function")
    # The console script's path is its own folder: without this a module beside the user's data would not be found.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        target: Any = importlib.import_module(module_name)
        for part in name.split("."):
            target = getattr(target, part)
    # A module that fails while it runs is not caught: its traceback belongs to its author.
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{kind} {path!r} cannot be imported ({error}): check the spelling and the folder") from error
    if not callable(target):
        raise TypeError(f"{kind} {path!r} is a {type(target).__name__}: expected a function that makes one")
    return target  # type: ignore[no-any-return]


def load_custom(path: str, data_root: str | Path | None = None) -> Splits:
    """Load a user's data set.

    Args:
        path: ``package.module:function``; it returns map-style data sets (train, test) of (inputs, class) or of dicts,
            or ``Splits``.
        data_root: Folder of the data sets, which a function with a parameter of that name is given.

    Returns:
        Shape and number of classes are taken from the examples.

    Raises:
        TypeError: If something else comes out.
        ValueError: If the targets are not classes, or are numbered with large gaps.
    """
    factory = import_factory(path, "data set")
    # Only to a function that asks for it: most load what they know of themselves.
    made = factory(data_root=data_root) if _takes_data_root(factory) else factory()
    # Whoever returns splits has said shape and classes: they are checked and not guessed.
    if isinstance(made, Splits):
        _check_classes(_labels(made.train, made.test, path), made.classes, path)
        return made
    if not isinstance(made, Sequence) or len(made) != 2:
        raise TypeError(f"{path} returned a {type(made).__name__}: expected two data sets, (train, test)")
    train, test = made
    length_of(train, "the training set")
    length_of(test, "the test set")
    # Of both parts: a class that occurs in the test set alone needs an output too.
    labels = _labels(train, test, path)
    classes = int(labels.max()) + 1
    distinct = np.unique(labels).size
    if classes > MANY_CLASSES and classes > SPARSE * distinct:
        raise ValueError(
            f"{path}: the largest class is {classes - 1}, but only {distinct} different ones occur, and a model would "
            f"get {classes} outputs: number the classes 0, 1, ..., {distinct - 1}"
        )
    _check_classes(labels, classes, path)
    # One example tells the shape: reading more would decode images that training reads again.
    inputs = next(read(train, [torch.tensor([0])])).inputs
    shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else ()
    return Splits(path, train, test, shape, classes, tuple(str(c) for c in range(classes)))


MANY_CLASSES = 1000
"""Outputs of a model that cost next to nothing, whether or not their classes occur (ImageNet has as many)."""

SPARSE = 10
"""How many times as many outputs as classes that occur are taken for a mistake, such as an identifier for a class."""


def _takes_data_root(factory: Callable[..., Any]) -> bool:
    try:
        return "data_root" in inspect.signature(factory).parameters
    except ValueError:  # compiled code may have no signature
        return False


def _labels(train: Dataset[Any], test: Dataset[Any], path: str) -> NDArray[np.int64]:
    parts = [labels_of(part) for part in (train, test)]
    if parts[0] is None or parts[1] is None:
        raise ValueError(f"{path}: the targets are not whole numbers; training classifies, expected classes 0, 1, ...")
    return np.concatenate([parts[0], parts[1]])


def _check_classes(labels: NDArray[np.int64], classes: int, path: str) -> None:
    if labels.min() < 0:
        raise ValueError(f"{path}: a class is negative; expected classes 0, 1, ...")
    if labels.max() >= classes:
        raise ValueError(
            f"{path}: a class is {labels.max()}, but there are {classes} classes: expected 0 to {classes - 1}"
        )
