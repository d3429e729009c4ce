"""Summaries as plain values, for ``comparison.json`` and for records."""

from __future__ import annotations

import math
from typing import Any

from adacore.experiments.evidence.intervals import Interval
from adacore.experiments.evidence.sentences import sentence
from adacore.experiments.evidence.summaries import MethodSummary


def to_json(summary: MethodSummary) -> dict[str, Any]:
    """Turn a summary into plain values; what is not known is None."""
    fast, judgement = summary.speedup, summary.against_random
    return {
        "method": summary.method,
        "accuracy": interval_to_json(summary.accuracy),
        "accuracies": {str(seed): accuracy for seed, accuracy in summary.accuracies.items()},
        "diverged": list(summary.diverged),
        "unfinished": list(summary.unfinished),
        "seconds": {
            **summary.cost.seconds,
            "evaluating": summary.evaluating_seconds,
            "total": summary.cost.total_seconds,
        },
        "gradient_evaluations": summary.cost.gradient_evaluations,
        "steps": summary.cost.steps,
        "probed_examples": summary.cost.probed,
        "fraction_seen": summary.fraction_seen,
        "speedup": None if fast is None else vars(fast),
        "against_random": None
        if judgement is None
        else {
            **interval_to_json(judgement.difference),
            "level": judgement.level,
            "verdict": judgement.verdict,
            "seeds_needed": judgement.seeds_needed,
        },
        "sentence": sentence(summary),
    }


def interval_to_json(interval: Interval) -> dict[str, Any]:
    """Turn an interval into plain values; what is not finite is None."""
    values = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    # JSON has no nan: None says that there is none, in every reader.
    return {**{name: value if math.isfinite(value) else None for name, value in values.items()}, "n": interval.count}
