"""k-center, k-medoids and redundancy against brute force and against public implementations."""

from itertools import combinations

import kmedoids
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from adacore.probing.snapshot import Snapshot
from adacore.selectors import Badge, KCenter, KMeans, KMedoids, Redundancy, TypiClust
from adacore.selectors.clustering import k_means
from adacore.selectors.distances import squared_distances


def rng(seed=0):
    return np.random.default_rng(seed)


points = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 10**6), st.booleans())


def cloud(problem):
    n, d, seed, integers = problem
    generator = rng(seed)
    return generator.integers(0, 3, size=(n, d)).astype(float) if integers else generator.normal(size=(n, d))


@given(points, st.integers(1, 9))
@settings(deadline=None)
def test_k_center_is_within_twice_the_best_radius(problem, k):
    x = cloud(problem).astype(np.float32)
    k, snapshot = min(k, len(x)), Snapshot(len(x), proxies=x)
    coreset = KCenter().select(snapshot, k, generator=rng())
    picks, radius = coreset.indices, coreset.statistics["radius"]
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    best = min(distances[:, list(subset)].min(1).max() for subset in combinations(range(len(x)), k))
    assert radius <= 2 * best + 1e-12
    assert radius == pytest.approx(distances[:, picks].min(1).max())
    assert radius == pytest.approx(KCenter().objective(snapshot, coreset))
    assert coreset.weights.tolist() == np.bincount(distances[:, picks].argmin(1), minlength=len(picks)).tolist()
    assert len(picks) == min(k, len(np.unique(x, axis=0)))


def test_distances_in_chunks_are_distances():
    x = rng().normal(size=(9000, 2))
    np.testing.assert_allclose(squared_distances(x, x[5]), np.square(cdist(x, x[5:6])[:, 0]), atol=1e-12)


def test_k_center_reports_its_radius():
    snapshot = Snapshot(60, proxies=rng().normal(size=(60, 3)).astype(np.float32))
    coreset = KCenter().select(snapshot, 10, generator=rng())
    assert coreset.statistics["radius"] == pytest.approx(KCenter().objective(snapshot, coreset))


@pytest.mark.parametrize("seed", range(5))
def test_k_medoids_is_as_good_as_the_kmedoids_package(seed):
    x = (rng(seed).normal(size=(300, 4)) + 4 * rng(seed + 1).integers(0, 3, size=(300, 1))).astype(np.float32)
    snapshot = Snapshot(300, proxies=x)
    coreset = KMedoids().select(snapshot, 12, generator=rng())
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    theirs = np.mean([kmedoids.fasterpam(distances, 12, random_state=s).loss for s in range(10)])
    ours = distances[:, coreset.indices].min(1).sum()
    assert ours <= 1.01 * theirs
    assert coreset.objective == pytest.approx(ours)


@pytest.mark.parametrize("seed", range(3))
def test_no_swap_improves_k_medoids(seed):
    x = rng(seed).normal(size=(60, 2)).astype(np.float32)
    coreset = KMedoids().select(Snapshot(60, proxies=x), 6, generator=rng())
    distances = cdist(x.astype(np.float64), x.astype(np.float64))
    own = distances[:, coreset.indices].min(1).sum()
    for position in range(6):
        for other in range(60):
            swapped = coreset.indices.copy()
            swapped[position] = other
            assert distances[:, swapped].min(1).sum() >= own * (1 - 1e-9)


def test_redundancy_keeps_one_of_each_direction():
    directions = np.eye(5)[rng().permutation(np.repeat(np.arange(5), 20))]
    features = directions * rng(1).uniform(1, 3, size=(100, 1)) + 0.01 * rng(2).normal(size=(100, 5))
    coreset = Redundancy().select(Snapshot(100, features=features.astype(np.float32)), 5, generator=rng())
    assert sorted(directions[coreset.indices].argmax(1)) == list(range(5))
    np.testing.assert_array_equal(coreset.weights, 20.0)


def test_redundancy_of_fewer_distinct_examples_than_asked_for(recwarn):
    features = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    coreset = Redundancy().select(Snapshot(12, features=features), 6, generator=rng())
    assert len(coreset) == 3
    assert coreset.statistics["short"] == 3
    assert not recwarn.list


