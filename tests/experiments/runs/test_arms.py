import pytest

from adacore.experiments.runs.arms import parse_arm
from adacore.experiments.runs.resumable_run import train
from adacore.experiments.runs.settings import CompareConfig, TrainConfig


def test_an_arm_takes_its_own_settings_and_leaves_the_selector_the_rest():
    own = TrainConfig(method="adacore(weighting=uniform, learning_rate=0.3, batches=proportional)", every=7).own()
    assert (own.learning_rate, own.batches, own.every) == (0.3, "proportional", 7)
    assert parse_arm(own.method).selector.weighting == "uniform"


def test_random_subsets_are_drawn_anew_for_every_epoch_unless_the_arm_says_otherwise(tmp_path):
    shared = {"data": "digits", "epochs": 4, "every": 4, "tensorboard": False}
    fresh = train(TrainConfig(method="random", **shared), tmp_path / "fresh")
    assert [row["reselected"] for row in fresh] == [True] * 4
    for method in ("random(every=4)", "random(every=R)"):  # R is the comparison's
        kept = train(TrainConfig(method=method, **shared), tmp_path / method)
        assert [row["reselected"] for row in kept] == [True, False, False, False]


@pytest.mark.parametrize(
    "method", ["adacore(learning_rate=0)", "random(every=0)", "craig(batches=some)", "random(learning_rte=1)"]
)
def test_an_arms_settings_are_checked_as_those_of_a_training(method):
    with pytest.raises(ValueError, match=r"learning_rate|every|batches|learning_rte"):
        CompareConfig(methods=(method, "full"))
