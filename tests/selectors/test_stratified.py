"""Stratified: orders keep classes and like gradients together, the same whatever is drawn; its batches vary less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.probing.snapshot import Curvature, Requirements, Snapshot
from adacore.selectors import HasStrata, Stratified
from adacore.selectors.gradient_tree import gradient_tree


def rng(seed=0):
    return np.random.default_rng(seed)


def snapshot_of(n=300, d=6, seed=0):
    labels = rng(seed).permutation(np.repeat([0, 1, 3], [n // 2, n // 3, n - n // 2 - n // 3]))
    centres = rng(seed + 1).normal(size=(4, d)) * 2
    proxies = (centres[labels] + rng(seed + 2).normal(size=(n, d)) / np.arange(1, d + 1)).astype(np.float32)
    return Snapshot(n, labels, proxies=proxies, curvature=np.full((n, d), 0.5, np.float32))


def within(points, order, pieces):
    """Sum of squared distances to the mean within equal pieces of the order."""
    return sum(np.square(points[o] - points[o].mean(0)).sum() for o in np.array_split(order, pieces))


@given(st.integers(1, 80), st.integers(1, 4), st.integers(1, 20), st.integers(0, 99))
@settings(deadline=None)
def test_a_tree_orders_all_points_in_leaves_of_at_most_the_size_asked_for(n, d, leaf_size, seed):
    x = rng(seed).normal(size=(n, d))
    order, bounds = gradient_tree(x, leaf_size)
    assert sorted(order) == list(range(n))
    sizes = np.diff(bounds)
    assert (bounds[0], bounds[-1]) == (0, n)
    assert sizes.max() <= leaf_size
    assert sizes.min() >= min(n, max(1, leaf_size // 2))


def test_a_tree_in_one_dimension_sorts():
    x = rng().permutation(64).astype(np.float64)[:, None]
    order, _ = gradient_tree(x, 1)
    assert (np.abs(np.diff(x[order, 0])) == 1).all()


def test_the_first_cut_is_at_the_median_of_the_principal_axis():
    x = rng().normal(size=(101, 3)) * [5.0, 1.0, 0.5]
    order, bounds = gradient_tree(x, 60)
    axis = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][0]
    along = (x - x.mean(0)) @ axis
    assert bounds.tolist() == [0, 51, 101]
    halves = along[order[:51]], along[order[51:]]
    # Power iteration stops within a degree of the axis: only points at the median may change sides.
    assert max(min(halves[0].max(), halves[1].max()) - max(halves[0].min(), halves[1].min()), 0) < 1.0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_units_of_gradients_do_not_matter(scale):
    x = rng().normal(size=(200, 4)).astype(np.float32)
    np.testing.assert_array_equal(gradient_tree(x, 8)[0], gradient_tree(x * np.float32(scale), 8)[0])


def test_equal_points_are_left_together():
    order, bounds = gradient_tree(np.ones((50, 2)), 4)
    assert order.tolist() == list(range(50))
    assert bounds.tolist() == [0, 50]


@pytest.mark.parametrize("settings", [{}, {"order": "facility"}, {"order": "classes"}, {"curvature": "exact"}])
def test_orders_keep_each_class_together(settings):
    snapshot = snapshot_of()
    selector = Stratified(leaf_size=10, **settings)
    assert isinstance(selector, HasStrata)
    strata = selector.strata(snapshot, generator=rng())
    assert (np.diff(snapshot.strata[strata.order]) != 0).sum() == 2
    classes = snapshot.strata[strata.order]
    assert all(len(set(classes[a:b])) == 1 for a, b in zip(strata.bounds, strata.bounds[1:], strict=False))
    same = selector.strata(snapshot, generator=rng(5))
    np.testing.assert_array_equal(strata.order, same.order)


@pytest.mark.parametrize("settings", [{}, {"order": "facility"}])
def test_pieces_of_the_order_are_more_alike_than_classes_and_random_pieces(settings):
    snapshot = snapshot_of()
    orders = {
        "own": Stratified(leaf_size=10, **settings).strata(snapshot, generator=rng()).order,
        "classes": Stratified(order="classes").strata(snapshot, generator=rng()).order,
        "random": rng().permutation(snapshot.n),
    }
    spreads = {name: within(snapshot.proxies, order, 30) for name, order in orders.items()}
    assert spreads["own"] < 0.5 * spreads["classes"] < 0.5 * spreads["random"]


def test_without_classes_all_examples_are_one_stratum():
    snapshot = Snapshot(40, proxies=rng().normal(size=(40, 2)).astype(np.float32))
    assert sorted(Stratified(leaf_size=4).strata(snapshot, generator=rng()).order) == list(range(40))
    assert Stratified(order="classes").strata(Snapshot(7), generator=rng()).bounds.tolist() == [0, 7]


def test_as_a_selector_it_draws_a_stratified_sample():
    snapshot = snapshot_of()
    coreset = Stratified().select(snapshot, 30, generator=rng())
    assert np.bincount(snapshot.strata[coreset.indices], minlength=4).tolist() == [15, 10, 0, 5]
    np.testing.assert_allclose(coreset.weights, 10.0)


def test_requirements_follow_the_settings():
    assert Stratified().requirements() == Requirements(proxy="last_layer")
    assert Stratified(order="classes").requirements() == Requirements()
    assert Stratified(curvature="exact", average_curvature=True, proxy="logits").requirements() == Requirements(
        proxy="logits", curvature=Curvature(), beta2=0.999
    )
    assert Stratified(average_gradient=True, targets="predicted").requirements() == Requirements(
        proxy="last_layer", beta1=0.9, targets="predicted"
    )


@pytest.mark.parametrize("settings", [{}, {"order": "facility"}])
def test_gradients_that_are_not_finite_and_no_examples_are_refused(settings):
    snapshot = Snapshot(3, proxies=np.array([[0.0], [np.nan], [1.0]], np.float32))
    with pytest.raises(ValueError, match="nan or infinite"):
        Stratified(**settings).strata(snapshot, generator=rng())
    with pytest.raises(ValueError, match="no examples"):
        Stratified(**settings).strata(Snapshot(0, proxies=np.empty((0, 1), np.float32)), generator=rng())
    with pytest.raises(ValueError, match="has no proxies"):
        Stratified(**settings).strata(Snapshot(3), generator=rng())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"order": "trees"}, ValueError, "did you mean 'tree'"),
        ({"leaf_size": 0}, ValueError, "leaf_size=0 is below 1"),
        ({"balanced": 1}, TypeError, "neither true nor false"),
        ({"proxy": "logit"}, ValueError, "did you mean 'logits'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Stratified(**settings)


def test_without_balancing_strata_hold_no_points():
    snapshot = snapshot_of()
    assert Stratified(balanced=False).strata(snapshot, generator=rng()).points is None
    assert Stratified(order="classes").strata(snapshot, generator=rng()).points is None
    assert Stratified().strata(snapshot, generator=rng()).points.shape == (300, 6)
