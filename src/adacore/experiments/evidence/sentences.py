"""Summaries in plain sentences and short numbers: the one place that words evidence, for terminal, report and pages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adacore.experiments.evidence.intervals import Interval
from adacore.experiments.evidence.summaries import MethodSummary, Speedup, base_name
from adacore.experiments.evidence.verdicts import LEAST_SEEDS, MARGIN, MOST_SEEDS, Judgement

_NBSP = "\N{NO-BREAK SPACE}"

NAMES = {
    "adacore": "AdaCore",
    "craig": "CRAIG",
    "gradmatch": "GradMatch",
    "glister": "GLISTER",
    "el2n": "EL2N",
    "k_center": "k-center",
    "k_medoids": "k-medoids",
}
"""Methods whose names are not just a word with a capital."""

KEPT = "random(every=R)"
"""Random as the paper has it: a subset is kept for R epochs, and the next ones are others."""


def display_name(label: str) -> str:
    """Write a method's name as people do.

    Example:
        >>> display_name("adacore(weighting=uniform)"), display_name("least_confidence")
        ('AdaCore (weighting=uniform)', 'Least confidence')
    """
    if label == KEPT:
        return "Random (kept for R epochs)"
    base = base_name(label)
    rest = label[len(base) :].strip()
    name = NAMES.get(base, base.replace("_", " ").capitalize())
    return f"{name} {rest}" if rest else name


def judgement_words(judgement: Judgement, other: str = "Random") -> str:
    """Say how a method stands to another, with the interval and the number of seeds.

    Args:
        judgement: What is to be said.
        other: The other method, as people write it.

    Returns:
        A clause without a subject, such as "is 2.1 points better than Random (...)".

    Example:
        >>> print(judgement_words(Judgement("better", Interval(0.021, 0.015, 0.027, 5), 0.96)).replace(_NBSP, " "))
        is 2.1 points better than Random (96 % interval +1.5 to +2.7, 5 seeds)
    """
    difference = judgement.difference
    # Said before any interval: one of two seeds would look precise by chance.
    if difference.count < LEAST_SEEDS:
        runs = "one seed" if difference.count == 1 else f"{difference.count} seeds"
        return (
            f"is not distinguishable from {other}: {100 * difference.mean:+.1f} points on {runs}; run at least "
            f"{LEAST_SEEDS}"
        )
    span = f"{100 * judgement.level:.3g}{_NBSP}% interval {points(difference)}, {difference.count} seeds"
    gap = f"{100 * abs(difference.mean):.1f} points"
    if judgement.verdict in {"better", "worse"}:
        small = ": certainly less than one point" if judgement.is_small else ""
        return f"is {gap} {judgement.verdict} than {other} ({span}){small}"
    if judgement.verdict == "equivalent":
        return f"is equivalent to {other}, within {100 * MARGIN:.0f} point ({span})"
    # No number of seeds at all is a finding as well: the methods differ by less than anyone would pay to see.
    if judgement.seeds_needed is None:
        more = f"not even {MOST_SEEDS:,} seeds would tell"
    else:
        more = f"about {judgement.seeds_needed} seeds would show that it is {judgement.would_show}"
    return f"is not distinguishable from {other} ({span}); if the differences go on like this, {more}"


def sentence(summary: MethodSummary) -> str:
    """Say how a method stands to Random.

    Args:
        summary: Of the method.

    Returns:
        One sentence; empty for Random itself.
    """
    name = display_name(summary.method)
    if _never_trained(summary):
        return f"{name} was not trained: no run has ended."
    if summary.against_random is None:
        # Random has nothing to be compared with; it is mentioned only where some of its runs diverged.
        if base_name(summary.method) == "random":
            return f"{name} is the control{_ends(summary)}." if summary.diverged else ""
        return f"{name} can't be judged: Random was not run in the same experiment; add random to the methods."
    told = f"{name} {judgement_words(summary.against_random)}"
    return f"{told}{_ends(summary)}."


def _never_trained(summary: MethodSummary) -> bool:
    return not summary.accuracies


def _ends(summary: MethodSummary) -> str:
    if not summary.diverged:
        return ""
    return (
        f"; its training diverged on {len(summary.diverged)} of {len(summary.accuracies)} seeds, which count as what "
        "they had reached"
    )


FEW_STEPS = 50
"""Optimizer steps below which a comparison says next to nothing about methods.

