"""What single precision claims about gains is true; its vector instructions compute what they say."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adacore.facility import simd
from adacore.facility.greedy import TreeGreedy
from adacore.facility.problem import check_problem
from adacore.facility.tree import ULP, principal_axes
from adacore.facility.workers import Workers

KINDS = ("gaussian", "heavy tails", "far away", "few directions", "clusters")


def draw(kind: str, n: int, d: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    if kind == "heavy tails":
        return rng.standard_t(0.8, (n, d))
    if kind == "far away":
        return 1e5 + rng.normal(size=(n, d))
    if kind == "few directions":
        return rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 1e-4 * rng.normal(size=(n, d))
    if kind == "clusters":
        return rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 1e-3 * rng.normal(size=(n, d))
    return rng.normal(size=(n, d))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 30),
    st.integers(100, 1300),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_gain_is_within_its_error(kind: str, d: int, n: int, picks: int, massive: bool, seed: int) -> None:
    masses = np.random.default_rng(seed).random(n) if massive else None
    with Workers(1) as workers:
        problem = check_problem(draw(kind, n, d, seed), weights=masses).in_own_units()
        greedy = TreeGreedy(problem, workers)
        greedy.decision.pay = lambda candidates, count, limit: False  # type: ignore[method-assign]
        greedy.extend(picks)
        evaluation = greedy.evaluation
        gains, errors = evaluation.bounds(np.arange(n))
        exact, of_all = evaluation.exact_gains(np.arange(n)), evaluation.bounds_of_all()
    rows = problem.scaled(evaluation.tree.order)
    distances = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=-1))
    true = np.maximum(0, evaluation.minima[:n] - distances) @ evaluation.weights[:n]
    assert (np.abs(gains - true) <= errors + 1e-13 * true.max(initial=0)).all()
    # Pair by pair: upper bounds, off by the error of all leaves at most, once for rounding and once for what is added.
    tree, state = evaluation.tree, evaluation.state
    error = tree.leaf_weights.sum() * tree.tile_norms.max() + tree.leaf_norms.sum()
    error += (0.5 * d + 9) * state.leaf_sums.sum() + 72 * true.max() + 2 * tree.tiny * tree.leaf_weights.sum() / ULP
    assert (of_all >= true * (1 - 1e-13)).all()
    assert (of_all - true <= 2.1 * ULP * error + 1e-13 * true.max(initial=0)).all()
    np.testing.assert_allclose(exact, true, rtol=1e-11, atol=1e-13 * max(1e-300, true.max(initial=0)))


def test_turning_leaves_distances_alone() -> None:
    x = draw("few directions", 300, 11, 0)
    axes = principal_axes(check_problem(x), np.arange(300))
    assert axes is not None
    np.testing.assert_allclose(axes.T @ axes, np.eye(11), atol=1e-14)
    variances = ((x - x.mean(axis=0)) @ axes).var(axis=0)
    assert (np.diff(variances) <= 1e-12).all()


@pytest.mark.parametrize("shape", [(300, 3), (15, 11)])
def test_few_dimensions_or_points_are_not_turned(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    assert principal_axes(check_problem(x), np.arange(len(x))) is None


@numba.njit
def all_lanes(coarse, x, minima, later, limits):  # type: ignore[no-untyped-def]
    squares, halves = np.empty((4, 32), np.float32), np.empty((4, 32), np.float32)
    gains, bits, lowest = np.zeros((4, 32), np.float32), np.empty(4, np.uint32), np.empty(4, np.int64)
    simd.write_squares(coarse, 1, x, 0, 0, coarse.shape[1], squares)
    for a in range(4):
        simd.write_square(coarse, 1, x, a, 0, 2, halves)
        simd.add_squares(coarse, 1, x, a, 2, coarse.shape[1], halves)
        simd.add_gains(minima, later, 1, squares, a, gains)
        bits[a] = simd.lanes_below(squares, a, limits, 1)
        lowest[a] = simd.lowest_lane(bits[a]) if bits[a] != 0 else -1
    return squares, halves, gains, bits, lowest


def test_lanes_compute_what_they_say() -> None:
    rng = np.random.default_rng(0)
    coarse, x = rng.normal(size=(3, 5, 32)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    minima, weights = rng.random((3, 32), np.float32) * 4, rng.random((3, 32), np.float32)
    limits = rng.random((2, 32), np.float32) * 8
    squares, halves, gains, bits, lowest = all_lanes(coarse, x, minima, weights, limits)
    true = ((coarse[1][None].astype(np.float64) - x[:, :, None]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squares, true, rtol=1e-6)
    np.testing.assert_allclose(halves, true, rtol=1e-6)
    np.testing.assert_allclose(gains, weights[1] * np.maximum(0, minima[1] - np.sqrt(true)), atol=1e-6)
    below = squares < limits[1]
    assert [[int(b) >> p & 1 for p in range(32)] for b in bits] == below.astype(int).tolist()
    assert lowest.tolist() == [int(np.flatnonzero(row)[0]) if row.any() else -1 for row in below]


@pytest.mark.parametrize("threads", [2, 3])
def test_bounds_of_all_are_the_same_whoever_computes_them(threads: int) -> None:
    problem = check_problem(draw("heavy tails", 3000, 7, 1)).in_own_units()
    found = []
    for count in (1, threads):
        with Workers(count) as workers:
            greedy = TreeGreedy(problem, workers)
            greedy.extend(3)
            found.append(greedy.evaluation.bounds_of_all())
    np.testing.assert_array_equal(*found)


def test_weights_far_below_the_others_do_not_overflow_bounds_of_all() -> None:
    """All that is left to gain has next to no weight, and counts in float32 as 2^-100 of the largest."""
    rng = np.random.default_rng(0)
    x = np.concatenate([np.zeros((200, 3)), 1e3 * rng.normal(size=(900, 3))])
    weights = np.concatenate([np.ones(200), np.full(900, 1e-200)])
    with Workers(1) as workers:
        greedy = TreeGreedy(check_problem(x, weights=weights).in_own_units(), workers)
        greedy.extend(2)
        everyone = np.arange(len(x))
        assert (greedy.evaluation.bounds_of_all() >= greedy.evaluation.exact_gains(everyone)).all()
