"""What runs of several methods with the same seeds say: a pure function of their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adacore.experiments.evidence.intervals import Interval, mean_interval, paired_interval
from adacore.training.ledger import PARTS

Rows = Sequence[Mapping[str, Any]]
Runs = Mapping[int, Rows]
"""Rows of metrics by seed."""

MARGIN = 0.01
"""How far below the full run's accuracy the speed-up is taken: one point."""


@dataclass(frozen=True)
class Speedup:
    """How much cheaper than full training a method reaches full training's final accuracy less one point.

    Both costs are taken at the first evaluation that reaches it, seed by seed; the ratio is averaged geometrically.

    Attributes:
        reached: Number of seeds in which the method reached it.
        seeds: Number of seeds that both ran.
        seconds: Seconds of full training / seconds of the method, probing and selecting included; None unless reached
            in every seed.
        gradient_evaluations: The same of gradient evaluations.
    """

    reached: int
    seeds: int
    seconds: float | None
    gradient_evaluations: float | None


@dataclass(frozen=True)
class MethodSummary:
    """One line of the table.

    Attributes:
        method: As on the command line.
        accuracy: Final test accuracy, in [0, 1]: mean over seeds and 95 % interval.
        accuracies: Final test accuracy by seed.
        seconds: Mean seconds by part: probing, selecting, training; evaluating beside them.
        total_seconds: Mean of probing, selecting and training together.
        gradient_evaluations: Mean number of examples stepped on.
        probed_examples: Mean number of examples that the model was run on to select.
        fraction_touched: Mean share of the training set that was stepped on at least once.
        speedup: Against full training, if it is among the methods.
        against_random: Interval of the paired difference in accuracy to Random; None for Random, or without it.
        sentence: What that says, in plain words.
    """

    method: str
    accuracy: Interval
    accuracies: Mapping[int, float]
    seconds: Mapping[str, float]
    total_seconds: float
    gradient_evaluations: float
    probed_examples: float
    fraction_touched: float
    speedup: Speedup | None = None
    against_random: Interval | None = None
    sentence: str = field(default="")


def summarise(runs: Mapping[str, Runs]) -> list[MethodSummary]:
    """Compare methods over their seeds.

    Args:
        runs: By method, then by seed, the rows of metrics of a finished run.

    Returns:
        A summary of each method, in the order given.

    Example:
        >>> row = {"epoch": 1, "gradient_evaluations": 10, "probed_examples": 0, "fraction_touched": 0.1,
        ...        "probing_seconds": 0.0, "selecting_seconds": 0.0, "training_seconds": 1.0, "evaluating_seconds": 0.0}
        >>> runs = {"random": {s: [{**row, "test_accuracy": 0.8 + s / 100}] for s in (0, 1)},
        ...         "craig": {s: [{**row, "test_accuracy": 0.7 + s / 100}] for s in (0, 1)}}
        >>> print(summarise(runs)[1].sentence)
        craig is worse than Random: -10.0 points of accuracy (95 % interval -10.0 to -10.0, 2 seeds).
    """
    return [_summarise(method, seeds, runs.get("random"), runs.get("full")) for method, seeds in runs.items()]


def _summarise(method: str, runs: Runs, random: Runs | None, full: Runs | None) -> MethodSummary:
    last = [rows[-1] for rows in runs.values()]
    seconds = {part: _mean(row[f"{part}_seconds"] for row in last) for part in (*PARTS, "evaluating")}
    accuracies = final_accuracies(runs)
    against = None if random is None or method == "random" else paired_interval(accuracies, final_accuracies(random))
    return MethodSummary(
        method=method,
        accuracy=mean_interval(list(accuracies.values())),
        accuracies=accuracies,
        seconds=seconds,
        total_seconds=sum(seconds[part] for part in PARTS),
        gradient_evaluations=_mean(row["gradient_evaluations"] for row in last),
        probed_examples=_mean(row["probed_examples"] for row in last),
        fraction_touched=_mean(row["fraction_touched"] for row in last),
        speedup=None if full is None else speedup(runs, full),
        against_random=against,
        sentence="" if method == "random" else _sentence(method, against),
    )


def _mean(values: Any) -> float:
    numbers = [float(value) for value in values]
    return math.fsum(numbers) / len(numbers)


def final_accuracies(runs: Runs) -> dict[int, float]:
    """Return the test accuracy after the last epoch, by seed."""
    return {seed: float(rows[-1]["test_accuracy"]) for seed, rows in runs.items()}


def speedup(runs: Runs, full: Runs) -> Speedup:
    """Measure how much cheaper a method is than full training; see ``Speedup``.

    Args:
        runs: Of the method.
        full: Of training on everything.

    Returns:
        Ratios above 1 where the method is cheaper.
    """
    seeds = sorted(runs.keys() & full.keys())
    ratios: list[tuple[float, float]] = []
    for seed in seeds:
        target = float(full[seed][-1]["test_accuracy"]) - MARGIN
        ours, theirs = _cost(runs[seed], target), _cost(full[seed], target)
        if ours is not None and theirs is not None:
            ratios.append((theirs[0] / ours[0], theirs[1] / ours[1]))
    if not ratios or len(ratios) < len(seeds):
        return Speedup(len(ratios), len(seeds), None, None)
    by_seconds, by_gradients = (math.exp(_mean(math.log(ratio[k]) for ratio in ratios)) for k in (0, 1))
    return Speedup(len(ratios), len(seeds), by_seconds, by_gradients)


def _cost(rows: Rows, target: float) -> tuple[float, float] | None:
    for row in rows:
        if row["test_accuracy"] is not None and row["test_accuracy"] >= target:
            return sum(row[f"{part}_seconds"] for part in PARTS), row["gradient_evaluations"]
    return None


_WORDS = {"better": "better than Random", "worse": "worse than Random", "no different": "no different from Random"}


def _sentence(method: str, against: Interval | None) -> str:
    if against is None:
        return f"{method} cannot be judged: add random to the methods to compare with."
    if against.verdict == "unknown":
        return f"{method} cannot be judged against Random from one seed: run at least two."
    mean, low, high = (100 * value for value in (against.mean, against.low, against.high))
    return (
        f"{method} is {_WORDS[against.verdict]}: {mean:+.1f} points of accuracy (95 % interval {low:+.1f} to "
        f"{high:+.1f}, {against.count} seeds)."
    )


def to_json(summary: MethodSummary) -> dict[str, Any]:
    """Turn a summary into plain values for ``comparison.json``; what is not known is None."""

    def interval(value: Interval | None) -> dict[str, Any] | None:
        if value is None:
            return None
        ends = {"low": value.low, "high": value.high}
        return {"mean": value.mean, **{k: v if math.isfinite(v) else None for k, v in ends.items()}, "n": value.count}

    fast = summary.speedup
    return {
        "method": summary.method,
        "accuracy": interval(summary.accuracy),
        "accuracies": {str(seed): accuracy for seed, accuracy in summary.accuracies.items()},
        "seconds": {**summary.seconds, "total": summary.total_seconds},
        "gradient_evaluations": summary.gradient_evaluations,
        "probed_examples": summary.probed_examples,
        "fraction_touched": summary.fraction_touched,
        "speedup": None
        if fast is None
        else {
            "reached": fast.reached,
            "seeds": fast.seeds,
            "seconds": fast.seconds,
            "gradient_evaluations": fast.gradient_evaluations,
        },
        "against_random": interval(summary.against_random),
        "verdict": None if summary.against_random is None else summary.against_random.verdict,
        "sentence": summary.sentence,
    }
