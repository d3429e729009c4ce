"""facility_location selects what naive greedy on all distances in float64 selects."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facility.random_problems import check_problem, draw_problem

import adacore.facility.threads
from adacore.facility import facility_location

TIE = 1e-12


def naive_greedy(x, k, masses=None):
    """The definition: the medoid, then always the largest gain; ties within 1e-12 to the lower index."""
    x = np.asarray(x, dtype=np.float64)
    masses = np.ones(len(x)) if masses is None else masses
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))
    sums = masses @ distances
    picks = [int(np.flatnonzero(sums <= sums.min() * (1 + TIE))[0])]
    gains, minima = [np.nan], distances[picks[0]]
    while len(picks) < k:
        gain = masses @ np.maximum(0, minima[:, None] - distances)
        gain[picks] = 0
        if gain.max() <= 0:
            break
        picks.append(int(np.flatnonzero(gain >= gain.max() * (1 - TIE))[0]))
        gains.append(gain[picks[-1]])
        minima = np.minimum(minima, distances[picks[-1]])
    return np.array(picks), np.array(gains), float(masses @ minima), distances


def softmax_gradients(n, classes, seed, temperature=2.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * temperature
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(n), rng.integers(0, classes, n)] -= 1
    return p


def assert_naive(x, k, masses=None):
    picks, gains, objective, distances = naive_greedy(x, k, masses)
    coreset = facility_location(x, budget=k, weights=masses)
    assert coreset.indices.tolist() == picks.tolist()
    np.testing.assert_allclose(coreset.gains, gains, rtol=1e-9, atol=1e-13 * distances.max())
    assert coreset.objective == pytest.approx(objective, rel=1e-12, abs=1e-13)
    nearest = np.argmin(distances[:, picks], axis=1)
    expected = np.bincount(nearest, weights=masses, minlength=len(picks))
    np.testing.assert_allclose(coreset.weights, expected, rtol=1e-12)
    return coreset


@st.composite
def problems(draw):
    """Whole numbers, so that the oracle's ties are true ties; repeated rows are common."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    seed, side = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 12))
    x = np.random.default_rng(seed).integers(0, side, (n, d)).astype(np.float64)
    return x, draw(st.integers(1, n))


@settings(max_examples=120, deadline=None)
@given(problems())
def test_picks_gains_weights_and_objective_are_those_of_naive_greedy(problem):
    assert_naive(*problem)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_masses_weigh_the_points(problem, seed):
    x, k = problem
    masses = np.random.default_rng(seed).integers(1, 5, len(x)).astype(np.float64)
    assert_naive(x, k, masses)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_masses_equal_duplicated_points(problem, seed):
    x, k = problem
    x = np.unique(x, axis=0)
    copies = np.random.default_rng(seed).integers(1, 4, len(x))
    k = min(k, len(x))
    weighted = facility_location(x, budget=k, weights=copies)
    repeated = facility_location(np.repeat(x, copies, axis=0), budget=k)
    origin = np.repeat(np.arange(len(x)), copies)
    assert origin[repeated.indices].tolist() == weighted.indices.tolist()
    np.testing.assert_allclose(repeated.weights, weighted.weights, rtol=1e-12)
    assert repeated.objective == pytest.approx(weighted.objective, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=(900, 3)),
        lambda rng: rng.normal(size=(700, 40)),
        lambda rng: softmax_gradients(1000, 10, 0),
        lambda rng: softmax_gradients(1000, 5, 1, temperature=20.0),
        lambda rng: rng.standard_t(1.0, (800, 4)),
        lambda rng: rng.normal(size=(20, 6))[rng.integers(0, 20, 900)] + 1e-7 * rng.normal(size=(900, 6)),
        lambda rng: rng.random((1000, 1)),
        lambda rng: 1e8 + rng.normal(size=(600, 4)),
        lambda rng: np.r_[rng.normal(size=(600, 4)), 1e9 * rng.normal(size=(5, 4))],
    ],
    ids=[
        "gaussian",
        "wide",
        "softmax",
        "saturated",
        "cauchy",
        "tight clusters",
        "one dimension",
        "far away",
        "outliers",
    ],
)
@pytest.mark.parametrize("capacity", [None, 30_000], ids=["lists early", "lists late"])
def test_larger_problems_of_many_kinds(make, capacity, monkeypatch):
    if capacity is not None:
        monkeypatch.setattr("adacore.facility.list_writing.list_entries", lambda clients, candidates: capacity)
    x = make(np.random.default_rng(3))
    assert_naive(x, len(x) // 8)


def test_without_lists_the_answer_is_the_same(monkeypatch):
    x = softmax_gradients(1200, 10, 4)
    with_lists = facility_location(x, budget=200)
    monkeypatch.setattr("adacore.facility.list_writing.ListDecision.pay", lambda self, candidates, count, limit: False)
    without = facility_location(x, budget=200)
    assert with_lists.indices.tolist() == without.indices.tolist()
    np.testing.assert_allclose(with_lists.gains, without.gains, rtol=1e-10)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_nothing(threads):
    x = softmax_gradients(4000, 10, 5)
    labels = np.random.default_rng(0).integers(0, 5, 4000)
    answers = []
    for count in (1, threads):
        answers += [facility_location(x, budget=300, threads=count)]
        answers += [facility_location(x, budget=300, labels=labels, threads=count)]
    for one, many in zip(answers[:2], answers[2:], strict=True):
        assert one.indices.tolist() == many.indices.tolist()
        assert one.objective == many.objective
        np.testing.assert_array_equal(one.gains, many.gains)


@pytest.mark.parametrize("labelled", [False, True])
def test_permuting_the_examples_permutes_the_answer(labelled):
    rng = np.random.default_rng(6)
    x, labels = rng.normal(size=(1500, 6)), rng.integers(0, 4, 1500)
    # Two points that only serve each other gain the same: masses break such ties.
    masses, order = rng.random(1500), rng.permutation(1500)
    straight = facility_location(x, budget=200, labels=labels if labelled else None, weights=masses)
    shuffled = facility_location(
        x[order], budget=200, labels=labels[order] if labelled else None, weights=masses[order]
    )
    assert order[shuffled.indices].tolist() == straight.indices.tolist()
    np.testing.assert_allclose(shuffled.weights, straight.weights, rtol=1e-12)


def test_classes_are_selected_as_if_each_were_alone():
    rng = np.random.default_rng(7)
    x, labels = rng.normal(size=(300, 3)), rng.choice([3, 7, 9], 300, p=[0.7, 0.25, 0.05])
    coreset = facility_location(x, budget=30, labels=labels)
    start, objective = 0, 0.0
    for c in (3, 7, 9):
        rows = np.flatnonzero(labels == c)
        k = int((labels[coreset.indices] == c).sum())
        picks, _, loss, _ = naive_greedy(x[rows], k)
        assert coreset.indices[start : start + k].tolist() == rows[picks].tolist()
        assert coreset.weights[start : start + k].sum() == len(rows)
        assert np.isnan(coreset.gains[start])
        start, objective = start + k, objective + loss
    assert coreset.objective == pytest.approx(objective, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-200, 1e300])
