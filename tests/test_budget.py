"""Budgets: from fractions, and shared among classes by largest remainders."""

import time
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import adacore
from adacore.budget import resolve_budget, split_budget
from adacore.probing.snapshot import Snapshot


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True))
def test_a_fraction_is_rounded_and_never_gives_nothing(n, fraction):
    assert resolve_budget(n, fraction=fraction) == max(1, round(fraction * n))
    assert 1 <= resolve_budget(n, fraction=fraction) <= n


@pytest.mark.parametrize("budget", [3, np.int64(3), np.int32(3)])
def test_a_budget_may_be_any_whole_number(budget):
    assert resolve_budget(5, budget=budget) == 3
    assert isinstance(resolve_budget(5, budget=budget), int)


@pytest.mark.parametrize("fraction", [0.5, np.float32(0.5), 1, Fraction(1, 2)])
def test_a_fraction_may_be_any_real_number(fraction):
    assert resolve_budget(4, fraction=fraction) in {2, 4}


@pytest.mark.parametrize(
    ("n", "sizes", "error", "message"),
    [
        (0, {"budget": 1}, ValueError, "there are no examples"),
        (5, {}, ValueError, "no size given"),
        (5, {"budget": 1, "fraction": 0.5}, ValueError, "two sizes given"),
        (5, {"budget": 0}, ValueError, r"budget=0 is outside \[1, 5\]"),
        (5, {"budget": 6}, ValueError, r"budget=6 is outside \[1, 5\]"),
        (5, {"budget": -1}, ValueError, "budget=-1"),
        (5, {"budget": 2.0}, TypeError, r"budget=2\.0 is not a whole number"),
        (5, {"budget": True}, TypeError, "budget=True is not a whole number"),
        (5, {"budget": "2"}, TypeError, "budget='2' is not a whole number"),
        (5, {"fraction": 0.0}, ValueError, r"fraction=0\.0 is outside \(0, 1\]"),
        (5, {"fraction": 1.01}, ValueError, r"fraction=1\.01 is outside"),
        (5, {"fraction": float("nan")}, ValueError, "fraction=nan is outside"),
        (5, {"fraction": "0.1"}, TypeError, "fraction='0.1' is not a number"),
        (5, {"fraction": True}, TypeError, "fraction=True is not a number"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(n, sizes, error, message):
    with pytest.raises(error, match=message):
        resolve_budget(n, **sizes)


def largest_remainders(counts, budget):
    """Whole shares first; one to every class that has examples but no share; the rest by largest remainder."""
    total = sum(counts)
    due = [Fraction(min(budget, total) * count, total) for count in counts]
    shares = [max(int(share), int(count > 0)) for share, count in zip(due, counts, strict=True)]
    raised = [int(share) == 0 for share in due]
    missing = min(budget, total) - sum(shares)
    order = sorted((c for c in range(len(counts)) if not raised[c]), key=lambda c: (-(due[c] - int(due[c])), c))
    for c in order[: max(missing, 0)]:
        shares[c] += 1
    return shares, missing


counts_and_budget = st.lists(st.integers(0, 30), min_size=1, max_size=8).flatmap(
    lambda counts: st.tuples(st.just(counts), st.integers(1, max(sum(counts), 1) + 3))
)


@given(counts_and_budget)
def test_shares_are_fair(given_):
    counts, budget = given_
    filled = sum(count > 0 for count in counts)
    assume(budget >= filled > 0)
    shares = split_budget(np.array(counts), budget)
    assert shares.sum() == min(budget, sum(counts))
    for share, count in zip(shares, counts, strict=True):
        assert (share >= 1) == (count > 0)
        assert share <= count
    for one, share_of_one in zip(counts, shares, strict=True):
        for other, share_of_other in zip(counts, shares, strict=True):
            if one > other:
                assert share_of_one >= share_of_other


@given(counts_and_budget)
def test_shares_are_those_of_largest_remainders(given_):
    counts, budget = given_
    assume(budget >= sum(count > 0 for count in counts) > 0)
    expected, missing = largest_remainders(counts, budget)
    shares = split_budget(np.array(counts), budget).tolist()
    if missing >= 0:
        assert shares == expected
    else:  # small classes raised to one took from large ones, which none gave more than it had to
        lost = [e - s for e, s in zip(expected, shares, strict=True)]
        assert all(loss >= 0 for loss in lost)
        assert sum(lost) == -missing


def test_ties_go_to_the_lower_class():
    assert split_budget(np.array([5, 5, 5, 5]), 6).tolist() == [2, 2, 1, 1]


def test_the_paper_sized_case_without_rounding_errors():
    counts = np.array([6_000_000_000, 3_000_000_000, 1_000_000_000])
    assert split_budget(counts, 1_000_000_007).sum() == 1_000_000_007


@pytest.mark.parametrize(("counts", "budget"), [([1, 1, 1], 2), ([5, 0, 5], 1)])
def test_a_budget_below_the_number_of_classes_is_refused(counts, budget):
    with pytest.raises(ValueError, match="every class needs at least one; raise the budget"):
        split_budget(np.array(counts), budget)


@pytest.mark.parametrize("large", [False, True])
def test_a_hundred_thousand_classes_take_a_moment(large):
    counts = np.random.default_rng(0).integers(1, 5, 100_000) + (np.arange(100_000) == 7) * 10**7 * large
    start = time.process_time()
    shares = split_budget(counts, 120_000)
    assert time.process_time() - start < 5  # a loop over all classes for each pick would take minutes
    assert shares.sum() == 120_000


@given(counts_and_budget, st.integers(0, 2**32 - 1))
def test_what_a_stratum_cannot_take_goes_to_the_others(given_, seed):
    counts, budget = np.array(given_[0]), given_[1]
    available = np.random.default_rng(seed).integers(0, counts + 1)
    assume(budget >= (available > 0).sum() > 0)
    shares = split_budget(counts, budget, available=available)
    assert shares.sum() == min(budget, available.sum())
    assert (shares <= available).all()
    assert (shares >= (available > 0)).all()


# Ten rows, two distinct ones in each of two classes: four picks serve all at distance 0, whatever is asked for.
COPIES = np.repeat([[0.0, 1.0], [4.0, 1.0], [0.0, 7.0], [9.0, 2.0]], [4, 1, 3, 2], axis=0)
KINDS = np.repeat([0, 1], 5)


def select(selector, budget):
    data = TensorDataset(torch.tensor(COPIES, dtype=torch.float32), torch.tensor(KINDS))
    return adacore.select(torch.nn.Linear(2, 2), data, selector, budget=budget)


def load(budget):
    data = TensorDataset(torch.tensor(COPIES, dtype=torch.float32), torch.tensor(KINDS))
    model = torch.nn.Linear(2, 2)
    next(iter(adacore.CoresetLoader(data, model, adacore.AdaCore(), fraction=budget / 10, batch_size=2)))


WAYS = {
    "rows": lambda k: adacore.facility_location(COPIES, budget=k),
    "strata": lambda k: adacore.facility_location(COPIES, budget=k, labels=KINDS),
    "quotas": lambda k: adacore.facility_location(COPIES, labels=KINDS, quotas={0: k // 2, 1: k - k // 2}),
    "stochastic": lambda k: adacore.facility_location(COPIES, fraction=k / 10, method="stochastic", seed=0),
    "refined": lambda k: adacore.facility_location(COPIES, budget=k, refine=True),
    "k-center": lambda k: adacore.k_center(COPIES, budget=k),
    "select": lambda k: select(adacore.AdaCore(), k),
    "select by k-center": lambda k: select(adacore.KCenter(), k),
    "select, not per class": lambda k: select(adacore.Whole(adacore.FacilityLocation(points="gradients")), k),
    "loader": load,
    "labelling": lambda k: adacore.labelling.Rounds(10).choose(COPIES, budget=k),
}


def warnings_of(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(warning.message) for warning in caught if "were asked for" in str(warning.message)]


@pytest.mark.parametrize("way", WAYS)
def test_whoever_gets_fewer_than_half_is_warned_once(way):
    (told,) = warnings_of(lambda: WAYS[way](9))
    assert "selected 4 examples where 9 were asked for: " in told
    assert "ask for fewer" in told
    assert not warnings_of(lambda: WAYS[way](8))


@pytest.mark.parametrize("choose", [adacore.facility_location, adacore.k_center])
def test_a_warning_names_the_line_that_asked(choose):
    with pytest.warns(UserWarning, match="were asked for") as caught:
        choose(COPIES, budget=9)
    assert caught[0].filename == __file__


def test_a_tolerance_asks_for_no_number():
    assert not warnings_of(lambda: adacore.facility_location(COPIES, tolerance=0.0))
    assert not warnings_of(lambda: adacore.facility_location(COPIES, tolerance=30.0, labels=KINDS))


def test_a_class_of_copies_is_no_cause_for_alarm_where_all_classes_together_hold_enough():
    x = np.concatenate([np.zeros((10, 2)), np.arange(60.0).reshape(30, 2)])
    kinds = np.repeat([0, 1], [10, 30])
    assert not warnings_of(lambda: adacore.facility_location(x, budget=20, labels=kinds))
    snapshot = Snapshot(40, proxies=x.astype(np.float32), strata=kinds)
    selector = adacore.PerClass(adacore.CRAIG())
    assert not warnings_of(lambda: selector.select(snapshot, 20, generator=np.random.default_rng(0)))
