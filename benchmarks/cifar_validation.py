"""CIFAR-10 with 5,000 training images in place of the test set, to search learning rates on.

    adacore compare --data benchmarks.cifar_validation:load --model resnet20 ...

The settings found are confirmed with other seeds, on all training images and on the test set.
"""

from typing import Any

from adacore.experiments import data

HELD_OUT = 5000


def load() -> tuple[Any, Any]:
    """Return training and validation images, the same for every seed."""
    splits = data.load("cifar10", validation=HELD_OUT, seed=0)
    return splits.train, splits.validation
