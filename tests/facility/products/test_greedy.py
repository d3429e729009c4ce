"""Selection by products is naive greedy in float64, by compiled passes and by torch, with every option."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import naive_greedy

from adacore.facility import engines, facility_location
from adacore.facility.problem import check_problem
from adacore.facility.products.greedy import ProductGreedy
from adacore.facility.workers import Workers

TIE = 1e-12


def select(x, k, *, compiled=True, lists=True, threads=1, **options):
    problem = check_problem(x, **options).in_own_units()
    with Workers(threads) as workers:
        greedy = ProductGreedy(problem, workers, compiled=compiled)
        if not lists:
            greedy._evaluator._capacity = 0
        greedy.extend(k)
    return greedy


def naive_picks(x, k, *, clients=None, weights=None, initial=(), candidates=None):
    """The definition: the least sum of distances where nothing is selected, then always the largest gain."""
    x = np.asarray(x, np.float64)
    clients = x if clients is None else np.asarray(clients, np.float64)
    weights = np.ones(len(clients)) if weights is None else weights
    able = np.setdiff1d(np.arange(len(x)) if candidates is None else candidates, initial)
    distances = np.sqrt(((clients[:, None] - x[None]) ** 2).sum(axis=-1))
    minima = distances[:, list(initial)].min(axis=1) if len(initial) else None
    picks = []
    while len(picks) < k:
        left = np.setdiff1d(able, picks)
        if minima is None:
            sums = weights @ distances[:, left]
            best = np.flatnonzero(sums <= sums.min() * (1 + TIE))[0]
        else:
            gains = weights @ np.maximum(0, minima[:, None] - distances[:, left])
            if gains.max(initial=0) <= 0:
                break
            best = np.flatnonzero(gains >= gains.max() * (1 - TIE))[0]
        picks.append(int(left[best]))
        minima = distances[:, picks[-1]] if minima is None else np.minimum(minima, distances[:, picks[-1]])
    return picks, float(weights @ minima)


KINDS = {
    "gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "whole numbers": lambda rng, n, d: rng.integers(0, 3, (n, d)).astype(float),
    "repeated rows": lambda rng, n, d: rng.normal(size=(max(1, n // 4), d))[rng.integers(0, max(1, n // 4), n)],
    "tight clusters": lambda rng, n, d: rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 1e-7 * rng.normal(size=(n, d)),
    "far away": lambda rng, n, d: 1e6 + rng.normal(size=(n, d)),
    "heavy tails": lambda rng, n, d: rng.standard_t(0.8, (n, d)),
    "huge": lambda rng, n, d: 1e150 * rng.normal(size=(n, d)),
    "tiny": lambda rng, n, d: 1e-150 * rng.normal(size=(n, d)),
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.integers(2, 90),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_picks_are_those_of_naive_greedy(kind, n, d, compiled, lists, seed):
    rng = np.random.default_rng(seed)
    x = KINDS[kind](rng, n, d)
    options = {}
    if rng.random() < 0.3:
        options["initial"] = rng.choice(n, int(rng.integers(1, n)), replace=False)
    if rng.random() < 0.3:
        able = np.setdiff1d(rng.choice(n, int(rng.integers(1, n + 1)), replace=False), options.get("initial", []))
        options |= {"candidates": able} if able.size else {}
    if rng.random() < 0.2:
        options["clients"] = x[rng.integers(0, n, 30)]
    if rng.random() < 0.3:
        options["weights"] = 0.1 + rng.random(30 if "clients" in options else n)
    k = int(rng.integers(1, n))
    scale = np.exp2(np.floor(np.log2(np.abs(x).max() or 1.0)))
    scaled = {name: value / scale if name == "clients" else value for name, value in options.items()}
    picks, objective = naive_picks(x / scale, k, **scaled)
    greedy = select(x, k, compiled=compiled, lists=lists, **options)
    loss = float(greedy.problem.loss_in_units(greedy.total)) / scale
    mass = float(np.sum(options.get("weights", np.ones(len(options.get("clients", x))))))
    # A gain below what rounding leaves of a distance of 0 is not told from none.
    noise = 1e-13 * mass * np.abs(x / scale).max()
    assert loss == pytest.approx(objective, rel=1e-11, abs=noise)
    if kind in {"gaussian", "whole numbers"}:
        assert greedy.selected.tolist() == picks


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_kind_of_number_and_metric(compiled, metric, dtype):
    x = np.random.default_rng(0).normal(size=(700, 48)).astype(dtype)
    rows = x.astype(np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    picks, objective = naive_picks(rows, 60)
    greedy = select(x, 60, compiled=compiled, metric=metric)
    assert greedy.selected.tolist() == picks
    assert float(greedy.problem.loss_in_units(greedy.total)) == pytest.approx(objective, rel=1e-12)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_blocks_threads_and_lists_change_nothing(compiled):
    x = np.random.default_rng(1).normal(size=(2100, 20)).astype(np.float32)
    weights = np.random.default_rng(2).random(2100)
    once = select(x, 100, weights=weights)
    again = select(x, 100, weights=weights, compiled=compiled, lists=False, threads=2)
    assert once._evaluator.listed
    assert not again._evaluator.listed
    assert once.selected.tolist() == again.selected.tolist()
    np.testing.assert_allclose(once.gains, again.gains, rtol=1e-12)
    np.testing.assert_allclose(once.served_weights(), again.served_weights(), rtol=1e-12)


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "products"])
def test_threads_change_nothing_to_the_last_bit(lists):
    x = np.random.default_rng(4).normal(size=(2100, 20)).astype(np.float32)
    found = []
    for threads in (1, 2, 3, 5):
        greedy = select(x, 60, weights=np.arange(2100.0), lists=lists, threads=threads)
        bounds = greedy.remaining_bounds(1e9)
        found.append((greedy.selected.tolist(), greedy.gains[1:].tolist(), greedy.total, bounds.tolist()))
    assert found[1:] == found[:1] * 3


def test_a_selection_goes_on_where_it_stopped():
    x = np.random.default_rng(3).normal(size=(1500, 16))
    whole = select(x, 80)
    parts = select(x, 3)
    parts.extend(10)
    parts.extend(80)
    assert parts.selected.tolist() == whole.selected.tolist()
    assert parts.total == pytest.approx(whole.total, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 120])
def test_bounds_on_remaining_gains_are_above_them(k):
    x = np.random.default_rng(4).normal(size=(900, 24))
    greedy = select(x, k)
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))
    minima = distances[:, greedy.selected].min(axis=1)
    gains = np.maximum(0, minima[:, None] - distances).sum(axis=0)
    gains[greedy.selected] = 0
    bounds = greedy.problem.loss_in_units(greedy.remaining_bounds(1e9))
    assert np.sort(bounds)[::-1][:50].sum() >= np.sort(gains)[::-1][:50].sum() * (1 - 1e-12)
    assert np.sort(bounds)[::-1][:50].sum() <= np.sort(gains)[::-1][:50].sum() * (1 + 1e-3)


def test_many_equal_rows_are_looked_at_once():
    x = np.repeat(np.random.default_rng(5).normal(size=(1, 30)), 3000, axis=0)
    greedy = select(x, 5)
    assert greedy.selected.tolist() == [0]
    assert greedy.exhausted
    assert greedy.total == 0


@pytest.mark.parametrize("tolerance", [0.9, 0.4])
def test_a_tolerance_is_met_within_strata(tolerance):
    x = np.random.default_rng(6).normal(size=(1600, 20))
    labels = np.arange(1600) % 2
    start = facility_location(x, budget=2, labels=labels).objective
    coreset = facility_location(x, tolerance=tolerance * start, labels=labels)
    assert coreset.objective <= tolerance * start
    assert np.array_equal(np.unique(labels[coreset.indices]), [0, 1])


def test_minima_next_to_nothing_can_be_listed():
    # Of one dimension only the sign is left: distances of equal directions are rounding, or nothing.
    x = np.random.default_rng(0).normal(size=(700, 1))
    x[:350] = np.abs(x[:350])
    greedy = select(x, 5, metric="cosine", initial=[0, 1, 699])
    assert greedy.count <= 5


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_nobody_is_forgotten_when_all_are_bounded_anew(compiled, monkeypatch):
    monkeypatch.setattr("adacore.facility.products.greedy.ALL_ANEW", 0.0)
    x = np.random.default_rng(7).standard_t(0.7, (120, 4))
    clients = x[::9]
    greedy = select(x, 100, compiled=compiled, lists=False, clients=clients)
    assert greedy.selected.tolist() == naive_picks(x, 100, clients=clients)[0]


def rows_of_few_directions(d, seed=8, directions=40):
    """Each direction three times, at lengths that rounding does not forget."""
    x = np.random.default_rng(seed).normal(size=(directions, d))
    return np.concatenate([x, 3 * x, x / 7])


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
@pytest.mark.parametrize("lists", [True, False], ids=["lists", "no lists"])
@pytest.mark.parametrize("initial", [(), (45, 3, 81)], ids=["from nothing", "from initial rows"])
@pytest.mark.parametrize("d", [16, 64, 4096])
def test_rows_of_one_direction_are_one_row_for_the_cosine_metric(compiled, lists, initial, d):
    x = rows_of_few_directions(d)
    picks, _, _, loads, _ = naive_greedy(x, 60, initial=initial, metric="cosine")
    options = {"initial": initial} if initial else {}
    greedy = select(x, 60, compiled=compiled, lists=lists, metric="cosine", **options)
    assert greedy.selected.tolist() == picks.tolist()
    assert greedy.count == 40 - len({row % 40 for row in initial})
    assert greedy.total == 0
    assert greedy.exhausted
    assert greedy.served_weights().tolist() == loads.tolist()


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_rows_of_one_direction_alone_need_one_pick(compiled):
    x = np.outer(np.arange(1.0, 400.0), np.random.default_rng(9).normal(size=24))
    greedy = select(x, 5, compiled=compiled, metric="cosine")
    assert (greedy.selected.tolist(), greedy.total) == ([0], 0)


@pytest.mark.parametrize("d", [16, 64])
def test_rows_of_one_direction_are_one_row_within_each_label(d, monkeypatch):
    monkeypatch.setattr(engines, "MOST_PAIRS", 0)
    x, initial = rows_of_few_directions(d), [50, 11]
    labels = np.tile(np.arange(40) % 2, 3)
    coreset = facility_location(x, budget=80, labels=labels, initial=initial, metric="cosine")
    expected = []
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        inside = [int(np.flatnonzero(rows == row)[0]) for row in initial if labels[row] == label]
        expected += rows[naive_greedy(x[rows], 40, initial=inside, metric="cosine")[0]].tolist()
    assert coreset.indices.tolist() == expected
    assert len(coreset.indices) == 38
    assert coreset.objective == 0


def test_the_certificate_of_few_clients_is_true_and_the_same_each_time():
    rng = np.random.default_rng(0)
    x, clients = rng.normal(size=(9_000, 24)).astype(np.float32), rng.normal(size=(40, 24)).astype(np.float32)
    found = [facility_location(x, budget=2, clients=clients) for _ in range(2)]
    distances = np.sqrt(((clients[:, None].astype(float) - x[None]) ** 2).sum(axis=-1))
    minima = distances[:, found[0].indices].min(axis=1)
    gains = np.maximum(0, minima[:, None] - distances).sum(axis=0)
    # No two rows can gain more together than the two largest gains (submodularity).
    true = minima.sum() - np.sort(gains)[-2:].sum()
    assert found[0].lower_bound == found[1].lower_bound
    assert 0.99 * true <= found[0].lower_bound <= true * (1 + 1e-9)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("middle", [0.0, 1e70])
def test_a_client_that_nobody_weighs_may_lie_anywhere(compiled, middle):
    rng = np.random.default_rng(0)
    x, weights = middle + max(1.0, middle) * rng.normal(size=(60, 13)), np.ones(60)
    x[7], weights[7] = 1e20 * max(1.0, middle), 0
    others = np.delete(np.arange(60), 7)
    mine = select(x, 5, compiled=compiled, weights=weights, candidates=others)
    assert mine.selected.tolist() == others[naive_picks(x[others], 5)[0]].tolist()


def test_rows_far_from_the_origin_that_are_all_equal_leave_nothing_to_gain():
    x, weights = np.full((60, 13), 1e70), np.r_[np.zeros(5), np.ones(55)]
    mine = select(x, 5, weights=weights, candidates=np.arange(5, 60))
    assert mine.total == 0
    assert mine.selected.tolist() == [5]


def test_a_stratum_in_which_nobody_weighs_anything_is_selected_from(monkeypatch):
    monkeypatch.setattr(engines, "MOST_PAIRS", 0)
    weights, labels = np.repeat([0.0, 1.0], 30), np.repeat([0, 1], 30)
    x = np.random.default_rng(0).normal(size=(60, 13))
    coreset = facility_location(x, budget=6, weights=weights, labels=labels)
    alone = facility_location(x[30:], budget=3)
    assert (coreset.indices[coreset.indices >= 30] - 30).tolist() == alone.indices.tolist()


def test_the_default_kind_of_numbers_changes_nothing():
    x = np.random.default_rng(0).normal(size=(700, 64)).astype(np.float32)
    before = facility_location(x, budget=20)
    torch.set_default_dtype(torch.float64)
    try:
        after = facility_location(x, budget=20)
    finally:
        torch.set_default_dtype(torch.float32)
    assert after.indices.tolist() == before.indices.tolist()
