import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adacore.experiments.runs.settings import (
    CompareConfig,
    RunSettings,
    TrainConfig,
    from_mapping,
    load_config,
    shipped_configs,
    split_list,
    to_mapping,
)


def test_settings_survive_the_way_through_plain_values():
    for settings in (TrainConfig(budget=20, learning_rate=0.3), CompareConfig(methods=("random", "full"), seeds=2)):
        assert from_mapping(type(settings), to_mapping(settings)) == settings


def test_every_field_is_explained():
    for cls in (TrainConfig, CompareConfig):
        assert all(field.metadata["help"] for field in dataclasses.fields(cls))


def test_numbers_may_be_text_as_on_the_command_line_or_as_yaml_reads_1e_4():
    config = from_mapping(TrainConfig, {"weight_decay": "1e-4", "epochs": "7", "tensorboard": "no", "budget": "null"})
    assert (config.weight_decay, config.epochs, config.tensorboard, config.budget) == (1e-4, 7, False, None)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": "ten"}, "not a whole number"),
        ({"epochs": 1.5}, "not a whole number"),
        ({"epochs": True}, "not a whole number"),
        ({"epochs": 0}, "below 1"),
        ({"fraction": 0}, r"outside \(0, 1\]"),
        ({"fraction": 1.5}, r"outside \(0, 1\]"),
        ({"fraction": "nan"}, r"outside \(0, 1\]"),
        ({"budget": 0}, "below 1"),
        ({"budget": 5, "fraction": 0.1}, "two sizes given"),
        ({"learning_rate": -1}, "above 0"),
        ({"learning_rate": "inf"}, "above 0"),
        ({"momentum": 1}, r"outside \[0, 1\)"),
        ({"momentum": "nan"}, r"outside \[0, 1\)"),
        ({"weight_decay": "nan"}, "finite"),
        ({"precision": "bf16"}, "did you mean 'bf16-mixed'"),
        ({"device": "gpu"}, "cpu"),
        ({"optimizer": "sdg"}, "did you mean 'sgd'"),
        ({"schedule": "papr"}, "did you mean 'paper'"),
        ({"model": "resnet"}, "did you mean 'resnet"),
        ({"data": "minst"}, "did you mean 'mnist'"),
        ({"method": "adacor"}, "did you mean 'adacore'"),
        ({"method": "adacore(weightin=uniform)"}, "did you mean 'weighting'"),
        ({"seed": -1}, "negative"),
        ({"tensorboard": "maybe"}, "true or false"),
        ({"channels_last": 3}, "true or false"),
        ({"model": ["mlp"]}, "not a text"),
        ({"warm_start_on": "nothing"}, "full"),
    ],
)
def test_bad_values_are_clear_errors(values, match):
    with pytest.raises(ValueError, match=match):
        from_mapping(TrainConfig, values)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"methods": ""}, "methods is empty"),
        ({"methods": "random,random"}, "named twice"),
        ({"methods": 3}, "list of names"),
        ({"seeds": 0}, "at least 1"),
        ({"method": "random"}, "did you mean 'methods'"),
    ],
)
def test_bad_comparisons_are_clear_errors(values, match):
    with pytest.raises(ValueError, match=match):
        from_mapping(CompareConfig, values)


def test_every_method_meets_every_seed():
    config = CompareConfig(methods=("random", "full"), seeds=3, first_seed=7, epochs=9)
    runs = config.runs()
    assert [(run.seed, run.method) for run in runs] == [(s, m) for s in (7, 8, 9) for m in ("random", "full")]
    for setting in dataclasses.fields(RunSettings):
        assert {getattr(run, setting.name) for run in runs} == {getattr(config, setting.name)}


@given(st.lists(st.sampled_from(["random", "craig(a=1)", "adacore(a=1, b=x)", "el2n(a=1,b=2,c=3)"])))
def test_lists_are_split_at_commas_outside_parentheses(items):
    assert split_list(", ".join(items)) == items


def test_a_file_is_found_by_path_or_by_the_name_of_a_shipped_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nmethod: random\n")
    assert load_config(str(path)) == {"epochs": 3, "method": "random"}
    assert load_config("demo")["data"] == "digits"


@pytest.mark.parametrize(
    ("name", "match"),
    [("demmo", "did you mean 'demo'"), ("nowhere/mine.yaml", "no configuration at"), ("mine.yaml", "no configuration")],
)
def test_a_file_that_is_not_there_is_a_clear_error(name, match):
    with pytest.raises(ValueError, match=match):
        load_config(name)


@pytest.mark.parametrize("text", ["- a\n- b\n", "epochs: [1\n", ""])
def test_a_file_that_holds_no_settings_is_a_clear_error(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"holds no settings|not valid YAML"):
        load_config(str(path))


def test_the_demo_is_a_valid_comparison_of_the_four_methods():
    config = from_mapping(CompareConfig, load_config("demo"))
    assert config.methods == ("adacore", "craig", "random", "full")
    assert config.seeds == 5
    assert "demo.yaml" in {entry.name for entry in shipped_configs()}
