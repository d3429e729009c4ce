"""Per class, per batch, whole: wrappers that any selector goes through and none knows of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adacore.budget import split_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Snapshot
from adacore.selectors import CRAIG, Full, Loss, PerBatch, PerClass, Random, Whole, with_grain
from adacore.selectors.grains import join


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
    assert with_grain(CRAIG(), labelled=True) == PerClass(CRAIG())
    assert with_grain(CRAIG(), labelled=False) == CRAIG()
    assert with_grain(Full(), labelled=True) == Full()
    for wrapped in (Whole(CRAIG()), PerBatch(CRAIG()), PerClass(CRAIG())):
        assert with_grain(wrapped, labelled=True) is wrapped
        assert wrapped.name == "craig"
        assert wrapped.requirements() == CRAIG().requirements()


def test_a_selector_of_batch_grain_is_wrapped_too():
    class OfBatches(Random):
        grain = "batch"

    assert isinstance(with_grain(OfBatches(), labelled=True), PerBatch)


@given(st.lists(st.sampled_from([2, 5, -1, 9]), min_size=4, max_size=40), st.integers(4, 40))
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


def test_statistics_are_summed_where_they_are_numbers():
    parts = [Coreset(np.array([0]), np.ones(1), 1, statistics={"short": s, "word": w}) for s, w in ((1, "a"), (2, "b"))]
    joined = join(parts, [np.array([0]), np.array([1])], 2)
    assert joined.statistics == {"short": 3, "word": ["a", "b"]}