def test_features_of_length_zero_are_copied_with():
    features = np.zeros((4, 2), np.float32)
    assert Redundancy().select(Snapshot(4, features=features), 2, generator=rng()).weights.sum() == 4


@pytest.mark.parametrize(("selector", "name"), [(KCenter(), "proxies"), (Redundancy(), "features")])
def test_what_is_not_finite_is_refused(selector, name):
    snapshot = Snapshot(3, **{name: np.array([[0.0], [np.inf], [1.0]], np.float32)})
    with pytest.raises(ValueError, match="nan or infinite"):
        selector.select(snapshot, 2, generator=rng())


@pytest.mark.parametrize("make", [KCenter, KMedoids])
def test_bad_settings_are_refused(make):
    with pytest.raises(ValueError, match="did you mean 'penultimate'"):
        make(proxy="penultimat")
    with pytest.raises(ValueError, match="iterations=0"):
        Redundancy(iterations=0)


def test_badge_draws_by_squared_distance_between_last_layer_gradients():
    errors, features = (rng(s).normal(size=(30, d)).astype(np.float32) for s, d in ((1, 3), (2, 4)))
    snapshot = Snapshot(30, proxies=errors, features=features)
    matrices = (errors[:, :, None] * features[:, None]).reshape(30, -1).astype(np.float64)
    firsts = []
    for seed in range(400):
        picks = Badge().select(snapshot, 2, generator=rng(seed)).indices
        assert picks[0] == np.linalg.norm(matrices, axis=1).argmax()  # the longest first
        firsts.append(picks[1])
    q = np.square(matrices - matrices[picks[0]]).sum(1)
    q /= q.sum()
    counts = np.bincount(firsts, minlength=30)
    assert (np.abs(counts / 400 - q) <= 4.5 * np.sqrt(q * (1 - q) / 400) + 1e-9).all()


def test_badge_leaves_out_duplicates():
    snapshot = Snapshot(9, proxies=np.tile(np.eye(3, dtype=np.float32), (3, 1)), features=np.ones((9, 2), np.float32))
    coreset = Badge().select(snapshot, 6, generator=rng())
    assert (len(coreset), coreset.statistics["short"]) == (3, 3)


def test_typiclust_takes_the_densest_example_of_each_cluster():
    centres = np.eye(4)[rng().permutation(np.repeat(np.arange(4), 30))]
    features = centres + 0.05 * rng(1).normal(size=(120, 4))
    coreset = TypiClust(neighbours=5).select(Snapshot(120, features=features.astype(np.float32)), 4, generator=rng())
    x = features.astype(np.float32).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for cluster in range(4):
        members = np.flatnonzero(centres.argmax(1) == cluster)
        distances = np.sort(cdist(x[members], x[members]), axis=1)[:, 1:6].mean(1)
        assert members[distances.argmin()] in coreset.indices
    assert coreset.weights.tolist() == [30.0] * 4


@pytest.mark.parametrize("seed", range(3))
def test_k_means_is_about_as_good_as_that_of_scikit_learn(seed):
    from sklearn.cluster import KMeans as Theirs

    x = rng(seed).normal(size=(300, 3)) + 3 * rng(seed + 9).integers(0, 3, size=(300, 1))
    clusters, centers = k_means(x, 12, 50, rng(seed))
    ours = np.square(x - centers[clusters]).sum()
    theirs = np.median([Theirs(12, n_init=1, random_state=s).fit(x).inertia_ for s in range(5)])
    assert ours < 1.15 * theirs
    assert np.allclose(centers, [x[clusters == c].mean(0) for c in range(12)], atol=0.2)


def test_k_means_keeps_the_example_nearest_to_each_centre():
    x = np.repeat(np.eye(3, dtype=np.float32) * 9, 5, axis=0)
    x += np.tile(np.arange(5, dtype=np.float32), 3)[:, None] * 0.1
    coreset = KMeans().select(Snapshot(15, features=x), 3, generator=rng())
    assert sorted(coreset.indices % 5) == [2, 2, 2]  # the middle one of each
    assert coreset.weights.tolist() == [5.0] * 3
    alike = Snapshot(4, features=np.ones((4, 1), np.float32))
    assert KMeans().select(alike, 2, generator=rng()).statistics["short"] == 1
