"""What a comparison says, in plain sentences and short numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adacore.experiments.evidence.intervals import Interval
from adacore.experiments.evidence.summaries import MethodSummary, Speedup
from adacore.experiments.runs.recorded_runs import base_name, display_name

_NBSP = "\N{NO-BREAK SPACE}"


def verdict(summaries: Sequence[MethodSummary]) -> str:
    """Say in one sentence whether the first method paid.

    Args:
        summaries: Of all methods; the sentence is about the first.

    Returns:
        One sentence.
    """
    ours = summaries[0]
    touched = f", having seen {share(ours.fraction_touched)} of the data" if ours.fraction_touched < 0.995 else ""
    reaches = f"{display_name(ours.method)} reaches {accuracy(ours.accuracy.mean)}{_NBSP}% test accuracy in "
    parts = [f"{reaches}{seconds(ours.total_seconds)}{touched}"]
    if len(summaries) == 1:
        return f"{parts[0]}; nothing stands beside it to judge it by."
    if ours.against_random is not None:
        parts.append(_against_random(ours.against_random))
    if ours.speedup is not None and base_name(ours.method) != "full":
        parts.append(_against_full(ours.speedup))
    return "; ".join(parts) + "."


def _against_random(difference: Interval) -> str:
    gap = f"{abs(100 * difference.mean):.1f} points"
    if difference.verdict == "unknown":
        side = "above" if difference.mean > 0 else "below"
        return f"that is {gap} {side} Random, but one seed cannot tell chance from merit"
    span = f"95{_NBSP}% interval {points(difference)}, {difference.count} seeds"
    if difference.verdict == "no different":
        return f"that is no different from Random ({span})"
    return f"that is {gap} {difference.verdict} than Random ({span})"


def _against_full(fast: Speedup) -> str:
    if fast.seconds is None:
        if not fast.reached:
            return "it never comes within a point of training on everything"
        return f"it comes within a point of training on everything in {fast.reached} of {fast.seeds} seeds"
    if fast.seconds >= 1:
        return f"it comes within a point of training on everything {fast.seconds:.1f} times sooner"
    return f"to come within a point of training on everything it takes {1 / fast.seconds:.1f} times as long"


def standing(summary: MethodSummary) -> str:
    """Say in one phrase how a method stands to Random.

    Args:
        summary: Of the method.

    Returns:
        "better than Random", "no different from Random", "worse than Random", or why that cannot be told.
    """
    if base_name(summary.method) == "random":
        return "the control"
    if summary.against_random is None:
        return "Random was not run"
    return {
        "better": "better than Random",
        "worse": "worse than Random",
        "no different": "no different from Random",
        "unknown": "one seed cannot tell",
    }[summary.against_random.verdict]


def speed(fast: Speedup | None) -> str:
    """Write a speed-up in seconds, or in how many seeds the target was reached."""
    if fast is None:
        return "–"
    return f"not reached ({fast.reached} of {fast.seeds})" if fast.seconds is None else f"{fast.seconds:.2f} ×"


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
    return f"{100 * value.low:+.1f} to {100 * value.high:+.1f}".replace("-", "−")


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
