"""How what was run differs from the set-up that is shipped for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adacore.experiments.evidence.sentences import display_name
from adacore.experiments.paper.records import is_small
from adacore.experiments.paper.set_ups import configure, group, parts_of
from adacore.experiments.paper.small import PIXELS, TEST, TRAIN
from adacore.experiments.runs.experiment import MOVABLE
from adacore.experiments.runs.settings import CompareConfig, to_mapping

Record = Mapping[str, Any]

_UNTOLD = {"eval_every", "analyse_every", "methods", "first_seed", *MOVABLE}
"""Settings that change no result, or that are told otherwise."""


def _shipped(record: Record) -> dict[str, CompareConfig]:
    """The set-up that a record is of, at its scale."""
    return configure(parts_of(record["name"]), scale="small" if is_small(record) else "paper")


def _changed(record: Record) -> Iterator[tuple[str, Any, Any]]:
    """Tell every setting of every method that is not as shipped, with both values."""
    for config in _shipped(record).values():
        expected = to_mapping(config)
        for method in (method for method in record["methods"] if method["method"] in config.methods):
            actual = {**record["settings"], **method["settings"], "seeds": len(method["accuracies"])}
            # Settings that either side does not know are left out: a record may be older than a setting.
            for name in sorted(expected.keys() & actual.keys()):
                if actual[name] != expected[name]:
                    yield name, actual[name], expected[name]


def smaller_scale(record: Record) -> str:
    """Say how much smaller a record's scale is than the paper's.

    Args:
        record: Of a smaller scale.

    Returns:
        Such as "3,000 training and 3,000 test images of 16 × 16 pixels; LeNet in place of ResNet-20; ...".
    """
    # By the first method that the record has: the parts of a set-up are shrunk alike.
    methods = {method["method"]: method for method in record["methods"]}
    paper, method = next(
        (config, methods[name])
        for config in configure(parts_of(record["name"])).values()
        for name in config.methods
        if name in methods
    )
    actual = {**record["settings"], **method["settings"]}
    pixels = "" if paper.data == "mnist" else f" of {PIXELS} × {PIXELS} pixels"
    told = [f"{TRAIN:,} training and {TEST:,} test images{pixels}"]
    for name, words in _SCALED.items():
        before = getattr(paper, name)
        if actual[name] != before:
            told.append(words.format(_plain(actual[name]), _plain(before)))
    return "; ".join(told)


_SCALED = {
    "model": "{} in place of {}",
    "fraction": "{} of them selected, in place of {} of all",
    "epochs": "{} epochs in place of {}, the learning rate's schedule scaled alike",
    "every": "R = {} in place of {}",
    "batch_size": "batches of {} in place of {}",
    "damped_momentum": "momentum as PyTorch defines it, not damped",
    "precision": "arithmetic of {} in place of {} bits",
}
"""Settings that make a scale smaller, with how their values there and in the paper are told."""


def _plain(value: Any) -> str:
    return (
        f"{100 * value:g} %"
        if isinstance(value, float)
        else str(value).replace("resnet", "ResNet-").replace("lenet", "LeNet")
    )


def differences(record: Record) -> list[str]:
    """Tell in which settings a record differs from the set-up that is shipped.

    Args:
        record: What was run.

    Returns:
        Such as "model resnet20 instead of resnet18".
    """
    changed = [(name, actual, shipped) for name, actual, shipped in _changed(record) if name not in _UNTOLD]
    found = dict.fromkeys(f"{name} {actual} instead of {shipped}" for name, actual, shipped in changed)
    run = {method["method"] for method in record["methods"]}
    planned = [m for config in _shipped(record).values() for m in config.methods]
    missing = [display_name(method) for method in planned if method not in run]
    return [*found, *([f"without {', '.join(missing)}"] if missing else [])]


def flags(record: Record) -> str:
    """Write the flags that make a record of the shipped set-up.

    Args:
        record: What was run.

    Returns:
        Such as " --model resnet20 --seeds 3"; empty if it is the set-up itself.
    """
    scale = ["--scale small"] if is_small(record) else []
    untold = {"methods", "first_seed", *MOVABLE}
    changed = [_flag(name, actual) for name, actual, _ in _changed(record) if name not in untold]
    # Dictionaries as ordered sets, here and above: the methods of a set-up share most of what was changed.
    found = dict.fromkeys([*scale, *changed])
    run = [method["method"] for method in record["methods"]]
    planned = {method for config in _shipped(record).values() for method in config.methods}
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
