"""The plan of an epoch: orders, weights, and what batches estimate."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adacore.coreset import Coreset
from adacore.training.plan import EpochPlan, Key, count_batches, mean_one, plan_epoch

BATCHES = ("weighted", "proportional")  # those that are drawn from the coreset itself
CORESET = Coreset(np.array([9, 3, 5, 0, 7]), np.array([1.0, 2.0, 3.0, 4.0, 10.0]), 20)


def planned(*, epoch=0, seed=0, batch_size=2, coreset=CORESET, **settings):
    return plan_epoch(coreset, epoch, batch_size=batch_size, seed=seed, **settings)


def test_an_epoch_holds_every_example_once_with_its_own_weight():
    plan = planned()
    assert [len(batch) for batch in plan.batches] == [2, 2, 1]
    gamma = dict(zip(CORESET.indices.tolist(), (CORESET.weights / 4).tolist(), strict=True))
    delivered = {i: w for number in range(len(plan)) for i, w in plan.keys(number)}
    assert delivered == pytest.approx(gamma)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(**settings):
        return torch.cat(planned(**settings).batches).tolist()

    assert order() == order()
    assert order() == order(batch_size=5)
    orders = {tuple(order(epoch=e, seed=s)) for e in range(4) for s in range(4)}
    assert len(orders) > 12


def test_an_incomplete_batch_may_be_dropped():
    whole, dropped = planned(), planned(drop_last=True)
    assert [len(batch) for batch in dropped.batches] == [2, 2]
    assert all(map(torch.equal, dropped.batches, whole.batches))


@pytest.mark.parametrize("batches", BATCHES)
def test_a_coreset_without_a_whole_batch_is_refused_where_incomplete_ones_are_dropped(batches):
    with pytest.raises(ValueError, match=r"epoch 7 has 5 examples, which is no whole batch of 6"):
        planned(epoch=7, batch_size=6, drop_last=True, batches=batches)


def test_no_batch_is_ever_empty():
    with pytest.raises(ValueError, match="no empty"):
        EpochPlan(0, (torch.tensor([1]), torch.tensor([], dtype=torch.int64)), (torch.ones(1), torch.ones(0)))
    with pytest.raises(ValueError, match="one for each"):
        EpochPlan(0, (torch.tensor([1]),), (torch.ones(2),))
    with pytest.raises(ValueError, match=r"start=2 is outside \[0, 1\]"):
        EpochPlan(0, (torch.tensor([1]),), (torch.ones(1),), start=2)


def test_keys_say_where_they_belong_in_another_process_too():
    keys = pickle.loads(pickle.dumps(planned(epoch=3).keys(1)))
    assert all(isinstance(key, Key) and (key.epoch, key.number) == (3, 1) for key in keys)
    assert keys == planned(epoch=3).keys(1)


@given(size=st.integers(0, 50), batch=st.integers(1, 9), drop=st.booleans())
def test_counting_batches(size, batch, drop):
    parts = [range(size)[i : i + batch] for i in range(0, size, batch)]
    assert count_batches(size, batch, drop_last=drop) == sum(len(part) == batch or not drop for part in parts)


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=20))
def test_weights_have_mean_one_and_are_never_nan(weights):
    scaled = mean_one(np.array(weights))
    assert np.isfinite(scaled).all()
    assert scaled.mean() == pytest.approx(1)


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=40),
    batch_size=st.integers(1, 12),
    batches=st.sampled_from(BATCHES),
    seed=st.integers(0, 99),
)
def test_sizes_of_batches_do_not_depend_on_how_they_are_drawn(weights, batch_size, batches, seed):
    k = len(weights)
    coreset = Coreset(np.arange(k)[::-1], np.array(weights), 2 * k)
    plan = planned(coreset=coreset, batch_size=batch_size, batches=batches, seed=seed)
    assert [len(batch) for batch in plan.batches] == [min(batch_size, k - i) for i in range(0, k, batch_size)]
    assert {int(i) for batch in plan.batches for i in batch} <= set(range(k))


@given(
    weights=st.lists(st.floats(0.1, 30), min_size=2, max_size=40),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_in_proportion_an_example_comes_as_often_as_its_weight_says_up_to_one(weights, batch_size, seed):
    weights = np.array(weights)
    k = len(weights)
    plan = planned(coreset=Coreset(np.arange(k), weights, k), batch_size=batch_size, batches="proportional", seed=seed)
    counts = np.bincount(torch.cat(plan.batches).numpy(), minlength=k)
    assert (np.abs(counts - k * weights / weights.sum()) < 1 + 1e-9).all()
    assert all(torch.equal(w, torch.ones(len(w))) for w in plan.weights)


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize(("size", "batch_size"), [(24, 4), (23, 4), (7, 7), (9, 2)])
def test_every_mini_batch_estimates_the_weighted_sum_without_bias(batches, size, batch_size):
    """The mean over 2,000 epochs of a mini-batch's weighted mean, against that of the coreset, to 4 standard errors."""
    rng = np.random.default_rng(0)
    weights, values = rng.gamma(0.5, size=size) + 0.01, rng.normal(size=size)
    coreset = Coreset(rng.permutation(size), weights, size)
    exact = (weights * values[coreset.indices]).sum() / weights.sum()
    draws = []
    for epoch in range(2000):
        plan = planned(coreset=coreset, epoch=epoch, batch_size=batch_size, batches=batches)
        pairs = zip(plan.batches, plan.weights, strict=True)
        draws.append([float((w.double() * torch.from_numpy(values)[i]).mean()) for i, w in pairs])
    draws = np.array(draws)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - exact) <= 4 * error + 1e-6).all()


def test_copies_of_an_example_go_to_different_batches():
    weights = np.ones(32)
    weights[5] = 4.0  # of 32 draws some four are of this example, and there are four batches
    for seed in range(50):
        plan = planned(coreset=Coreset(np.arange(32), weights, 32), batch_size=8, batches="proportional", seed=seed)
        assert all((batch == 5).sum() <= 1 for batch in plan.batches)


def test_drawing_in_proportion_has_less_variance_where_weights_differ_much():
    rng = np.random.default_rng(1)
    weights = np.where(np.arange(60) % 10 == 0, 91.0, 1.0)
    coreset = Coreset(np.arange(60), weights, 60)
    values = torch.from_numpy(rng.normal(size=60) + 3)

    def variance(batches):
        estimates = []
        for epoch in range(400):
            plan = planned(coreset=coreset, epoch=epoch, batch_size=6, batches=batches)
            estimates.append(float((plan.weights[0].double() * values[plan.batches[0]]).mean()))
        return np.var(estimates)

    assert variance("proportional") < 0.1 * variance("weighted")
