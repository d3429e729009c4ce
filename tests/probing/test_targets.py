"""Targets that do not fit are named, with a remedy."""

import pytest
import torch
from torch import nn

from adacore.probing.losses import per_example
from adacore.probing.targets import check_targets

BATCH = 7


@pytest.mark.parametrize(
    ("criterion", "width", "targets", "message"),
    [
        (None, 3, torch.tensor([0, 1, 2, 3, 0, 0, 0]), r"example 13 has label 3, the model gives 3 logits"),
        (None, 3, torch.tensor([0, -1, 2, 3, 0, 0, 0]), r"example 11 has label -1"),
        (None, 3, torch.zeros(BATCH), "float32.*int64.*MSELoss"),
        (None, 3, torch.zeros(BATCH, 2), "float32"),
        (None, 3, torch.zeros(BATCH, 1, dtype=torch.int64), r"shape \(7, 1\)"),
        (None, 1, torch.zeros(BATCH, dtype=torch.int64), "one logit.*BCEWithLogitsLoss"),
        (nn.CrossEntropyLoss(torch.ones(5)), 3, torch.zeros(BATCH).long(), "5 class weights, the model 3 logits"),
        (nn.MSELoss(), 2, torch.zeros(BATCH), "match one to one"),
        (nn.BCEWithLogitsLoss(), 2, torch.zeros(BATCH), "match one to one"),
        (None, 3, torch.zeros(3, dtype=torch.int64), "7 rows of logits"),
    ],
)
def test_targets_that_do_not_fit_are_refused(criterion, width, targets, message):
    with pytest.raises(ValueError, match=message):
        check_targets(per_example(criterion), torch.zeros(BATCH, width), targets, first=10)
