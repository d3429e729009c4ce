"""Balanced batches: rows permuted within themselves, sums of columns alike, and still every example equally often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.selectors.balancing import WIDTH, balance, principal_coordinates
from adacore.selectors.ordered_strata import Strata


def rng(seed=0):
    return np.random.default_rng(seed)


def spread(points, rows):
    """Sum over columns of the squared distance of their sum to the mean of all sums."""
    sums = points[rows].sum(0, dtype=np.float64)
    return np.square(sums - sums.mean(0)).sum()


@given(st.integers(1, 9), st.integers(1, 2 * WIDTH + 3), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None)
def test_each_row_is_only_permuted(height, columns, d, seed):
    generator = rng(seed)
    points = generator.normal(size=(height * columns, d)).astype(np.float32)
    rows = generator.permutation(height * columns).reshape(height, columns)
    before = rows.copy()
    dealt = balance(points, rows)
    assert np.array_equal(np.sort(dealt, axis=1), np.sort(before, axis=1))
    assert np.array_equal(rows, before)


def dealt_slowly(points, rows):
    """Deal rows of at most WIDTH entries, one by one in float64, as ``balance`` describes it."""
    dealt, sums = rows.copy(), np.zeros((rows.shape[1], points.shape[1]))
    energy = np.square(points).sum(1)[rows].sum(1)
    for r in np.argsort(-energy, kind="stable"):
        x = points[rows[r]].astype(np.float64)
        x -= x.mean(0)
        free = list(range(len(x)))
        for j in sorted(free, key=lambda j: (-x[j] @ x[j], -j)):
            where = min(free, key=lambda c: (sums[c] @ x[j], c))
            free.remove(where)
            dealt[r, where] = rows[r, j]
            # A column that is taken is closed to the rest of the row: adding to its sum at once changes nothing for it.
            sums[where] += x[j]
    return dealt


@given(st.integers(1, 12), st.sampled_from([1, 2, 4, 8, 16, WIDTH]), st.integers(1, 16), st.integers(0, 99))
@settings(deadline=None)
def test_entries_go_where_they_cancel_most(height, columns, d, seed):
    generator = rng(seed)
    # Small whole numbers, and means of 2^k of them: sums and products are exact in float32.
    points = generator.integers(-3, 4, size=(height * columns, d)).astype(np.float32)
    rows = generator.permutation(height * columns).reshape(height, columns)
    np.testing.assert_array_equal(balance(points, rows), dealt_slowly(points, rows))


@pytest.mark.parametrize("d", [1, 4, 16])
def test_sums_are_much_more_alike_than_at_random(d):
    generator = rng()
    points = generator.normal(size=(64 * WIDTH, d)).astype(np.float32)
    rows = generator.permutation(len(points)).reshape(64, WIDTH)
    assert spread(points, balance(points, rows)) < 0.3 * spread(points, rows)


def test_principal_coordinates_keep_distances_where_nothing_is_left_out():
    x = rng().normal(size=(40, 5)).astype(np.float32) * 1e-20
    z = principal_coordinates(x)
    np.testing.assert_allclose(z @ z.T, (c := (x - x.mean(0)) / np.abs(x - x.mean(0)).max()) @ c.T, atol=1e-5)
    assert principal_coordinates(x, 2).shape == (40, 2)
    np.testing.assert_array_equal(principal_coordinates(np.ones((4, 3), np.float32)), 0)


@pytest.mark.parametrize(("n", "size", "batch_size"), [(30, 30, 4), (60, 16, 5), (41, 9, 3)])
def test_balanced_batches_hold_every_example_equally_often(n, size, batch_size):
    generator = rng(1)
    # One example outweighs all others, so that balancing would favour a batch if it could.
    points = generator.normal(size=(n, 2)).astype(np.float32)
    points[n // 2] *= 50
    strata, draws = Strata(generator.permutation(n), np.array([0, n]), points), 8000
    first, last = np.zeros(n), np.zeros(n)
    for _ in range(draws):
        batches = strata.batches(size, batch_size, generator=generator)
        assert len(np.unique(np.concatenate(batches))) == size
        first[batches[0]] += 1
        last[batches[-1]] += 1
    for counts, expected in ((first, batch_size), (last, size % batch_size or batch_size)):
        p = expected / n
        assert (np.abs(counts / draws - p) / np.sqrt(p * (1 - p) / draws)).max() < 4.5


def test_balanced_batches_vary_less_than_stratified_ones():
    n, b = 2000, 20
    points = rng().normal(size=(n, 3)).astype(np.float32)
    order = np.argsort(points[:, 0])
    plain, balanced = Strata(order, np.array([0, n])), Strata(order, np.array([0, n]), points)

    def error(strata):
        generator = rng(2)
        means = [points[batch].mean(0) for _ in range(5) for batch in strata.batches(n // 2, b, generator=generator)]
        return np.square(np.array(means) - points.mean(0)).sum(1).mean()

    assert error(balanced) < 0.4 * error(plain) < 0.4 * 3 / b


def test_points_survive_a_checkpoint_and_must_fit():
    strata = Strata(np.arange(3), np.array([0, 3]), np.ones((3, 2)))
    again = Strata.from_state_dict(strata.state_dict())
    np.testing.assert_array_equal(again.points, strata.points)
    assert again.points.dtype == np.float32
    with pytest.raises(ValueError, match=r"points have shape \(2, 2\)"):
        Strata(np.arange(3), np.array([0, 3]), np.ones((2, 2)))
