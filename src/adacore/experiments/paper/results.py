"""docs/results.md: a table with one plain answer for each figure or table, and a card for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adacore.experiments.evidence.verdicts import ERROR, LEAST_SEEDS
from adacore.experiments.paper.cards import accuracy_reproduced, card, convex_card, headline
from adacore.experiments.paper.claims import count_outcomes, judge_claims
from adacore.experiments.paper.differences import has_set_up
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

- **Random** trains on random subsets of the same size. It is the control: a method that is not better than Random does
  not pay. It draws a fresh subset in every epoch; in the older records, only at every reselection (the card on
  stratified mini-batches says what difference that makes).
- A method is **better** or **worse** than Random if the interval of their differences in accuracy, taken seed by seed,
  leaves out zero. It is **equivalent** if the interval lies within one point, and otherwise **not distinguishable**;
  then the page says how many seeds would tell. Fewer than {LEAST_SEEDS} seeds tell nothing. Intervals are corrected for
  the number of methods compared (Holm), so that equal methods get a "better" or "worse" in at most {100 * ERROR:.0f} %
  of comparisons.
- **Costs** include probing and selecting. A gradient is an example that was stepped on, or one that the model was run
  on in order to select.
- A run that diverged counts as what it had reached. A run that is not finished does not count.
- **Accuracy reproduced** is another question than whether a claim holds: it says whether the accuracy is within two
  points of the paper's.

"""

_COLUMNS = (
    "Figure or table",
    "AdaCore (or the method named) against Random",
    "Cost",
    "Claims on accuracy",
    "Other claims",
    "Accuracy reproduced",
)


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
    parts = [_HEAD + _table(papers, records)]
    if others:
        parts.append(f"Not in the paper:\n\n{_table(others, records)}")
    # Named as well: a page that shows only what was run hides what was not.
    missing = [entry for entry in entries if entry["record"] not in records]
    parts += [text for text in (_without_data(missing), _not_run(missing)) if text]
    parts += [_card(entry, records[entry["record"]]) for entry in run]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _is_comparison(record: Record) -> bool:
    """Tell comparisons from convex experiments, whose records tell ``measured`` and ``verdict`` themselves."""
    return isinstance(record.get("methods"), list)


def _card(entry: Entry, record: Record) -> str:
    return card(entry, record) if _is_comparison(record) else convex_card(entry, record)


def _table(entries: Sequence[Entry], records: Mapping[str, Record]) -> str:
    rows = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    rows += [f"| {' | '.join(_cells(entry, records[entry['record']]))} |" for entry in entries]
    return "\n".join(rows)


def _cells(entry: Entry, record: Record) -> list[str]:
    name = f"{entry['item']} (small version)" if _is_comparison(record) and is_small(record) else str(entry["item"])
    if not _is_comparison(record):
        return [name, "see its card", "–", str(record.get("verdict", "recorded, not judged")), "–", "–"]
    findings = judge_claims(entry.get("claims", ()), record)
    return [
        name,
        *headline(record),
        count_outcomes([finding for finding in findings if finding.is_accuracy]),
        count_outcomes([finding for finding in findings if not finding.is_accuracy]),
        accuracy_reproduced(entry, record) or "–",
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
    introduction = "Each of these commands runs one; with `--scale small` it ends within 20 minutes on 2 cores."
    return "\n".join(["## Not run yet", "", introduction, "", *lines])
