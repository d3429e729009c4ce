"""The cover problem, stochastic and sampled greedy, bounds, refinement, and what a selection will cost."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import naive_greedy

from adacore.facility import facility_location, plan
from adacore.facility import greedy_variants as engine_methods

seeds = st.integers(0, 2**32 - 1)


def stochastic_by_definition(x, k, weights, size, generator):
    """Stochastic greedy on all distances: for each pick the best of a sample, the first time by least sum."""
    distances, picks, left = all_distances(x), [], np.arange(len(x))
    while len(picks) < k:
        sample = np.sort(generator.choice(left, size, replace=False))
        minima = distances[:, picks].min(axis=1, keepdims=True) if picks else distances.max()
        gains = weights @ np.maximum(0, minima - distances[:, sample])
        picks.append(int(sample[gains >= gains.max() * (1 - 1e-12)][0]))
        left = left[left != picks[-1]]
    return picks


def test_every_engine_takes_the_best_of_the_same_samples(every_engine):
    x, weights = np.random.default_rng(0).normal(size=(300, 14)), np.random.default_rng(1).random(300)
    coreset = facility_location(x, budget=12, weights=weights, method="stochastic", epsilon=0.2, seed=5)
    size = int(np.ceil(300 / 12 * np.log(5)))
    expected = stochastic_by_definition(x, 12, weights, size, np.random.default_rng(5).spawn(1)[0])
    assert coreset.indices.tolist() == expected


def test_every_engine_selects_from_the_same_rows_when_sampled(every_engine, monkeypatch):
    monkeypatch.setattr(engine_methods, "LEAST_SAMPLE", 100)
    x = np.random.default_rng(0).normal(size=(300, 14))
    coreset = facility_location(x, budget=5, method="sampled", seed=5)
    sample = np.sort(np.random.default_rng(5).spawn(1)[0].choice(300, 100, replace=False))
    assert coreset.indices.tolist() == sample[naive_greedy(x[sample], 5)[0]].tolist()
    assert coreset.objective == pytest.approx(loss(all_distances(x), coreset.indices))


def all_distances(x):
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))


def loss(distances, picks):
    return distances[:, picks].min(axis=1).sum()


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 9), st.integers(1, 4))
def test_the_lower_bound_holds_for_every_subset(seed, n, k):
    x = np.random.default_rng(seed).normal(size=(n, 2))
    k = min(k, n)
    coreset = facility_location(x, budget=k)
    distances = all_distances(x)
    best = min(loss(distances, list(subset)) for subset in combinations(range(n), len(coreset)))
    assert 0 <= coreset.lower_bound <= best * (1 + 1e-12) + 1e-15
    assert 0 <= coreset.certificate <= 1


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_lower_bound_is_the_one_of_submodularity(seed):
    x = np.random.default_rng(seed).normal(size=(200, 3))
    coreset = facility_location(x, budget=20)
    distances = all_distances(x)
    minima = distances[:, coreset.indices].min(axis=1)
    gains = np.maximum(0, minima[:, None] - distances).sum(axis=0)
    gains[coreset.indices] = 0
    bound = max(0, minima.sum() - np.sort(gains)[-20:].sum())
    # Gains are bounded in single precision where no lists were written: the bound may be a little lower, never higher.
    assert 0.999 * bound <= coreset.lower_bound <= bound * (1 + 1e-12)


def test_the_bound_costs_less_than_a_tenth_of_the_selection():
    x = np.random.default_rng(0).normal(size=(6000, 30))
    few, more = facility_location(x, budget=3), facility_location(x, budget=1)
    assert 0 < few.lower_bound < few.objective
    assert 0 < more.certificate <= 1


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.0])
def test_a_tolerance_is_met_by_the_fewest_greedy_picks(share):
    x = np.random.default_rng(1).normal(size=(400, 3))
    start = facility_location(x, budget=1).objective
    coreset = facility_location(x, tolerance=share * start)
    assert coreset.objective <= share * start
    if len(coreset) > 1:
        assert facility_location(x, budget=len(coreset) - 1).objective > share * start
    assert coreset.indices.tolist() == facility_location(x, budget=len(coreset)).indices.tolist()


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.0])
def test_with_labels_one_tolerance_holds_for_all_classes_together(share):
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(400, 3)), rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    x[labels == 2] *= 5
    start = facility_location(x, budget=3, labels=labels).objective
    coreset = facility_location(x, tolerance=share * start, labels=labels)
    assert coreset.objective <= share * start
    # Greedy over the union: no class gained more by its next pick than another did by its last.
    last, following = [], []
    for c in range(3):
        k = int((labels[coreset.indices] == c).sum())
        rows = np.flatnonzero(labels == c)
        alone = facility_location(x[rows], budget=min(k + 1, rows.size))
        assert rows[alone.indices[:k]].tolist() == coreset.indices[labels[coreset.indices] == c].tolist()
        last += alone.gains[1:k].tolist()[-1:]
        following += alone.gains[k:].tolist()
    if last and following:
        assert min(last) >= max(following) * (1 - 1e-9)
        smallest = min(last)
        assert coreset.objective + smallest > share * start


def test_wolseys_bound_holds_where_the_smallest_cover_is_known():
    rng = np.random.default_rng(3)
    for _ in range(20):
        x = rng.normal(size=(9, 2))
        distances = all_distances(x)
        tolerance = 0.4 * distances.sum(axis=0).min()
        coreset = facility_location(x, tolerance=tolerance)
        smallest = next(
            k for k in range(1, 10) if any(loss(distances, list(s)) <= tolerance for s in combinations(range(9), k))
        )
        ratio = distances.max() * 9 / min(coreset.gains[1:], default=np.inf)
        assert len(coreset) <= 1 + smallest * (1 + np.log(max(1.0, ratio)))


def test_stochastic_greedy_is_seeded_and_keeps_its_guarantee_on_average():
    x = np.random.default_rng(4).normal(size=(800, 4))
    exact = facility_location(x, budget=60)
    phantom = all_distances(x).max() * 800
    runs = [facility_location(x, budget=60, method="stochastic", seed=s, epsilon=0.1) for s in range(5)]
    again = facility_location(x, budget=60, method="stochastic", seed=3, epsilon=0.1)
    assert again.indices.tolist() == runs[3].indices.tolist()
    assert len({tuple(run.indices.tolist()) for run in runs}) == 5
    for run in runs:
        assert len(set(run.indices.tolist())) == 60
        assert run.weights.sum() == 800
        assert run.objective == pytest.approx(loss(all_distances(x), run.indices), rel=1e-12)
        assert run.lower_bound <= exact.objective
    assert np.mean([phantom - run.objective for run in runs]) >= (1 - 1 / np.e - 0.1) * (phantom - exact.objective)
    assert np.mean([run.objective for run in runs]) <= 1.1 * exact.objective


def test_stochastic_greedy_finds_what_little_there_is_among_duplicates():
    x = np.repeat([[0.0], [1.0]], [500, 1], axis=0)
    coreset = facility_location(x, budget=5, method="stochastic", seed=0)
    assert sorted(coreset.indices.tolist())[-1] == 500
    assert coreset.objective == 0


def test_sampled_greedy_evaluates_on_all_points(monkeypatch):
    monkeypatch.setattr(engine_methods, "LEAST_SAMPLE", 500)
    x = np.random.default_rng(5).normal(size=(1500, 4))
    coreset = facility_location(x, budget=20, method="sampled", seed=0)
    exact = facility_location(x, budget=20)
    assert coreset.statistics["method"] == "sampled"
    assert coreset.objective == pytest.approx(loss(all_distances(x), coreset.indices), rel=1e-12)
    assert coreset.objective <= 1.05 * exact.objective
    assert coreset.weights.sum() == 1500
    np.testing.assert_allclose(coreset.gains[1:].sum(), all_distances(x)[coreset.indices[0]].sum() - coreset.objective)


def test_sampled_greedy_on_few_points_is_exact_and_says_so():
    x = np.random.default_rng(6).normal(size=(300, 4))
    coreset = facility_location(x, budget=20, method="sampled", seed=0)
    assert coreset.statistics["method"] == "exact"
    assert coreset.indices.tolist() == facility_location(x, budget=20).indices.tolist()


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 40), st.integers(1, 8), st.booleans())
def test_refinement_never_raises_the_objective_and_ends_where_no_swap_helps(seed, n, k, weighted):
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(n, 2)), min(k, n)
    masses = rng.integers(1, 4, n).astype(float) if weighted else np.ones(n)
    greedy = facility_location(x, budget=k, weights=masses)
    refined = facility_location(x, budget=k, weights=masses, refine=True)
    distances = all_distances(x)

    def weighted_loss(picks):
        return float(masses @ distances[:, picks].min(axis=1))

    assert len(refined) == len(greedy)
    assert refined.objective <= greedy.objective
    assert refined.objective == pytest.approx(weighted_loss(refined.indices), rel=1e-12, abs=1e-15)
    assert refined.weights.sum() == pytest.approx(masses.sum())
    assert refined.lower_bound <= refined.objective
    for out in range(len(refined)):
        for candidate in set(range(n)) - set(refined.indices.tolist()):
            swapped = refined.indices.copy()
            swapped[out] = candidate
            assert weighted_loss(swapped) >= refined.objective - 1e-8 * greedy.objective


def test_refinement_reaches_what_a_reference_implementation_reaches():
    kmedoids = pytest.importorskip("kmedoids")
    x = np.random.default_rng(7).normal(size=(300, 3))
    distances = all_distances(x)
    greedy = facility_location(x, budget=25)
    refined = facility_location(x, budget=25, refine=True)
    reference = kmedoids.fasterpam(distances, np.asarray(greedy.indices))
    assert refined.objective < greedy.objective
    assert refined.objective <= 1.01 * reference.loss


def test_the_plan_bounds_memory_and_grows_with_the_problem():
    small, large = plan(5_000, 10, 500), plan(50_000, 10, 5_000)
    assert 0 < small.seconds < 5
    assert small.seconds < large.seconds < 60
    assert large.bytes < 200e6
    assert plan(1_000_000, 10, 1_000).bytes < 2e9
    with pytest.raises(ValueError, match="k=11 exceeds n=10"):
        plan(10, 2, 11)
