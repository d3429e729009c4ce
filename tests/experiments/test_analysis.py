"""The analysis against loops that say what is meant."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from adacore.coreset import Coreset
from adacore.experiments import analysis
from adacore.probing.probe import Probe
from adacore.selectors import make_selector


def coresets(seed: int, *, n: int = 30, k: int = 6, count: int = 4) -> list[Coreset]:
    generator = np.random.default_rng(seed)
    return [Coreset(generator.choice(n, k, replace=False), generator.random(k), n) for _ in range(count)]


def test_gradient_error_worked_by_hand() -> None:
    g = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])  # the sum is (3, 4), of norm 5
    assert analysis.gradient_error(g, Coreset(np.array([0]), np.array([1.0]), 3)) == pytest.approx(4 / 5)
    assert analysis.gradient_error(g, Coreset(np.array([0, 1]), np.array([1.0, 1.0]), 3)) == 0
    assert analysis.gradient_error(g, Coreset(np.array([2]), np.array([3.0]), 3)) == 1


def test_gradient_error_where_the_full_gradient_vanishes() -> None:
    g = np.array([[1.0], [-1.0]])
    assert analysis.gradient_error(g, Coreset(np.array([0]), np.array([1.0]), 2)) == np.inf
    assert analysis.gradient_error(g, Coreset(np.array([0, 1]), np.array([1.0, 1.0]), 2)) == 0


@given(st.integers(0, 50), st.floats(1e-3, 1e3))
def test_gradient_error_does_not_depend_on_the_scale(seed: int, scale: float) -> None:
    g = np.random.default_rng(seed).normal(size=(30, 3))
    coreset = coresets(seed)[0]
    assert analysis.gradient_error(scale * g, coreset) == pytest.approx(analysis.gradient_error(g, coreset))


@given(st.integers(0, 50))
def test_counts_and_overlaps_are_what_sets_say(seed: int) -> None:
    parts = coresets(seed)
    sets = [set(part.indices.tolist()) for part in parts]
    assert analysis.selection_counts(parts).tolist() == [sum(i in s for s in sets) for i in range(30)]
    shared = [len(a & b) / len(b) for a, b in pairwise(sets)]
    assert analysis.overlaps(parts) == pytest.approx(shared)


def test_most_and_never_chosen() -> None:
    counts = np.array([0, 5, 2, 5, 0, 1])
    assert analysis.most_chosen(counts, 10).tolist() == [1, 3, 2, 5]
    assert analysis.never_chosen(counts, 10, generator=np.random.default_rng(0)).tolist() == [0, 4]
    assert analysis.never_chosen(np.zeros(100), 7, generator=np.random.default_rng(0)).size == 7


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(1, 40))
def test_sliding_means_are_means_of_windows(scores: list[float], window: int) -> None:
    width = min(window, len(scores))
    means = [np.mean(scores[t : t + width]) for t in range(len(scores) - width + 1)]
    assert analysis.sliding_means(scores, window) == pytest.approx(means, abs=1e-9)


def test_profile_weighs_classes_alike() -> None:
    labels = np.repeat([0, 1], [100, 20])
    ranks = np.concatenate([np.arange(100), np.arange(20)])
    scores = np.where(labels == 0, 1.0, 3.0)
    assert analysis.profile_by_rank(scores, ranks, labels) == pytest.approx(np.full(101, 2.0))


def test_profile_falls_where_early_ranks_score_high() -> None:
    ranks = np.random.default_rng(0).permutation(500)
    profile = analysis.profile_by_rank(-ranks, ranks, np.zeros(500), window=50)
    assert (np.diff(profile) < 0).all()


@given(st.integers(0, 30))
def test_ranks_are_a_permutation_within_each_class(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 20)
    order = generator.permutation(20)[:12]
    ranks = analysis.ranks_within_classes(order, labels)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        assert sorted(ranks[rows]) == list(range(rows.size))
        picked = [i for i in order if labels[i] == c]
        assert [ranks[i] for i in picked] == list(range(len(picked)))


def test_entropy_is_that_of_the_definition() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 10)
    assert analysis.entropy(p) == pytest.approx([-sum(q * np.log(q) for q in row) for row in p])
    assert analysis.entropy(np.eye(3)).tolist() == [0, 0, 0]
    assert analysis.entropy(np.full((1, 4), 0.25))[0] == pytest.approx(np.log(4))


def test_class_accuracies() -> None:
    assert analysis.class_accuracies([0, 0, 1, 1, 2], [0, 1, 1, 1, 2]) == {0: 1.0, 1: pytest.approx(2 / 3), 2: 1.0}


def test_refuses() -> None:
    with pytest.raises(ValueError, match="row for each example"):
        analysis.gradient_error(np.zeros((3, 2)), coresets(0)[0])
    with pytest.raises(ValueError, match="expected at least one"):
        analysis.selection_counts([])
    with pytest.raises(ValueError, match="below 1"):
        analysis.sliding_means([1.0], 0)
    with pytest.raises(ValueError, match="expected one for each"):
        analysis.class_accuracies([1], [1, 2])


@pytest.fixture
def problem() -> tuple[nn.Module, TensorDataset]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 4, generator=generator)
    model = nn.Linear(4, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, TensorDataset(inputs, torch.arange(60) % 3)


def test_gradient_errors_of_a_model_are_those_of_its_gradients(problem: tuple[nn.Module, TensorDataset]) -> None:
    model, data = problem
    coreset = coresets(0, n=60)[0]
    inputs, targets = data.tensors
    with torch.no_grad():
        p = model(inputs).double().softmax(1)
    g = (p - torch.eye(3)[targets]).numpy()
    measured = analysis.gradient_errors(model, data, coreset, Probe())
    assert measured.plain == pytest.approx(analysis.gradient_error(g, coreset), rel=1e-4)
    everything = Coreset(np.arange(60), np.ones(60), 60)
    exact = analysis.gradient_errors(model, data, everything, Probe())
    assert (exact.plain, exact.preconditioned) == pytest.approx((0, 0), abs=1e-6)


def test_measuring_a_run_leaves_model_and_streams_alone(problem: tuple[nn.Module, TensorDataset]) -> None:
    model, data = problem
    model.train()
    before, stream = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    row = analysis.measure_run(model, data, data, coresets(0, n=60)[0], Probe(), seed=0, epoch=1)
    assert tuple(row) == analysis.MEASURED
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state())
    with torch.no_grad():
        predicted = model(data.tensors[0]).argmax(1)
    assert row["seen_classes_accuracy"] == pytest.approx(float((predicted == data.tensors[1]).float().mean()))


def test_errors_of_batches_are_measured_with_and_without_a_coreset(problem: tuple[nn.Module, TensorDataset]) -> None:
    model, data = problem
    draws = list(analysis.random_batches(60, 12, 300, generator=np.random.default_rng(0)))
    row = analysis.measure_run(model, data, data, None, Probe(), draws=draws, seed=0, epoch=1)
    assert row["gradient_error"] is None
    assert row["batch_gradient_error"] == pytest.approx(row["random_batch_gradient_error"], rel=0.1)
    assert row["worst_class_accuracy"] is not None


def test_classes_never_trained_on_do_not_count(problem: tuple[nn.Module, TensorDataset]) -> None:
    model, data = problem
    inputs, targets = data.tensors
    seen = TensorDataset(inputs[targets > 0], targets[targets > 0])
    coreset = Coreset(np.arange(5), np.ones(5), len(seen))
    row = analysis.measure_run(model, seen, data, coreset, Probe(), seed=0, epoch=1)
    with torch.no_grad():
        right = (model(inputs).argmax(1) == targets)[targets > 0]
    assert row["seen_classes_accuracy"] == pytest.approx(float(right.float().mean()))


def test_examples_are_ranked_by_the_method_and_survive_the_disk(
    problem: tuple[nn.Module, TensorDataset], tmp_path: Path
) -> None:
    model, data = problem
    forgetting = np.arange(60)
    examples = analysis.describe_examples(model, data, make_selector("craig"), Probe(), forgetting)
    with torch.no_grad():
        p = model(data.tensors[0]).double().softmax(1).numpy()
    assert examples.uncertainty == pytest.approx(analysis.entropy(p), rel=1e-3)
    g = p - np.eye(3)[data.tensors[1].numpy()]
    for c in range(3):
        rows = np.flatnonzero(data.tensors[1].numpy() == c)
        distances = np.linalg.norm(g[rows, None] - g[None, rows], axis=2)
        medoid = rows[distances.sum(axis=0).argmin()]
        assert examples.ranks[medoid] == 0  # the first pick of facility location is the medoid
    again = analysis.Examples.load(examples.save(tmp_path / "examples.npz"))
    assert all(np.array_equal(getattr(again, name), getattr(examples, name)) for name in ("labels", "ranks"))
    (tmp_path / "examples.npz").write_bytes(b"PK no")
    with pytest.raises(ValueError, match="holds no examples"):
        analysis.Examples.load(tmp_path / "examples.npz")
