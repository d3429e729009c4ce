"""Selection in parts: what a part chooses, what a merge makes of it, and what is proven of both."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import distances_between, naive_greedy

import adacore
from adacore.facility import part_planning
from adacore.facility.part_planning import merge_groups
from adacore.facility.selection_in_parts import Task, choose_in_part, half_of_bounds, merge, serve_part


def in_parts(x, task, count, labels=None):
    edges = [len(x) * i // count for i in range(count + 1)]
    picks = []
    for a, b in pairwise(edges):
        part = choose_in_part(x[a:b], task, labels=None if labels is None else labels[a:b])
        object.__setattr__(part, "positions", part.positions + a)
        picks.append(part)
    return picks


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_single_part_chooses_what_greedy_chooses(metric):
    x = np.random.default_rng(0).normal(size=(60, 3))
    picks = merge([choose_in_part(x, Task(7, metric))], Task(7, metric))
    np.testing.assert_array_equal(picks.positions, naive_greedy(x, 7, metric=metric)[0])


def test_rows_selected_before_serve_a_part_and_are_not_chosen_again():
    x = np.random.default_rng(1).normal(size=(50, 2))
    before, part = x[40:], x[:40]
    picks = choose_in_part(part, Task(6, initial=before))
    expected = naive_greedy(x, 6, weights=[1.0] * 40 + [0.0] * 10, initial=range(40, 50), candidates=range(40))
    np.testing.assert_array_equal(picks.positions, expected[0])
    np.testing.assert_allclose(picks.weights, expected[3][10:])
    inside = choose_in_part(x, Task(6, initial=before), excluded=np.arange(40, 50))
    assert inside.positions.max() < 40
    assert not len(choose_in_part(before, Task(6, initial=before), excluded=np.arange(10)).positions)


def test_the_picks_of_strata_are_those_of_selection_within_them():
    generator = np.random.default_rng(2)
    x, labels = generator.normal(size=(60, 3)), np.repeat(["a", "b", "c"], [30, 20, 10])
    quotas = {"a": 5, "b": 3, "c": 2}
    picks = choose_in_part(x, Task(10, quotas=quotas), labels=labels)
    expected = adacore.facility_location(x, labels=labels, quotas=quotas)
    np.testing.assert_array_equal(picks.positions, expected.indices)
    merged = merge(in_parts(x, Task(10, quotas=quotas), 4, labels), Task(10, quotas=quotas))
    assert dict(zip(*np.unique(merged.labels, return_counts=True), strict=True)) == quotas
    initial = Task(10, quotas=quotas, initial=x[:2] + 9, initial_labels=np.array(["a", "z"]))
    assert len(choose_in_part(x, initial, labels=labels).positions) == 10
    with pytest.raises(ValueError, match="without labels"):
        choose_in_part(x, Task(10, quotas=quotas))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_serving_parts_sums_to_serving_all_rows(metric):
    generator = np.random.default_rng(3)
    x, weights = generator.normal(size=(70, 3)), generator.random(70)
    picks = x[[3, 50, 9]]
    distances = distances_between(x, picks, metric)
    total = serve_part(x[:30], picks, metric=metric, weights=weights[:30])
    total = total + serve_part(x[30:], picks, metric=metric, weights=weights[30:])
    np.testing.assert_allclose(total.weights, np.bincount(distances.argmin(axis=1), weights))
    np.testing.assert_allclose(total.objective, weights @ distances.min(axis=1))
    np.testing.assert_allclose(total.farthest, distances.min(axis=1).max())


def test_rows_are_served_by_picks_of_their_own_stratum():
    x, labels = np.array([[0.0], [1.0], [1.1]]), np.array(["a", "a", "b"])
    served = serve_part(x, np.array([[1.0], [3.1]]), labels=labels, pick_labels=np.array(["a", "b"]))
    np.testing.assert_allclose([*served.weights, served.objective, served.farthest], [2, 1, 3, 2])
    with pytest.raises(ValueError, match="'b' has rows and no pick"):
        serve_part(x, x[:1], labels=labels, pick_labels=labels[:1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4))
def test_no_rows_beat_the_bound_and_the_merge_errs_by_no_more_than_the_parts_lost(seed, k, count):
    x = np.random.default_rng(seed).integers(0, 6, size=(10, 2)).astype(float)
    picks = in_parts(x, Task(k), count)
    distances = distances_between(x, x)
    best = min(distances[:, some].min(axis=1).sum() for some in combinations(range(10), k))
    assert half_of_bounds([part.lower_bound for part in picks]) <= best * (1 + 1e-9)
    merged = merge(picks, Task(k))
    if count > 1:
        weighed = np.concatenate([part.weights for part in picks]) @ distances_between(
            np.concatenate([part.rows for part in picks]), merged.rows
        ).min(axis=1)
        lost = sum(part.objective for part in picks)
        assert abs(serve_part(x, merged.rows).objective - weighed) <= lost + 1e-9


def test_too_many_picks_are_merged_as_a_tree(monkeypatch):
    monkeypatch.setattr(part_planning, "MERGED_ROWS", 40)
    monkeypatch.setattr(part_planning, "LEAST_MERGED", 2)
    assert merge_groups(9, 2, 10) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert merge_groups(3, 2, 10**6) == [[0, 1], [2]]
