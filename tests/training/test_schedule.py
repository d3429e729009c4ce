"""Which epochs select anew."""

import pytest

from adacore.training.schedule import Phase, Schedule


def test_every_r_epochs_after_the_warm_start():
    schedule = Schedule(every=3, warm_start=2)
    assert [schedule.phase(e).source for e in range(9)] == ["full"] * 2 + ["selector"] * 7
    assert [schedule.phase(e).since for e in range(9)] == [0, 0, 2, 2, 2, 5, 5, 5, 8]


def test_a_random_warm_start_draws_a_fresh_subset_each_epoch():
    schedule = Schedule(every=5, warm_start=3, warm_start_on="random")
    assert [schedule.phase(e) for e in range(4)] == [
        Phase("random", 0),
        Phase("random", 1),
        Phase("random", 2),
        Phase("selector", 3),
    ]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"every": 0}, ValueError, "every=0 is below 1"),
        ({"every": 1.5}, TypeError, "not a whole number"),
        ({"every": True}, TypeError, "not a whole number"),
        ({"warm_start": -1}, ValueError, "warm_start=-1 is below 0"),
        ({"warm_start_on": "fulll"}, ValueError, "did you mean 'full'"),
    ],
)
def test_settings_out_of_range(settings, error, message):
    with pytest.raises(error, match=message):
        Schedule(**settings)
