"""Options, each with each: initial, candidates, clients, metric, quotas, weights, labels, tolerance, refine."""

from itertools import combinations

import numpy as np
import pytest
from tests.facility.random_problems import check_problem, draw_problem
from tests.oracles import distances_between, naive_greedy

from adacore import Coreset
from adacore.facility import engines, facility_location

X = np.random.default_rng(0).normal(size=(60, 3))
INITIAL, CANDIDATES = np.array([17, 3, 40]), np.arange(0, 60, 2)


@pytest.fixture(params=["matrix", "tree"])
def engine(request, monkeypatch):
    """Both engines: small problems go to the matrix, unless they are sent through the tree."""
    if request.param == "tree":
        monkeypatch.setattr(engines, "MOST_PAIRS", 0)
    return request.param


@pytest.mark.parametrize("first", range(0, 160, 40))
def test_random_problems_over_all_options_follow_the_definition(engine, first):
    for number in range(first, first + 40):
        assert check_problem(draw_problem(number)) is None, number


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clients", [None, "others"])
@pytest.mark.parametrize("candidates", [None, CANDIDATES])
@pytest.mark.parametrize("initial", [None, INITIAL])
def test_every_combination_selects_what_naive_greedy_selects(engine, metric, weighted, clients, candidates, initial):
    rng = np.random.default_rng(1)
    served = X if clients is None else rng.normal(size=(45, 3))
    weights = rng.random(len(served)) if weighted else None
    options = {
        "metric": metric,
        "weights": weights,
        "candidates": candidates,
        "clients": None if clients is None else served,
    }
    picks, gains, objective, loads, left = naive_greedy(X, 9, initial=() if initial is None else initial, **options)
    coreset = facility_location(X, budget=9, initial=initial, **options)
    before = 0 if initial is None else len(initial)
    assert coreset.indices.tolist() == picks.tolist()
    np.testing.assert_allclose(coreset.gains, gains, rtol=1e-9)
    assert coreset.objective == pytest.approx(objective, rel=1e-12)
    np.testing.assert_allclose(coreset.weights, loads[before:], rtol=1e-12)
    if before:
        np.testing.assert_allclose(coreset.initial_weights, loads[:before], rtol=1e-12)
    bound = objective - left[:9].sum()
    assert 0.999 * bound <= coreset.lower_bound <= max(0, bound) * (1 + 1e-12)


@pytest.mark.parametrize(
    "options", [{"initial": [2]}, {"candidates": [0, 1, 4, 6, 7]}, {"initial": [5, 0], "candidates": [1, 2, 3]}]
)
def test_no_subset_of_the_candidates_is_better_than_the_lower_bound(engine, options):
    x = np.random.default_rng(2).normal(size=(9, 2))
    initial = options.get("initial", [])
    able = [row for row in options.get("candidates", range(9)) if row not in initial]
    distances = distances_between(x, x)
    for k in range(1, len(able) + 1):
        coreset = facility_location(x, budget=k, **options)
        best = min(distances[:, [*initial, *subset]].min(axis=1).sum() for subset in combinations(able, len(coreset)))
        assert coreset.lower_bound <= best * (1 + 1e-12) + 1e-15


def test_masks_and_positions_say_the_same():
    masks = {"initial": np.isin(np.arange(60), INITIAL), "candidates": np.isin(np.arange(60), CANDIDATES)}
    by_mask = facility_location(X, budget=7, **masks)
    by_position = facility_location(X, budget=7, initial=np.sort(INITIAL), candidates=CANDIDATES[::-1].copy())
    assert by_mask.indices.tolist() == by_position.indices.tolist()
    assert by_mask.initial_weights.tolist() == by_position.initial_weights.tolist()


