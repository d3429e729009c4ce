"""What runs of several methods with the same seeds say: a pure function of their outcomes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adacore.experiments.evidence.intervals import Interval, mean_interval
from adacore.experiments.evidence.outcomes import Cost, Outcome, cost_of
from adacore.experiments.evidence.verdicts import MARGIN, Judgement, judge_all
from adacore.training.ledger import PARTS

Outcomes = Mapping[int, Outcome]
"""Outcomes of one method by seed."""

CONTROL = "random"
"""What every method is judged against: fresh random subsets."""


@dataclass(frozen=True)
class Speedup:
    """How much cheaper than training on the full data a method reaches the full data's final accuracy less one point.

    Both costs, selection included, are taken at the first evaluation that reaches it, seed by seed; the ratio is
    averaged geometrically.

    Attributes:
        reached: Number of seeds in which the method reached it.
        seeds: Number of seeds that both ran.
        seconds: Seconds on the full data / seconds of the method; None unless reached in every seed.
        gradient_evaluations: The same of gradient evaluations.
    """

    reached: int
    seeds: int
    seconds: float | None
    gradient_evaluations: float | None


@dataclass(frozen=True)
class MethodSummary:
    """What the runs of one method came to; means are over the seeds that count.

    Attributes:
        method: As on the command line.
        accuracy: Final test accuracy, in [0, 1]: mean over seeds and 95 % interval.
        accuracies: The accuracy that each seed counts as.
        cost: Mean cost of a whole run.
        evaluating_seconds: Mean seconds of evaluating, which are no cost of training.
        fraction_seen: Mean share of the training set that was stepped on at least once.
        diverged: Seeds whose training diverged; they count as what they had reached.
        unfinished: Seeds that are not finished; they don't count.
        speedup: Against training on the full data, if it is among the methods.
        against_random: How it stands to Random; None for Random itself, or without it.
    """

    method: str
    accuracy: Interval
    accuracies: Mapping[int, float]
    cost: Cost
    evaluating_seconds: float
    fraction_seen: float
    diverged: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()
    speedup: Speedup | None = None
    against_random: Judgement | None = None


def summarise(methods: Mapping[str, Outcomes], *, experiments: Mapping[str, str] | None = None) -> list[MethodSummary]:
    """Compare methods over their seeds.

    Args:
        methods: By method, then by seed, what each run came to.
        experiments: What each method's runs are part of: only those of one experiment are compared with each other.
            None if all are of one.

    Returns:
        A summary of each method, in the order given.

    Example:
        >>> row = {"epoch": 1, "gradient_evaluations": 10, "probed_examples": 0, "fraction_seen": 0.1,
        ...        "probing_seconds": 0.0, "selecting_seconds": 0.0, "training_seconds": 1.0, "evaluating_seconds": 0.0}
        >>> runs = {name: {seed: Outcome.finished([{**row, "test_accuracy": level + seed / 100}]) for seed in range(3)}
        ...         for name, level in (("random", 0.8), ("craig", 0.7))}
        >>> summarise(runs)[1].against_random.verdict
        'worse'
    """
    # One experiment for all where nothing is said of it.
    belongs = dict.fromkeys(methods, "") if experiments is None else experiments
    accuracies = {
        # Unfinished runs are left out of everything: their accuracy is one of another epoch than the others'.
        name: {seed: outcome.accuracy for seed, outcome in outcomes.items() if outcome.counts}
        for name, outcomes in methods.items()
    }
    found = {one: find_control(name for name in methods if belongs[name] == one) for one in set(belongs.values())}
    controls = {experiment: name for experiment, name in found.items() if name is not None}
    # All methods of all experiments at once: Holm's correction counts every comparison that the reader sees.
    judged = judge_all(
        {name: accuracies[name] for name in methods if name not in controls.values() and belongs[name] in controls},
        {name: accuracies[controls[belongs[name]]] for name in methods if belongs[name] in controls},
    )
    full = {belongs[name]: outcomes for name, outcomes in methods.items() if base_name(name) == "full"}
    return [
        _summarise(name, outcomes, accuracies[name], full.get(belongs[name]), judged.get(name))
        for name, outcomes in methods.items()
    ]


def find_control(methods: Iterable[str]) -> str | None:
    """Find the arm that the others are compared with.

    Args:
        methods: Names of the arms of one experiment.

    Returns:
        ``random`` as it is by default, else the only ``random`` with settings of its own; None if there is no such one.

    Example:
        >>> find_control(["stratified", "random(learning_rate=0.2)"])
        'random(learning_rate=0.2)'
    """
    arms = [method for method in methods if base_name(method) == CONTROL]
    # Two tuned controls and no plain one: choosing the stronger after the fact would be a choice by the result.
    if CONTROL in arms:
        return CONTROL
    return arms[0] if len(arms) == 1 else None


def base_name(method: str) -> str:
    """Return a method's name without its settings.

    Example:
        >>> base_name("adacore(weighting=uniform)")
        'adacore'
    """
    # A hyphen may be part of a name; the first other character ends it.
    return re.split(r"[^\w-]", method, maxsplit=1)[0]


def _summarise(
    method: str,
    outcomes: Outcomes,
    accuracies: Mapping[int, float],
    full: Outcomes | None,
    judgement: Judgement | None,
) -> MethodSummary:
    last = [outcome.rows[-1] for outcome in outcomes.values() if outcome.counts and outcome.rows]
    costs = [cost_of(row) for row in last]
    return MethodSummary(
        method=method,
        accuracy=mean_interval(list(accuracies.values())),
        accuracies=accuracies,
        cost=Cost(
            {part: _mean(cost.seconds[part] for cost in costs) for part in PARTS},
            _mean(cost.steps for cost in costs),
            _mean(cost.probed for cost in costs),
        ),
        evaluating_seconds=_mean(float(row["evaluating_seconds"]) for row in last),
        fraction_seen=_mean(float(row["fraction_seen"]) for row in last),
        diverged=tuple(seed for seed, outcome in sorted(outcomes.items()) if outcome.end == "diverged"),
        unfinished=tuple(seed for seed, outcome in sorted(outcomes.items()) if outcome.end == "unfinished"),
        speedup=None if full is None else speedup(outcomes, full),
        against_random=judgement,
    )


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else 0.0


def speedup(ours: Outcomes, full: Outcomes) -> Speedup | None:
    """Measure how much cheaper a method is than training on the full data; see ``Speedup``.

    Args:
        ours: Of the method.
        full: Of training on the full data.

    Returns:
        Ratios above 1 where the method is cheaper; None if no seed of both counts.
    """
    seeds = [seed for seed in sorted(ours.keys() & full.keys()) if ours[seed].counts and full[seed].counts]
    ratios: list[tuple[float, float]] = []
    for seed in seeds:
        # Less one point: the full data's last accuracy is a draw too, and equalling it exactly would be luck.
        target = full[seed].accuracy - MARGIN
        mine, theirs = ours[seed].cost_to_reach(target), full[seed].cost_to_reach(target)
        if mine is not None and theirs is not None:
            ratios.append(
                (
                    # Costs of 0 occur at coarse clocks and in tests: the ratio stays finite, and its logarithm too.
                    theirs.total_seconds / max(mine.total_seconds, 1e-9),
                    theirs.gradient_evaluations / max(mine.gradient_evaluations, 1),
                )
            )
    if not seeds:
        return None
    # A mean over the seeds that reached it would leave out those on which the method failed.
    if not ratios or len(ratios) < len(seeds):
        return Speedup(len(ratios), len(seeds), None, None)
    # Geometric: twice as fast and half as fast average to 1, where the arithmetic mean says 1.25.
    by_seconds, by_gradients = (math.exp(_mean(math.log(max(ratio[k], 1e-9)) for ratio in ratios)) for k in (0, 1))
    return Speedup(len(ratios), len(seeds), by_seconds, by_gradients)
