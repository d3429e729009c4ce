"""One card for each figure or table: what the paper says, what was measured, the gap, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adacore.experiments.evidence.intervals import Interval, mean_interval
from adacore.experiments.evidence.sentences import (
    display_name,
    judgement_words,
    points,
    seconds,
    share,
    times,
    with_interval,
)
from adacore.experiments.evidence.summaries import CONTROL, base_name, find_control
from adacore.experiments.evidence.verdicts import LEAST_SEEDS, MOST_SEEDS, Judgement
from adacore.experiments.paper.claims import Finding, accuracies, judge_claims, reproduced
from adacore.experiments.paper.convex import convex_headline, judge_convex
from adacore.experiments.paper.differences import differences, flags, smaller_scale
from adacore.experiments.paper.pictures import has_curves
from adacore.experiments.paper.records import is_small

Record = Mapping[str, Any]
Entry = Mapping[str, Any]

PICTURES = "pictures"
"""Folder of the cards' pictures, beside the page."""


_COLUMNS = (
    "Method",
    "Paper",
    "Accuracy (%)",
    "Against Random",
    "Points",
    "Seeds",
    "Seconds",
    "of these probing, selecting",
    "Gradients, probing included",
    "Seen",
)


def card(entry: Entry, record: Record) -> str:
    """Write the card of a comparison.

    Args:
        entry: What the paper says; see ``docs/records/paper.yaml``.
        record: What was measured.

    Returns:
        Markdown.
    """
    lines = [f"## {entry['item']}", "", f"{entry['about']}.", ""]
    # Before any number: whoever reads one of a smaller scale must know what it is.
    if is_small(record):
        lines += [f"**Smaller scale**: {smaller_scale(record)}. Verdicts are about this scale.", ""]
    if "cut_off" in record:
        lines += [
            f"**Cut off** after {record['cut_off']} of {record['settings']['epochs']} epochs: no whole training.",
            "",
        ]
    lines += [f"- **Paper**: {told}" for told in (paper_words(entry),) if told]
    lines += [f"- **Against Random**: {line}" for line in against_random(record)]
    lines += _findings(judge_claims(entry.get("claims", ()), record))
    lines += held_out(record)
    if (told := accuracy_reproduced(entry, record)) and not is_small(record):
        why = f" {entry['why']}" if "why" in entry else ""
        lines += [f"- **Accuracy reproduced** (within 2 points): {told}.{why}"]
    if differs := differences(record):
        lines += [f"- **Differs from the set-up**: {'; '.join(differs)}."]
    if "notes" in entry:
        lines += [f"- **Notes**: {entry['notes'].strip()}"]
    if has_curves(record):
        about = "Test accuracy against gradients, probing included; bands: lowest to highest seed"
        lines += ["", f"![{about}]({PICTURES}/{record['name']}.svg)"]
    command = record.get("command", f"adacore reproduce {record['name']}{flags(record)}")
    lines += ["", *_table(entry, record), "", f"    {command}", ""]
    return "\n".join([*lines, f"Made with {record['made_with']}."])


def further_card(entry: Entry, record: Record, first: str) -> str:
    """Write the card of a figure that shows the runs of another one.

    Args:
        entry: What the paper says.
        record: What was measured.
        first: The other figure, whose card has the table.

    Returns:
        Markdown.
    """
    lines = [f"## {entry['item']}", "", f"{entry['about']}. The runs are those of {first}, on its card above.", ""]
    lines += [f"- **Paper**: {paper_words(entry)}", *_findings(judge_claims(entry.get("claims", ()), record))]
    return "\n".join([*lines, *([f"- **Notes**: {entry['notes'].strip()}"] if "notes" in entry else [])])


def convex_card(entry: Entry, record: Record) -> str:
    """Write the card of a convex experiment.

    Args:
        entry: What the paper says.
        record: What was measured; see ``adacore.experiments.paper.convex``.

    Returns:
        Markdown.
    """
    lines = [f"## {entry['item']}", "", f"{entry['about']}.", "", f"- **Paper**: {paper_words(entry)}"]
    verdict, gap, cost = convex_headline(record)
    lines += [f"- **Against Random**: AdaCore ends lower: {verdict}. {gap}. {cost}, selecting included."]
    lines += _findings(judge_convex(entry.get("claims", ()), record))
    if "notes" in entry:
        lines += [f"- **Notes**: {entry['notes'].strip()}"]
    lines += ["", f"![{entry['about']}](convex-figure{record['config']['figure']}.png)"]
    return "\n".join([*lines, "", f"    {record['command']}"])


