"""What makes two runs parts of one experiment: all settings but the method, the seed, and where and how it ran."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from adacore.experiments.runs.settings import TrainConfig

MOVABLE = ("data_root", "device", "num_workers", "tensorboard", "loggers", "jobs")
"""Settings that a run may change when it goes on, and in which runs of one experiment may differ.

They say where the data lie and what computes, and change no result but for rounding and the seconds.
"""

_VARIED = ("method", "seed", "methods", "seeds", "first_seed")
"""What a comparison varies."""


def experiment_of(settings: Mapping[str, Any]) -> str:
    """Name the experiment that a run belongs to.

    Only runs of one experiment may be averaged over seeds or paired with each other.

    Args:
        settings: Of a run or of a comparison, plain values by name; what is missing is as by default.

    Returns:
        The settings that define the experiment as canonical JSON: equal texts mean one experiment.

    Example:
        >>> one = experiment_of({"data": "digits", "method": "craig", "seed": 3})
        >>> one == experiment_of({"data": "digits", "method": "random", "seed": 0, "device": "cpu"})
        True
        >>> one == experiment_of({"data": "digits", "epochs": 7})
        False
    """
    # With defaults filled in, a run that was recorded before a setting existed equals one that has it at its default.
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    complete = {**defaults, **settings}
    # Named by what is left out: a new setting counts as defining until somebody says otherwise.
    told = {name: value for name, value in complete.items() if name not in {*MOVABLE, *_VARIED}}
    return json.dumps(told, sort_keys=True, default=str)


def differing_settings(experiments: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Tell in which settings several experiments differ.

    Args:
        experiments: Texts of ``experiment_of`` by any name.

    Returns:
        By the same names, the values of those settings that are not the same in all.

    Example:
        >>> differing_settings({"a": experiment_of({"epochs": 5}), "b": experiment_of({"epochs": 7})})
        {'a': {'epochs': 5}, 'b': {'epochs': 7}}
    """
    told = {name: json.loads(text) for name, text in experiments.items()}
    keys = sorted({key for values in told.values() for key in values})
    vary = [key for key in keys if len({json.dumps(values.get(key)) for values in told.values()}) > 1]
    return {name: {key: values.get(key) for key in vary} for name, values in told.items()}
