"""Verdicts on paired seeds: better, worse, equivalent, or not distinguishable, corrected for the methods compared."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.evidence.intervals import Interval, mean_interval, paired_differences

Verdict = Literal["better", "worse", "equivalent", "not distinguishable"]

LEAST_SEEDS = 3
"""Paired seeds below which nothing is said: with two, one difference in six normal ones looks certain."""

MARGIN = 0.01
"""Difference in accuracy, one point, below which two methods count as equivalent."""

ERROR = 0.04
"""Probability that a comparison of equal methods gives any verdict "better" or "worse", at most.

Five equal methods on five seeds, simulated 2,000 times: with 0.05 it happens in 4.1 %, with 0.04 in 3.5 % (Holm's
procedure is a little careful, since all differences share one control). The smaller one keeps any 1,000 comparisons
below 5 % by more than chance.
"""

POWER = 0.8
"""Probability with which the number of seeds that is advised would show a difference as large as the one seen."""

MOST_SEEDS = 1000
"""Seeds beyond which nobody would go."""


@dataclass(frozen=True)
class Judgement:
    """How a method stands to another, by the differences in accuracy over the seeds that both ran.

    Attributes:
        verdict: ``better`` or ``worse`` if the interval leaves out 0; else ``equivalent`` if it lies within one point
            around 0; else ``not distinguishable``, also for fewer than three seeds.
        difference: Mean difference in accuracy, with its interval at ``level``.
        level: Of the interval: higher, the more methods are compared.
        seeds_needed: Where nothing can be told: how many seeds would tell, if differences go on as they are; None where
            something is told, where there are too few seeds to say, or beyond ``MOST_SEEDS``. What they would tell is
            ``would_show``.
    """

    verdict: Verdict
    difference: Interval
    level: float
    seeds_needed: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether the difference is certainly below one point, whichever its sign."""
        return self.difference.low >= -MARGIN and self.difference.high <= MARGIN

    @property
    def would_show(self) -> Verdict | None:
        """What ``seeds_needed`` seeds would show, if differences go on as they are; None where that is None.

        Example:
            >>> Judgement("not distinguishable", Interval(-0.066, -0.233, 0.102, 3), 0.99, 6).would_show
            'worse'
            >>> Judgement("not distinguishable", Interval(0.001, -0.011, 0.013, 5), 0.96, 7).would_show
            'equivalent'
        """
        if self.seeds_needed is None:
            return None
        # From the interval, since records hold no standard deviation: its half is t s / sqrt(n).
        spread = self.difference.half_width * math.sqrt(self.difference.count)
        spread /= float(_quantiles((1 + self.level) / 2)[self.difference.count - LEAST_SEEDS])
        detects, equals = _would_tell(self.difference.mean, spread, self.level)
        # By which is shown first, and not at ``seeds_needed`` exactly, since intervals of records are rounded. A
        # difference that is shown counts for more than that it is small.
        if equals.any() and not (detects.any() and int(detects.argmax()) <= int(equals.argmax())):
            return "equivalent"
        return "better" if self.difference.mean > 0 else "worse"


