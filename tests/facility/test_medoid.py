"""The medoid is sought among few candidates because the bounds on the others' sums hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.facility import medoid
from adacore.facility.problem import check_problem
from adacore.facility.tree import build_tree


def bounds_and_sums(x, masses=None):
    """Bounds, and sums of masses times distances in float64, both in the order of the tree."""
    problem = check_problem(x, weights=masses).in_own_units()
    tree, n = build_tree(problem), problem.clients.size
    lower = np.empty(n)
    medoid.sum_bounds(tree, medoid.measure_moments(tree), np.arange(n), 0, n, lower)
    rows, weights = problem.scaled(tree.order), problem.weights[tree.order]
    sums = np.array([weights @ np.sqrt(((rows - row) ** 2).sum(axis=1)) for row in rows])
    return lower, sums


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 1200),
    d=st.sampled_from([1, 2, 7, 64, 65, 90]),
    kind=st.sampled_from(["normal", "heavy", "duplicates", "far", "line"]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_no_bound_exceeds_the_sum_it_bounds(n, d, kind, weighted, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if kind == "heavy":
        x = x**5
    elif kind == "duplicates":
        x = np.round(x)
    elif kind == "far":
        x = x + 1e6
    elif kind == "line":
        x = x[:, :1] * np.ones(d)
    lower, sums = bounds_and_sums(x, rng.exponential(size=n) * (rng.random(n) < 0.8) + 1e-9 if weighted else None)
    assert (lower <= sums * (1 + 1e-12)).all()
    assert (lower >= 0).all()


@pytest.mark.parametrize(("d", "slack"), [(3, 0.2), (22, 0.05), (64, 0.02), (200, 0.1)])
def test_bounds_are_close_where_distances_in_a_tile_are_alike(d, slack):
    lower, sums = bounds_and_sums(np.random.default_rng(0).normal(size=(3000, d)))
    assert (1 - lower / sums).max() < slack
