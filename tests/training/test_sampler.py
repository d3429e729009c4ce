"""The batch sampler on its own: an iteration is an epoch, however it ends."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.selectors import Random
from adacore.training.reselector import Reselector
from adacore.training.sampler import CoresetBatchSampler
from adacore.training.schedule import Schedule

N = 40
DATA = TensorDataset(torch.randn(N, 3), torch.arange(N) % 2)


def make(*, every=1, batch_size=4, budget=20):
    reselector = Reselector(nn.Linear(3, 2), DATA, Random(), budget=budget, schedule=Schedule(every))
    return CoresetBatchSampler(reselector, batch_size=batch_size, drop_last=False, batches="weighted")


def positions(batches):
    return [[position for position, _ in keys] for keys in batches]


def test_iterating_selects_when_due_and_yields_positions_with_weights():
    sampler = make(every=2)
    epochs = [list(sampler) for _ in range(4)]
    assert [len(keys) for keys in epochs[0]] == [4] * 5
    assert sampler.reselector.reselections == 2
    selected = [{position for keys in epoch for position, _ in keys} for epoch in epochs]
    assert selected[0] == selected[1] != selected[2] == selected[3]
    assert epochs[0] != epochs[1]
    assert np.mean([weight for keys in epochs[0] for _, weight in keys]) == pytest.approx(1)
    assert sampler.reselector.ledger.gradient_evaluations == 80


def test_a_loop_that_leaves_epochs_early_goes_on_with_the_next_and_is_warned_once():
    sampler, undisturbed = make(), make()
    expected = [positions(undisturbed) for _ in range(3)]
    with pytest.warns(UserWarning, match=r"epoch 0 was left after 3 of 5 batches.*set_epoch") as caught:
        left = [positions(itertools.islice(sampler, 3)) for _ in range(3)]
    assert left == [epoch[:3] for epoch in expected]
    assert len(caught) == 1
    assert sampler.reselector.reselections == 3


def test_looks_begin_the_same_epoch_again_and_the_second_is_warned_of():
    sampler = make()
    expected = positions(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert positions([next(iter(sampler))]) == expected[:1]
        looked = iter(sampler)
    with pytest.warns(UserWarning, match="same epoch begins again") as caught:
        looks = [positions([next(looked)]), *(positions([next(iter(sampler))]) for _ in range(3))]
    assert looks == [expected[:1]] * 4
    assert len(caught) == 1
    assert positions(sampler) == expected


@pytest.mark.parametrize("leave_after", [1, 3, 5])
def test_set_epoch_says_where_to_go_on_and_nobody_is_warned(leave_after):
    sampler, undisturbed = make(), make()
    expected = [positions(undisturbed) for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in range(4):
            sampler.set_epoch(epoch)
            batches = iter(sampler)
            assert positions([next(batches) for _ in range(leave_after)]) == expected[epoch][:leave_after]


def test_beginning_one_epoch_again_and_again_is_warned_of():
    sampler = make()

    def leave_epoch_0():
        sampler.set_epoch(0)
        list(itertools.islice(sampler, 2))

    leave_epoch_0()
    leave_epoch_0()
    with pytest.warns(UserWarning, match=r"set_epoch\(0\) begins that epoch again"):
        leave_epoch_0()


def test_an_iteration_keeps_its_plan():
    sampler, undisturbed = make(), make()
    expected = [list(undisturbed), list(undisturbed)]
    first = iter(sampler)
    sampler.set_epoch(1)
    second = iter(sampler)
    both = [(next(first), next(second)) for _ in range(5)]
    assert [list(epoch) for epoch in zip(*both, strict=True)] == expected


def test_a_state_goes_on_with_the_epoch_that_was_begun():
    """How much was fetched ahead of training is unknown here: who iterates skips the batches that were trained on."""
    sampler = make()
    list(sampler)
    batches = iter(sampler)
    expected = [next(batches), next(batches)]
    again = make()
    again.load_state_dict(sampler.state_dict())
    assert (again.epoch, again.position) == (1, 0)
    with pytest.raises(ValueError, match=r"set_epoch\(0\) after a state of epoch 1.*call set_epoch\(1\)"):
        again.set_epoch(0)
    again.set_epoch(1)
    assert list(again)[:2] == expected


def test_what_has_delivered_nothing_follows_a_state_that_is_loaded():
    sampler, again = make(), make()
    list(sampler)
    state, expected = sampler.state_dict(), positions(sampler)
    batches = iter(again)
    again.load_state_dict(state)
    assert positions(batches) == expected
    assert again.epoch == 2


def test_a_state_saved_after_the_last_batch_is_that_of_the_next_epoch():
    reselector = make().reselector
    sampler, again = (CoresetBatchSampler(reselector, batch_size=4, drop_last=False, batches="weighted") for _ in "ab")
    plan = sampler.begin()
    for number in range(len(plan)):
        sampler.deliver(plan, number, 0.0)
    again.load_state_dict(sampler.state_dict())
    assert (again.epoch, again.position) == (1, 0)
