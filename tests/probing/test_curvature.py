"""Hessian diagonals against torch.func in float64; eq. (7)-(10) worked by hand."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import hessian, vmap
from torch.nn import functional

from adacore.probing.curvature import RunningAverages, exact_diagonal, hutchinson_diagonal, pool, precondition
from adacore.probing.losses import per_example
from adacore.probing.proxies import projection, space_of
from adacore.probing.rademacher import signs, streams_of
from adacore.probing.snapshot import Snapshot

BATCH, CLASSES, WIDTH, K = 6, 4, 5, 8


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, WIDTH, dtype=torch.float64, generator=generator)
    weight = torch.randn(CLASSES, WIDTH, dtype=torch.float64, generator=generator)
    return features, weight, torch.arange(BATCH) % CLASSES


def multi_label(z, y):
    one_hot = torch.eye(CLASSES, dtype=z.dtype)[y]
    return functional.binary_cross_entropy_with_logits(z, one_hot, reduction="none").mean(-1)


CRITERIA = {"cross-entropy": nn.CrossEntropyLoss(label_smoothing=0.1), "autograd": multi_label}


def oracle_diagonal(proxy, features, weight, targets, criterion):
    """diag of d2 loss / d(coordinates)^2 of each example, from the loss as a function of those coordinates alone."""

    def of_logits(z, _h, y):
        return criterion(z[None], y[None]).sum()

    def of_features(h, _h, y):
        return criterion((weight @ h)[None], y[None]).sum()

    def of_projected(v, h, y):  # moving the weight along the projection's directions
        drawn = projection(CLASSES, WIDTH, K, 0, weight.dtype, weight.device)
        moved = weight + torch.einsum("r,rc,rh->ch", v, drawn.left, drawn.right)
        return criterion((moved @ h)[None], y[None]).sum()

    function, points = {
        "logits": (of_logits, features @ weight.T),
        "penultimate": (of_features, features),
        "last_layer": (of_projected, torch.zeros(BATCH, K, dtype=torch.float64)),
    }[proxy]
    return vmap(hessian(function))(points, features, targets).diagonal(dim1=1, dim2=2)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_the_exact_diagonal_is_the_hessians(problem, proxy, name):
    features, weight, targets = problem
    local = per_example(CRITERIA[name]).at(features @ weight.T, targets)
    space = space_of(proxy, weight=weight, features=features, dimension=K)
    expected = oracle_diagonal(proxy, features, weight, targets, CRITERIA[name])
    torch.testing.assert_close(exact_diagonal(local, space), expected)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_hutchinson_converges_to_it(problem, proxy, name):
    features, weight, targets = problem
    local = per_example(CRITERIA[name]).at(features @ weight.T, targets)
    space = space_of(proxy, weight=weight, features=features, dimension=K)
    expected = exact_diagonal(local, space)
    errors = [
        (hutchinson_diagonal(local, space, samples=m, streams=streams_of(0, np.arange(len(targets)))) - expected)
        .abs()
        .mean()
        for m in (40, 4000)
    ]
    assert errors[1] < 0.03 * expected.abs().max()
    assert errors[1] < max(errors[0] / 4, 1e-12)  # 1 / sqrt(100), with room; a diagonal Hessian is exact at once


def test_hutchinson_does_not_depend_on_the_cut_into_batches(problem):
    features, weight, targets = problem
    space = space_of("logits")

    streams = streams_of(0, np.arange(len(targets)))

    def estimate(rows):
        local = per_example(None).at(features[rows] @ weight.T, targets[rows])
        return hutchinson_diagonal(local, space, samples=3, streams=streams[rows])

    parts = [estimate(slice(0, 1)), estimate(slice(1, 4)), estimate(slice(4, None))]
    torch.testing.assert_close(torch.cat(parts), estimate(slice(None)))


def test_vectors_are_signs_that_differ_by_example_place_sample_and_key():
    drawn = [signs(streams_of(key, np.repeat(np.arange(50), 40), np.tile(np.arange(40), 50)), 2, 100) for key in (0, 1)]
    vectors = np.concatenate([part.reshape(-1, 100) for part in drawn]).astype(np.float64)
    assert set(np.unique(vectors)) == {-1, 1}
    # 8,000 independent vectors: entries have mean 0, and two vectors or two entries no correlation.
    assert abs(vectors.mean(0)).max() < 5 / np.sqrt(8000)
    assert abs(vectors.T @ vectors / 8000 - np.eye(100)).max() < 5.5 / np.sqrt(8000)
    assert abs(vectors @ vectors[:50].T / 100 - np.eye(8000, 50)).max() < 0.65


@given(n=st.integers(1, 300), block=st.integers(1, 70), seed=st.integers(0, 5))
def test_blocks_partition_the_examples_and_keep_the_mean(n, block, seed):
    diagonals = np.random.default_rng(seed).random((n, 2)).astype(np.float32)
    pooled = pool(diagonals.copy(), "block", block, np.random.default_rng(seed))
    order = np.random.default_rng(seed).permutation(n)
    for start in range(0, n, block):
        rows = order[start : start + block]
        expected = diagonals[rows].astype(np.float64).mean(0)
        np.testing.assert_allclose(pooled[rows], np.broadcast_to(expected, (len(rows), 2)), rtol=1e-6)


def test_global_and_example_scope():
    diagonals = np.array([[1.0, 0.0], [3.0, 1.0]], dtype=np.float32)
    shared = pool(diagonals, "global", 64, np.random.default_rng(0))
    np.testing.assert_array_equal(shared, [[2.0, 0.5], [2.0, 0.5]])
    assert shared.strides[0] == 0
    np.testing.assert_array_equal(pool(diagonals, "example", 64, np.random.default_rng(0)), diagonals)


def snapshots(values):
    return [
        Snapshot(1, proxies=np.full((1, 1), v, np.float32), curvature=np.full((1, 1), v, np.float32)) for v in values
    ]


def test_equation_7_and_9_by_hand():
    averages = RunningAverages.init(0.9, 0.99)
    g = [2.0, -1.0, 4.0]
    for t, snapshot in enumerate(snapshots(g), 1):
        averages, averaged = averages.update(snapshot)
        mean = 0.1 * sum(0.9 ** (t - 1 - i) * g[i] for i in range(t)) / (1 - 0.9**t)
        root = math.sqrt(0.01 * sum(0.99 ** (t - 1 - i) * g[i] ** 2 for i in range(t)) / (1 - 0.99**t))
        assert averaged.proxies[0, 0] == pytest.approx(mean, rel=1e-5)
        assert averaged.curvature[0, 0] == pytest.approx(root, rel=1e-5)
    # After two steps of (7) with beta1 = 0.9: (0.9 * 2 - 1) / (0.9 + 1) = 0.42105...
    _, second = RunningAverages.init(0.9, None).update(snapshots(g)[0])[0].update(snapshots(g)[1])
    assert second.proxies[0, 0] == pytest.approx(0.8 / 1.9, rel=1e-5)


def test_the_first_average_is_the_first_value():
    first = snapshots([-3.0])[0]
    _, averaged = RunningAverages.init(0.9, 0.999).update(first)
    assert averaged.proxies[0, 0] == pytest.approx(-3)
    assert averaged.curvature[0, 0] == pytest.approx(3)


def test_an_average_that_is_switched_off_changes_nothing():
    averages = RunningAverages.init(None, None)
    for snapshot in snapshots([1.0, 5.0]):
        averages, averaged = averages.update(snapshot)
        assert averaged.proxies is snapshot.proxies
        assert averaged.curvature is snapshot.curvature


def test_a_shared_diagonal_is_averaged_as_one_row():
    row = np.array([1.0, 2.0], dtype=np.float32)
    shared = Snapshot(100, curvature=np.broadcast_to(row, (100, 2)))
    averages, averaged = RunningAverages.init(None, 0.5).update(shared)
    assert averages.curvature.shape == (1, 2)
    np.testing.assert_allclose(averaged.curvature, np.broadcast_to(row, (100, 2)), rtol=1e-6)


def test_averages_survive_a_checkpoint(tmp_path):
    first, second = snapshots([1.0, 3.0])
    averages, _ = RunningAverages.init(0.9, 0.99).update(first)
    torch.save(averages.state_dict(), tmp_path / "state.pt")
    loaded = RunningAverages.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    expected, actual = averages.update(second)[1], loaded.update(second)[1]
    np.testing.assert_array_equal(actual.proxies, expected.proxies)
    np.testing.assert_array_equal(actual.curvature, expected.curvature)


def test_averages_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"beta1=1\.0"):
        RunningAverages.init(1.0, None)
    averages, _ = RunningAverages.init(0.9, None).update(snapshots([1.0])[0])
    with pytest.raises(ValueError, match="shape"):
        averages.update(Snapshot(2, proxies=np.zeros((2, 1), np.float32)))


def test_preconditioning_by_hand():
    g = np.array([[0.5, -0.5]], dtype=np.float32)
    h = np.array([[-0.25, 0.0]], dtype=np.float32)
    x = precondition(g, h, 0.25)
    np.testing.assert_allclose(x, [[1.0, -2.0]])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(g, [[0.5, -0.5]])
    np.testing.assert_array_equal(h, [[-0.25, 0.0]])


def test_preconditioning_stays_finite_or_says_so():
    zeros = np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match="raise the damping"):
        precondition(zeros + 1, zeros, 0.0)
    with pytest.raises(ValueError, match="damping=-1"):
        precondition(zeros, zeros, -1)
    with pytest.raises(ValueError, match="must be equal"):
        precondition(zeros, np.zeros((2, 1)), 1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-25, 1e-10, 1.0, 1e10, 1e20, 1e35])
def test_averages_hold_over_the_range_of_single_precision(size):
    averages = RunningAverages.init(0.9, 0.999)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(5):
        seen.append(rng.uniform(0.5, 2, (3, 2)) * size)
        new = Snapshot(3, proxies=seen[-1].astype(np.float32), curvature=seen[-1].astype(np.float32))
        averages, averaged = averages.update(new)
    shares = 0.999 ** np.arange(4, -1, -1)
    expected = size * np.sqrt(np.tensordot(shares / shares.sum(), (np.array(seen) / size) ** 2, 1))
    np.testing.assert_allclose(averaged.curvature, expected, rtol=1e-5)
    shares = 0.9 ** np.arange(4, -1, -1)
    np.testing.assert_allclose(averaged.proxies, np.tensordot(shares / shares.sum(), np.array(seen), 1), rtol=1e-5)


def test_a_thousand_reselections_do_not_add_up_rounding():
    averages, value = RunningAverages.init(0.9, 0.999), np.float32(0.1)
    for _ in range(1000):
        averages, averaged = averages.update(
            Snapshot(1, proxies=np.full((1, 1), value), curvature=np.full((1, 1), value))
        )
    assert averaged.proxies[0, 0] == pytest.approx(0.1, rel=1e-6)
    assert averaged.curvature[0, 0] == pytest.approx(0.1, rel=1e-6)


def test_averages_take_no_memory_beside_the_snapshot():
    """At the second reselection: the averages before, what is measured, the averages after; and nothing per element."""
    n, d = 20_000, 40
    rng = np.random.default_rng(0)
    measured = [
        Snapshot(n, proxies=rng.random((n, d), np.float32), curvature=rng.random((n, d), np.float32)) for _ in range(2)
    ]
    averages, _ = RunningAverages.init(0.9, 0.999).update(measured[0])
    tracemalloc.start()
    averages, averaged = averages.update(measured[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert averaged.proxies is averages.gradient
    assert averaged.proxies is not measured[1].proxies
    assert averaged.curvature is averages.curvature
    assert peak < 2.7 * 4 * n * d
    assert np.shares_memory(averages.state_dict()["gradient"].numpy(), averages.gradient)


def test_averages_may_take_the_place_of_what_was_measured():
    first, second = snapshots([1.0, 3.0])
    averages, _ = RunningAverages.init(0.9, 0.99).update(first)
    expected = averages.update(second)[1]
    _, averaged = averages.update(second, overwrite=True)
    assert averaged.proxies is second.proxies
    assert averaged.curvature is second.curvature
    np.testing.assert_array_equal(averaged.proxies, expected.proxies)
    np.testing.assert_array_equal(averaged.curvature, expected.curvature)
    np.testing.assert_array_equal(averages.gradient, [[1.0]])  # the averages before are as they were


@pytest.mark.parametrize(
    ("g", "h", "message"),
    [
        ([[1.0], [1.0]], [[1.0], [np.nan]], "the curvature of example 1 is not finite.*CRAIG"),
        ([[np.inf], [1.0]], [[1.0], [1.0]], "the gradient proxy of example 0 is not finite"),
        ([[1e35], [1.0]], [[1e-20], [1.0]], "overflows with damping=1e-06: raise the damping, for example to 3e-03"),
    ],
)
def test_what_is_not_finite_is_named_with_a_remedy_that_helps(g, h, message):
    with pytest.raises(ValueError, match=message) as caught:
        precondition(np.array(g, np.float32), np.array(h, np.float32), 1e-6)
    if "damping" in str(caught.value):
        enough = float(str(caught.value).split()[-1])
        assert np.isfinite(precondition(np.array(g, np.float32), np.array(h, np.float32), enough)).all()