def test_going_on_from_a_selection_gives_what_selecting_at_once_gives(engine):
    once = facility_location(X, budget=20)
    first = facility_location(X, budget=8)
    more = facility_location(X, budget=12, initial=first.indices)
    assert [*first.indices, *more.indices] == once.indices.tolist()
    np.testing.assert_allclose(more.gains, once.gains[8:], rtol=1e-10)
    np.testing.assert_allclose([*more.initial_weights, *more.weights], once.weights)


def test_initial_weights_come_in_the_order_of_initial_across_strata():
    labels = np.arange(60) % 3
    coreset = facility_location(X, budget=6, labels=labels, initial=INITIAL)
    for stratum in range(3):
        mine = labels[INITIAL] == stratum
        total = coreset.weights[labels[coreset.indices] == stratum].sum() + coreset.initial_weights[mine].sum()
        assert total == 20
    saved = Coreset.from_state_dict(coreset.state_dict())
    assert saved.initial_weights.tolist() == coreset.initial_weights.tolist()


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [("proportional", [5, 3, 1]), ("equal", [4, 4, 1]), ({"a": 1, "b": 6, "c": 1}, [1, 6, 1])],
)
def test_quotas_share_the_budget(quotas, expected):
    labels = np.repeat(["a", "b", "c"], [39, 20, 1])
    coreset = facility_location(X, budget=None if isinstance(quotas, dict) else 9, labels=labels, quotas=quotas)
    assert [int((labels[coreset.indices] == name).sum()) for name in "abc"] == expected


def test_a_tolerance_is_reached_with_the_fewest_picks_after_the_initial_ones(engine):
    start = naive_greedy(X, 0, initial=INITIAL)[2]
    coreset = facility_location(X, tolerance=0.5 * start, initial=INITIAL, candidates=CANDIDATES)
    picks, _, objective, _, _ = naive_greedy(X, 60, initial=INITIAL, candidates=CANDIDATES, tolerance=0.5 * start)
    assert coreset.indices.tolist() == picks.tolist()
    assert coreset.objective == pytest.approx(objective)


def test_a_tolerance_that_holds_already_selects_nothing_more(engine):
    coreset = facility_location(X, tolerance=1e9, initial=INITIAL)
    assert len(coreset) == 0
    assert coreset.initial_weights.sum() == 60


def test_a_tolerance_out_of_reach_is_said():
    with pytest.warns(UserWarning, match=r"tolerance=0\.0 can't be reached"):
        coreset = facility_location(X, tolerance=0.0, candidates=CANDIDATES)
    assert sorted(coreset.indices) == CANDIDATES.tolist()


@pytest.mark.parametrize(
    "options", [{"initial": INITIAL}, {"candidates": CANDIDATES}, {"clients": X[:25] + 0.3}, {"metric": "cosine"}]
)
def test_refinement_keeps_to_the_options_and_ends_where_no_swap_helps(options):
    greedy = facility_location(X, budget=6, **options)
    refined = facility_location(X, budget=6, refine=True, **options)
    served = options.get("clients", X)
    distances = distances_between(served, X, options.get("metric", "euclidean"))
    initial, able = list(options.get("initial", [])), set(options.get("candidates", range(60)))

    def loss(picks):
        return distances[:, [*initial, *picks]].min(axis=1).sum()

    assert refined.objective <= greedy.objective
    assert refined.objective == pytest.approx(loss(refined.indices), rel=1e-12)
    assert set(refined.indices) <= able - set(initial)
    assert refined.weights.sum() + (0 if not initial else refined.initial_weights.sum()) == pytest.approx(len(served))
    for out in range(6):
        for candidate in able - set(refined.indices) - set(initial):
            swapped = refined.indices.copy()
            swapped[out] = candidate
            assert loss(swapped) >= refined.objective * (1 - 1e-8)


