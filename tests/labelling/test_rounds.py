import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import adacore
from adacore.labelling.rounds import Rounds

POOL = np.random.default_rng(0).normal(size=(40, 3))


def test_rounds_choose_what_one_selection_with_initial_rows_chooses():
    rounds = Rounds(40)
    first = rounds.choose(POOL, budget=5)
    rounds.label(dict.fromkeys(first.tolist(), 1))
    second = rounds.choose(POOL, budget=5)
    assert second.tolist() == adacore.facility_location(POOL, budget=5, initial=first).indices.tolist()
    assert not set(first.tolist()) & set(second.tolist())


def test_without_swaps_two_rounds_choose_what_one_round_of_both_budgets_chooses():
    rounds = Rounds(40)
    rounds.label(dict.fromkeys(rounds.choose(POOL, budget=4, refine=False).tolist(), "a"))
    both = [*rounds.labelled.tolist(), *rounds.choose(POOL, budget=6).tolist()]
    assert both == adacore.facility_location(POOL, budget=10).indices.tolist()


def test_a_small_first_round_is_improved_by_swaps(monkeypatch):
    refined = adacore.facility_location(POOL, budget=9, refine=True).indices.tolist()
    greedy = adacore.facility_location(POOL, budget=9).indices.tolist()
    assert refined != greedy
    assert Rounds(40).choose(POOL, budget=9).tolist() == refined
    for settings in ({"refine": False}, {"method": "sampled", "seed": 0}):
        assert Rounds(40).choose(POOL, budget=9, **settings).tolist() == greedy
    monkeypatch.setattr("adacore.labelling.first_round.REFINED_PICKS", 5)
    assert Rounds(40).choose(POOL, budget=9).tolist() == greedy


def test_excluded_rows_are_never_chosen():
    excluded = np.arange(0, 40, 2)
    picks = Rounds(40).choose(POOL, budget=20, exclude=excluded)
    assert not set(picks.tolist()) & set(excluded.tolist())
    mask = np.zeros(40, bool)
    mask[excluded] = True
    assert Rounds(40).choose(POOL, budget=20, exclude=mask).tolist() == picks.tolist()


def test_weights_count_the_rows_nearest_to_each_labelled_row():
    rounds = Rounds(40)
    rounds.label([0] * len(rounds.choose(POOL, budget=7)))
    distances = np.linalg.norm(POOL[:, None] - POOL[rounds.labelled], axis=2)
    assert rounds.weights(POOL).tolist() == np.bincount(distances.argmin(1), minlength=7).tolist()


@pytest.mark.parametrize("label", [1, 1.5, "cat", True, np.int64(3), np.str_("dog")])
def test_what_was_saved_is_what_goes_on(tmp_path, label):
    rounds = Rounds(40)
    rounds.label([label] * len(rounds.choose(POOL, budget=3)))
    rounds.choose(POOL, budget=2)
    rounds.save(tmp_path / "rounds.json")
    loaded = Rounds.load(tmp_path / "rounds.json")
    assert loaded == rounds
    assert loaded.choose(POOL, budget=6).tolist() == rounds.choose(POOL, budget=6).tolist()


def test_later_rounds_choose_by_the_model_among_the_unlabelled():
    data = TensorDataset(torch.tensor(POOL, dtype=torch.float32), torch.zeros(40, dtype=torch.int64))
    model = nn.Linear(3, 4)
    rounds = Rounds(40)
    first = rounds.choose(POOL, budget=5)
    rounds.label([0] * 5)
    for selector in (adacore.Margin(), adacore.AdaCore(targets="predicted")):
        picks = rounds.choose_by_model(model, data, selector, budget=6)
        assert len(picks) == 6
        assert not set(picks.tolist()) & set(first.tolist())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda r: r.choose(POOL[:10], budget=2), r"expected \(40, d\)"),
        (lambda r: r.choose(POOL, budget=41), r"40 of 40 rows may be chosen"),
        (lambda r: r.choose(POOL, budget=0), r"pass a number in \[1, 40\]"),
        (lambda r: r.choose(POOL, budget=2, exclude=[40]), r"in \[0, 40\)"),
        (lambda r: r.choose(POOL, budget=2, exclude=np.ones(3, bool)), "mask of shape"),
        (lambda r: r.label({40: 1}), r"in \[0, 40\)"),
        (lambda r: r.label({1.5: 1}), "whole number"),
        (lambda r: r.label([1, 2]), "2 labels for 0 pending rows"),
        (lambda r: r.label({0: [1, 2]}), "expected a number or a text"),
        (lambda r: r.weights(POOL), "nothing is labelled"),
    ],
)
def test_mistakes_are_one_sentence(act, message):
    with pytest.raises(ValueError, match=message):
        act(Rounds(40))


def test_a_row_is_labelled_once():
    rounds = Rounds(3)
    rounds.label({1: "a"})
    with pytest.raises(ValueError, match="row 1 is labelled already"):
        rounds.label({1: "b"})


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"version": 9}), json.dumps({"version": 1, "n": 3})])
def test_a_damaged_state_is_refused(tmp_path, content):
    (tmp_path / "rounds.json").write_text(content)
    with pytest.raises(ValueError, match=r"Rounds"):
        Rounds.load(tmp_path / "rounds.json")
