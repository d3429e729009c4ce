"""Forgetting events as Toneva et al. count them."""

import numpy as np
import pytest
import torch

from adacore.training.forgetting import ForgettingCounts


def present(counts, index, *, right):
    counts.observe(torch.tensor([index]), torch.tensor([[0.0, 1.0 if right else -1.0]]), torch.tensor([1]))


def test_an_event_is_right_and_then_wrong():
    counts = ForgettingCounts(3)
    for right in (False, True, True, False, False, True, False):
        present(counts, 1, right=right)
    np.testing.assert_array_equal(counts.events, [0, 2, 0])


def test_one_logit_stands_for_two_classes():
    counts = ForgettingCounts(2)
    counts.observe(torch.tensor([0, 1]), torch.tensor([1.0, -1.0]), torch.tensor([1.0, 0.0]))
    counts.observe(torch.tensor([0, 1]), torch.tensor([[-1.0], [-1.0]]), torch.tensor([[1.0], [0.0]]))
    np.testing.assert_array_equal(counts.events, [1, 0])


def test_another_batch_is_refused():
    with pytest.raises(ValueError, match="once for each batch"):
        ForgettingCounts(3).observe(torch.tensor([0, 1]), torch.zeros(3, 2), torch.zeros(3).long())


def test_it_survives_a_checkpoint():
    counts, other = ForgettingCounts(2), ForgettingCounts(2)
    present(counts, 0, right=True)
    other.load_state_dict(counts.state_dict())
    present(other, 0, right=False)
    np.testing.assert_array_equal(other.events, [1, 0])
    np.testing.assert_array_equal(counts.events, [0, 0])


def test_what_was_never_learnt_ranks_before_what_was_forgotten_and_what_was_never_presented_last():
    counts = ForgettingCounts(4)
    for right in (True, False, True, False):
        present(counts, 0, right=right)  # forgotten twice
    for _ in range(3):
        present(counts, 1, right=False)  # never learnt
    present(counts, 2, right=True)  # never forgotten
    np.testing.assert_array_equal(counts.events, [2, 0, 0, 0])
    np.testing.assert_array_equal(counts.scores, [2, 3, 0, 0])
    again = ForgettingCounts(4)
    again.load_state_dict(counts.state_dict())
    np.testing.assert_array_equal(again.scores, counts.scores)
    present(again, 1, right=True)  # learnt after all
    np.testing.assert_array_equal(again.scores, [2, 0, 0, 0])