Momentum of 0.9 takes some ten steps to build up, and the learning rate rises for the first tenth of the epochs: of
fifty steps, most are spent getting under way.
"""


def warnings(summaries: Sequence[MethodSummary], *, batch_size: int) -> list[str]:
    """Say what a reader must know before any number of a comparison is believed.

    Args:
        summaries: Of all methods.
        batch_size: Examples in a batch.

    Returns:
        Sentences; none if there is nothing to warn of.
    """
    told = []
    unfinished = sum(len(summary.unfinished) for summary in summaries)
    if unfinished:
        told.append(
            "1 run is not finished, and does not count."
            if unfinished == 1
            else f"{unfinished} runs are not finished, and do not count."
        )
    # From examples stepped on and not from the settings: a run that diverged has made fewer steps than it was to make.
    steps = [math.ceil(summary.cost.steps / batch_size) for summary in summaries if not _never_trained(summary)]
    if steps and min(steps) < FEW_STEPS:
        told.append(
            f"Nothing was trained yet, or next to nothing: a run made {min(steps)} optimizer steps in all, so that "
            "differences between methods say little. Train for more epochs, on more examples, or in smaller batches."
        )
    return told


def verdict(summaries: Sequence[MethodSummary]) -> str:
    """Say in one sentence whether the first method paid.

    Args:
        summaries: Of all methods; the sentence is about the first.

    Returns:
        One sentence.
    """
    ours = summaries[0]
    name = display_name(ours.method)
    if _never_trained(ours):
        return f"{name} has no finished run yet."
    # From 99.5 % on it would be printed as 100 %.
    seen = f", having seen {share(ours.fraction_seen)} of the data" if ours.fraction_seen < 0.995 else ""
    reaches = f"{name} reaches {accuracy(ours.accuracy.mean)}{_NBSP}% test accuracy in "
    parts = [f"{reaches}{seconds(ours.cost.total_seconds)}, selection included{seen}"]
    if len(summaries) == 1:
        return f"{parts[0]}; nothing stands beside it to judge it by."
    if ours.against_random is not None:
        parts.append(f"it {judgement_words(ours.against_random)}")
    if ours.speedup is not None and base_name(ours.method) != "full":
        parts.append(_against_full(ours.speedup))
    return "; ".join(parts) + "."


def _against_full(fast: Speedup) -> str:
    if fast.seconds is None:
        if not fast.reached:
            return "it never comes within a point of training on the full data"
        return f"it comes within a point of training on the full data in {fast.reached} of {fast.seeds} seeds"
    if fast.seconds >= 1:
        return f"it comes within a point of training on the full data {fast.seconds:.1f} times sooner"
    return f"to come within a point of training on the full data it takes {1 / fast.seconds:.1f} times as long"


def standing(summary: MethodSummary) -> str:
    """Say in a few words how a method stands to Random.

    Args:
        summary: Of the method.

    Returns:
        A verdict, with what how many seeds would show where nothing can be told yet; or why there is none.
    """
    if summary.against_random is None:
        return "the control" if base_name(summary.method) == "random" else "Random was not run"
    return verdict_words(summary.against_random)


def verdict_words(judgement: Judgement) -> str:
    """Write a verdict in a few words; where nothing can be told yet, with what more seeds would probably show.

    Example:
        >>> verdict_words(Judgement("not distinguishable", Interval(0.01, -0.01, 0.03, 5), 0.96, 14))
        'not distinguishable (about 14 seeds would show it better)'
    """
    if judgement.verdict != "not distinguishable":
        return judgement.verdict
    if judgement.difference.count < LEAST_SEEDS:
        return f"not distinguishable (at least {LEAST_SEEDS} seeds are needed)"
    if judgement.seeds_needed is None:
        return f"not distinguishable (not even {MOST_SEEDS:,} seeds would tell)"
    return f"not distinguishable (about {judgement.seeds_needed} seeds would show it {judgement.would_show})"


def speed(fast: Speedup | None) -> str:
    """Write a speed-up in seconds and in gradient evaluations, or in how many seeds the target was reached."""
    if fast is None:
        return "–"
    if fast.seconds is None or fast.gradient_evaluations is None:
        return f"not reached ({fast.reached} of {fast.seeds})"
    return f"{fast.seconds:.2f} × / {fast.gradient_evaluations:.2f} ×"


def accuracy(value: float) -> str:
    """Write an accuracy in [0, 1] in per cent.

    Example:
        >>> accuracy(0.97148)
        '97.1'
    """
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def with_interval(value: Interval) -> str:
    """Write an accuracy in per cent with half the width of its interval.

    Example:
        >>> with_interval(Interval(0.971, 0.968, 0.974, 5))
        '97.1 ± 0.3'
    """
    spread = "" if math.isnan(value.low) else f" ± {100 * value.half_width:.1f}"
    return f"{accuracy(value.mean)}{spread}"


def points(value: Interval | None) -> str:
    """Write the ends of a difference's interval in points.

    Example:
        >>> points(Interval(0.005, -0.002, 0.011, 5))
        '−0.2 to +1.1'
    """
    if value is None or math.isnan(value.low):
        return "–"
    # A true minus sign, as wide as the plus, so that columns of intervals line up.
    low, high = (round(100 * end, 1) + 0.0 for end in (value.low, value.high))  # + 0.0: no "−0.0"
    return f"{low:+.1f} to {high:+.1f}".replace("-", "−")


def times(ratio: float) -> str:
    """Write a ratio of costs so that its number is at least 1.

    Example:
        >>> times(2.6), times(0.4), times(1.0)
        ('2.6 times as many', '2.5 times fewer', 'as many')
    """
    if 0.95 <= ratio < 1.05:
        return "as many"
    return f"{ratio:.2g} times as many" if ratio > 1 else f"{1 / ratio:.2g} times fewer"


def share(value: float) -> str:
    r"""Write a share in per cent.

    Example:
        >>> share(0.123), share(0.0123)
        ('12\xa0%', '1.2\xa0%')
    """
    return f"{100 * value:.0f}{_NBSP}%" if value >= 0.1 else f"{100 * value:.1f}{_NBSP}%"


def seconds(value: float) -> str:
    r"""Write a duration.

    Example:
        >>> [seconds(value) for value in (0.034, 5.23, 250.0, 5400.0)]
        ['0.03\xa0s', '5.2\xa0s', '4.2\xa0min', '1.5\xa0h']
    """
    if value < 1:
        return f"{value:.2f}{_NBSP}s"
    if value < 120:
        return f"{value:.1f}{_NBSP}s"
    return f"{value / 60:.1f}{_NBSP}min" if value < 3600 else f"{value / 3600:.1f}{_NBSP}h"
