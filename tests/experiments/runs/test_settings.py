import dataclasses
import math
import typing

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adacore.experiments.runs.optimizers import OPTIMIZERS, SCHEDULES
from adacore.experiments.runs.settings import (
    CompareConfig,
    RunSettings,
    TrainConfig,
    from_mapping,
    split_list,
    to_mapping,
)


def test_settings_survive_the_way_through_plain_values():
    for settings in (TrainConfig(budget=20, learning_rate=0.3), CompareConfig(methods=("random", "full"), seeds=2)):
        assert from_mapping(type(settings), to_mapping(settings)) == settings


def test_every_field_is_explained():
    for cls in (TrainConfig, CompareConfig):
        assert all(field.metadata["help"] for field in dataclasses.fields(cls))


BAD_RANGES = [
    ({"epochs": 0}, "below 1"),
    ({"fraction": 0}, r"outside \(0, 1\]"),
    ({"fraction": 1.5}, r"outside \(0, 1\]"),
    ({"fraction": math.nan}, r"outside \(0, 1\]"),
    ({"budget": 0}, "below 1"),
    ({"budget": 5, "fraction": 0.1}, "two sizes given"),
    ({"learning_rate": -1}, r"outside \(0, inf\)"),
    ({"learning_rate": math.inf}, r"outside \(0, inf\)"),
    ({"momentum": 1}, r"outside \[0, 1\)"),
    ({"momentum": math.nan}, r"outside \[0, 1\)"),
    ({"weight_decay": math.nan}, r"outside \[0, inf\)"),
    ({"validation": math.inf}, r"outside \[0, inf\)"),
    ({"precision": "bf16"}, "did you mean 'bf16-mixed'"),
    ({"device": "gpu"}, "cpu"),
    ({"optimizer": "sdg"}, "did you mean 'sgd'"),
    ({"schedule": "papr"}, "did you mean 'paper'"),
    ({"model": "resnet"}, "did you mean 'resnet"),
    ({"data": "minst"}, "did you mean 'mnist'"),
    ({"method": "adacor"}, "did you mean 'adacore'"),
    ({"method": "adacore(weightin=uniform)"}, "did you mean 'weighting'"),
    ({"seed": -1}, "below 0"),
    ({"every": "never"}, "auto, a whole number|a whole number, auto"),
    ({"warm_start_on": "nothing"}, "full"),
]
BAD_KINDS = [
    ({"epochs": "ten"}, "not a whole number"),
    ({"epochs": "7"}, "not a whole number"),
    ({"epochs": 2.5}, "not a whole number"),
    ({"epochs": 2.0}, "not a whole number"),
    ({"epochs": True}, "not a whole number"),
    ({"epochs": None}, "not a whole number"),
    ({"seed": 1.5}, "not a whole number"),
    ({"budget": 1.5}, "not a whole number"),
    ({"every": 1.5}, "not a whole number"),
    ({"fraction": "0.1"}, "not a number"),
    ({"weight_decay": None}, "not a number"),
    ({"tensorboard": "no"}, "neither true nor false"),
    ({"tensorboard": None}, "neither true nor false"),
    ({"channels_last": 3}, "neither true nor false"),
    ({"model": ["mlp"]}, "not a text"),
    ({"data_root": 3}, "not a text"),
    ({"device": 0}, "not a text"),
]


@pytest.mark.parametrize(
    "make", [lambda values: TrainConfig(**values), lambda values: from_mapping(TrainConfig, values)]
)
@pytest.mark.parametrize(
    ("kind", "values", "match"),
    [*((ValueError, *case) for case in BAD_RANGES), *((TypeError, *case) for case in BAD_KINDS)],
)
def test_settings_check_themselves_however_they_are_made(make, kind, values, match):
    with pytest.raises(kind, match=match):
        make(values)


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        from_mapping(TrainConfig, {"epoch": 3})


def test_numbers_of_numpy_become_plain_ones_that_yaml_can_write():
    config = TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5), fraction=1)
    assert [type(value) for value in (config.epochs, config.learning_rate, config.fraction)] == [int, float, float]
    assert yaml.safe_load(yaml.safe_dump(to_mapping(config))) == to_mapping(config)


@pytest.mark.parametrize(
    ("kind", "values", "match"),
    [
        (ValueError, {"methods": ""}, "methods is empty"),
        (ValueError, {"methods": "random,random"}, "named twice"),
        (TypeError, {"methods": 3}, "list of names"),
        (TypeError, {"methods": [3]}, "expected names"),
        (TypeError, {"methods": [{"weighting": "uniform"}]}, "has no name"),
        (ValueError, {"seeds": 0}, "below 1"),
        (ValueError, {"method": "random"}, "did you mean 'methods'"),
    ],
)
def test_bad_comparisons_are_clear_errors(kind, values, match):
    with pytest.raises(kind, match=match):
        from_mapping(CompareConfig, values)


def test_a_method_may_be_a_mapping():
    nested = {"name": "adacore", "weighting": "uniform", "average_gradient": False}
    assert from_mapping(TrainConfig, {"method": nested}).method == "adacore(weighting=uniform, average_gradient=false)"
    assert from_mapping(CompareConfig, {"methods": [nested, "random"]}).methods[1] == "random"


def test_words_that_may_stand_for_a_setting_are_those_that_there_are():
    hints = typing.get_type_hints(TrainConfig)
    assert set(typing.get_args(hints["optimizer"])) == set(OPTIMIZERS)
    assert set(typing.get_args(hints["schedule"])) == set(SCHEDULES)


def test_every_method_meets_every_seed():
    config = CompareConfig(methods=("random", "full"), seeds=3, first_seed=7, epochs=9)
    runs = config.runs()
    assert [(run.seed, run.method) for run in runs] == [(s, m) for s in (7, 8, 9) for m in ("random", "full")]
    for setting in dataclasses.fields(RunSettings):
        assert {getattr(run, setting.name) for run in runs} == {getattr(config, setting.name)}


@given(st.lists(st.sampled_from(["random", "craig(a=1)", "adacore(a=1, b=x)", "el2n(a=1,b=2,c=3)"])))
def test_lists_are_split_at_commas_outside_parentheses(items):
    assert split_list(", ".join(items)) == items
