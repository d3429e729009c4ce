"""Sparse rows: the same selections as dense ones, whatever the format, by products of sparse rows."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from tests.facility.varied_problems import check_varied, draw_varied
from tests.oracles import distances_between, naive_greedy

from adacore.facility import assign, engines, facility_location, facility_objective, k_center
from adacore.facility.arrays import as_rows
from adacore.facility.planning import plan_strata
from adacore.facility.problem import check_problem
from adacore.facility.products.rows import gamma
from adacore.facility.sparse import compressed, kernels
from adacore.facility.sparse.compressed import CompressedRows
from adacore.facility.sparse.rows import SparseRows

X = scipy.sparse.random(60, 900, density=0.02, format="csr", random_state=0)
DENSE = X.toarray()
CLIENTS = scipy.sparse.random(40, 900, density=0.02, format="csr", random_state=1)
WEIGHTS = np.random.default_rng(1).random(60)


@pytest.fixture(params=["matrix", "products", "lists"])
def always_sparse(request, monkeypatch):
    """Never write rows out; by the matrix of distances, by products, or by products that write lists at once."""
    monkeypatch.setattr(compressed, "DENSE_SHARE", 0)
    if request.param != "matrix":
        monkeypatch.setattr(engines, "MOST_PAIRS", 0)
    if request.param == "lists":
        monkeypatch.setattr("adacore.facility.products.greedy.LIST_PASS", 0.0)
    return request.param


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": "cosine"},
        {"initial": [3, 50]},
        {"candidates": np.arange(0, 60, 2), "initial": [1]},
        {"weights": WEIGHTS},
        {"weights": WEIGHTS * (np.arange(60) % 3 > 0), "metric": "cosine", "candidates": np.arange(45)},
        {"clients": CLIENTS},
        {"clients": CLIENTS, "metric": "cosine", "initial": [7]},
    ],
)
def test_sparse_rows_give_what_naive_greedy_gives(always_sparse, options):
    dense = {name: value.toarray() if scipy.sparse.issparse(value) else value for name, value in options.items()}
    picks, gains, objective, _, left = naive_greedy(DENSE, 12, **dense)
    coreset = facility_location(X, budget=12, **options)
    assert coreset.indices.tolist() == picks.tolist()
    np.testing.assert_allclose(coreset.gains, gains, rtol=1e-9, atol=1e-12)
    assert coreset.objective == pytest.approx(objective, rel=1e-12)
    assert coreset.lower_bound <= max(0, objective - left[: len(picks)].sum()) * (1 + 1e-12)


@pytest.mark.parametrize("options", [{"refine": True}, {"tolerance": 60.0, "budget": None}, {"method": "sampled"}])
def test_other_ways_give_what_they_give_for_dense_rows(always_sparse, options, monkeypatch):
    monkeypatch.setattr("adacore.facility.greedy_variants.LEAST_SAMPLE", 30)
    monkeypatch.setattr("adacore.facility.greedy_variants.SAMPLE_PER_PICK", 3)
    options = {"budget": 10, "seed": 0, **options}
    sparse, dense = (facility_location(x, **options) for x in (X, DENSE))
    assert sparse.indices.tolist() == dense.indices.tolist()
    assert sparse.objective == pytest.approx(dense.objective, rel=1e-12)


def test_strata_quotas_and_weights_together(always_sparse):
    labels = np.arange(60) % 3
    options = {"labels": labels, "quotas": {0: 2, 1: 5, 2: 1}, "weights": WEIGHTS, "metric": "cosine", "initial": [5]}
    assert facility_location(X, **options).indices.tolist() == facility_location(DENSE, **options).indices.tolist()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_assign_k_center_and_the_objective(always_sparse, metric):
    picks = np.array([3, 7, 50])
    distances = distances_between(DENSE, DENSE[picks], metric)
    found = assign(X, picks, metric=metric)
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-13)
    np.testing.assert_allclose(distances[np.arange(60), found.owner], distances.min(axis=1), rtol=1e-13)
    assert facility_objective(X, picks, metric=metric) == pytest.approx(distances.min(axis=1).sum(), rel=1e-12)
    for initial in (None, [4, 9]):
        expected = k_center(DENSE, budget=20, metric=metric, initial=initial)
        assert k_center(X, budget=20, metric=metric, initial=initial).indices.tolist() == expected.indices.tolist()


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_array", "coo_array", "lil_array", "bsr_matrix"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float32", "float64"])
def test_every_format_and_type(monkeypatch, form, dtype):
    monkeypatch.setattr(compressed, "DENSE_SHARE", 0)
    rows = (DENSE * 100).astype(dtype)
    given = getattr(scipy.sparse, form)(rows)
    before = given.copy()
    assert facility_location(given, budget=9).indices.tolist() == naive_greedy(rows, 9)[0].tolist()
    assert (given != before).nnz == 0


def test_float16_duplicates_stored_zeros_and_any_order_of_columns(always_sparse):
    values = np.array([0.5, 0.5, 3, 0, 1, 2, 0.25], np.float16)
    given = scipy.sparse.csr_matrix((values, [2, 2, 0, 1, 3, 0, 2], [0, 3, 5, 6, 7]), shape=(4, 5))
    rows = np.array([[3, 0, 1, 0, 0], [0, 0, 0, 1, 0], [2, 0, 0, 0, 0], [0, 0, 0.25, 0, 0]])
    expected = naive_greedy(rows, 3)
    coreset = facility_location(given, budget=3)
    assert coreset.indices.tolist() == expected[0].tolist()
    assert coreset.objective == pytest.approx(expected[2], rel=1e-15)
    assert given.nnz == 7, "what was passed is left alone"


@pytest.mark.parametrize("scale", [1e-200, 1e-40, 1e40, 1e150])
def test_the_whole_range_of_numbers(always_sparse, scale):
    assert facility_location(X * scale, budget=9).indices.tolist() == naive_greedy(DENSE * scale, 9)[0].tolist()


def test_rows_are_written_out_only_where_that_takes_little_more_memory():
    assert isinstance(as_rows(X, "x"), CompressedRows)
    assert isinstance(as_rows(scipy.sparse.csr_array(np.eye(2, dtype=np.float32) + 1), "x"), np.ndarray)
    assert as_rows(scipy.sparse.csr_array((3, 9)), "x").shape == (3, 1), "rows of zeros have one column"


def test_bounds_hold_and_distances_are_exact():
    rows = as_rows(X, "x")
    everyone = np.arange(60)
    some = SparseRows(rows, everyone, np.full(60, 0.7), 0.0)
    products = some.products(slice(0, 60), some, slice(0, 60), some.low).numpy()
    squares = distances_between(0.7 * DENSE, 0.7 * DENSE) ** 2
    assert (products + some.low.numpy()[:, None] <= squares).all()
    above = some.products(slice(0, 60), some, slice(0, 60), some.high).numpy() + some.high.numpy()[:, None]
    assert (above >= squares).all()
    slack = (some.high.numpy() - some.low.numpy()) / some.high.numpy()
    assert slack.max() < 2.1 * gamma(int(rows.lengths.max()) + 24), "as many terms as entries, not columns"
    i, j = (axis.reshape(-1) for axis in np.indices((60, 60)))
    out = np.empty(i.size)
    kernels.pair_distances(some.exact, i, some.exact, j, out)
    np.testing.assert_allclose(out, np.sqrt(squares).reshape(-1), rtol=1e-14)
    assert (out.reshape(60, 60) == out.reshape(60, 60).T).all()
    assert (np.diagonal(out.reshape(60, 60)) == 0).all()


@pytest.mark.parametrize(
    ("matrix", "error", "words"),
    [
        (scipy.sparse.csr_array(np.array([[0, 1.0], [np.nan, 0]])), ValueError, r"x\[1, 0\] is nan"),
        (scipy.sparse.csr_array((0, 4)), ValueError, r"x has shape \(0, 4\)"),
        (scipy.sparse.csr_array(np.eye(3) * 1j), TypeError, "complex128"),
    ],
)
def test_what_can_not_be_compared_is_refused(matrix, error, words):
    with pytest.raises(error, match=words):
        facility_location(matrix, budget=1)


def test_a_row_of_zeros_has_no_direction():
    with pytest.raises(ValueError, match=r"x\[2\] has length 0"):
        facility_location(scipy.sparse.vstack([X[:2], X[:1] * 0, X[2:]]).tocsr(), budget=3, metric="cosine")


def test_a_gpu_is_refused_for_sparse_rows():
    with pytest.raises(ValueError, match="sparse rows are compared on the CPU"):
        facility_location(X, budget=3, device="cuda")


def test_memory_is_that_of_the_entries_and_not_of_the_columns():
    """20,000 x 1,000,000: 160 GB in float64, 2.4 MB of entries."""
    program = """
