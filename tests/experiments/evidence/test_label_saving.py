import numpy as np
import pytest

from adacore.experiments.evidence.label_saving import label_saving


def curve_of(function, budgets, seeds=6, noise=0.0):
    draws = np.random.default_rng(0)
    return {b: function(b) + noise * draws.standard_normal(seeds) for b in budgets}


def test_a_method_that_is_as_good_as_twice_the_random_labels_saves_a_factor_of_two():
    random = curve_of(lambda b: 0.1 * np.log(b) * np.ones(6), [10, 20, 40, 80, 160])
    saving = label_saving(random, 0.1 * np.log(2 * 30) * np.ones(6), 30)
    assert saving.factor == pytest.approx(2.0, rel=0.02)
    assert not saving.capped


def test_random_itself_saves_nothing_within_its_interval():
    random = curve_of(lambda b: 0.1 * np.log(b) * np.ones(20), [10, 20, 40, 80], seeds=20, noise=0.01)
    saving = label_saving(random, random[20], 20)
    assert saving.low <= 1.0 <= saving.high


def test_a_method_above_the_whole_curve_is_a_lower_limit():
    random = curve_of(lambda b: 0.1 * np.log(b) * np.ones(6), [10, 20])
    saving = label_saving(random, np.ones(6), 10)
    assert saving.capped
    assert saving.factor == 2.0


def test_a_curve_of_one_point_and_unpaired_seeds_are_refused():
    with pytest.raises(ValueError, match="at least two budgets"):
        label_saving({10: np.ones(3)}, np.ones(3), 10)
    with pytest.raises(ValueError, match="paired"):
        label_saving({10: np.ones(3), 20: np.ones(3)}, np.ones(4), 10)


def test_a_method_below_the_whole_curve_is_an_upper_limit():
    random = curve_of(lambda b: 0.1 * np.log(b) * np.ones(6), [10, 20])
    assert label_saving(random, np.zeros(6), 10).below
    assert not label_saving(random, random[10], 10).below
