"""How R is chosen from measured costs, and when a warning comes."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.selectors import make_selector
from adacore.training.ledger import Ledger
from adacore.training.loader import CoresetLoader
from adacore.training.pace import Pace
from adacore.training.schedule import Chosen, Phase, Schedule


def paced(schedule: Schedule, *, reselection: float, epoch: float, n: int = 1000, budget: int = 100) -> Pace:
    """A pace after two selections, each trained on for an epoch."""
    ledger = Ledger(n)
    ledger.seconds["training"], ledger.gradient_evaluations = 2 * epoch, 2 * budget
    pace = Pace(schedule, ledger, budget)
    with pace.measure():
        ledger.seconds["probing"] += 0.75 * reselection
        ledger.seconds["selecting"] += 0.25 * reselection
    return pace


def test_r_keeps_the_share_below_a_fifth() -> None:
    pace = paced(Schedule("auto"), reselection=8.0, epoch=1.0)
    pace.settle(2, Phase("selector", 1))
    assert pace.chosen == Chosen(32, 1)  # 8 / (8 + 32) = 0.2


def test_the_first_selection_is_not_what_r_is_chosen_by() -> None:
    pace = paced(Schedule("auto", warm_start=3), reselection=8.0, epoch=1.0)
    pace.settle(4, Phase("selector", 3))
    assert pace.chosen is None
    pace.settle(5, Phase("selector", 4))
    assert pace.chosen is not None


def test_once_chosen_r_stays() -> None:
    pace = paced(Schedule("auto"), reselection=8.0, epoch=1.0)
    pace.settle(2, Phase("selector", 1))
    pace.ledger.seconds["training"] *= 10
    pace.settle(3, Phase("selector", 1))
    assert pace.chosen == Chosen(32, 1)
    again = Pace(pace.schedule, Ledger(1000), 100)
    again.load_state_dict(pace.state_dict())
    assert again.chosen == pace.chosen


def test_asking_chooses_nothing() -> None:
    pace = paced(Schedule("auto"), reselection=8.0, epoch=1.0)
    assert pace.choice(2, Phase("selector", 1)) == Chosen(32, 1)
    assert pace.chosen is None


def test_epochs_of_a_chosen_r() -> None:
    schedule = Schedule("auto", warm_start=1)
    assert [schedule.phase(epoch).since for epoch in range(4)] == [0, 1, 2, 3]
    assert [schedule.phase(epoch, Chosen(3, 2)).since for epoch in range(2, 9)] == [2, 2, 2, 5, 5, 5, 8]
    assert Schedule(2).phase(5, Chosen(3, 2)) == Schedule(2).phase(5)


def test_warns_once_where_it_cannot_pay() -> None:
    pace = paced(Schedule(1), reselection=20.0, epoch=1.0)
    with pytest.warns(UserWarning, match=r"selecting every epoch cannot pay: an epoch costs 2\.10 x"):
        pace.settle(2, Phase("selector", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pace.settle(3, Phase("selector", 2))


@pytest.mark.parametrize(("reselection", "epoch"), [(5.0, 1.0), (0.4, 0.01)])
def test_does_not_warn_where_it_pays_or_is_too_quick_to_matter(reselection: float, epoch: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paced(Schedule(1), reselection=reselection, epoch=epoch).settle(2, Phase("selector", 1))


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
    chosen = loader.reselector.pace.chosen
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
    assert theirs.pace.chosen == ours.pace.chosen
    assert [theirs.phase_of(epoch) for epoch in range(60)] == [ours.phase_of(epoch) for epoch in range(60)]


def test_resuming_before_the_choice_makes_the_same_one() -> None:
    loader = make_loader()
    train(loader, 2)
    again = make_loader()
    again.load_state_dict(loader.state_dict())
    assert again.reselector.phase_of(2) == loader.reselector.phase_of(2)
    assert again.reselector.pace.choice(2, again.reselector.phase) == loader.reselector.pace.choice(
        2, loader.reselector.phase
    )
