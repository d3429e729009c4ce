"""Training on stratified mini-batches, through the loader: every batch a stratified sample, weights of one."""

import io
import itertools
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import adacore
from adacore import CoresetLoader, Stratified
from adacore.probing.snapshot import Snapshot
from adacore.selectors.ordered_strata import Strata
from adacore.training.clusters import strata_of_clusters
from adacore.training.plan import plan_epoch

N, CLASSES = 120, 4
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(1))
Y = torch.arange(N) % CLASSES


def make(selector=None, **settings):
    torch.manual_seed(0)
    settings = {"batch_size": 12, **settings}
    return CoresetLoader(TensorDataset(X, Y), nn.Linear(3, CLASSES), selector or Stratified(), **settings)


def epoch_of(loader):
    """Positions and weights of every batch."""
    return [(loader.indices.clone(), w.clone()) for _, _, w in loader]


def test_without_a_fraction_an_epoch_is_a_permutation_with_weights_of_one():
    loader = make(every=3)
    for _ in range(4):
        batches = epoch_of(loader)
        assert sorted(torch.cat([i for i, _ in batches]).tolist()) == list(range(N))
        assert all(torch.equal(w, torch.ones(12)) for _, w in batches)
    assert loader.reselector.reselections == 2
    assert loader.coreset is None
    assert len(loader) == 10
    assert loader.total_steps(3) == 30


def test_every_batch_holds_every_class_in_proportion():
    for indices, _ in epoch_of(make()):
        np.testing.assert_array_equal(np.bincount(indices % CLASSES), [3, 3, 3, 3])


@pytest.mark.parametrize(("fraction", "batch_size", "sizes"), [(0.4, 12, [12] * 4), (0.5, 16, [16, 16, 16, 12])])
def test_at_a_fraction_no_example_comes_twice_in_an_epoch(fraction, batch_size, sizes):
    loader = make(fraction=fraction, batch_size=batch_size)
    for _ in range(3):
        batches = [indices for indices, _ in epoch_of(loader)]
        assert [len(batch) for batch in batches] == sizes
        assert len(torch.cat(batches).unique()) == sum(sizes)
    dropping = make(fraction=fraction, batch_size=batch_size, drop_last=True)
    assert [len(batch) for batch, _ in epoch_of(dropping)] == [size for size in sizes if size == batch_size]


@pytest.mark.parametrize("size", [48, 50, 120])
def test_every_mini_batch_is_unbiased(size):
    """The mean over 2,000 epochs of a mini-batch's mean, against that of all examples, to 4 standard errors."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=N) ** 3
    strata = Strata(np.argsort(values + rng.normal(size=N)), np.arange(0, N + 1, 8))
    draws = []
    for epoch in range(2000):
        plan = plan_epoch(strata, epoch, batch_size=12, seed=0, size=size)
        draws.append([values[batch.numpy()].mean() for batch in plan.batches])
    draws = np.array(draws)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - values.mean()) <= 4 * error + 1e-12).all()
    random = [values[rng.permutation(N)[:12]].mean() for _ in range(2000)]
    assert draws[:, 0].var() < np.var(random)  # neighbours in the order are alike


@pytest.mark.parametrize("selector", [Stratified(), adacore.AdaCore()])
def test_whoever_rebuilds_the_loader_and_whoever_resumes_gets_the_same(selector):
    def make_one():
        return make(selector, every=2, fraction=0.5, batches="stratified")

    undisturbed = make_one()
    expected = [batch for _ in range(3) for batch in epoch_of(undisturbed)]
    ours = make_one()
    rebuilt = DataLoader(ours.dataset, batch_sampler=ours.batch_sampler)
    seen = [x for _ in range(3) for x, _, _ in rebuilt]
    assert all(torch.equal(x, X[indices]) for x, (indices, _) in zip(seen, expected, strict=True))
    stopped, resumed = make_one(), make_one()
    epoch_of(stopped)
    batches = iter(stopped)
    next(batches)
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for (a, _), (b, _) in zip([*epoch_of(resumed), *epoch_of(resumed)], expected[6:], strict=True):
        assert torch.equal(a, b)


def test_a_warm_start_on_random_subsets_comes_first():
    loader = make(warm_start=1, warm_start_on="random", fraction=0.2)
    epoch_of(loader)
    assert len(loader.coreset) == 24
    epoch_of(loader)
    assert loader.coreset is None


def test_select_returns_a_coreset_all_the_same():
    coreset = adacore.select(nn.Linear(3, CLASSES), TensorDataset(X, Y), Stratified(), fraction=0.1)
    assert len(coreset) == 12
    assert coreset.weights.sum() == pytest.approx(N)


@pytest.mark.parametrize("selector", [adacore.AdaCore(), adacore.CRAIG(), adacore.Whole(adacore.AdaCore())])
def test_the_clusters_of_a_coreset_are_strata(selector):
    loader = make(selector, budget=24, every=100, batches="stratified")
    counts = np.zeros(N)
    for _ in range(300):
        for indices, weights in epoch_of(loader):
            assert torch.equal(weights, torch.ones(12))
            counts += np.bincount(indices, minlength=N)
    assert len(loader.coreset) == 24
    assert len(loader) == 2
    expected = 300 * 24 / N
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected)).all()  # every example alike, medoid or not
    strata = loader.reselector.strata
    leaves = [strata.order[a:b] for a, b in itertools.pairwise(strata.bounds)]
    assert sorted(len(leaf) for leaf in leaves) == sorted(loader.coreset.weights.tolist())
    assert all(np.isin(leaf, loader.coreset.indices).sum() == 1 for leaf in leaves)
    if not isinstance(selector, adacore.Whole):
        assert all(len(np.unique(leaf % CLASSES)) == 1 for leaf in leaves)


def test_clusters_are_what_the_nearest_medoid_serves():
    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    points[7] = points[3]  # two medoids at one point
    snapshot = Snapshot(40, features=points)
    coreset = adacore.Coreset(np.array([7, 3, 20, 31]), np.ones(4), 40)
    strata = strata_of_clusters(adacore.FacilityLocation(), snapshot, coreset, per_class=False)
    distances = np.linalg.norm(points[:, None].astype(float) - points[[3, 20, 31]], axis=2)
    expected = {frozenset(np.flatnonzero(distances.argmin(1) == c).tolist()) for c in range(3)}
    assert {frozenset(strata.order[a:b].tolist()) for a, b in itertools.pairwise(strata.bounds)} == expected


def test_methods_without_clusters_are_refused():
    for selector in (adacore.Random(), adacore.GradMatch(), adacore.PerBatch(adacore.CRAIG())):
        with pytest.raises(ValueError, match='pass batches="proportional"'):
            make(selector, budget=24, batches="stratified")
    assert len(make(batches="stratified")) == 10  # Stratified itself


@pytest.mark.slow
def test_drawing_an_epoch_of_50_000_takes_at_most_10_ms():
    """The best of ten, since the machine may be busy; measured 2.3 to 4.5 ms of one core."""
    strata = Strata(np.random.default_rng(0).permutation(50_000), np.arange(0, 50_001, 25))
    coreset = adacore.Coreset(np.arange(50_000), np.random.default_rng(1).gamma(1, size=50_000), 50_000)
    for selection, batches in ((strata, "weighted"), (coreset, "weighted"), (coreset, "proportional")):
        seconds = []
        for epoch in range(10):
            start = time.process_time()
            plan_epoch(selection, epoch, batch_size=64, seed=0, batches=batches)
            seconds.append(time.process_time() - start)
        assert min(seconds) < 0.01
