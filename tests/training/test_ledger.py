"""The ledger adds up."""

import time

import numpy as np
import pytest
import torch

from adacore.training.ledger import Ledger


def slow_failure():
    time.sleep(0.01)
    time.sleep(-1)


def test_seconds_are_added_to_their_part_even_when_an_error_ends_it():
    ledger = Ledger(3)
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"), ledger.measure("probing"):
            slow_failure()
    assert 0.02 <= ledger.seconds["probing"] < 1
    assert ledger.seconds["selecting"] == ledger.seconds["training"] == 0
    assert ledger.total_seconds == ledger.seconds["probing"]


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="did you mean 'probing'"), Ledger(3).measure("probin"):
        pass


def test_examples_are_counted_as_often_as_they_are_stepped_on_and_seen_once():
    ledger = Ledger(4)
    ledger.step(np.array([0, 1]))
    ledger.step(np.array([1, 1]))
    assert ledger.gradient_evaluations == 4
    assert ledger.fraction_seen == 0.5


def test_it_survives_a_checkpoint(tmp_path):
    ledger = Ledger(4)
    ledger.step(np.array([0, 3]))
    ledger.probed_examples = 8
    with ledger.measure("training"):
        pass
    torch.save(ledger.state_dict(), tmp_path / "state.pt")
    other = Ledger(4)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.seconds == ledger.seconds
    assert (other.gradient_evaluations, other.probed_examples, other.fraction_seen) == (2, 8, 0.5)
    other.step(np.array([1]))
    assert ledger.fraction_seen == 0.5  # the state is a copy
    with pytest.raises(ValueError, match="4 examples, this data set has 5"):
        Ledger(5).load_state_dict(ledger.state_dict())


def test_printing_it_says_where_the_time_went_and_how_much_was_seen():
    ledger = Ledger(4)
    ledger.step(np.array([0, 3]))
    ledger.seconds.update(probing=1.25, training=2.5)
    text = str(ledger)
    assert "probing 1.2" in text
    assert "training 2.5" in text
    assert "2 gradient evaluations" in text
    assert "50.0 % of 4 seen" in text
