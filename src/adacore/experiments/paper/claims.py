"""Claims of the paper, each of a kind that can be checked against a record, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adacore.errors import unknown_name
from adacore.experiments.evidence.sentences import display_name, judgement_words, share
from adacore.experiments.evidence.verdicts import LEAST_SEEDS, MARGIN, Judgement, judge_all

Methods = Mapping[str, Mapping[str, Any]]
"""What a record tells of each method, by the method's name."""

Claim = Mapping[str, Sequence[Any]]
"""Its kind, with what it is about."""

Outcome = Literal["holds", "does not hold", "can't be told", "not run"]

REPRODUCED = 2.0
"""Points by which an accuracy may differ from the paper's and still count as reproduced."""


@dataclass(frozen=True)
class Finding:
    """What came of a claim.

    Attributes:
        claim: What is claimed, in words.
        outcome: Whether it holds; ``can't be told`` where the seeds are too few or too far apart.
        why: The numbers that say so; empty where nothing was run.
        is_accuracy: Whether it is about how good a method is, and not only about what it looks at.
    """

    claim: str
    outcome: Outcome
    why: str
    is_accuracy: bool


def judge_claims(claims: Sequence[Claim], record: Mapping[str, Any]) -> list[Finding]:
    """Check the claims of a figure or table.

    Claims that one method is better than another are judged together, by Holm's procedure over all of them.

    Args:
        claims: What the paper says.
        record: What was measured.

    Returns:
        A finding for each claim, in the same order.

    Raises:
        ValueError: If a kind of claim is unknown.
    """
    methods: Methods = {method["method"]: method for method in record["methods"]}
    pairs = [_pair(claim) for claim in claims]
    # Each pair once, however many claims rest on it: Holm's correction is for comparisons and not for sentences.
    known = {pair for pair in pairs if pair is not None and pair[0] in methods and pair[1] in methods}
    judged = judge_all(
        {_key(pair): accuracies(methods[pair[0]]) for pair in sorted(known)},
        {_key(pair): accuracies(methods[pair[1]]) for pair in sorted(known)},
    )
    return [_find(claim, methods, judged) for claim in claims]


def _pair(claim: Claim) -> tuple[str, str] | None:
    """Name the two methods whose accuracies a claim compares."""
    ((kind, about),) = claim.items()
    if kind not in KINDS:
        raise unknown_name("kind of claim", kind, KINDS)
    return (about[0], about[1]) if kind in {"better", "cheaper"} else None


def _key(pair: tuple[str, str]) -> str:
    return f"{pair[0]} against {pair[1]}"


def _find(claim: Claim, methods: Methods, judged: Mapping[str, Judgement]) -> Finding:
    ((kind, about),) = claim.items()
    check, words, is_accuracy = KINDS[kind]
    pair = _pair(claim)
    outcome, why = check(methods, None if pair is None else judged.get(_key(pair)), *about)
    told = [display_name(part) if isinstance(part, str) else f"{part:g}" for part in about]
    return Finding(words.format(*told), outcome, why, is_accuracy)


def accuracies(method: Mapping[str, Any]) -> dict[int, float]:
    """Return a method's final test accuracies by seed."""
    return {int(seed): float(value) for seed, value in method["accuracies"].items()}


Found = tuple[Outcome, str]


def _better(methods: Methods, judgement: Judgement | None, ours: str, theirs: str) -> Found:
    if judgement is None:
        return "not run", ""
    outcomes: dict[str, Outcome] = {
        "better": "holds",
        "worse": "does not hold",
        # Shown to be within a point is more than not shown to differ: "better" is then refuted.
        "equivalent": "does not hold",
        "not distinguishable": "can't be told",
    }
    return outcomes[judgement.verdict], f"it {judgement_words(judgement, display_name(theirs))}"


