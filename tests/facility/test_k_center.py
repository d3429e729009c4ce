"""k_center is farthest first in float64; assign finds the first of the nearest picks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import adacore
from adacore.facility.products import farthest

TIE = 1e-12


def distances_of(x, metric="euclidean"):
    x = np.asarray(x, np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1)), np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1))


def naive(x, k, initial=(), metric="euclidean"):
    distances, from_mean = distances_of(x, metric)
    picks = []
    if not len(initial):
        picks.append(int(np.flatnonzero(from_mean <= from_mean.min() * (1 + TIE))[0]))
    minima = distances[:, [*initial, *picks]].min(axis=1)
    while len(picks) < k and minima.max() > 0:
        picks.append(int(np.flatnonzero(minima >= minima.max() * (1 - TIE))[0]))
        minima = np.minimum(minima, distances[:, picks[-1]])
    return picks, float(minima.max())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["gaussian", "whole numbers", "clusters", "far away", "tiny"]),
    st.integers(2, 150),
    st.integers(1, 30),
    st.sampled_from([2, 64]),
    st.integers(0, 2**32 - 1),
)
def test_farthest_first(kind, n, d, batch, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if kind == "whole numbers":
        x = rng.integers(0, 3, (n, d)).astype(float)
    elif kind == "clusters":
        x = rng.normal(size=(4, d))[rng.integers(0, 4, n)] + 1e-6 * x
    elif kind == "far away":
        x += 1e4
    elif kind == "tiny":
        x *= 1e-120
    options = {"metric": "cosine"} if kind in {"gaussian", "clusters"} and rng.random() < 0.5 else {}
    if rng.random() < 0.5:
        options["initial"] = rng.choice(n, int(rng.integers(1, n)), replace=False)
    k = int(rng.integers(1, n - len(options.get("initial", [])) + 1))
    least, farthest.LEAST_BATCH = farthest.LEAST_BATCH, batch
    try:
        coreset = adacore.k_center(x, budget=k, **options)
    finally:
        farthest.LEAST_BATCH = least
    scale = 2.0**400 if kind == "tiny" else 1.0
    picks, radius = naive(x * scale, k, **options)
    if kind in {"gaussian", "whole numbers", "tiny"} and "metric" not in options:
        assert coreset.indices.tolist() == picks
    # A radius that is nothing but rounding may be covered by one more pick, or not.
    noise = 1e-15 * np.abs(x * scale).max() * d
    assert coreset.radius * scale == pytest.approx(radius, rel=1e-9, abs=noise)
    covered = 0 if coreset.initial_weights is None else coreset.initial_weights.sum()
    assert coreset.weights.sum() + covered == n


def test_numbers_of_every_kind_and_threads():
    x = np.random.default_rng(0).normal(size=(5000, 40)).astype(np.float16)
    expected = adacore.k_center(x.astype(np.float64), budget=150, threads=1).indices.tolist()
    for same in (x, x.astype(np.float32), torch.from_numpy(x), torch.from_numpy(x).double()):
        assert adacore.k_center(same, budget=150, threads=2).indices.tolist() == expected


def test_what_cannot_be_selected_is_refused():
    x = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(ValueError, match="exceeds the 8 rows"):
        adacore.k_center(x, budget=9, initial=[0, 1])
    with pytest.raises(ValueError, match="no size given"):
        adacore.k_center(x)
    with pytest.raises(ValueError, match="metric"):
        adacore.k_center(x, budget=2, metric="manhattan")


def test_equal_rows_are_covered_by_one():
    coreset = adacore.k_center(np.ones((3000, 20)), budget=5)
    assert coreset.indices.tolist() == [0]
    assert coreset.radius == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_assign_finds_the_first_of_the_nearest(n, d, whole, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (n, d)).astype(np.float32) if whole else rng.normal(size=(n, d))
    picks, weights = rng.choice(n, int(rng.integers(1, n + 1)), replace=False), 0.1 + rng.random(n)
    found = adacore.assign(x, picks, weights=weights)
    distances = distances_of(x)[0][:, picks]
    assert found.owner.tolist() == distances.argmin(axis=1).tolist()
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.weights, np.bincount(found.owner, weights, len(picks)), rtol=1e-12)


def test_assign_agrees_with_a_selection():
    x = np.random.default_rng(1).normal(size=(2000, 30)).astype(np.float32)
    coreset = adacore.facility_location(x, budget=40, metric="cosine")
    found = adacore.assign(x, coreset.indices, metric="cosine")
    assert found.weights.tolist() == coreset.weights.tolist()
    assert found.distances.sum() == pytest.approx(coreset.objective, rel=1e-12)


def test_more_picks_than_one_product_takes(monkeypatch):
    monkeypatch.setattr("adacore.facility.products.nearest.OTHERS_AT_A_TIME", 7)
    monkeypatch.setattr("adacore.facility.assignment.ROWS_AT_A_TIME", 30)
    x = np.random.default_rng(2).integers(0, 4, (100, 5)).astype(float)
    picks = np.arange(0, 100, 3)
    assert adacore.assign(x, picks).owner.tolist() == distances_of(x)[0][:, picks].argmin(axis=1).tolist()


def test_assign_needs_a_pick():
    with pytest.raises(ValueError, match="picks= names no row"):
        adacore.assign(np.ones((3, 2)), [])


@pytest.mark.parametrize("d", [3, 16, 64, 4096])
@pytest.mark.parametrize("initial", [None, [45, 3]])
def test_rows_of_one_direction_are_covered_by_one_of_them(d, initial):
    x = np.random.default_rng(3).normal(size=(40, d))
    x = np.concatenate([x, 3 * x, x / 7])
    coreset = adacore.k_center(x, budget=60, metric="cosine", initial=initial)
    assert len(coreset.indices) == (40 if initial is None else 38)
    assert len(np.unique(np.append(coreset.indices, initial or []) % 40)) == 40
    assert coreset.radius == 0


def test_rows_of_one_direction_alone_are_covered_by_the_first():
    x = np.outer(np.arange(1.0, 400.0), np.random.default_rng(4).normal(size=24))
    coreset = adacore.k_center(x, budget=5, metric="cosine")
    assert (coreset.indices.tolist(), coreset.radius) == ([0], 0)


@pytest.mark.parametrize("d", [3, 16, 64, 4096])
def test_a_row_belongs_to_the_first_pick_of_its_direction(d):
    x = np.random.default_rng(5).normal(size=(40, d))
    x = np.concatenate([x, 3 * x, x / 7])
    found = adacore.assign(x, np.arange(119, -1, -1), metric="cosine")
    assert (119 - found.owner).tolist() == (80 + np.arange(120) % 40).tolist()
    assert not found.distances.any()
