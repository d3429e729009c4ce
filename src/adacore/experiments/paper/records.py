"""Records: what a comparison came to, in a small JSON file that is kept under version control."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adacore.experiments.evidence.as_json import to_json
from adacore.experiments.evidence.summaries import summarise
from adacore.experiments.runs.experiment import MOVABLE
from adacore.experiments.runs.recorded_runs import Method, Run, experiments_of
from adacore.labelling.durable_files import replace_file

POINTS = 50
"""Epochs of a curve that are kept at most."""
# What differs from run to run within a method: it is no part of the set-up.
_OWN = ("method", "seed", *MOVABLE)


def make_record(methods: Sequence[Method], name: str) -> dict[str, Any]:
    """Gather what results are made of.

    Args:
        methods: With their runs, from ``read_methods``.
        name: Of the figure, table or part.

    Returns:
        Plain values: settings and versions, and for each method summary, curves by seed and what the analysis found.
    """
    summaries = summarise({method.label: method.outcomes for method in methods}, experiments=experiments_of(methods))
    settings = [{k: v for k, v in method.runs[0].settings.items() if k not in _OWN} for method in methods]
    # Told once, and for each method only what is its own: a record is read by people, in a diff.
    shared = {k: v for k, v in settings[0].items() if all(own.get(k) == v for own in settings)}
    return {
        "name": name,
        "made_with": methods[0].runs[0].made_with,
        "settings": shared,
        "methods": [
            {
                **to_json(summary),
                "settings": {k: v for k, v in own.items() if k not in shared},
                "first_ranks": _first_ranks(method),
                "seen_classes_accuracies": _last(method, "seen_classes_accuracy"),
                "worst_class_accuracies": _last(method, "worst_class_accuracy"),
                "curves": {str(run.seed): _curve(run) for run in method.runs},
            }
            for method, summary, own in zip(methods, summaries, settings, strict=True)
        ],
    }


def _curve(run: Run) -> dict[str, list[float]]:
    known = np.flatnonzero(np.isfinite(run.column("test_accuracy")))
    if not known.size:  # it diverged before it was ever evaluated
        return {"epoch": [], "test_accuracy": [], "gradient_evaluations": [], "seconds": []}
    # Evenly among evaluated epochs, first and last included: the last one is the accuracy that is quoted.
    kept = np.unique(known[np.linspace(0, known.size - 1, min(POINTS, known.size)).round().astype(int)])
    return {
        "epoch": [int(value) for value in run.column("epoch")[kept]],
        # Five digits tell apart one test example in 100,000; more would only fill the diff.
        "test_accuracy": [round(float(value), 5) for value in run.column("test_accuracy")[kept]],
        "gradient_evaluations": [int(value) for value in run.gradient_evaluations[kept]],
        "seconds": [round(float(value), 3) for value in run.seconds[kept]],
    }


def _first_ranks(method: Method) -> dict[str, float]:
    """Divide the mean score of the first tenth of the ranks by the mean of all, averaged over seeds."""
    found: dict[str, list[float]] = {"forgetting": [], "uncertainty": []}
    for run in method.runs:
        if (examples := run.examples) is None:
            continue
        sizes = np.bincount(examples.labels)[examples.labels]
        # A tenth of each class and not of all: classes are selected from separately.
        first = examples.ranks < np.maximum(1, sizes // 10)
        for name, ratios in found.items():
            scores = getattr(examples, name)
            # Nothing was ever forgotten: there is no ratio to take.
            if scores.mean() > 0:
                ratios.append(float(scores[first].mean() / scores.mean()))
    return {name: float(np.mean(ratios)) for name, ratios in found.items() if ratios}


def _last(method: Method, key: str) -> dict[str, float]:
    values = {str(run.seed): float(run.column(key)[-1]) for run in method.runs if run.finished}
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def write_record(record: dict[str, Any], folder: Path) -> Path:
    """Write a record, one line for each method, so that changes can be read.

    Args:
        record: From ``make_record``.
        folder: Where to.

    Returns:
        The path, ``<folder>/<name>.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in record.items() if name != "methods"}
    lines = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in head.items()]
    # A line for each method: version control then shows which one a new run has changed.
    methods = ",\n".join(json.dumps(method, allow_nan=False) for method in record["methods"])
    path = folder / f"{record['name']}.json"
    return replace_file(path, "{" + ",\n".join([*lines, f'"methods": [\n{methods}\n]']) + "}\n")


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all records.

    Args:
        folder: Where they lie.

    Returns:
        Records by name.

    Raises:
        ValueError: If one is damaged.
    """
    records = {}
    for path in sorted(folder.glob("*.json")):
        try:
            records[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no record ({error}): make it again with adacore reproduce") from error
    return records


def is_small(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is of the smaller scale, whose accuracies are not the paper's to compare with."""
    if "settings" not in record:  # convex experiments have no other scale
        return False
    used: Sequence[Any] = [record["settings"], *(method["settings"] for method in record["methods"])]
    return any(str(settings.get("data", "")).startswith("adacore.experiments.paper.small") for settings in used)
