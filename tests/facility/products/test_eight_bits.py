"""8 bits bound distances from below, and change no pick."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.facility import engines, facility_location
from adacore.facility.problem import check_problem
from adacore.facility.products import compiled_evaluator, eight_bits, sample
from adacore.facility.products.eight_bits import LARGEST, eight_bits_suit, round_sides
from adacore.facility.products.rows import make_rows
from adacore.facility.products.sides import Sides, split_sides

needs_fast_products = pytest.mark.skipif(not eight_bits_suit(64), reason="no AVX-512 VNNI, or torch without _int_mm")

KINDS = {
    "gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "far away": lambda rng, n, d: 1e5 + rng.normal(size=(n, d)),
    "clusters": lambda rng, n, d: rng.normal(size=(4, d))[rng.integers(0, 4, n)] + 1e-3 * rng.normal(size=(n, d)),
    "heavy tails": lambda rng, n, d: rng.standard_t(0.8, (n, d)),
    "of every size": lambda rng, n, d: rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-40, 0, (n, 1)),
    "equal": lambda rng, n, d: np.repeat(rng.normal(size=(1, d)), n, axis=0),
    "zeros": lambda rng, n, d: np.zeros((n, d)),
    "whole numbers": lambda rng, n, d: rng.integers(-LARGEST, LARGEST + 1, (n, d)).astype(float),
}
settled = settings(max_examples=60, deadline=None)


def lower_squares(rows, columns):
    """What kernels compute, in float32, from exact products of whole numbers."""
    products = (rows.codes.long() @ columns.codes.long().T).numpy().astype(np.float32)
    scales = np.float32(-2) * rows.scales[:, None] * columns.scales
    return products * scales + (rows.low[:, None] + columns.low)


def true_squares(rows, columns):
    x, y = (side.exact.double()[side.index] * side.factors[:, None] for side in (rows, columns))
    return (x[:, None] - y).square().sum(dim=-1).numpy()


@settled
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 40), st.integers(1, 200), st.integers(0, 99))
def test_squared_distances_are_bounded_from_below(kind, n, d, seed):
    x = KINDS[kind](np.random.default_rng(seed), n, d)
    sides = split_sides(check_problem(x).in_own_units(), torch.device("cpu"))
    rounded, same = round_sides(sides)
    assert rounded is same
    assert (lower_squares(rounded, rounded) <= true_squares(sides.candidates, sides.candidates) * (1 + 1e-12)).all()


@settled
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)), st.integers(1, 99), st.integers(0, 99))
def test_they_are_between_two_sides_of_different_kinds(kind, other, d, seed):
    rng = np.random.default_rng(seed)
    exact = torch.from_numpy(np.concatenate([KINDS[kind](rng, 9, d), KINDS[other](rng, 7, d)]))
    factors = torch.full((16,), 1 / max(1.0, float(exact.abs().max())), dtype=torch.float64)
    rows, columns = (make_rows(exact, i, factors[i], None) for i in (torch.arange(9), torch.arange(9, 16)))
    sides = Sides(columns, rows, np.ones(9, bool), np.arange(9), None, np.ones(7), 0)
    assert (lower_squares(*round_sides(sides)) <= true_squares(rows, columns) * (1 + 1e-12)).all()


def test_bounds_are_tight_where_rows_are_alike():
    sides = split_sides(
        check_problem(np.random.default_rng(0).normal(size=(99, 384))).in_own_units(), torch.device("cpu")
    )
    rounded, _ = round_sides(sides)
    true = true_squares(sides.candidates, sides.candidates)
    off = (true - lower_squares(rounded, rounded))[np.triu_indices(99, 1)] / true[np.triu_indices(99, 1)]
    assert off.min() > 0
    assert off.max() < 0.03


@needs_fast_products
@settled
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 90), st.integers(1, 150), st.booleans(), st.integers(0, 99))
def test_no_pick_changes_however_loose_the_bounds(kind, n, d, of_their_own, seed):
    rng = np.random.default_rng(seed)
    x = KINDS[kind](rng, n, d)
    options = {"clients": KINDS["gaussian"](rng, 30, d) * np.abs(x).max()} if of_their_own else {}
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "MOST_PAIRS", 0)
        patch.setattr(engines, "LEAST_DIMENSIONS", 0)
        # torch 2.13 multiplies rows of one number wrongly; far below what is used.
        for least in (2, sys.maxsize):
            patch.setattr(eight_bits, "LEAST_DIMENSIONS", least)
            for module, name in ((sample, "MOST_SLACK"), (sample, "MOST_LARGER"), (compiled_evaluator, "MOST_LONGER")):
                patch.setattr(module, name, sys.float_info.max)
            found.append(facility_location(x, budget=min(n, 20), **options))
    assert found[0].indices.tolist() == found[1].indices.tolist()
    assert found[0].objective == found[1].objective


@needs_fast_products
@pytest.mark.parametrize("d", [eight_bits.LEAST_DIMENSIONS, 67, 131, 384])
@pytest.mark.parametrize("rows", [1, 2, 16, 33, 512])
@pytest.mark.parametrize("columns", [1, 3, 200, 512])
def test_products_of_whole_numbers_are_exact(rows, columns, d):
    codes = torch.from_numpy(np.random.default_rng(0).integers(-LARGEST, LARGEST + 1, (rows + columns, d)))
    codes[::3] = LARGEST * codes[::3].sign()
    out = torch.empty((rows, columns), dtype=torch.int32)
    torch._int_mm(codes[:rows].to(torch.int8), codes[rows:].to(torch.int8).T, out=out)
    assert torch.equal(out.long(), codes[:rows] @ codes[rows:].T)


@needs_fast_products
@pytest.mark.parametrize(("kind", "suit"), [("gaussian", True), ("clusters", False), ("heavy tails", False)])
def test_lists_are_written_from_8_bits_where_these_tell_rows_apart(kind, suit):
    x = KINDS[kind](np.random.default_rng(0), 1500, 64)
    sides = split_sides(check_problem(x).in_own_units(), torch.device("cpu"))
    drawn = sample.Sample(sides, round_sides(sides))
    squares = true_squares(sides.candidates, sides.candidates)
    limits = torch.from_numpy(squares[squares.sum(axis=1).argmin()]).float()
    assert (drawn.longer_in_8_bits(limits, 100) <= sample.MOST_LONGER) == suit
