"""docs/results.md: what the paper says beside what was measured, with a verdict that is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adacore.experiments.evidence.intervals import Interval, mean_interval
from adacore.experiments.evidence.sentences import display_name, points, seconds, share, with_interval
from adacore.experiments.paper.claims import accuracies, judge, state
from adacore.experiments.paper.records import is_small, read_records
from adacore.experiments.paper.set_ups import configure, group, parts_of
from adacore.experiments.runs.settings import to_mapping

Record = Mapping[str, Any]
Entry = Mapping[str, Any]

_UNTOLD = {"eval_every", "analyse_every", "methods", "first_seed", "data_root", "device", "num_workers", "tensorboard"}

_OUTCOMES = {True: "holds", False: "does not hold", None: "not run"}

_HEAD = """# Results

The paper's figures and tables, and what this library measured. This page is made from the records in `docs/records/` by

    python -m adacore.experiments.paper --write-results

and each record by the command that stands beside it. Means are over seeds, with 95 % t intervals; differences are
paired, seed by seed. A claim that one method is better than another holds if the whole interval of the difference is
above 0; with one seed, if the difference is. A row holds if all of its claims do, in part if some do. Seconds are those
of probing, selecting and training. Random draws a fresh subset at every reselection.

"""


def write_results(records: Path, out: Path) -> Path:
    """Write the page.

    Args:
        records: Folder of the records and of ``paper.yaml``.
        out: Where to.

    Returns:
        ``out``.
    """
    import yaml

    entries = yaml.safe_load((records / "paper.yaml").read_text(encoding="utf-8"))
    out.write_text(results(entries, read_records(records)), encoding="utf-8")
    return out


def results(entries: Sequence[Entry], records: Mapping[str, Record]) -> str:
    """Write the page's text.

    Args:
        entries: What the paper says; see ``docs/records/paper.yaml``.
        records: By name; those of small versions are left out.

    Returns:
        Markdown.
    """
    named = {entry["record"]: records[entry["record"]] for entry in entries if entry["record"] in records}
    full = {name: record for name, record in named.items() if not (_is_comparison(record) and is_small(record))}
    rows = ["| Figure or table | Set-up | Paper | Measured | Verdict |", "| --- | --- | --- | --- | --- |"]
    details: list[str] = []
    for entry in entries:
        record = full.get(entry["record"])
        rows.append(
            f"| {entry['item']} | {entry['about']} | {_paper(entry)} | {_measured(record)} | {verdict(entry, record)} |"
        )
        if record is not None and _is_comparison(record):
            details.append(_detail(entry, record))
    not_run = [entry for entry in entries if entry["record"] not in full and _has_set_up(entry["record"])]
    if not_run:
        details.append(_not_run(not_run))
    return _HEAD + "\n".join(rows) + "\n" + "".join(f"\n{detail}\n" for detail in details)


def _is_comparison(record: Record) -> bool:
    """Tell comparisons from convex experiments, whose records tell ``measured`` and ``verdict`` themselves."""
    return isinstance(record.get("methods"), list)


def verdict(entry: Entry, record: Record | None) -> str:
    """Judge a figure or table.

    Args:
        entry: What the paper says.
        record: What was measured, or None.

    Returns:
        "holds", "holds in part", "does not hold" or "not run".
    """
    if record is None:
        return "not run"
    if not _is_comparison(record):
        return str(record.get("verdict", "recorded, not judged"))
    judged = [judge(claim, record) for claim in entry.get("claims", ())]
    known = [outcome for outcome in judged if outcome is not None]
    if not known:
        return "not run"
    if all(known):
        return "holds" if len(known) == len(judged) else "holds in part"
    return "holds in part" if any(known) else "does not hold"


def _paper(entry: Entry) -> str:
    told = [f"{display_name(method)} {_paper_number(numbers)}" for method, numbers in entry.get("paper", {}).items()]
    return "; ".join([*([entry["says"]] if "says" in entry else []), *told])


def _paper_number(numbers: Sequence[float]) -> str:
    spread = f" ± {numbers[1]:g}" if len(numbers) > 1 else ""
    touched = f" ({numbers[2]:g} % of the data)" if len(numbers) > 2 else ""
    return f"{numbers[0]:g}{spread}{touched}"


def _measured(record: Record | None) -> str:
    if record is None:
        return "not run"
    if not _is_comparison(record):
        return str(record.get("measured", "see the record"))
    return "; ".join(f"{display_name(method['method'])} {_accuracy(method)}" for method in record["methods"])


def _accuracy(method: Mapping[str, Any]) -> str:
    return with_interval(mean_interval(list(accuracies(method).values())))


def _detail(entry: Entry, record: Record) -> str:
    lines = [f"## {entry['item']}", "", f"{entry['about']}. Verdict: **{verdict(entry, record)}**.", ""]
    lines += [f"    adacore reproduce {record['name']}{_flags(record)}", ""]
    differs = differences(record)
    if differs:
        lines += [f"Differs from the paper's set-up: {'; '.join(differs)}.", ""]
    if "notes" in entry:
        lines += [entry["notes"], ""]
    lines += [
        "| Method | Paper | Accuracy (%) | Against Random (points) | Seeds | Probing | Selecting | Training | Seen |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in record["methods"]:
        numbers = entry.get("paper", {}).get(method["method"])
        cells = [
            display_name(method["method"]),
            "–" if numbers is None else _paper_number(numbers),
            _accuracy(method) + _seen(method),
            points(_interval(method["against_random"])),
            str(len(method["accuracies"])),
            *(seconds(method["seconds"][part]) for part in ("probing", "selecting", "training")),
            share(method["fraction_seen"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        *(f"- {state(claim)}: {_OUTCOMES[judge(claim, record)]}" for claim in entry.get("claims", ())),
        "",
        f"Made with {record['made_with']}.",
    ]
    return "\n".join(lines)


def _interval(value: Mapping[str, Any] | None) -> Interval | None:
    if value is None:
        return None
    low, high = (math.nan if value[end] is None else float(value[end]) for end in ("low", "high"))
    return Interval(float(value["mean"]), low, high, int(value["n"]))


def _seen(method: Mapping[str, Any]) -> str:
    """Accuracy without the classes that never occur in training, where there are such."""
    seen = {int(seed): float(value) for seed, value in method.get("seen_classes_accuracies", {}).items()}
    if not seen or seen == {seed: accuracies(method).get(seed) for seed in seen}:
        return ""
    return f" (classes trained on: {with_interval(mean_interval(list(seen.values())))})"


def differences(record: Record) -> list[str]:
    """Tell in which settings a record differs from the set-up that is shipped.

    Args:
        record: What was run.

    Returns:
        Such as "model resnet20 instead of resnet18".
    """
    found: dict[str, None] = {}
    for config in configure(parts_of(record["name"])).values():
        expected = to_mapping(config)
        for method in record["methods"]:
            if method["method"] not in config.methods:
                continue
            actual = {**record["settings"], **method["settings"], "seeds": len(method["accuracies"])}
            for name in sorted(expected.keys() & actual.keys() - _UNTOLD):
                if actual[name] != expected[name]:
                    found[f"{name} {actual[name]} instead of {expected[name]}"] = None
    run = {method["method"] for method in record["methods"]}
    planned = [m for config in configure(parts_of(record["name"])).values() for m in config.methods]
    missing = [display_name(method) for method in planned if method not in run]
    return [*found, *([f"without {', '.join(missing)}"] if missing else [])]


def _flags(record: Record) -> str:
    """Write the flags that make a record of the shipped set-up."""
    flags: dict[str, None] = {}
    for config in configure(parts_of(record["name"])).values():
        expected = to_mapping(config)
        for method in (m for m in record["methods"] if m["method"] in config.methods):
            actual = {**record["settings"], **method["settings"], "seeds": len(method["accuracies"])}
            for name in sorted(expected.keys() & actual.keys()):
                if actual[name] != expected[name] and name not in {"methods", "first_seed"}:
                    flags[_flag(name, actual[name])] = None
    run = [method["method"] for method in record["methods"]]
    planned = {method for config in configure(parts_of(record["name"])).values() for method in config.methods}
    if set(run) != planned:
        flags[f'--methods "{", ".join(run)}"'] = None
    return "".join(f" {flag}" for flag in flags)


def _flag(name: str, value: Any) -> str:
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{word}" if value else f"--no-{word}"
    return f"--{word} {value}"


def _has_set_up(name: str) -> bool:
    try:
        return bool(group(configure(parts_of(name))))
    except ValueError:
        return False


def _not_run(entries: Sequence[Entry]) -> str:
    names = dict.fromkeys(entry["record"] for entry in entries)
    lines = [f"    adacore reproduce {name}" for name in names]
    return "\n".join(
        ["## Not run", "", "Each of these runs one; `--scale small` ends within 20 minutes on 2 cores.", "", *lines]
    )
