"""Per class, per batch, whole: wrappers that any selector goes through and none knows of."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from adacore.budget import split_budget
from adacore.coreset import Coreset
from adacore.facility.strata import join
from adacore.facility.workers import Workers
from adacore.probing.snapshot import Snapshot
from adacore.selectors import (
    CRAIG,
    Full,
    GradMatch,
    KCenter,
    KMedoids,
    Loss,
    PerBatch,
    PerClass,
    Random,
    Redundancy,
    Whole,
    make_selector,
    partitioned,
)
from adacore.selectors.synthetic import synthetic_snapshot


def rng(seed=0):
    return np.random.default_rng(seed)


def snapshot_of(labels, seed=0):
    n = len(labels)
    return Snapshot(
        n,
        np.asarray(labels, np.int64),
        proxies=rng(seed).normal(size=(n, 3)).astype(np.float32),
        losses=rng(seed).random(n).astype(np.float32),
    )


def test_selectors_are_wrapped_in_their_own_grain():
    assert partitioned(CRAIG(), labelled=True) == PerClass(CRAIG())
    assert partitioned(CRAIG(), labelled=False) == CRAIG()
    assert partitioned(Full(), labelled=True) == Full()
    for wrapped in (Whole(CRAIG()), PerBatch(CRAIG()), PerClass(CRAIG())):
        assert partitioned(wrapped, labelled=True) is wrapped
        assert wrapped.name == "craig"
        assert wrapped.requirements() == CRAIG().requirements()


def test_a_selector_of_batch_grain_is_wrapped_too():
    class OfBatches(Random):
        per = "batch"

    assert isinstance(partitioned(OfBatches(), labelled=True), PerBatch)


@given(st.lists(st.sampled_from([2, 5, -1, 9]), min_size=4, max_size=40), st.integers(4, 40))
@settings(deadline=None)
def test_per_class_is_selecting_in_each_class(labels, budget):
    snapshot, labels = snapshot_of(labels), np.array(labels)
    budget = min(budget, snapshot.n)
    coreset = PerClass(Loss()).select(snapshot, budget, generator=rng())
    classes, counts = np.unique(labels, return_counts=True)
    expected = []
    for label, k in zip(classes, split_budget(counts, budget), strict=True):
        rows = np.flatnonzero(labels == label)
        expected += rows[np.argsort(-snapshot.losses[rows], kind="stable")[:k]].tolist()
    assert coreset.indices.tolist() == expected
    assert coreset.population == snapshot.n


def test_per_class_sums_objectives_bounds_and_gains():
    snapshot = snapshot_of([0] * 20 + [1] * 10)
    coreset = PerClass(CRAIG()).select(snapshot, 9, generator=rng())
    parts = [
        CRAIG().select(snapshot.take(rows), k, generator=rng())
        for rows, k in ((np.arange(20), 6), (np.arange(20, 30), 3))
    ]
    assert coreset.objective == pytest.approx(sum(part.objective for part in parts))
    assert coreset.lower_bound == pytest.approx(sum(part.lower_bound for part in parts))
    np.testing.assert_array_equal(coreset.gains, np.concatenate([part.gains for part in parts]))
    assert PerClass(CRAIG()).objective(snapshot, coreset) == pytest.approx(coreset.objective, rel=1e-6)


def test_per_class_needs_labels_and_a_budget_for_every_class():
    with pytest.raises(ValueError, match="needs labels"):
        PerClass(Random()).select(Snapshot(3), 1, generator=rng())
    with pytest.raises(ValueError, match="below the number of classes"):
        PerClass(Random()).select(snapshot_of([0, 1, 2]), 2, generator=rng())


def test_a_class_without_validation_examples_sees_them_all():
    seen = {}

    class Looking(Random):
        def select(self, snapshot, budget, *, generator):
            seen[int(snapshot.strata[0])] = snapshot.validation.n
            return super().select(snapshot, budget, generator=generator)

    held_out = Snapshot(5, np.array([0, 0, 0, 1, 1]))
    PerClass(Looking()).select(Snapshot(6, np.array([0, 0, 1, 1, 2, 2]), validation=held_out), 3, generator=rng())
    assert seen == {0: 3, 1: 2, 2: 5}


def test_batches_are_seen_as_their_means():
    seen = {}

    class Looking(Random):
        def select(self, snapshot, budget, *, generator):
            seen["snapshot"], seen["budget"] = snapshot, budget
            return Coreset(np.arange(snapshot.n), np.ones(snapshot.n), snapshot.n)

    given_ = snapshot_of(np.arange(12))
    coreset = PerBatch(Looking(), batch_size=4).select(given_, 12, generator=rng())
    candidates = seen["snapshot"]
    assert (candidates.n, seen["budget"], candidates.strata) == (3, 3, None)
    batches = coreset.indices.reshape(3, 4)
    np.testing.assert_allclose(candidates.proxies, given_.proxies[batches].mean(1), rtol=1e-6)
    np.testing.assert_allclose(candidates.losses, given_.losses[batches].mean(1), rtol=1e-6)
    assert sorted(coreset.indices) == list(range(12))


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 50))
@settings(deadline=None)
def test_whole_batches_within_the_budget_whose_weights_sum_to_n(n, batch_size, budget):
    budget = min(budget, n)
    largest = -(-n // -(-n // batch_size))
    selector = PerBatch(Random(), batch_size)
    if budget < largest:
        with pytest.raises(ValueError, match="holds no whole batch"):
            selector.select(Snapshot(n), budget, generator=rng())
        return
    coreset = selector.select(Snapshot(n), budget, generator=rng())
    assert 0 < len(coreset) <= budget
    assert coreset.weights.sum() == pytest.approx(n)


def test_batches_within_classes():
    snapshot = snapshot_of([0] * 16 + [1] * 16)
    coreset = PerClass(PerBatch(CRAIG(), batch_size=4)).select(snapshot, 16, generator=rng())
    assert np.bincount(snapshot.strata[coreset.indices]).tolist() == [8, 8]
    assert coreset.weights[:8].sum() == pytest.approx(16)


def test_batch_size_must_be_a_whole_number():
    with pytest.raises(ValueError, match="batch_size=0"):
        PerBatch(Random(), batch_size=0)
    with pytest.raises(TypeError, match=r"batch_size=2\.5"):
        PerBatch(Random(), batch_size=2.5)


def test_only_methods_with_an_objective_have_one():
    with pytest.raises(TypeError, match="no objective"):
        PerClass(Random()).objective(snapshot_of([0, 0]), Coreset(np.array([0]), np.ones(1), 2))


def parts_with(**statistics):
    return [
        Coreset(np.array([0]), np.ones(1), 1, statistics=dict(zip(statistics, values, strict=True)))
        for values in zip(*statistics.values(), strict=True)
    ]


def test_every_statistic_combines_as_it_is_declared():
    parts = parts_with(
        short=(1, 2), radius=(0.5, 0.2), method=("exact", "exact"), ran=("b", "a"), other=(7, 8), same=(7, 7)
    )
    declared = {"short": "sum", "radius": "maximum", "method": "same", "ran": "same"}
    joined = join(parts, [np.array([0]), np.array([1])], 2, declared)
    # What is not declared is kept only where it can't be wrong.
    assert joined.statistics == {"short": 3, "radius": 0.5, "method": "exact", "ran": "a and b", "same": 7}


@pytest.fixture
def three_classes():
    x = rng(3).normal(size=(90, 6)).astype(np.float32)
    labels = np.arange(90) % 3
    return Snapshot(90, labels, labels, proxies=x, features=x)


def test_the_radius_over_classes_is_the_largest(three_classes):
    coreset = PerClass(KCenter()).select(three_classes, 12, generator=rng())
    x, labels = three_classes.proxies.astype(np.float64), three_classes.strata
    nearest = [cdist(x[labels == c], x[coreset.indices[labels[coreset.indices] == c]]).min(1) for c in range(3)]
    assert coreset.statistics["radius"] == pytest.approx(np.concatenate(nearest).max())


@pytest.mark.parametrize("settings", [{}, {"lam": 0.0}, {"fill": "random"}])
def test_the_residual_over_classes_is_that_of_the_whole_gradient(three_classes, settings):
    coreset = PerClass(GradMatch(**settings)).select(three_classes, 12, generator=rng())
    g = three_classes.proxies.astype(np.float64)
    left = coreset.weights @ g[coreset.indices] - g.sum(0)
    assert coreset.statistics["residual"] == pytest.approx(np.linalg.norm(left))


def test_the_residual_against_a_validation_set_is_that_of_the_classes_together(three_classes):
    held_out = three_classes.take(np.arange(30))
    snapshot = replace(three_classes.take(np.arange(30, 90)), validation=held_out)
    coreset = PerClass(GradMatch(target="validation")).select(snapshot, 12, generator=rng())
    g, y = held_out.proxies.astype(np.float64), held_out.strata
    target = sum((snapshot.strata == c).sum() * g[y == c].mean(0) for c in range(3))
    left = coreset.weights @ snapshot.proxies.astype(np.float64)[coreset.indices] - target
    assert coreset.statistics["residual"] == pytest.approx(np.linalg.norm(left))


@pytest.mark.parametrize("selector", [CRAIG(), KMedoids(), Redundancy(), Loss(mode="sample"), PerBatch(CRAIG(), 3)])
def test_no_statistic_is_a_list(three_classes, selector):
    snapshot = replace(three_classes, losses=np.ones(90, np.float32))
    statistics = PerClass(selector).select(snapshot, 30, generator=rng()).statistics
    assert statistics
    assert not any(isinstance(value, list) for value in statistics.values())
    if "method" in statistics:
        assert statistics["method"] == "exact"


@pytest.mark.parametrize("name", ["gradmatch", "k_center", "k_means", "glister"])
def test_the_other_classes_give_up_when_one_is_interrupted(name, monkeypatch):
    """Ctrl-C in one class: the loops of the others, however long, stop at their next round."""
    rounds = []

    def counted(workers, look=Workers.check):
        rounds.append(1)
        time.sleep(0.005)  # makes every loop long
        look(workers)

    monkeypatch.setattr(Workers, "check", counted)
    for name_of_size in ("LEAST_BATCH", "MOST_BATCH"):  # so that farthest first has rounds to be interrupted in
        monkeypatch.setattr(f"adacore.facility.products.farthest.{name_of_size}", 2)
    inner = make_selector(name)

    class Interrupted(type(inner)):
        def select(self, snapshot, budget, *, generator):
            if snapshot.strata[0] == 0:
                while len(rounds) < 3:
                    time.sleep(0.001)
                raise KeyboardInterrupt
            return super().select(snapshot, budget, generator=generator)

    labels = np.repeat(np.arange(4), 600)
    snapshot = synthetic_snapshot(inner.requirements(), labels)
    monkeypatch.setattr("adacore.selectors.per_class.thread_count", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        PerClass(Interrupted()).select(snapshot, 1200, generator=rng())
    assert len(rounds) < 40


@pytest.mark.parametrize("n", [1, 7, 10, 13])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 20])
def test_a_budget_of_everything_takes_every_batch(n, batch_size):
    """Batches differ by one in size: n // (the largest) is fewer than there are."""
    coreset = PerBatch(Random(), batch_size=batch_size).select(Snapshot(n), n, generator=np.random.default_rng(0))
    assert sorted(coreset.indices) == list(range(n))


def test_batches_never_exceed_the_budget():
    """13 examples in batches of 3, 3, 3, 2, 2: as many are chosen as fit whichever they are."""
    for budget, fits in zip(range(3, 14), [1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5], strict=True):
        coreset = PerBatch(Random(), batch_size=3).select(Snapshot(13), budget, generator=np.random.default_rng(budget))
        assert len(coreset) <= budget
        assert coreset.statistics["batches"] == fits