def paper_words(entry: Entry) -> str:
    """Say what the paper says: in words, and the accuracies that it gives."""
    told = [f"{display_name(name)} {_paper_number(numbers)}" for name, numbers in entry.get("paper", {}).items()]
    return "; ".join([*([entry["says"]] if "says" in entry else []), *told])


def _paper_number(numbers: Sequence[float]) -> str:
    spread = f" ± {numbers[1]:g}" if len(numbers) > 1 else ""
    seen = f" ({numbers[2]:g} % of the data)" if len(numbers) > 2 else ""
    return f"{numbers[0]:g}{spread}{seen}"


def judgement_of(method: Mapping[str, Any]) -> Judgement | None:
    """Read from a record how a method stands to Random; None where they were not run in one experiment."""
    value = method["against_random"]
    if value is None:
        return None
    # JSON has no nan, and records say None for it.
    low, high = (math.nan if value[end] is None else float(value[end]) for end in ("low", "high"))
    interval = Interval(float(value["mean"]), low, high, int(value["n"]))
    return Judgement(value["verdict"], interval, float(value["level"]), value["seeds_needed"])


def _control(record: Record) -> str:
    """Name what the record's methods are compared with, as people write it."""
    return display_name(find_control(method["method"] for method in record["methods"]) or CONTROL)


def against_random(record: Record) -> list[str]:
    """Say of every selecting method how it stands to Random, and what it costs beside it.

    Args:
        record: What was measured.

    Returns:
        A sentence for each method.
    """
    told = []
    for method in record["methods"]:
        judgement = judgement_of(method)
        if judgement is not None:
            words = judgement_words(judgement, _control(record))
            cost = relative_cost(method, record)
            told.append(f"{display_name(method['method'])} {words}{f'; it takes {cost}' if cost else ''}.")
    return told


def relative_cost(method: Mapping[str, Any], record: Record) -> str:
    """Say what a method costs beside Random, selection included.

    Args:
        method: Of the record.
        record: What was measured.

    Returns:
        Such as "2 times as many seconds and 6 times as many gradients"; empty without Random.
    """
    # By its base name: a tuned control is a control too.
    random = next((other for other in record["methods"] if base_name(other["method"]) == CONTROL), None)
    # A ratio to nothing: older records lack costs, and tests have runs of no length.
    if random is None or not random["seconds"]["total"] or not random["gradient_evaluations"]:
        return ""
    by_seconds = times(method["seconds"]["total"] / random["seconds"]["total"])
    by_gradients = times(method["gradient_evaluations"] / random["gradient_evaluations"])
    return f"{by_seconds} seconds and {by_gradients} gradients"


def headline(entry: Entry, record: Record) -> tuple[str, str, str]:
    """Say of the entry's method, else of AdaCore or the record's first, how it stands to Random and at what cost.

    Args:
        entry: What the paper says.
        record: What was measured.

    Returns:
        Verdict, difference with its interval, and cost; a dash each where there is none.
    """
    judged = [method for method in record["methods"] if judgement_of(method) is not None]
    # A record without AdaCore still has a headline: its first method's.
    wanted = [entry.get("method", "adacore"), *(method["method"] for method in judged)]
    ours = next((method for name in wanted for method in judged if method["method"] == name), None)
    judgement = None if ours is None else judgement_of(ours)
    if ours is None or judgement is None:
        return _why_not_judged(record), "–", "–"
    gap = f"{100 * judgement.difference.mean:+.1f} points".replace("-", "−")
    span = _interval(judgement)
    name = "" if ours["method"] == "adacore" else f"{display_name(ours['method'])}: "
    # Named where it is not drawn anew for every epoch: such a control is weaker.
    control = _control(record)
    than = "" if control == display_name(CONTROL) else f", against {control}"
    interval = f" ({span})" if span != "–" else ""
    return f"{name}{_answer(judgement)}{than}", f"{gap}{interval}", relative_cost(ours, record) or "–"


def _answer(judgement: Judgement) -> str:
    """Answer whether a method is better than Random: yes, no or not known."""
    if judgement.verdict == "better":
        return "**yes**"
    if judgement.verdict != "not distinguishable":
        return f"**no**, {judgement.verdict}"
    count = judgement.difference.count
    if count < LEAST_SEEDS:
        return f"**not known**, fewer than {LEAST_SEEDS} seeds"
    if judgement.seeds_needed is None:
        return f"**not known** from {count} seeds, and not even {MOST_SEEDS:,} would tell"
    return f"**not known** from {count} seeds; about {judgement.seeds_needed} would show it {judgement.would_show}"


