"""Label saving: how many random labels reach the accuracy that a method's labels reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Bootstrap draws: the ends of a 95 % interval then move by about 2 % of its width from draw to draw."""

Curve = Mapping[int, NDArray[np.float64]]
"""Accuracies by budget, one for each seed, the same seeds in the same order everywhere."""


@dataclass(frozen=True)
class Saving:
    """How many times fewer labels a method needs than random rows do.

    Attributes:
        factor: Random labels that reach the method's mean accuracy / labels that the method used.
        low: Lower end of the 95 % interval.
        high: Upper end.
        capped: Whether the method is above all of the random curve, so that the factor is a lower limit.
        below: Whether it is below all of the curve, so that the factor is an upper limit.
    """

    factor: float
    low: float
    high: float
    capped: bool
    below: bool = False


def label_saving(random: Curve, method: NDArray[np.float64], budget: int, *, seed: int = 0) -> Saving:
    """Interpolate random's learning curve at a method's accuracy.

    With r(b) the mean accuracy of b random labels, made non-decreasing by a running maximum and linear in log b between
    the budgets, the factor is ``r^-1(a) / budget``, a the method's mean accuracy. The interval comes from resampling
    the seeds (percentile bootstrap), random and method together since they share the seeds' data.

    Args:
        random: Accuracies of random rows by budget, at least two budgets.
        method: Accuracies of the method, shape (seeds,).
        budget: Labels that the method used.
        seed: Of the bootstrap.

    Returns:
        The saving.

    Raises:
        ValueError: If there are fewer than two budgets, or the numbers of seeds differ.

    Example:
        >>> curve = {10: np.array([0.5, 0.5]), 40: np.array([0.7, 0.7])}
        >>> round(label_saving(curve, np.array([0.6, 0.6]), 10).factor, 3)
        2.0
    """
    if len(random) < 2:
        raise ValueError("random's learning curve needs at least two budgets: simulate more")
    budgets = np.array(sorted(random))
    table = np.stack([random[int(b)] for b in budgets])
    if table.shape[1] != len(method):
        raise ValueError(f"random has {table.shape[1]} seeds, the method {len(method)}: they must be paired")
    # Whole seeds are drawn, the same for both methods: a seed's split favours or harms both, which pairing takes out. A
    # t interval would not do: the factor is a ratio read off a curve, skewed and bounded.
    drawn = np.random.default_rng(seed).integers(len(method), size=(DRAWS, len(method)))
    reached = np.array([_inverse(budgets, table[:, rows].mean(1), method[rows].mean()) for rows in drawn])
    low, high = np.percentile(reached, [2.5, 97.5]) / budget
    # Of the seeds as they are and not of the draws: the bootstrap says how far off, not what.
    curve = table.mean(1)
    level = method.mean()
    return Saving(
        _inverse(budgets, curve, level) / budget, low, high, bool(level > curve.max()), bool(level < curve.min())
    )


def _inverse(budgets: NDArray[np.int64], curve: NDArray[np.float64], accuracy: float) -> float:
    # More labels do not make a model worse on average: a dip is noise, and would give the inverse two values.
    rising = np.maximum.accumulate(curve)
    # Outside of the curve nothing is known: the nearest budget is returned, a limit and no extrapolation.
    if accuracy <= rising[0]:
        return float(budgets[0])
    if accuracy >= rising[-1]:
        return float(budgets[-1])
    # side="left": on a flat stretch the smallest budget that reaches the accuracy counts. It also makes the gap below >
    # 0.
    right = int(np.searchsorted(rising, accuracy, side="left"))
    share = (accuracy - rising[right - 1]) / (rising[right] - rising[right - 1])
    logs = np.log(budgets)
    return float(np.exp(logs[right - 1] + share * (logs[right] - logs[right - 1])))
