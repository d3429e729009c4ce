"""Claims of the paper, each of a kind that can be checked against a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adacore.errors import unknown_name
from adacore.experiments.evidence.intervals import paired_interval
from adacore.experiments.evidence.sentences import display_name

Methods = Mapping[str, Mapping[str, Any]]
"""What a record tells of each method, by the method's name."""


def judge(claim: Mapping[str, Sequence[Any]], record: Mapping[str, Any]) -> bool | None:
    """Check one claim.

    Args:
        claim: Its kind, with what it is about.
        record: What was measured.

    Returns:
        Whether it holds; None where a method was not run.

    Raises:
        ValueError: If the kind is unknown.
    """
    ((kind, about),) = claim.items()
    if kind not in _KINDS:
        raise unknown_name("kind of claim", kind, _KINDS)
    return _KINDS[kind]({method["method"]: method for method in record["methods"]}, *about)


def accuracies(method: Mapping[str, Any]) -> dict[int, float]:
    """Return a method's final test accuracies by seed."""
    return {int(seed): float(value) for seed, value in method["accuracies"].items()}


def _better(methods: Methods, ours: str, theirs: str) -> bool | None:
    if ours not in methods or theirs not in methods:
        return None
    difference = paired_interval(accuracies(methods[ours]), accuracies(methods[theirs]))
    if difference.count == 0:
        return None
    return difference.mean > 0 if math.isnan(difference.low) else difference.low > 0


def _at_least(methods: Methods, ours: str, percent: float) -> bool | None:
    return None if ours not in methods else 100 * float(methods[ours]["accuracy"]["mean"]) >= percent


def _cheaper(methods: Methods, ours: str, theirs: str, times: float) -> bool | None:
    """As accurate, less one point, in so many times fewer seconds."""
    if ours not in methods or theirs not in methods:
        return None
    accurate = methods[ours]["accuracy"]["mean"] >= methods[theirs]["accuracy"]["mean"] - 0.01
    return bool(accurate and methods[theirs]["seconds"]["total"] >= times * methods[ours]["seconds"]["total"])


def _touches_less(methods: Methods, ours: str, theirs: str) -> bool | None:
    if ours not in methods or theirs not in methods:
        return None
    return bool(methods[ours]["fraction_seen"] < methods[theirs]["fraction_seen"])


def _first_ranks_above(methods: Methods, ours: str, bound: float, score: str) -> bool | None:
    found = methods.get(ours, {}).get("first_ranks", {})
    return None if score not in found else bool(found[score] > bound)


def _first_ranks_below(methods: Methods, ours: str, theirs: str, score: str) -> bool | None:
    mine, other = (methods.get(name, {}).get("first_ranks", {}) for name in (ours, theirs))
    return None if score not in mine or score not in other else bool(mine[score] < other[score])


_KINDS: dict[str, Callable[..., bool | None]] = {
    "better": _better,
    "at_least": _at_least,
    "cheaper": _cheaper,
    "touches_less": _touches_less,
    "first_ranks_above": _first_ranks_above,
    "first_ranks_below": _first_ranks_below,
}


def state(claim: Mapping[str, Sequence[Any]]) -> str:
    """Say what a claim claims.

    Example:
        >>> state({"better": ["adacore", "random"]})
        'AdaCore is better than Random'
    """
    ((kind, about),) = claim.items()
    words = [display_name(part) if isinstance(part, str) else f"{part:g}" for part in about]
    return {
        "better": "{0} is better than {1}",
        "at_least": "{0} reaches at least {1} %",
        "cheaper": "{0} comes within a point of {1} in {2} times fewer seconds",
        "touches_less": "{0} sees less of the data than {1}",
        "first_ranks_above": "{2} among the first tenth of {0}'s picks is above {1} times the mean",
        "first_ranks_below": "{2} among the first tenth of {0}'s picks is below {1}'s",
    }[kind].format(*words)
