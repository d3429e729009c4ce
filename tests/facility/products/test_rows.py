"""What single precision claims about distances is true; double precision is the same everywhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.facility.products import medoid
from adacore.facility.products.kernels import ExactRows, distance_to, scaled_row
from adacore.facility.products.medoid import sum_bounds
from adacore.facility.products.nearest import nearest
from adacore.facility.products.rows import SUMS, choose_shift, fold_, make_rows, pair_distances

KINDS = {
    "gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "far away": lambda rng, n, d: 1e5 + rng.normal(size=(n, d)),
    "clusters": lambda rng, n, d: rng.normal(size=(4, d))[rng.integers(0, 4, n)] + 1e-5 * rng.normal(size=(n, d)),
    "heavy tails": lambda rng, n, d: rng.standard_t(0.8, (n, d)),
    "equal": lambda rng, n, d: np.repeat(rng.normal(size=(1, d)), n, axis=0),
}
settled = settings(max_examples=40, deadline=None)
cases = given(
    st.sampled_from(sorted(KINDS)), st.integers(1, 60), st.integers(1, 300), st.booleans(), st.integers(0, 99)
)


def rows_of(kind, n, d, single, seed):
    rng = np.random.default_rng(seed)
    exact = torch.from_numpy(KINDS[kind](rng, n, d).astype(np.float32 if single else np.float64))
    index, factors = torch.arange(n), torch.from_numpy(rng.choice([0.5, 1.0, 3.0], n))
    return make_rows(exact, index, factors, choose_shift(exact, index, factors))


def some_of(rows, index):
    """A few of the rows, shifted as they are."""
    return replace(rows, **{name: getattr(rows, name)[index] for name in ("index", "factors", "single", "low", "high")})


def true_distances(rows):
    x = rows.exact.double().numpy() * rows.factors.numpy()[:, None]
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))


@settled
@cases
def test_squared_distances_lie_between_their_bounds(kind, n, d, single, seed):
    rows = rows_of(kind, n, d, single, seed)
    products = -2 * (rows.single @ rows.single.T)
    squares = np.square(true_distances(rows))
    assert ((products + (rows.low[:, None] + rows.low)).double().numpy() <= squares * (1 + 1e-12)).all()
    assert ((products + (rows.high[:, None] + rows.high)).double().numpy() >= squares * (1 - 1e-12)).all()


@settled
@cases
def test_double_precision_is_the_same_to_the_last_bit_in_kernels_and_tensors(kind, n, d, single, seed):
    rows = rows_of(kind, n, d, single, seed)
    exact = ExactRows(rows.exact.numpy(), rows.index.numpy(), rows.factors.numpy(), rows.same)
    x, sums = np.empty(d), np.empty(SUMS)
    scaled_row(exact, n - 1, x)
    compiled = [distance_to(x, exact, i, sums) for i in range(n)]
    everyone, last = torch.arange(n), torch.tensor([n - 1])
    assert pair_distances(rows, everyone, rows, last).tolist() == compiled
    assert pair_distances(rows, last.expand(n), rows, everyone).tolist() == compiled
    np.testing.assert_allclose(compiled, true_distances(rows)[:, -1], rtol=1e-12)
    assert compiled[-1] == 0


@pytest.mark.parametrize("wide", [False, True])
@settled
@cases
def test_sums_of_distances_are_bounded_from_below(wide, kind, n, d, single, seed):
    rows = rows_of(kind, n, d, single, seed)
    weights = torch.from_numpy(np.random.default_rng(seed).random(n))
    with pytest.MonkeyPatch.context() as patch:
        if wide:  # no covariance is made
            patch.setattr(medoid, "SQUARE_DIMENSIONS", 0)
            patch.setattr(medoid, "ROWS_PER_DIMENSION", 10**9)
        bounds = sum_bounds(rows, rows, weights).numpy()
    sums = true_distances(rows) @ weights.numpy()
    assert (bounds <= sums * (1 + 1e-12)).all()


def test_the_bounds_are_tight_for_whoever_may_be_the_medoid():
    exact = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 100)))
    rows = make_rows(exact, torch.arange(400), torch.ones(400, dtype=torch.float64), None)
    bounds = sum_bounds(rows, rows, torch.ones(400, dtype=torch.float64)).numpy()
    sums = true_distances(rows).sum(axis=1)
    contenders = bounds <= sums.min()
    assert contenders.sum() < 100
    assert (bounds[contenders] >= 0.98 * sums[contenders]).all()


@settled
@cases
def test_the_nearest_is_the_first_of_the_nearest(kind, n, d, single, seed):
    rows = rows_of(kind, n, d, single, seed)
    few = some_of(rows, torch.arange(0, n, 3))
    owner, distances = nearest(rows, few)
    all_of_them = torch.stack(
        [pair_distances(rows, torch.arange(n), few, torch.tensor([j])) for j in range(few.n)], dim=1
    ).numpy()
    assert owner.tolist() == all_of_them.argmin(axis=1).tolist()
    assert distances.tolist() == all_of_them.min(axis=1).tolist()


@pytest.mark.parametrize("width", [1, 2, 3, 7, 64, 65, 127, 128, 384, 1000])
def test_folding_sums_whole_numbers_exactly(width):
    numbers = np.random.default_rng(0).integers(0, 1000, (5, width)).astype(float)
    assert fold_(torch.from_numpy(numbers.copy())).tolist() == numbers.sum(axis=1).tolist()


@settled
@given(st.integers(2, 60), st.integers(2, 300), st.integers(0, 99))
def test_bounds_are_below_distances_that_count_as_nothing(n, d, seed):
    rng, same = np.random.default_rng(seed), 2.0**-49
    direction = rng.normal(size=d) / np.sqrt(d)
    exact = torch.from_numpy(direction + same * rng.normal(size=(n, d)) / np.sqrt(d))
    index, factors = torch.arange(n), torch.ones(n, dtype=torch.float64)
    # Shifted by what they have in common, nothing is left of them but what counts as 0: single precision sees it all.
    rows = make_rows(exact, index, factors, exact.mean(dim=0), same)
    distances = torch.stack([pair_distances(rows, index, rows, torch.tensor([j])) for j in range(n)], dim=1)
    squares = rows.low[:, None] + rows.low - 2 * (rows.single @ rows.single.T)
    assert ((squares <= 0) | (squares.double().sqrt() <= distances)).all()
    sums = sum_bounds(rows, rows, torch.ones(n, dtype=torch.float64))
    assert (sums <= distances.sum(dim=0)).all()
