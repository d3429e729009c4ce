"""Convex experiments: claims judged from the seeds in their records, by the rules that hold for accuracies."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from adacore.errors import unknown_name
from adacore.experiments.evidence.sentences import display_name, times
from adacore.experiments.evidence.verdicts import Judgement, judge_all
from adacore.experiments.paper.claims import Claim, Finding, Outcome

Record = Mapping[str, Any]
Run = Mapping[str, Any]

LEVEL = 1e-3
"""Residual L(w) - L* that gradients are counted to."""

_SOLVERS = {"sgd": "SGD", "newton": "Newton's method"}


def is_convex(record: Record) -> bool:
    """Tell the record of a convex figure, which holds curves of solvers, from a comparison's."""
    return "solvers" in record.get("config", {})


def judge_convex(claims: Sequence[Claim], record: Record) -> list[Finding]:
    """Check the claims of a convex figure.

    Args:
        claims: ``lower: [solver, ours, theirs]``, at every size of the subset; or ``fewer_gradients: [solver, ours,
            theirs, factor]`` to the residual ``LEVEL``, selecting included.
        record: What was measured.

    Returns:
        A finding for each claim, in the same order.

    Raises:
        ValueError: If a kind of claim is unknown.
    """
    judged = judge_sizes(record)
    findings = []
    for claim in claims:
        ((kind, about),) = claim.items()
        if kind == "lower":
            findings.append(_lower(judged, *about))
        elif kind == "fewer_gradients":
            findings.append(_fewer(record, *about))
        else:
            raise unknown_name("kind of claim", kind, ("lower", "fewer_gradients"))
    return findings


def judge_sizes(record: Record) -> dict[tuple[str, str, float], Judgement]:
    """Judge AdaCore against every other subset at every size, seed by seed.

    What is compared is the natural logarithm of what a run ends with, its sign turned: a difference of 0.7 is half as
    much. All comparisons of a figure are one family, corrected for each other.

    Args:
        record: What was measured.

    Returns:
        A judgement by solver, other method, and fraction of the data.
    """
    pairs: dict[str, tuple[dict[int, float], dict[int, float]]] = {}
    keys: dict[str, tuple[str, str, float]] = {}
    for solver, methods in record["runs"].items():
        for other in methods.keys() - {"adacore", "full"}:
            for fraction, runs in methods["adacore"].items():
                name = f"{solver}, {other}, {fraction}"
                keys[name] = (solver, other, float(fraction))
                pairs[name] = (_ends(record, runs), _ends(record, methods[other][fraction]))
    judged = judge_all({n: ours for n, (ours, _) in pairs.items()}, {n: theirs for n, (_, theirs) in pairs.items()})
    return {keys[name]: judgement for name, judgement in judged.items()}


def _ends(record: Record, runs: Sequence[Run]) -> dict[int, float]:
    # Figure 2 is of the gradients at the end, the others of the residual. A residual of 0 is below float64's rounding.
    differ = record["config"]["figure"] == 2
    return {
        seed: -math.log(max(run["gradient_difference"] if differ else run["residuals"][-1], 1e-16))
        for seed, run in enumerate(runs)
    }


def _lower(judged: Mapping[tuple[str, str, float], Judgement], solver: str, ours: str, theirs: str) -> Finding:
    at = {size: judgement for (s, other, size), judgement in judged.items() if (s, other) == (solver, theirs)}
    verdicts = [judgement.verdict for judgement in at.values()]
    outcome: Outcome = "can't be told"
    if all(verdict == "better" for verdict in verdicts):
        outcome = "holds"
    elif any(verdict in {"worse", "equivalent"} for verdict in verdicts):
        outcome = "does not hold"
    claim = f"{_SOLVERS[solver]} ends lower on {display_name(ours)}'s subsets than on {display_name(theirs)}'s"
    return Finding(claim, outcome, lower_words(at), True)