def test_scale_changes_only_the_units(scale):
    x = np.random.default_rng(8).normal(size=(200, 4))
    near, far = facility_location(x, budget=20), facility_location(x * scale, budget=20)
    assert near.indices.tolist() == far.indices.tolist()
    assert far.objective == pytest.approx(near.objective * scale, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint8, bool])
def test_any_real_dtype_is_taken_exactly(dtype):
    x = (np.random.default_rng(9).random((150, 3)) * 100).astype(dtype)
    assert facility_location(x, budget=15).indices.tolist() == naive_greedy(x.astype(np.float64), 15)[0].tolist()


def test_layout_and_library_of_the_array_do_not_matter():
    x = np.random.default_rng(10).normal(size=(200, 8)).astype(np.float32)
    expected = facility_location(x, budget=20).indices.tolist()
    strided = np.zeros((400, 16), np.float32)
    strided[::2, ::2] = x
    tensors = [torch.from_numpy(x), torch.from_numpy(x).requires_grad_(), torch.from_numpy(x.T.copy()).T]
    for other in [np.asfortranarray(x), strided[::2, ::2], x[::-1][::-1], x.tolist(), *tensors]:
        assert facility_location(other, budget=20).indices.tolist() == expected
    half = torch.from_numpy(x).to(torch.bfloat16)
    assert (
        facility_location(half, budget=20).indices.tolist()
        == facility_location(half.float().numpy(), budget=20).indices.tolist()
    )


def test_the_input_is_left_as_it_was():
    x = np.random.default_rng(11).normal(size=(300, 4))
    before = x.copy()
    facility_location(x, budget=30, refine=True)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_identical_points_need_one_pick(k):
    coreset = facility_location(np.full((40, 3), 0.1), budget=k)
    assert coreset.indices.tolist() == [0]
    assert coreset.weights.tolist() == [40.0]
    assert (coreset.objective, coreset.certificate) == (0.0, 1.0)


def test_duplicates_are_never_selected_twice_and_everything_distinct_is_at_last():
    rng = np.random.default_rng(12)
    distinct = rng.normal(size=(30, 3))
    x = distinct[rng.integers(0, 30, 1000)]
    coreset = facility_location(x, fraction=1.0)
    assert len(coreset) == len(np.unique(x, axis=0))
    assert coreset.objective == 0
    assert coreset.weights.sum() == 1000


def test_all_points_can_be_selected():
    x = np.random.default_rng(13).normal(size=(700, 2))
    coreset = facility_location(x, budget=700)
    assert sorted(coreset.indices.tolist()) == list(range(700))
    assert coreset.weights.tolist() == [1.0] * 700


def test_one_example_one_budget_one_dimension():
    coreset = facility_location([[3.0]], budget=1)
    assert (coreset.indices.tolist(), coreset.weights.tolist(), coreset.objective) == ([0], [1.0], 0.0)
    assert facility_location(np.arange(101.0)[:, None], budget=1).indices.tolist() == [50]


def test_many_ties_take_no_longer_than_a_moment():
    grid = np.stack(np.meshgrid(np.arange(25), np.arange(25)), axis=-1).reshape(-1, 2)
    assert_naive(grid.astype(float), 200)


def test_inside_a_pool_one_thread_is_used():
    x = softmax_gradients(600, 10, 14)
    expected = facility_location(x, budget=60).indices.tolist()
    for coreset in adacore.facility.threads.run_in_threads(lambda _: facility_location(x, budget=60), range(3)):
        assert coreset.indices.tolist() == expected


@pytest.mark.parametrize("number", [3016, 5667])
def test_the_last_bit_of_a_distance_may_be_gained_or_not(every_engine, number):
    """Clients 10^17 times as far away as the rows are apart: an order of summing squares decides who is nearer."""
    assert check_problem(draw_problem(number)) is None
