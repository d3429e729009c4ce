"""Orders and weights of an epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adacore.coreset import Coreset
from adacore.training.sampler import CoresetBatchSampler, batch_count, mean_one

CORESET = Coreset(np.array([9, 3, 5, 0, 7]), np.array([1.0, 2.0, 3.0, 4.0, 10.0]), 20)


def laid_out(*, epoch=0, seed=0, start=0, batch_size=2, drop_last=False):
    sampler = CoresetBatchSampler(batch_size, seed, drop_last=drop_last)
    sampler.prepare(CORESET, epoch, start)
    return sampler


def test_an_epoch_delivers_every_example_once_with_its_own_weight():
    sampler = laid_out()
    assert [len(batch) for batch in sampler] == [2, 2, 1]
    indices, weights = torch.cat(sampler.batches), torch.cat(sampler.weights)
    gamma = dict(zip(CORESET.indices.tolist(), (CORESET.weights / 4).tolist(), strict=True))
    assert {int(i): pytest.approx(float(w)) for i, w in zip(indices, weights, strict=True)} == gamma


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(**settings):
        return torch.cat(laid_out(**settings).batches).tolist()

    assert order() == order()
    assert order() == order(batch_size=5)
    orders = {tuple(order(epoch=e, seed=s)) for e in range(4) for s in range(4)}
    assert len(orders) > 12


def test_starting_late_delivers_the_rest():
    assert list(laid_out(start=1)) == list(laid_out())[1:]
    assert len(laid_out(start=1)) == 3


def test_an_incomplete_batch_may_be_dropped():
    assert [len(batch) for batch in laid_out(drop_last=True)] == [2, 2]
    assert list(laid_out(drop_last=True)) == list(laid_out())[:2]


@given(size=st.integers(0, 50), batch=st.integers(1, 9), drop=st.booleans())
def test_counting_batches(size, batch, drop):
    parts = [range(size)[i : i + batch] for i in range(0, size, batch)]
    assert batch_count(size, batch, drop_last=drop) == sum(len(part) == batch or not drop for part in parts)


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=20))
def test_weights_have_mean_one_and_are_never_nan(weights):
    scaled = mean_one(np.array(weights))
    assert np.isfinite(scaled).all()
    assert scaled.mean() == pytest.approx(1)