import resource, numpy as np, scipy.sparse
from adacore.facility import facility_location, k_center
draw = np.random.default_rng(0)
entries = draw.random(200_000, dtype=np.float32), draw.integers(0, 1_000_000, 200_000), np.arange(0, 200_001, 10)
x = scipy.sparse.csr_array(entries, shape=(20_000, 1_000_000))
facility_location(x[:1000], budget=3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(k_center(x, budget=50)) == 50
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300


@pytest.mark.parametrize("first", [0, 200])
def test_random_problems_in_every_form_by_every_method(first):
    for number in range(first, first + 60):
        assert check_varied(draw_varied(number)) is None, number


@pytest.mark.parametrize("number", [96, 217])
def test_lists_that_end_at_a_tolerance_leave_something_to_gain(number):
    """A bound that took reaching the tolerance for having nothing left to gain was 1.5 times too large."""
    assert check_varied(draw_varied(number)) is None


def test_what_sparse_rows_take_is_predicted_from_their_entries():
    """Of 1,000 rows and columns, one entry in each row, or a fifth of all: two rows share 0.001 columns, or 40."""
    wide = check_problem(scipy.sparse.identity(1000, format="csr", dtype=np.float32))
    full = check_problem(scipy.sparse.random(1000, 1000, density=0.2, format="csr", random_state=0, dtype=np.float32))
    few, many = plan_strata([wide], [10]), plan_strata([full], [10])
    assert many.seconds > 10 * few.seconds, "40 shared columns a pair"
    assert few.bytes < many.bytes
    assert plan_strata([wide, wide], [10, 0]) == few, "a stratum without a budget takes nothing"
