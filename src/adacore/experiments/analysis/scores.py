"""Scores of examples against the rank at which a method selects them; accuracies by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sliding_means(scores: ArrayLike, window: int) -> NDArray[np.float64]:
    """Average scores, already in the order of selection, in sliding windows (Fig. 3c, 5a, 5b).

    Args:
        scores: Shape (m,).
        window: Examples in a window, at least 1; cut to m.

    Returns:
        Shape (m - window + 1,): entry t is of the examples t, ..., t + window - 1.

    Raises:
        ValueError: If the window is below 1.

    Example:
        >>> sliding_means([0.0, 2.0, 4.0], 2)
        array([1., 3.])
    """
    if window < 1:
        raise ValueError(f"window={window} is below 1: pass a number of examples")
    values = np.asarray(scores, dtype=np.float64)
    if not values.size:
        return values
    # A view: windows of 100 would otherwise hold each score 100 times.
    windows = np.lib.stride_tricks.sliding_window_view(values, min(window, values.size))
    return np.asarray(windows.mean(axis=1), dtype=np.float64)


def profile_by_rank(
    scores: ArrayLike, ranks: ArrayLike, labels: ArrayLike, *, window: int = 100, points: int = 101
) -> NDArray[np.float64]:
    """Average scores in sliding windows over selection rank within each class, then over classes at equal rank.

    Args:
        scores: Of each example, shape (n,).
        ranks: Selection rank within the example's class, from 0, shape (n,).
        labels: Classes, shape (n,).
        window: Examples in a window; cut to a fifth of the class.
        points: Ranks to tell, evenly from first to last.

    Returns:
        Shape (points,): the mean over classes at relative ranks 0, ..., 1.

    Example:
        >>> profile_by_rank([5.0, 1.0, 3.0], [2, 0, 1], [0, 0, 0], window=1, points=3)
        array([1., 3., 5.])
    """
    scores, ranks, labels = np.asarray(scores), np.asarray(ranks), np.asarray(labels)
    at = np.linspace(0, 1, points)  # relative ranks, so that classes of different sizes can be averaged
    profiles = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        # At most a fifth of a class: a window as long as the class is one point, and shows no course.
        means = sliding_means(scores[rows[np.argsort(ranks[rows], kind="stable")]], max(1, min(window, rows.size // 5)))
        # Classes count alike, however large: the question is how a class is gone through.
        profiles.append(np.interp(at, np.linspace(0, 1, means.size), means))
    return np.asarray(np.mean(profiles, axis=0), dtype=np.float64)


def ranks_within_classes(order: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Turn an order of picks into each example's rank within its class; what was not picked comes last.

    Args:
        order: Positions in the order of their picks, shape (k,), k <= n.
        labels: Classes, shape (n,).

    Returns:
        Ranks from 0, int64, shape (n,).

    Example:
        >>> ranks_within_classes([2, 3, 0], [0, 0, 0, 1])
        array([1, 2, 0, 0])
    """
    labels = np.asarray(labels)
    picked = np.asarray(order, dtype=np.int64)
    # What was not picked comes last, in its own order: greedy ends once nothing is left to gain.
    order = np.concatenate([picked, np.setdiff1d(np.arange(labels.size), picked)])
    ranks = np.empty(labels.size, dtype=np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        ranks[rows] = np.arange(rows.size)
    return ranks


def entropy(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Measure the uncertainty of predictions: the entropy of the predicted probabilities (Coleman et al., 2020).

    Args:
        probabilities: Shape (n, classes), rows summing to 1.

    Returns:
        ``-sum_c p_c ln p_c`` in nats, shape (n,), >= 0.

    Example:
        >>> entropy([[1.0, 0.0], [0.5, 0.5]]).round(3)
        array([0.   , 0.693])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    # p ln p tends to 0 with p: the logarithm of 1 stands in where p is 0. + 0.0 turns -0 into 0.
    return np.asarray(-np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1) + 0.0)


def class_accuracies(predicted: ArrayLike, labels: ArrayLike) -> dict[int, float]:
    """Tell the accuracy on each class; the least of them is the worst-class accuracy.

    Args:
        predicted: Classes, shape (n,).
        labels: The true ones, shape (n,).

    Returns:
        Share classified right by class, for the classes that occur.

    Raises:
        ValueError: If the two have different shapes.

    Example:
        >>> class_accuracies([0, 1, 1], [0, 0, 1])
        {0: 0.5, 1: 1.0}
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.shape != labels.shape:
        raise ValueError(f"{predicted.shape} predictions for {labels.shape} labels: expected one for each")
    return {int(c): float((predicted[labels == c] == c).mean()) for c in np.unique(labels)}
