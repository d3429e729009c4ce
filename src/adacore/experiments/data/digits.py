"""Digits: 1,797 images of 8 x 8, shipped with scikit-learn."""

from __future__ import annotations

import torch

from adacore.experiments.data.arrays import ArrayDataset, Splits


def load_digits() -> Splits:
    """Load scikit-learn's digits, split once and for all: stratified, four fifths to train on.

    Returns:
        Inputs float32 in [0, 1] (grey levels 0 to 16, divided by 16), shape (1, 8, 8); ten classes.
    """
    # Late: scikit-learn belongs to an extra, and no other data set needs it.
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    pixels, targets = sklearn.datasets.load_digits(return_X_y=True)
    # random_state=0 whatever the run's seed: results of different seeds are to be on one test set.
    parts = train_test_split(pixels, targets, test_size=0.2, random_state=0, stratify=targets)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    train, test = (
        ArrayDataset(x.to(torch.float32).div(16).reshape(-1, 1, 8, 8), y)
        for x, y in ((train_x, train_y), (test_x, test_y))
    )
    return Splits("digits", train, test, (1, 8, 8), 10, tuple(str(digit) for digit in range(10)))