def _why_not_judged(record: Record) -> str:
    """Say why no method of a record stands beside Random."""
    if find_control(method["method"] for method in record["methods"]) is None:
        return "not asked: Random is not part of it"
    return "not asked: Random trains for another number of epochs"


def held_out(record: Record) -> list[str]:
    """Say which methods hold out a part of the training set, and so select from less than the others."""
    shares: dict[float, list[str]] = {}
    for method in record["methods"]:
        held = {**record["settings"], **method["settings"]}.get("validation", 0)
        shares.setdefault(held, []).append(display_name(method["method"]))
    if len(shares) < 2:
        return []
    return [
        f"- **Less data**: {', '.join(names)} holds out {share(held)} of the training set to select by, and trains on "
        "the rest alone."
        for held, names in shares.items()
        if held
    ]


def _findings(findings: Sequence[Finding]) -> list[str]:
    """Write claims on accuracy apart from others, which say nothing about whether a method is any good."""
    kinds = {"Claims on accuracy": True, "Other claims": False}
    sorted_out = {name: [f for f in findings if f.is_accuracy == accuracy] for name, accuracy in kinds.items()}
    return [f"- **{name}**: {_claims(found)}" for name, found in sorted_out.items() if found]


def _claims(findings: Sequence[Finding]) -> str:
    lines = [f"    - {f.claim}: **{f.outcome}**{f' ({f.why})' if f.why else ''}" for f in findings]
    return "\n" + "\n".join(lines)


def accuracy_reproduced(entry: Entry, record: Record) -> str:
    """Say of each method whether its accuracy is within 2 points of the paper's, or how far from it.

    Args:
        entry: What the paper says.
        record: What was measured.

    Returns:
        Such as "AdaCore yes; CRAIG no (+2.6)"; empty where the paper gives no accuracies.
    """
    # A few examples and epochs reproduce nothing, and miss nothing.
    if is_small(record):
        return "smaller scale: not comparable" if entry.get("paper") else ""
    told = []
    for method in record["methods"]:
        numbers = entry.get("paper", {}).get(method["method"])
        values = list(accuracies(method).values())
        if numbers is not None and values:
            told.append(f"{display_name(method['method'])} {reproduced(numbers[0], 100 * mean_interval(values).mean)}")
    return "; ".join(told)


def _table(entry: Entry, record: Record) -> list[str]:
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    for method in record["methods"]:
        numbers = entry.get("paper", {}).get(method["method"])
        judgement = judgement_of(method)
        spent = method["seconds"]
        cells = [
            display_name(method["method"]),
            "–" if numbers is None else _paper_number(numbers),
            with_interval(mean_interval(list(accuracies(method).values()))) + _seen_classes(method),
            _standing(method, judgement),
            "–" if judgement is None else _interval(judgement),
            _seeds(method),
            seconds(spent["total"]),
            f"{seconds(spent['probing'])}, {seconds(spent['selecting'])}",
            f"{method['gradient_evaluations']:,.0f}",
            share(method["fraction_seen"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _interval(judgement: Judgement) -> str:
    # Two seeds give an interval that looks precise, or absurd, by chance.
    return points(judgement.difference) if judgement.difference.count >= LEAST_SEEDS else "–"


def _standing(method: Mapping[str, Any], judgement: Judgement | None) -> str:
    if judgement is not None:
        return judgement.verdict
    return "the control" if base_name(method["method"]) == CONTROL else "–"


def _seeds(method: Mapping[str, Any]) -> str:
    told = [str(len(method["accuracies"]))]
    told += [f"{len(method['diverged'])} diverged"] if method.get("diverged") else []
    told += [f"{len(method['unfinished'])} unfinished, not counted"] if method.get("unfinished") else []
    return ", ".join(told)


def _seen_classes(method: Mapping[str, Any]) -> str:
    """Accuracy without the classes that never occur in training, where there are such."""
    seen = {int(seed): float(value) for seed, value in method.get("seen_classes_accuracies", {}).items()}
    # Where every class is trained on, both accuracies are one, and the second would be noise.
    if not seen or seen == {seed: accuracies(method).get(seed) for seed in seen}:
        return ""
    return f" (classes trained on: {with_interval(mean_interval(list(seen.values())))})"
