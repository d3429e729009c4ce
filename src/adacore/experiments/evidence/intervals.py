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


def paired_interval(ours: Mapping[int, float], theirs: Mapping[int, float], *, level: float = 0.95) -> Interval:
    """Average the differences of two methods over the seeds that both ran.

    Args:
        ours: Outcome by seed.
        theirs: Outcome by seed of the method to compare with.
        level: As in ``mean_interval``.

    Returns:
        The interval of the mean difference.

    Example:
        >>> paired_interval({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.71, 2: 0.59}).low > 0
        True
    """
    return mean_interval(paired_differences(ours, theirs), level=level)


def mean_over_sets(sets: Sequence[Sequence[float]], *, level: float = 0.95) -> Interval:
    r"""Average differences within each data set, and then over data sets, each counting the same.

    The mean of means :math:`\frac 1 m \sum_d \bar x_d` has the variance :math:`\sum_d v_d / m^2`,
    :math:`v_d = s_d^2 / n_d`, and about :math:`(\sum_d v_d)^2 / \sum_d v_d^2 / (n_d - 1)` degrees of freedom (Welch,
    1947). The data sets are taken as they are: the interval says how well their mean is known, and nothing of others.

    Args:
        sets: For each data set one difference a seed, at least two.
        level: As in ``mean_interval``.

    Returns:
        The interval of the mean over data sets; ``count`` is the number of differences.

    Raises:
        ValueError: If there is no set, or one with fewer than two differences.

    Example:
        >>> interval = mean_over_sets([[0.0, 2.0], [3.0, 5.0]])
        >>> interval.mean, round(interval.low, 2)
        (2.5, -0.54)
    """
    if not sets or any(len(values) < 2 for values in sets):
        raise ValueError(f"sets of {[len(values) for values in sets]} differences: each needs at least two")
    from scipy.stats import t  # here, since importing it takes longer than most commands

    means = [float(np.mean(values)) for values in sets]
    variances = np.array([float(np.var(values, ddof=1)) / len(values) for values in sets])
    mean, error = float(np.mean(means)), math.sqrt(float(variances.sum())) / len(sets)
    if error == 0:  # all differences of a set are equal, in every set: no spread is seen
        return Interval(mean, mean, mean, sum(map(len, sets)))
    degrees = variances.sum() ** 2 / sum(v**2 / (len(values) - 1) for v, values in zip(variances, sets, strict=True))
    half = float(t.ppf((1 + level) / 2, degrees)) * error
    return Interval(mean, mean - half, mean + half, sum(map(len, sets)))