def judge_all(
    methods: Mapping[str, Mapping[int, float]], control: Mapping[int, float] | Mapping[str, Mapping[int, float]]
) -> dict[str, Judgement]:
    r"""Judge several methods, so that all verdicts together are right with probability ``1 - ERROR``.

    Holm's step-down procedure (1979) on the p-values :math:`p_{(1)} \le \dots \le p_{(m)}` of paired two-sided t tests:
    the r-th smallest is significant if :math:`p_{(s)} \le` ``ERROR`` :math:`/ (m - s + 1)` for every :math:`s \le r`.
    The interval of a significant difference is that of its own step, and of all others that of the first step that
    fails: so an interval leaves out 0 exactly where the verdict is "better" or "worse".

    Args:
        methods: Accuracy in [0, 1] by seed, by name.
        control: Accuracy by seed of what all are compared with; or, by the same names, what each is compared with.

    Returns:
        A judgement by name, for those that share a seed with their control.

    Example:
        >>> random = {0: 0.70, 1: 0.74, 2: 0.69, 3: 0.72}
        >>> ours = {seed: accuracy + 0.02 + 0.001 * (seed % 2) for seed, accuracy in random.items()}
        >>> judge_all({"ours": ours, "same": random}, random)["ours"].verdict
        'better'
    """
    pairs = {name: (ours, _control_of(control, name)) for name, ours in methods.items()}
    # Paired: runs of a seed share initial weights and draws, so that most of their spread cancels, and fewer seeds
    # tell.
    differences = {name: paired_differences(*pair) for name, pair in pairs.items()}
    together = [accuracy for pair in pairs.values() for part in pair for accuracy in part.values()]
    # One bound for all that is compared: the step of the accuracies is that of the test set, which all share.
    least = least_spread(together, [value for values in differences.values() for value in values])
    # Those with too few seeds get no verdict, and so take no share of the error from the others.
    judgeable = [name for name, values in differences.items() if len(values) >= LEAST_SEEDS]
    p_values = {name: p_value(differences[name], least) for name in judgeable}
    levels: dict[str, float] = {}
    failed: float | None = None
    for rank, name in enumerate(sorted(judgeable, key=p_values.__getitem__)):
        error = ERROR / (len(judgeable) - rank) if failed is None else failed
        # Step-down: once one fails, all larger p-values fail, at the level of that step.
        if failed is None and p_values[name] > error:
            failed = error
        levels[name] = 1 - error
    judged = {}
    for name, values in differences.items():
        if values:
            # With too few seeds for a verdict the interval is shown at the uncorrected level: nothing rests on it.
            level = levels.get(name, 1 - ERROR)
            judged[name] = _judge(mean_interval(values, level=level, least_spread=least), level, values, least)
    return judged


def _control_of(control: Mapping[int, float] | Mapping[str, Mapping[int, float]], name: str) -> Mapping[int, float]:
    own = control.get(name)  # type: ignore[call-overload]
    return own if isinstance(own, Mapping) else control  # type: ignore[return-value]


def _judge(difference: Interval, level: float, values: Sequence[float], least: float) -> Judgement:
    if difference.count < LEAST_SEEDS:
        return Judgement("not distinguishable", difference, level)
    # By the interval and not by p: what is printed and what is claimed can't contradict each other.
    if difference.low > 0:
        return Judgement("better", difference, level)
    if difference.high < 0:
        return Judgement("worse", difference, level)
    # Two one-sided tests at once: the whole interval within the margin shows equivalence; failing to differ shows
    # nothing.
    if difference.low >= -MARGIN and difference.high <= MARGIN:
        return Judgement("equivalent", difference, level)
    # The interval's floor here too: with a spread of 0, as few seeds as those that did not tell would seem enough.
    spread = max(float(np.std(values, ddof=1)), least)
    return Judgement("not distinguishable", difference, level, seeds_needed(difference.mean, spread, level))


def p_value(differences: Sequence[float], least_spread: float = 0.0) -> float:
    """Test whether differences have mean 0, by Student's two-sided t test.

    Args:
        differences: At least two.
        least_spread: The standard deviation is taken as at least this.

    Returns:
        The probability of a mean at least as far from 0, if the true mean is 0.

    Example:
        >>> round(p_value([1.0, 2.0, 3.0]), 3)
        0.074
    """
    from scipy.stats import t  # here, since importing it takes longer than most commands

    values = np.asarray(differences, dtype=np.float64)
    # The standard error of the mean, with the same floor as the interval has, so that both agree.
    error = max(float(values.std(ddof=1)), least_spread) / math.sqrt(values.size)
    mean = abs(float(values.mean()))
    # Only without a floor, or where all numbers are equal: any two different ones give a floor above 0.
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    # ``sf`` and not 1 - cdf, which loses all digits of small p-values.
    return float(2 * t.sf(mean / error, values.size - 1))