def lower_words(at: Mapping[float, Judgement]) -> str:
    """Say at how many sizes a number is lower, and by which factors.

    Args:
        at: Judgements by fraction of the data.

    Returns:
        Such as "better at 9 of 9 sizes, 7.1 to 65 times lower".
    """
    if len(at) == 1:
        ((_, judgement),) = at.items()
        difference = judgement.difference
        ends = [math.exp(end) for end in (difference.low, difference.high)]
        # From the smaller factor to the larger one, and above 1, whichever of the two methods ends lower.
        low, high = sorted(ends if difference.mean > 0 else [1 / end for end in ends])
        word = "lower" if difference.mean > 0 else "higher"
        interval = f"{100 * judgement.level:.3g} % interval {low:.2g} to {high:.2g}, {difference.count} seeds"
        return f"{judgement.verdict}: {math.exp(abs(difference.mean)):.2g} times {word} ({interval})"
    told = []
    for verdict, word in (("better", "lower"), ("worse", "higher")):
        factors = [math.exp(abs(j.difference.mean)) for j in at.values() if j.verdict == verdict]
        if factors:
            told.append(
                f"{verdict} at {len(factors)} of {len(at)} sizes, {min(factors):.2g} to {max(factors):.2g} times {word}"
            )
    rest = sum(judgement.verdict not in {"better", "worse"} for judgement in at.values())
    return "; ".join([*told, *([f"not distinguishable at {rest} of {len(at)} sizes"] if rest else [])])


def _gap(at: Mapping[float, Judgement]) -> str:
    if len(at) == 1:
        return re.sub(r"\(.* interval (.*), \d+ seeds\)", r"(\1)", lower_words(at).partition(": ")[2])
    told = lower_words(at).split("; ")
    return "; ".join(part.partition("sizes, ")[2] for part in told if "sizes, " in part) or "not distinguishable"


def _fewer(record: Record, solver: str, ours: str, theirs: str, factor: float) -> Finding:
    mine, other = (gradients_to(record, solver, method) for method in (ours, theirs))
    name, against = display_name(ours), "the full data" if theirs == "full" else display_name(theirs)
    claim = f"{_SOLVERS[solver]} reaches {LEVEL:g} on {name}'s subset with {factor:g} times fewer gradients than on "
    claim += against
    if math.isinf(mine) or math.isinf(other):
        return Finding(claim, "does not hold" if math.isinf(mine) else "holds", "not reached by both", False)
    why = f"{mine:,.0f} gradients, selecting included, against {other:,.0f}: {times(mine / other)}"
    return Finding(claim, "holds" if other / mine >= factor else "does not hold", why, False)


def gradients_to(record: Record, solver: str, method: str) -> float:
    """Count the gradients to the residual ``LEVEL``, selecting included: the median over seeds.

    Args:
        record: Of a figure with one size.
        solver: Its name in the record.
        method: Its name in the record.

    Returns:
        Gradients of single examples; infinite where it is not reached.
    """
    (runs,) = record["runs"][solver][method].values()
    first = [
        next((spent for spent, r in zip(run["evaluations"], run["residuals"], strict=True) if r <= LEVEL), math.inf)
        + run["selecting_evaluations"]
        for run in runs
    ]
    return float(statistics.median(first))


def convex_headline(record: Record) -> tuple[str, str, str]:
    """Say how AdaCore stands to Random, by how much, and at what cost, over all sizes.

    Args:
        record: What was measured.

    Returns:
        Verdict, gap and cost, for the page's first table.
    """
    judged = judge_sizes(record)
    verdicts, gaps, costs = [], [], []
    for solver, methods in record["runs"].items():
        at = {size: judgement for (s, other, size), judgement in judged.items() if (s, other) == (solver, "random")}
        better = sum(judgement.verdict == "better" for judgement in at.values())
        name = _SOLVERS[solver]
        where = "" if better == len(at) else f" at {better} of {len(at)} sizes"
        verdicts.append(f"{name}: **{'yes' if better else 'no'}**{where if better else ''}")
        # The factor and its interval, or the range of factors: levels, seeds and what is not told are on the card.
        gaps.append(f"{name}: {_gap(at)}")
        spent = [
            [run["selecting_evaluations"] + run["evaluations"][-1] for runs in methods[method].values() for run in runs]
            for method in ("adacore", "random")
        ]
        costs.append(f"{name}: {times(statistics.fmean(spent[0]) / statistics.fmean(spent[1]))} gradients")
    return "; ".join(verdicts), "; ".join(gaps), "; ".join(costs)
