"""The advisor against the time that a run takes, added up epoch by epoch."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adacore.training.advisor import Costs, advise, choose_every, costs_from, overhead_share, speed_up
from adacore.training.ledger import Ledger

SECONDS = st.floats(1e-3, 1e3)


def seconds_of_a_run(costs: Costs, every: int, epochs: int) -> tuple[float, float]:
    """Seconds in all, and of probing and selecting, of a run whose epochs are a multiple of R."""
    overhead = sum(costs.reselection for epoch in range(epochs) if epoch % every == 0)
    return overhead + epochs * costs.coreset_epoch, overhead


@given(SECONDS, SECONDS, SECONDS, st.integers(1, 50))
def test_speed_up_is_the_ratio_of_whole_runs(full: float, coreset: float, reselection: float, every: int) -> None:
    costs = Costs(full, coreset, reselection)
    epochs = 3 * every
    total, overhead = seconds_of_a_run(costs, every, epochs)
    assert speed_up(costs, every) == pytest.approx(epochs * full / total)
    assert overhead_share(costs, every) == pytest.approx(overhead / total)


@given(SECONDS, SECONDS, SECONDS, st.floats(0.01, 0.99))
def test_the_chosen_r_is_the_smallest_that_keeps_the_share(
    full: float, coreset: float, reselection: float, share: float
) -> None:
    costs = Costs(full, coreset, reselection)
    every = choose_every(costs, share)
    assert overhead_share(costs, every) <= share * (1 + 1e-6)
    if every > 1:
        assert overhead_share(costs, every - 1) > share * (1 - 1e-6)


def test_warns_just_where_it_cannot_pay() -> None:
    costs = Costs(full_epoch=10.0, coreset_epoch=1.0, reselection=18.0)
    assert advise(costs, every=1).warning is not None
    assert advise(costs, every=2).warning is not None  # 1 + 18 / 2 is a full epoch: no gain
    assert advise(costs, every=3).warning is None
    assert "\n" not in str(advise(costs, every=1).warning)


def test_says_so_where_nothing_helps() -> None:
    warning = advise(Costs(full_epoch=1.0, coreset_epoch=1.0, reselection=0.5), every=5).warning
    assert warning is not None
    assert "select fewer examples" in warning


def test_costs_of_a_ledger() -> None:
    ledger = Ledger(100)
    ledger.seconds.update(probing=3.0, selecting=1.0, training=2.0)
    ledger.gradient_evaluations = 40  # 4 epochs of 10
    costs = costs_from(ledger, reselections=2, budget=10)
    assert (costs.full_epoch, costs.coreset_epoch, costs.reselection) == pytest.approx((5.0, 0.5, 2.0))


def test_random_costs_nothing_to_select() -> None:
    assert choose_every(Costs(1.0, 0.1, 0.0)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Costs(-1.0, 1.0, 1.0),
        lambda: Costs(1.0, math.nan, 1.0),
        lambda: Costs(1.0, 0.0, 1.0),
        lambda: choose_every(Costs(1.0, 1.0, 1.0), share=0.0),
        lambda: choose_every(Costs(1.0, 1.0, 1.0), share=1.0),
        lambda: speed_up(Costs(1.0, 1.0, 1.0), 0),
        lambda: costs_from(Ledger(3), reselections=0, budget=1),
    ],
)
def test_refuses(bad: object) -> None:
    with pytest.raises(ValueError, match=r"expected|measured|outside|below"):
        bad()  # type: ignore[operator]
