"""Strata: every example equally often, exactly b in a batch, none twice in an epoch, less variance than at random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.selectors.ordered_strata import Strata


def rng(seed=0):
    return np.random.default_rng(seed)


def strata_of(n, seed=0):
    return Strata(rng(seed).permutation(n), np.unique([0, n // 3, n]))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 63))
@settings(deadline=None)
def test_an_epoch_holds_distinct_examples_in_batches_of_b(n, size, batch_size):
    size = min(size, n)
    batches = strata_of(n).batches(size, batch_size, generator=rng(n))
    assert [len(batch) for batch in batches] == [batch_size] * (size // batch_size) + [size % batch_size] * bool(
        size % batch_size
    )
    drawn = np.concatenate(batches)
    assert len(np.unique(drawn)) == size
    assert drawn.dtype == np.int64
    if size == n:
        assert sorted(drawn) == list(range(n))


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 99))
def test_a_batch_has_one_example_of_each_stratum(length, batch_size, seed):
    n = length * batch_size
    strata = Strata(np.arange(n), np.array([0, n]))
    for batch in strata.batches(n, batch_size, generator=rng(seed)):
        assert (batch // length).tolist() == list(range(batch_size))


@pytest.mark.parametrize(("n", "size", "batch_size"), [(10, 10, 4), (23, 7, 3), (12, 5, 5), (9, 4, 1)])
def test_every_example_is_in_every_batch_equally_often(n, size, batch_size):
    strata, draws = strata_of(n), 20_000
    generator = rng(7)
    first, last, epoch = np.zeros(n), np.zeros(n), np.zeros(n)
    for _ in range(draws):
        batches = strata.batches(size, batch_size, generator=generator)
        first[batches[0]] += 1
        last[batches[-1]] += 1
        epoch[np.concatenate(batches)] += 1
    remainder = size % batch_size or batch_size
    for counts, expected in ((first, min(batch_size, size)), (last, remainder), (epoch, size)):
        p = expected / n
        error = np.abs(counts / draws - p) / np.sqrt(max(p * (1 - p), 1e-12) / draws)
        assert error.max() < 4.5


def test_each_process_of_several_gets_a_stratified_share():
    n = 64
    strata = Strata(np.arange(n), np.array([0, n]))
    (batch, *_) = strata.batches(n, 16, generator=rng())
    for rank in range(4):
        gaps = np.diff(np.sort(batch[rank::4]))
        assert gaps.max() < 2 * n / 4


def test_batches_along_a_line_vary_less_than_random_ones():
    n, b = 1000, 20
    values = np.linspace(0, 1, n)
    strata = Strata(np.arange(n), np.array([0, n]))
    generator = rng()
    means = [values[batch].mean() for _ in range(40) for batch in strata.batches(n, b, generator=generator)]
    # One uniform draw from each of b intervals of length 1/b: variance 1/(12 b^3), against 1/(12 b) at random.
    assert np.var(means) == pytest.approx(1 / (12 * b**3), rel=0.3)


def test_the_same_generator_gives_the_same_batches_and_another_gives_others():
    strata = strata_of(50)
    one, same, other = (strata.batches(20, 6, generator=rng(seed)) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


def test_state_survives():
    strata = strata_of(9)
    again = Strata.from_state_dict(strata.state_dict())
    assert np.array_equal(again.order, strata.order)
    assert np.array_equal(again.bounds, strata.bounds)
    assert (again.population, again.leaves) == (9, 2)


@pytest.mark.parametrize(
    ("order", "bounds", "message"),
    [
        ([0, 0, 1], [0, 3], "each of the positions"),
        ([0, 3, 1], [0, 3], "each of the positions"),
        ([], [0], "each of the positions"),
        ([0, -1, 1], [0, 3], "each of the positions"),
        ([0, 1, 2], [0, 2], "increase from 0 to 3"),
        ([0, 1, 2], [0, 2, 2, 3], "increase from 0 to 3"),
    ],
)
def test_what_is_no_order_is_refused(order, bounds, message):
    with pytest.raises(ValueError, match=message):
        Strata(np.array(order, np.int64), np.array(bounds))


def test_sizes_out_of_range_are_refused():
    for size in (0, 10):
        with pytest.raises(ValueError, match="is outside"):
            strata_of(9).batches(size, 2, generator=rng())
    with pytest.raises(ValueError, match="batch_size=0"):
        strata_of(9).batches(3, 0, generator=rng())


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_points_that_nothing_can_balance_are_refused(hole):
    with pytest.raises(ValueError, match="nan or infinity"):
        Strata(np.arange(3), np.array([0, 3]), np.array([[0.0], [hole], [1.0]]))