@pytest.mark.parametrize("method", ["stochastic", "sampled"])
@pytest.mark.parametrize(
    "options", [{"initial": INITIAL, "candidates": CANDIDATES}, {"clients": X[:20]}, {"weights": np.arange(60) % 2}]
)
def test_the_other_methods_keep_to_the_options(method, options, monkeypatch):
    monkeypatch.setattr("adacore.facility.greedy_variants.LEAST_SAMPLE", 15)
    monkeypatch.setattr("adacore.facility.greedy_variants.SAMPLE_PER_PICK", 3)
    coreset = facility_location(X, budget=5, method=method, seed=0, **options)
    assert len(coreset) == 5
    assert set(coreset.indices) <= set(options.get("candidates", range(60))) - set(options.get("initial", []))
    distances = distances_between(options.get("clients", X), X)
    weights = options.get("weights", np.ones(len(distances)))
    chosen = [*options.get("initial", []), *coreset.indices]
    assert coreset.objective == pytest.approx(weights @ distances[:, chosen].min(axis=1), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"initial": [60]}, ValueError, r"initial holds 60: expected positions in \[0, 60\)"),
        ({"initial": [-1]}, ValueError, "initial holds -1"),
        ({"initial": [1, 1]}, ValueError, "initial holds 1 twice"),
        ({"initial": [0.5]}, TypeError, "positions"),
        ({"initial": np.zeros(59, bool)}, ValueError, "mask of shape"),
        ({"candidates": []}, ValueError, "names no row"),
        ({"candidates": [3], "initial": [3]}, ValueError, "nothing is left"),
        ({"candidates": [1, 2]}, ValueError, r"budget=4 exceeds the 2 candidates"),
        ({"clients": np.ones((4, 2))}, ValueError, "as many columns as x"),
        ({"clients": X, "labels": np.zeros(60)}, ValueError, "once for each stratum"),
        ({"clients": X[:5], "weights": np.ones(60)}, ValueError, r"expected \(5,\), one for each row of clients"),
        ({"metric": "cosin"}, ValueError, "did you mean 'cosine'"),
        ({"quotas": "eqal"}, ValueError, "did you mean 'equal'"),
        ({"quotas": 3}, TypeError, "quotas=3"),
        ({"labels": np.arange(60) % 2, "quotas": {0: 2}, "budget": None}, ValueError, "label 1 has none"),
        ({"labels": np.arange(60) % 2, "quotas": {0: 2, 1: 2, 7: 1}, "budget": None}, ValueError, "no label is 7"),
        ({"labels": np.arange(60) % 2, "quotas": {0: 2, 1: 31}, "budget": None}, ValueError, r"quotas\[1\]=31"),
        ({"labels": np.arange(60) % 2, "quotas": {0: 4, 1: 0}, "budget": None}, ValueError, "gets none"),
        ({"labels": np.arange(60) % 2, "quotas": {0: 2, 1: 1}}, ValueError, "quotas sum to 3"),
        ({"labels": np.arange(60) % 2, "candidates": np.arange(0, 60, 2)}, ValueError, "has no candidate"),
        ({"budget": None, "tolerance": 1.0, "quotas": "equal"}, ValueError, "quotas"),
        ({"threads": 0}, ValueError, "threads=0"),
        ({"threads": 1.5}, TypeError, "threads=1.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        facility_location(X, **{"budget": 4, **options})


def test_a_row_without_a_direction_is_refused_by_the_cosine_metric():
    x = X.copy()
    x[7] = 0
    with pytest.raises(ValueError, match=r"x\[7\] has length 0"):
        facility_location(x, budget=2, metric="cosine")


@pytest.mark.parametrize("candidates", [[0, 6], [2, 3, 4, 8]])
def test_a_tolerance_that_few_candidates_cannot_reach_ends_with_all_of_them(candidates):
    rows, labels = np.arange(12.0)[:, None], np.repeat([0, 1], 6)
    with pytest.warns(UserWarning, match="can't be reached"):
        coreset = facility_location(rows, labels=labels, candidates=candidates, tolerance=0.0)
    assert sorted(coreset.indices) == candidates
