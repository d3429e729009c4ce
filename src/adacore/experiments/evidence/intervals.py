"""Means over seeds with Student's t intervals, alone and paired by seed."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


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


def mean_interval(values: Sequence[float], *, level: float = 0.95, least_spread: float = 0.0) -> Interval:
    """Average values and give Student's t interval of the mean.

    ``mean +- t_{(1 + level) / 2, n - 1} s / sqrt(n)``, s the standard deviation of the sample.

    Args:
        values: One for each seed; values that are not finite are left out.
        level: Probability that such intervals hold the true mean, in (0, 1).
        least_spread: s is taken as at least this; see ``adacore.experiments.evidence.verdicts.least_spread``.

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
    # A nan stands for a run that is not over: averaging it in would hide all the others.
    finite = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    n = finite.size
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(finite.mean())
    # One value has no spread: an interval would have to be made up.
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    # ddof=1: divided by n, the standard deviation of few seeds is too small, at three seeds by a factor of 0.82.
    spread = max(float(finite.std(ddof=1)), least_spread)
    # Student's t and not the normal's 1.96: at five seeds the spread is itself a guess, and the right factor is 2.78.
    half = _quantile((1 + level) / 2, int(n)) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, int(n))


@functools.lru_cache(maxsize=1024)  # a quantile takes scipy a tenth of a millisecond; few are asked for
def _quantile(probability: float, seeds: int) -> float:
    from scipy.stats import t  # here, since importing it takes longer than most commands

    return float(t.ppf(probability, seeds - 1))


def paired_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Subtract the outcomes of two methods seed by seed, over the seeds that both ran.

    Runs of one seed share initial weights and draws: what is common to a seed cancels in the difference.

    Args:
        ours: Outcome by seed.
        theirs: Outcome by seed of the method to compare with.

    Returns:
        ``ours - theirs`` by ascending seed.

    Example:
        >>> paired_differences({0: 3.0, 1: 5.0, 9: 1.0}, {1: 4.0, 0: 1.0})
        [2.0, 1.0]
    """
    # Only seeds of both: a seed that one of them lacks would bring its own luck into the mean.
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
