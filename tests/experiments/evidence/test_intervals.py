"""Intervals over seeds against textbook values and against simulation."""

import math

import numpy as np
import pytest

from adacore.experiments.evidence.intervals import mean_interval, paired_differences


def test_the_textbook_case() -> None:
    # t_{0.975} with 3 degrees of freedom is 3.182446; s = 1.290994, s / sqrt(4) = 0.645497.
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(3.182446 * 0.645497, rel=1e-5)


def test_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [mean_interval(generator.normal(3, 2, 5).tolist(), level=0.8) for _ in range(2000)]
    covered = np.mean([interval.low <= 3 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.8, abs=0.03)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert mean_interval([5.0]).mean == 5.0
    assert math.isnan(mean_interval([5.0]).low)
    assert math.isnan(mean_interval([]).mean)
    assert mean_interval([1.0, math.nan, 3.0]).count == 2


def test_pairs_seeds_that_both_ran() -> None:
    assert paired_differences({0: 0.9, 1: 0.8, 7: 0.1}, {1: 0.7, 0: 0.8, 3: 0.99}) == pytest.approx([0.1, 0.1])


def test_pairing_sees_what_means_hide() -> None:
    seeds = np.random.default_rng(1).normal(0.5, 0.1, 6)
    ours = {seed: value + 0.01 + 0.001 * (-1) ** seed for seed, value in enumerate(seeds)}
    theirs = dict(enumerate(seeds))
    assert mean_interval(paired_differences(ours, theirs)).low > 0
    assert mean_interval(list(ours.values())).low < mean_interval(list(theirs.values())).high


def test_refuses_a_level_out_of_range() -> None:
    with pytest.raises(ValueError, match="outside"):
        mean_interval([1.0, 2.0], level=1.0)
