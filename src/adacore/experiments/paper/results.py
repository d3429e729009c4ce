"""docs/results.md: a table with one plain answer for each figure or table, and a card for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adacore.experiments.evidence.verdicts import ERROR, LEAST_SEEDS
from adacore.experiments.paper.cards import accuracy_reproduced, card, convex_card, further_card, headline
from adacore.experiments.paper.claims import count_outcomes, judge_claims
from adacore.experiments.paper.convex import convex_headline, is_convex, judge_convex
from adacore.experiments.paper.differences import differences, has_set_up
from adacore.experiments.paper.records import is_small, read_records
from adacore.labelling.durable_files import replace_file

Record = Mapping[str, Any]
Entry = Mapping[str, Any]

_HEAD = f"""# Results

What the paper's figures and tables say, and what this library measured. This page is made from the records in
`docs/records/` by

    python -m adacore.experiments.paper --write-results

and each record by the command on its card.

How to read it:

- **Random** trains on random subsets of the same size, a fresh one in every epoch. It is the control: a method that is
  not better than Random does not pay. The paper's Random is kept for R epochs: that is another arm, "Random (kept for R
  epochs)", and a weaker one. In three older records it is the only one.
- **Smaller scale**: 2 cores can't train the paper's networks on all of its data. What that means is said on each card.
  A verdict there is about that scale, and its accuracies are not the paper's to compare with.
- A method is **better** or **worse** than Random if the interval of their differences in accuracy, taken seed by seed,
  leaves out zero. It is **equivalent** if the interval lies within one point, and otherwise **not distinguishable**.
  Then the page says how many seeds would probably tell, and what they would show if the differences go on as they are.
  Fewer than {LEAST_SEEDS} seeds tell nothing. Intervals are corrected for the number of methods compared (Holm), so
  that equal methods get a "better" or "worse" in at most {100 * ERROR:.0f} % of comparisons.
- The first table asks one question of each figure or table: is AdaCore more accurate than Random? Where it is asked of
  another method, that one is named. Of convex problems it asks whether training ends at a lower loss (Figure 2: at a
  smaller error of the gradient). The paper's own claims stand in the second table, those on accuracy apart from others,
  such as that a method sees less of the data.
- **Costs** include probing and selecting. A gradient is an example that was stepped on, or one that the model was run
  on in order to select.
- A run that diverged counts as what it had reached. A run that is not finished does not count.
- **Accuracy reproduced** is another question than whether a claim holds: it says whether the accuracy is within two
  points of the paper's.

"""

_AGAINST = ("Figure or table", "Scale", "More accurate than Random?", "By how much", "Cost beside Random's")
"""Columns of the table that answers whether a method pays."""

_CLAIMS = ("Figure or table", "Claims on accuracy", "Other claims", "Accuracy reproduced (points above the paper's)")
"""Columns of the table of what the paper claims."""


def write_results(records: Path, out: Path) -> Path:
    """Write the page.

    Args:
        records: Folder of the records and of ``paper.yaml``.
        out: Where to.

    Returns:
        ``out``.
    """
    # Late: only the page's maker reads YAML here.
    import yaml

    entries = yaml.safe_load((records / "paper.yaml").read_text(encoding="utf-8"))
    return replace_file(out, results(entries, read_records(records)))


def results(entries: Sequence[Entry], records: Mapping[str, Record]) -> str:
    """Write the page's text.

    Args:
        entries: What the paper says; see ``docs/records/paper.yaml``.
        records: By name.

    Returns:
        Markdown.
    """
    run = [entry for entry in entries if entry["record"] in records]
    # What the paper says and what this library adds are two tables: the second has nothing to be compared with.
    papers, others = ([e for e in run if bool(e.get("own")) == own] for own in (False, True))
    # Once for each record: several figures are drawn from the same runs.
    once = list({entry["record"]: entry for entry in reversed(papers)}.values())[::-1]
    parts = [_HEAD + _table(_AGAINST, [_against_random(entry, records) for entry in once])]
    if others:
        parts.append(f"Not in the paper:\n\n{_table(_AGAINST, [_against_random(entry, records) for entry in others])}")
    parts.append(f"## What the paper claims\n\n{_table(_CLAIMS, [_claims(entry, records) for entry in papers])}")
    # Named as well: a page that shows only what was run hides what was not.
    missing = [entry for entry in entries if entry["record"] not in records]
    parts += [text for text in (_without_data(missing), _not_run(missing)) if text]
    shown: dict[str, str] = {}
    for entry in run:
        first = shown.setdefault(entry["record"], str(entry["item"]))
        parts.append(_card(entry, records[entry["record"]], first))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _card(entry: Entry, record: Record, first: str) -> str:
    if is_convex(record):
        return convex_card(entry, record)
    # Several figures are drawn from the same runs: their table stands once.
    return card(entry, record) if entry["item"] == first else further_card(entry, record, first)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _against_random(entry: Entry, records: Mapping[str, Record]) -> list[str]:
    record = records[entry["record"]]
    told = convex_headline(record) if is_convex(record) else headline(entry, record)
    return [str(entry["item"]), _scale(record), *told]


def _scale(record: Record) -> str:
    if is_convex(record):
        return f"full scale, {record['config']['seeds']} seeds"
    seeds = max(len(method["accuracies"]) for method in record["methods"])
    counted = f"{seeds} seed{'s' * (seeds > 1)}"
    if is_small(record):
        return f"smaller scale, {counted}"
    if "cut_off" in record:
        return f"the first {record['cut_off']} of {record['settings']['epochs']} epochs, {counted}"
    # Where another model was run, the scale is not the paper's, whatever else is.
    model = next((words for words in differences(record) if words.startswith("model ")), "model full scale")
    return f"{model.removeprefix('model ').replace('resnet', 'ResNet-')}, {counted}"


def _claims(entry: Entry, records: Mapping[str, Record]) -> list[str]:
    record = records[entry["record"]]
    findings = (judge_convex if is_convex(record) else judge_claims)(entry.get("claims", ()), record)
    return [
        f"{entry['item']} (smaller scale)" if is_small(record) else str(entry["item"]),
        count_outcomes([finding for finding in findings if finding.is_accuracy]),
        "; ".join(f"{f.claim}: **{f.outcome}**" for f in findings if not f.is_accuracy) or "–",
        "–" if is_convex(record) else accuracy_reproduced(entry, record) or "–",
    ]


def _without_data(missing: Sequence[Entry]) -> str:
    items = [f"- {entry['item']}: {entry['without_data']}" for entry in missing if "without_data" in entry]
    return "\n".join(["## Data not available", "", *items]) if items else ""


def _not_run(missing: Sequence[Entry]) -> str:
    entries = [entry for entry in missing if "without_data" not in entry and has_set_up(entry["record"])]
    if not entries:
        return ""
    commands: dict[str, list[str]] = {}
    for entry in entries:
        commands.setdefault(entry["record"], []).append(str(entry["item"]))
    lines = [f"    adacore reproduce {name:<24}# {'; '.join(items)}" for name, items in commands.items()]
    introduction = "Each of these commands runs one; with `--scale small`, 2 cores run it in minutes."
    return "\n".join(["## Not run yet", "", introduction, "", *lines])
