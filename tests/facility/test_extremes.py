"""The whole range of float64: fill values, huge and tiny weights, strata of different scales, equal rows."""

import numpy as np
import pytest
import scipy.sparse
from tests.oracles import naive_greedy

from adacore.facility import engines, facility_location

X = np.random.default_rng(0).normal(size=(200, 4))
LABELS = np.arange(200) % 2
DBL_MAX = np.finfo(np.float64).max


@pytest.fixture(params=["matrix", "tree"])
def engine(request, monkeypatch):
    if request.param == "tree":
        monkeypatch.setattr(engines, "MOST_PAIRS", 0)


def with_cell(value, row=3, column=2):
    x = X.copy()
    x[row, column] = value
    return x


def assert_naive(x, k, labels=None, **options):
    coreset = facility_location(x, budget=k, labels=labels, **options)
    strata = [np.arange(len(x))] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]
    start, objective = 0, 0.0
    for rows in strata:
        size = k // len(strata)
        picks, _, loss, _, _ = naive_greedy(x[rows], size, **options)
        assert coreset.indices[start : start + size].tolist() == rows[picks].tolist()
        start, objective = start + size, objective + loss
    assert coreset.objective == pytest.approx(objective, rel=1e-10)
    assert 0 <= coreset.lower_bound <= coreset.objective
    return coreset


@pytest.mark.parametrize("value", [9.97e36, -1e25, 1e100, 1e300])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_a_fill_value_harms_nobody_else(engine, value, labels):
    assert_naive(with_cell(value), 20, labels)


def test_the_largest_numbers_there_are(engine):
    x = with_cell(DBL_MAX)
    x[7] = -DBL_MAX
    coreset = facility_location(x, budget=20)
    # At first all sums of distances are alike to 1e-12, and the lowest row wins; then the two; then the bulk.
    bulk = np.setdiff1d(np.arange(200), [3, 7])
    rest = facility_location(X[bulk], budget=17, initial=[0])
    assert coreset.indices.tolist() == [0, 7, 3, *bulk[rest.indices]]
    assert coreset.objective == pytest.approx(rest.objective, rel=1e-12)


def test_an_objective_that_float64_does_not_hold_is_refused(engine):
    x = X.copy()
    x[3], x[7] = DBL_MAX, -DBL_MAX
    with pytest.raises(ValueError, match="divide x"):
        facility_location(x, budget=1)


@pytest.mark.parametrize("scale", [1e-22, 1e-23, 1e-100, 1e-300, 1e22, 1e250])
def test_each_stratum_has_its_own_scale(engine, scale):
    x = X.copy()
    x[LABELS == 1] *= scale
    assert_naive(x, 20, LABELS)


@pytest.mark.parametrize("scale", [1e-300, 1e-46, 1e39, 1e300])
def test_the_scale_of_weights_changes_only_the_units(engine, scale):
    weights = np.random.default_rng(1).integers(1, 9, 200).astype(float)
    plain = facility_location(X, budget=30, weights=weights)
    scaled = facility_location(X, budget=30, weights=weights * scale)
    assert scaled.indices.tolist() == plain.indices.tolist()
    assert scaled.objective == pytest.approx(plain.objective * scale, rel=1e-12)
    assert scaled.lower_bound <= scaled.objective
    np.testing.assert_allclose(scaled.weights, plain.weights * scale)


def test_weights_far_apart_are_told_apart(engine):
    assert_naive(X, 90, weights=np.where(np.arange(200) % 3 == 0, 1e-46, 1.0))


@pytest.mark.parametrize("offset", [0.1, 1e-8, 1e8 + 0.1, 1e16])
@pytest.mark.parametrize("d", [1, 3, 12])
def test_equal_rows_are_at_no_distance(engine, offset, d):
    coreset = facility_location(np.full((50, d), offset), budget=3)
    assert (coreset.indices.tolist(), coreset.objective, coreset.lower_bound) == ([0], 0.0, 0.0)


def test_a_tolerance_over_a_stratum_of_equal_rows_ends(engine):
    x = np.array([[0.0], [0.0], [1.0], [5.0]])
    assert facility_location(x, labels=[0, 0, 1, 1], tolerance=0.1).indices.tolist() == [0, 2, 3]


def test_rows_of_one_direction_are_one_row_for_the_cosine_metric(engine):
    x = np.outer(np.arange(1.0, 31.0), [0.3, -0.7, 0.2])
    coreset = facility_location(x, budget=5, metric="cosine")
    assert (coreset.indices.tolist(), coreset.objective) == ([0], 0.0)


def test_sparse_rows_are_taken_without_a_dense_copy_of_empty_columns():
    x = scipy.sparse.random(60, 2_000_000, density=2e-6, format="csr", random_state=0)
    filled = x[:, np.unique(x.indices)].toarray()
    for matrix in (x, x.tocsc(), scipy.sparse.csr_array(x), x.tocoo()):
        assert facility_location(matrix, budget=10).indices.tolist() == naive_greedy(filled, 10)[0].tolist()
    both = facility_location(x, budget=10, clients=x[:30])
    assert both.indices.tolist() == naive_greedy(filled, 10, clients=filled[:30])[0].tolist()


def test_hours_are_said_beforehand_with_what_takes_minutes(monkeypatch):
    monkeypatch.setattr("adacore.facility.selection.HOURS", 1e-9)
    with pytest.warns(UserWarning, match="method='sampled' takes minutes"):
        facility_location(X, budget=5)


def test_many_small_strata_take_no_longer_than_plain_distances():
    x = np.random.default_rng(2).normal(size=(2000, 1000)).astype(np.float32)
    labels = np.repeat(np.arange(200), 10)
    coreset = facility_location(x, budget=600, labels=labels)
    # Ten rows cost ten times ten distances: not a tile of 512, which took 100 x as long.
    assert coreset.statistics["distances"] == 200 * 10 * 10