def least_spread(accuracies: Iterable[float], differences: Iterable[float]) -> float:
    r"""Tell below which no standard deviation of differences is believed, since accuracies are counted in steps.

    Accuracies on n test examples are multiples of 1/n. By chance a few differences are the same multiple: then they
    show no spread at all, and would prove anything. (Five equal methods, three seeds, spread 0.2 points, 360 test
    examples: "better" or "worse" in 10 % of 20,000 simulated comparisons; with this bound in less than 0.1 %.) A
    rounded accuracy stands for any value within a step h, whose standard deviation is :math:`h / \sqrt{12}`; that of a
    difference of two is :math:`h / \sqrt 6`. The step is taken as the smallest gap between the numbers at hand, so
    that this bound is next to nothing where accuracies are fine.

    Args:
        accuracies: In [0, 1], of all that is compared.
        differences: Between them.

    Returns:
        The bound; 0 if all numbers are equal.

    Example:
        >>> round(least_spread([0.5, 0.75, 0.5, 1.0], [0.25, 0.25]), 3)
        0.102
    """
    # Rounded to 9 places: equal differences of accuracies may differ in float64 by 1e-17, which is no step. With 0 in
    # front, a single accuracy gives a step too.
    gaps = [np.diff(np.unique(np.round(np.asarray([0.0, *part]), 9))) for part in (accuracies, np.abs([*differences]))]
    steps = np.concatenate(gaps)
    return float(steps.min()) / math.sqrt(6) if steps.size else 0.0


def seeds_needed(mean: float, spread: float, level: float) -> int | None:
    r"""Tell how many paired seeds would show something, if differences go on with this mean and spread.

    Enough are those n for which either the difference would be significant with probability ``POWER``,
    :math:`|\bar d| \ge (t_{(1 + level) / 2,\,n-1} + t_{POWER,\,n-1})\, s / \sqrt n`, or the interval would lie within
    the margin of equivalence, :math:`|\bar d| + t_{(1 + level) / 2,\,n-1}\, s / \sqrt n \le` ``MARGIN``.

    Args:
        mean: Mean difference.
        spread: Standard deviation of the differences.
        level: Of the interval.

    Returns:
        The smallest such n from ``LEAST_SEEDS`` to ``MOST_SEEDS``; None if there is none.

    Example:
        >>> seeds_needed(0.02, 0.02, 0.95)
        10
    """
    detects, equals = _would_tell(mean, spread, level)
    enough = np.flatnonzero(detects | equals)
    return LEAST_SEEDS + int(enough[0]) if enough.size else None


def _would_tell(mean: float, spread: float, level: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a difference, and whether equivalence, would be shown by ``LEAST_SEEDS`` to ``MOST_SEEDS`` seeds."""
    # All n at once: the quantile changes with n, so that there is no closed form to invert.
    n = np.arange(LEAST_SEEDS, MOST_SEEDS + 1)
    half = _quantiles((1 + level) / 2) * spread / np.sqrt(n)
    # The noncentral t is approximated by the sum of two quantiles, as usual for sample sizes.
    return abs(mean) >= half + _quantiles(POWER) * spread / np.sqrt(n), abs(mean) + half <= MARGIN


@functools.lru_cache(maxsize=64)  # a comparison asks for the same few levels again and again
def _quantiles(probability: float) -> NDArray[np.float64]:
    """Student's t quantiles for ``LEAST_SEEDS`` to ``MOST_SEEDS`` seeds."""
    from scipy.stats import t  # here, since importing it takes longer than most commands

    return np.asarray(t.ppf(probability, np.arange(LEAST_SEEDS, MOST_SEEDS + 1) - 1), dtype=np.float64)
