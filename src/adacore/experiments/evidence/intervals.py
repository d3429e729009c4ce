"""Means over seeds with t intervals, and what paired seeds say about two methods: the one place for both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "no different", "worse", "unknown"]


@dataclass(frozen=True)
class Interval:
    """A mean and how far it can be trusted.

    Attributes:
        mean: Arithmetic mean; nan where there is nothing to average.
        low: Lower end of the interval; nan for fewer than two values.
        high: Upper end.
        count: Number of values.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Distance from the mean to either end; nan for fewer than two values."""
        return (self.high - self.low) / 2

    @property
    def verdict(self) -> Verdict:
        """Where the interval of a difference lies: above 0, below 0, around it, or nowhere (fewer than two pairs)."""
        if math.isnan(self.low):
            return "unknown"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no different"


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Average values and give Student's t interval of the mean.

    ``mean +- t_{(1 + level) / 2, n - 1} s / sqrt(n)``, s the standard deviation of the sample.

    Args:
        values: One for each seed; values that are not finite are left out.
        level: Probability that such intervals hold the true mean, in (0, 1).

    Returns:
        The interval; its ends are nan for fewer than two values.

    Raises:
        ValueError: If the level is outside (0, 1).

    Example:
        >>> mean_interval([1.0, 2.0, 3.0])
        Interval(mean=2.0, low=-0.48..., high=4.48..., count=3)
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} is outside (0, 1): pass for example 0.95")
    finite = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    n = finite.size
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(finite.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, n - 1) * finite.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, int(n))


def paired_interval(
    ours: Mapping[int, float], theirs: Mapping[int, float], *, level: float = 0.95, higher_is_better: bool = True
) -> Interval:
    """Average the differences of two methods over the seeds that both ran, so that positive means "ours is better".

    Args:
        ours: Outcome by seed.
        theirs: Outcome by seed of the method to be compared with.
        level: As in ``mean_interval``.
        higher_is_better: True for accuracies, False for losses.

    Returns:
        The interval of the mean difference; its ``verdict`` says on which side of 0 it lies.

    Example:
        >>> paired_interval({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.71, 2: 0.59}).verdict
        'better'
    """
    sign = 1 if higher_is_better else -1
    return mean_interval(
        [sign * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())], level=level
    )
