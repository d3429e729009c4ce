"""How what was run differs from the set-up that is shipped for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adacore.experiments.evidence.sentences import display_name
from adacore.experiments.paper.set_ups import configure, group, parts_of
from adacore.experiments.runs.experiment import MOVABLE
from adacore.experiments.runs.settings import to_mapping

Record = Mapping[str, Any]

_UNTOLD = {"eval_every", "analyse_every", "methods", "first_seed", *MOVABLE}
"""Settings that change no result, or that are told otherwise."""


def differences(record: Record) -> list[str]:
    """Tell in which settings a record differs from the set-up that is shipped.

    Args:
        record: What was run.

    Returns:
        Such as "model resnet20 instead of resnet18".
    """
    # A dictionary as an ordered set: the parts of a set-up repeat most settings.
    found: dict[str, None] = {}
    for config in configure(parts_of(record["name"])).values():
        expected = to_mapping(config)
        for method in record["methods"]:
            if method["method"] not in config.methods:
                continue
            actual = {**record["settings"], **method["settings"], "seeds": len(method["accuracies"])}
            # Settings that either side does not know are left out: a record may be older than a setting.
            for name in sorted(expected.keys() & actual.keys() - _UNTOLD):
                if actual[name] != expected[name]:
                    found[f"{name} {actual[name]} instead of {expected[name]}"] = None
    run = {method["method"] for method in record["methods"]}
    planned = [m for config in configure(parts_of(record["name"])).values() for m in config.methods]
    missing = [display_name(method) for method in planned if method not in run]
    return [*found, *([f"without {', '.join(missing)}"] if missing else [])]


def flags(record: Record) -> str:
    """Write the flags that make a record of the shipped set-up.

    Args:
        record: What was run.

    Returns:
        Such as " --model resnet20 --seeds 3"; empty if it is the set-up itself.
    """
    # Ordered and without repeats, for the same reason.
    found: dict[str, None] = {}
    for config in configure(parts_of(record["name"])).values():
        expected = to_mapping(config)
        for method in (m for m in record["methods"] if m["method"] in config.methods):
            actual = {**record["settings"], **method["settings"], "seeds": len(method["accuracies"])}
            for name in sorted(expected.keys() & actual.keys()):
                if actual[name] != expected[name] and name not in {"methods", "first_seed"}:
                    found[_flag(name, actual[name])] = None
    run = [method["method"] for method in record["methods"]]
    planned = {method for config in configure(parts_of(record["name"])).values() for method in config.methods}
    if set(run) != planned:
        found[f'--methods "{", ".join(run)}"'] = None
    return "".join(f" {flag}" for flag in found)


def _flag(name: str, value: Any) -> str:
    word = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{word}" if value else f"--no-{word}"
    return f"--{word} {value}"


def has_set_up(name: str) -> bool:
    """Tell whether ``adacore reproduce`` knows a record's name."""
    try:
        return bool(group(configure(parts_of(name))))
    except ValueError:
        return False