def _cheaper(methods: Methods, judgement: Judgement | None, ours: str, theirs: str, times: float) -> Found:
    """As accurate, less one point, in so many times fewer seconds, selection included."""
    if judgement is None:
        return "not run", ""
    # Total seconds of whole runs, selecting included, which is what a user pays.
    ratio = methods[theirs]["seconds"]["total"] / methods[ours]["seconds"]["total"]
    words = "fewer" if ratio >= 1 else "more"
    why = f"{max(ratio, 1 / ratio):.2g} times {words} seconds; it {judgement_words(judgement, display_name(theirs))}"
    # Refuted by either half alone: too slow, or certainly more than a point worse.
    if ratio < times or judgement.difference.high < -MARGIN:
        return "does not hold", why
    # The interval must lie above the margin: that it reaches it is not enough to claim as much accuracy.
    if judgement.difference.count < LEAST_SEEDS or judgement.difference.low < -MARGIN:
        return "can't be told", why
    return "holds", why


def _sees_less(methods: Methods, judgement: Judgement | None, ours: str, theirs: str) -> Found:
    if ours not in methods or theirs not in methods:
        return "not run", ""
    mine, other = (float(methods[name]["fraction_seen"]) for name in (ours, theirs))
    return _holds(mine < other), f"{share(mine)} against {share(other)}"


def _first_ranks_above(methods: Methods, judgement: Judgement | None, ours: str, bound: float, score: str) -> Found:
    found = methods.get(ours, {}).get("first_ranks", {})
    return ("not run", "") if score not in found else (_holds(found[score] > bound), f"{found[score]:.2f} times")


def _first_ranks_below(methods: Methods, judgement: Judgement | None, ours: str, theirs: str, score: str) -> Found:
    mine, other = (methods.get(name, {}).get("first_ranks", {}) for name in (ours, theirs))
    if score not in mine or score not in other:
        return "not run", ""
    return _holds(mine[score] < other[score]), f"{mine[score]:.2f} against {other[score]:.2f} times the mean"


def _holds(condition: bool) -> Outcome:
    return "holds" if condition else "does not hold"


KINDS: dict[str, tuple[Callable[..., Found], str, bool]] = {
    "better": (_better, "{0} is better than {1}", True),
    "cheaper": (_cheaper, "{0} comes within a point of {1} in {2} times fewer seconds", True),
    "sees_less": (_sees_less, "{0} sees less of the data than {1}", False),
    "first_ranks_above": (
        _first_ranks_above,
        "{2} among the first tenth of {0}'s picks is above {1} times the mean",
        False,
    ),
    "first_ranks_below": (_first_ranks_below, "{2} among the first tenth of {0}'s picks is below {1}'s", False),
}
"""What checks a kind of claim, how it is worded, and whether it is about accuracy."""


def count_outcomes(findings: Sequence[Finding]) -> str:
    """Say how many claims hold, and how many don't, without a verdict on the whole.

    Example:
        >>> count_outcomes([Finding("a", "holds", "", True), Finding("b", "can't be told", "", True)])
        "1 holds, 1 can't be told"
    """
    if len(findings) == 1:
        return findings[0].outcome
    counts = {outcome: sum(finding.outcome == outcome for finding in findings) for outcome in _WORDS}
    told = [f"{count} {words[count > 1]}" for outcome, words in _WORDS.items() if (count := counts[outcome])]
    return ", ".join(told) or "–"


_WORDS: dict[Outcome, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "can't be told": ("can't be told", "can't be told"),
    "not run": ("was not run", "were not run"),
}


def reproduced(paper: float, measured: float) -> str:
    """Say whether an accuracy is the paper's.

    Args:
        paper: In per cent.
        measured: In per cent.

    Returns:
        "yes", or "no" with the gap.

    Example:
        >>> reproduced(70.6, 69.0), reproduced(57.3, 37.3)
        ('yes', 'no (−20.0)')
    """
    gap = measured - paper
    return "yes" if abs(gap) <= REPRODUCED else f"no ({gap:+.1f})".replace("-", "−")
