"""The advisor against the time that a run takes, added up epoch by epoch; how R is chosen, and when a warning comes."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from adacore.selectors import make_selector
from adacore.training.advisor import Advisor, Costs, advise, choose_every, overhead_share, speed_up
from adacore.training.ledger import Ledger
from adacore.training.loader import CoresetLoader
from adacore.training.schedule import Chosen, Phase, Schedule

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
    ledger.seconds["training"], ledger.gradient_evaluations = 2.0, 40  # 4 epochs of 10
    advisor = Advisor(Schedule(1), ledger, 10)
    with advisor.measure():
        ledger.seconds["probing"] += 1.5
        ledger.seconds["selecting"] += 0.5
    costs = advisor.costs(4, Phase("selector", 3))
    assert costs is not None
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
    ],
)
def test_refuses(bad: object) -> None:
    with pytest.raises(ValueError, match=r"expected|measured|outside|below"):
        bad()  # type: ignore[operator]


def advisor_after_two(
    schedule: Schedule, *, reselection: float, epoch: float, n: int = 1000, budget: int = 100
) -> Advisor:
    """An advisor after two selections, each trained on for an epoch."""
    ledger = Ledger(n)
    ledger.seconds["training"], ledger.gradient_evaluations = 2 * epoch, 2 * budget
    advisor = Advisor(schedule, ledger, budget)
    with advisor.measure():
        ledger.seconds["probing"] += 0.75 * reselection
        ledger.seconds["selecting"] += 0.25 * reselection
    return advisor


def test_r_keeps_the_share_below_a_fifth() -> None:
    advisor = advisor_after_two(Schedule("auto"), reselection=8.0, epoch=1.0)
    advisor.settle(2, Phase("selector", 1))
    assert advisor.chosen == Chosen(32, 1)  # 8 / (8 + 32) = 0.2


def test_the_first_selection_is_not_what_r_is_chosen_by() -> None:
    advisor = advisor_after_two(Schedule("auto", warm_start=3), reselection=8.0, epoch=1.0)
    advisor.settle(4, Phase("selector", 3))
    assert advisor.chosen is None
    advisor.settle(5, Phase("selector", 4))
    assert advisor.chosen is not None


def test_once_chosen_r_stays() -> None:
    advisor = advisor_after_two(Schedule("auto"), reselection=8.0, epoch=1.0)
    advisor.settle(2, Phase("selector", 1))
    advisor.ledger.seconds["training"] *= 10
    advisor.settle(3, Phase("selector", 1))
    assert advisor.chosen == Chosen(32, 1)
    again = Advisor(advisor.schedule, Ledger(1000), 100)
    again.load_state_dict(advisor.state_dict())
    assert again.chosen == advisor.chosen


def test_asking_chooses_nothing() -> None:
    advisor = advisor_after_two(Schedule("auto"), reselection=8.0, epoch=1.0)
    assert advisor.choice(2, Phase("selector", 1)) == Chosen(32, 1)
    assert advisor.chosen is None


def test_epochs_of_a_chosen_r() -> None:
    schedule = Schedule("auto", warm_start=1)
    assert [schedule.phase(epoch).since for epoch in range(4)] == [0, 1, 2, 3]
    assert [schedule.phase(epoch, Chosen(3, 2)).since for epoch in range(2, 9)] == [2, 2, 2, 5, 5, 5, 8]
    assert Schedule(2).phase(5, Chosen(3, 2)) == Schedule(2).phase(5)


def test_warns_once_where_it_cannot_pay() -> None:
    advisor = advisor_after_two(Schedule(1), reselection=20.0, epoch=1.0)
    with pytest.warns(UserWarning, match=r"selecting every epoch cannot pay: an epoch costs 2\.10 x"):
        advisor.settle(2, Phase("selector", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advisor.settle(3, Phase("selector", 2))


@pytest.mark.parametrize(("reselection", "epoch"), [(5.0, 1.0), (0.4, 0.01)])
def test_does_not_warn_where_it_pays_or_is_too_quick_to_matter(reselection: float, epoch: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advisor_after_two(Schedule(1), reselection=reselection, epoch=epoch).settle(2, Phase("selector", 1))


def train(loader: CoresetLoader, epochs: int) -> list[int]:
    sizes = []
    for _ in range(epochs):
        for inputs, _, _ in loader:
            sizes.append(len(inputs))
        assert loader.coreset is not None
    return sizes


def make_loader() -> CoresetLoader:
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(200, 5, generator=generator), torch.arange(200) % 4)
    model = nn.Linear(5, 4)
    return CoresetLoader(data, model, make_selector("craig"), fraction=0.1, every="auto", batch_size=5)


def test_a_loader_selects_twice_and_then_as_often_as_it_has_chosen() -> None:
    loader = make_loader()
    assert loader.total_steps(10) == 40
    train(loader, 2)
    assert loader.reselector.reselections == 2
    train(loader, 1)
    chosen = loader.reselector.advisor.chosen
    assert chosen is not None
    train(loader, 2 * chosen.every if chosen.every < 50 else 10)
    assert loader.reselector.reselections == 2 + (loader.epoch - 2) // chosen.every


def test_a_resumed_loader_keeps_what_was_chosen() -> None:
    loader = make_loader()
    train(loader, 3)
    state = loader.state_dict()
    again = make_loader()
    again.load_state_dict(state)
    ours, theirs = loader.reselector, again.reselector
    assert theirs.advisor.chosen == ours.advisor.chosen
    assert [theirs.phase_of(epoch) for epoch in range(60)] == [ours.phase_of(epoch) for epoch in range(60)]


def test_resuming_before_the_choice_makes_the_same_one() -> None:
    loader = make_loader()
    train(loader, 2)
    again = make_loader()
    again.load_state_dict(loader.state_dict())
    assert again.reselector.phase_of(2) == loader.reselector.phase_of(2)
    assert again.reselector.advisor.choice(2, again.reselector.phase) == loader.reselector.advisor.choice(
        2, loader.reselector.phase
    )
