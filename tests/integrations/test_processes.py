"""Every trainer, in one process and in two, sees the plain loop's batches; killed, it ends as if it had not been."""

import itertools

import numpy as np
import pytest
import torch
from tests.integrations import trainings
from tests.integrations.forked import POINTS, run
from tests.integrations.trainings import TRAINERS, X, make_loader, make_model

# Imported here, and inherited by every process that is forked: this takes longer than the training.
PACKAGES = {
    "accelerate": "accelerate",
    "fabric": "lightning_fabric",
    "lightning": "lightning.pytorch",
    "hugging_face": "transformers.trainer",
}
MEASURED: dict = {}
DAILY = [(name, 1, "in an epoch") for name in TRAINERS]


@pytest.fixture(scope="module", autouse=True)
def _kernels():
    """Compiled code is loaded once, before anything is forked."""
    model = make_model()
    next(iter(make_loader(model)))


def undisturbed(tmp_path_factory, name, size):
    """What a training sees and ends with; each is run once."""
    if (name, size) not in MEASURED:
        pytest.importorskip(PACKAGES.get(name, "torch"))
        MEASURED[name, size] = run(size, TRAINERS[name], tmp_path_factory.mktemp(name))
    return MEASURED[name, size]


def step_of(shares):
    """The examples of a step, over all processes, with their part in its mean."""
    parts = [
        (int((row == X).all(1).nonzero()), w / (len(shares) * len(weights)))
        for inputs, weights in shares
        for row, w in zip(inputs, weights.tolist(), strict=True)
        if w
    ]
    return sorted(parts)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_sees_the_batches_and_weights_of_the_plain_loop(tmp_path_factory, name, size):
    (plain,) = undisturbed(tmp_path_factory, "plain", 1)
    results = undisturbed(tmp_path_factory, name, size)
    assert [len(result["seen"]) for result in results] == [len(plain["seen"])] * size == [16] * size
    for batch, *shares in zip(plain["seen"], *(result["seen"] for result in results), strict=True):
        expected, got = step_of([batch]), step_of(shares)
        assert [position for position, _ in got] == [position for position, _ in expected]
        np.testing.assert_allclose([w for _, w in got], [w for _, w in expected], rtol=1e-6)
    for result in results:
        for here, there in zip(result["weights"], plain["weights"], strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=1e-5 if size > 1 else 0)


@pytest.mark.parametrize(
    ("name", "size", "point"),
    [
        pytest.param(*case, marks=() if case in DAILY else pytest.mark.slow)
        for case in itertools.product(TRAINERS, (1, 2), POINTS)
    ],
)
def test_a_training_that_was_killed_ends_as_the_undisturbed_one(tmp_path_factory, tmp_path, name, size, point):
    expected = undisturbed(tmp_path_factory, name, size)
    run(size, TRAINERS[name], tmp_path, kill_at=point)
    resumed = run(size, TRAINERS[name], tmp_path)
    for result, whole in zip(resumed, expected, strict=True):
        assert 0 < len(result["seen"]) < len(whole["seen"])  # it did go on, and did not begin anew
        for here, there in zip(result["weights"], whole["weights"], strict=True):
            assert torch.equal(here, there)


@pytest.mark.parametrize(
    ("name", "function", "more"),
    [
        ("accelerate", trainings.accelerate_with_workers, ()),
        pytest.param("hugging_face", trainings.hugging_face, (1, 13, 2), marks=pytest.mark.slow),
    ],
)
def test_batches_that_workers_fetched_ahead_are_not_taken_for_trained_on(
    tmp_path_factory, tmp_path, name, function, more
):
    (expected,) = undisturbed(tmp_path_factory, name, 1)
    run(1, function, tmp_path, *more, kill_at="in an epoch")
    (resumed,) = run(1, function, tmp_path, *more)
    assert 0 < len(resumed["seen"]) < len(expected["seen"])
    assert all(map(torch.equal, resumed["weights"], expected["weights"]))


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_of_different_sizes_step_as_one_batch(tmp_path, size):
    """15 examples in steps of 4: the last step has 3, of which its second micro-batch has one, in all processes."""
    pytest.importorskip("transformers.trainer")
    (whole,) = run(1, trainings.hugging_face, tmp_path / "whole", 1, 15)
    for result in run(size, trainings.hugging_face, tmp_path / "parts", 2, 15):
        for here, there in zip(result["weights"], whole["weights"], strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=1e-6)
