"""Selecting once and again: schedule, averages, seeds, and errors before any work."""

import random
import time
import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import adacore
from adacore.coreset import Coreset
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements
from adacore.selectors import Full, Random, Traits
from adacore.training.reselector import Reselector
from adacore.training.schedule import Schedule
from adacore.training.single_selection import select

N, CLASSES = 40, 4
LOGITS = Requirements(proxy="logits")


@dataclass(frozen=True)
class Largest:
    """The examples with the largest gradients; keeps what it was shown."""

    needs: Requirements = LOGITS
    seen: list = field(default_factory=list)

    name: ClassVar[str] = "largest"
    traits: ClassVar[Traits] = Traits(objective=False)
    per: ClassVar[str] = "data"

    def requirements(self):
        return self.needs

    def select(self, snapshot, budget, *, generator):
        self.seen.append(snapshot)
        size = np.zeros(snapshot.n) if snapshot.proxies is None else np.abs(snapshot.proxies).sum(1)
        return Coreset(np.argsort(-size, kind="stable")[:budget], np.full(budget, snapshot.n / budget), snapshot.n)


@dataclass(frozen=True)
class LargestOfEachClass(Largest):
    name: ClassVar[str] = "largest of each class"
    per: ClassVar[str] = "class"


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(N, 3, generator=generator), torch.arange(N) % CLASSES)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(3, CLASSES)


def test_select_is_what_the_selector_makes_of_the_snapshot(model, data):
    coreset = select(model, data, Largest(), fraction=0.1)
    proxies = Probe().measure(model, data, Requirements(proxy="logits")).proxies
    assert set(coreset.indices) == set(np.argsort(-np.abs(proxies).sum(1), kind="stable")[:4])


def test_per_class_selectors_choose_within_the_classes(model, data):
    coreset = select(model, data, LargestOfEachClass(), budget=8)
    np.testing.assert_array_equal(np.bincount(coreset.indices % CLASSES), [2, 2, 2, 2])
    halves = select(model, data, LargestOfEachClass(), budget=8, labels=np.arange(N) // 20)
    np.testing.assert_array_equal(np.bincount(halves.indices // 20), [4, 4])


def test_regression_chooses_among_all(model, data):
    regression = TensorDataset(data.tensors[0], torch.randn(N, CLASSES))
    assert len(select(model, regression, LargestOfEachClass(), budget=3, probe=Probe(criterion=nn.MSELoss()))) == 3


def test_reselecting_every_r_epochs(model, data):
    reselector = Reselector(model, data, Largest(), budget=4, schedule=Schedule(every=2))
    coresets = [reselector.selection_for(epoch) for epoch in (0, 0, 1, 2, 3, 4)]
    assert coresets[0] is coresets[1] is coresets[2]
    assert coresets[3] is coresets[4]
    assert reselector.reselections == 3
    assert reselector.ledger.probed_examples == 3 * N


def test_random_draws_a_fresh_subset_at_each_reselection_and_never_runs_the_model(data):
    def explode(_model, _inputs):
        raise AssertionError

    reselector = Reselector(nn.Linear(1, 1), data, Random(), budget=8, probe=Probe(forward=explode))
    first, second = reselector.selection_for(0), reselector.selection_for(1)
    assert set(first.indices) != set(second.indices)
    np.testing.assert_array_equal(np.bincount(first.indices % CLASSES), [2, 2, 2, 2])
    assert reselector.ledger.probed_examples == 0


@pytest.mark.parametrize("on", ["full", "random"])
def test_a_warm_start_does_without_the_selector(model, data, on):
    selector = Largest()
    reselector = Reselector(model, data, selector, budget=4, schedule=Schedule(2, 2, on))
    sizes = [len(reselector.selection_for(epoch)) for epoch in range(3)]
    assert sizes == ([N, N, 4] if on == "full" else [4, 4, 4])
    assert len(selector.seen) == 1
    assert reselector.reselections == (2 if on == "full" else 3)


def test_selectors_are_shown_the_averages(model, data):
    needs = Requirements("logits", Curvature(scope="example"), beta1=0.5, beta2=0.5)
    reselector = Reselector(model, data, Largest(needs), budget=4)
    g = []
    for epoch in range(2):
        g.append(Probe().measure(model, data, needs).proxies)
        reselector.selection_for(epoch)
        nn.init.normal_(model.weight)
    np.testing.assert_allclose(reselector.selector.seen[1].proxies, (0.5 * g[0] + g[1]) / 1.5, rtol=1e-5, atol=1e-7)


def test_blocks_differ_between_reselections(model, data):
    needs = Requirements("logits", Curvature(block_size=8))
    reselector = Reselector(model, data, Largest(needs), budget=4)
    for epoch in range(2):
        reselector.selection_for(epoch)
    first, second = reselector.selector.seen
    assert not np.array_equal(first.curvature, second.curvature)


def test_a_restored_reselector_goes_on_as_if_nothing_had_happened(model, data, tmp_path):
    needs = Requirements("logits", Curvature(block_size=8), beta1=0.9, beta2=0.99)

    def make():
        return Reselector(model, data, Largest(needs), budget=4, schedule=Schedule(every=2), seed=3)

    one = make()
    one.selection_for(0)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other = make()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert not other.is_due(1)
    np.testing.assert_array_equal(other.coreset.indices, one.coreset.indices)
    np.testing.assert_array_equal(other.selection_for(2).indices, one.selection_for(2).indices)
    np.testing.assert_array_equal(other.selector.seen[-1].curvature, one.selector.seen[-1].curvature)
    with pytest.raises(ValueError, match=r"budget=4, population=40.* this loader has .*population=3"):
        Reselector(model, TensorDataset(torch.ones(3, 3)), Random(), budget=1).load_state_dict(one.state_dict())


class Augmented(Dataset):
    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return N

    def __getitem__(self, index):
        x, y = self.inner[index]
        return x * random.choice([-1, 1]), y


def test_augmentation_is_warned_of_once(model, data):
    reselector = Reselector(model, Augmented(data), Largest(), budget=4)
    state = random.getstate()
    with pytest.warns(UserWarning, match="probe_dataset=") as caught:
        [reselector.selection_for(epoch) for epoch in range(3)]
    assert len(caught) == 1
    assert random.getstate() == state


def test_a_probe_dataset_silences_it_and_is_what_is_probed(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = select(model, data, Largest(), budget=4)
        clean = select(model, Augmented(data), Largest(), budget=4, probe_dataset=data)
        select(model, Augmented(data), Random(), budget=4)
    np.testing.assert_array_equal(plain.indices, clean.indices)


def test_validation_reaches_the_selector(model, data):
    selector = Largest(Requirements("logits", validation=True))
    select(model, data, selector, budget=4, validation=TensorDataset(torch.randn(7, 3), torch.zeros(7).long()))
    assert selector.seen[0].validation.proxies.shape == (7, CLASSES)


def test_forgetting_events_reach_the_selector(model, data):
    selector = Largest(Requirements(forgetting=True))
    reselector = Reselector(model, data, selector, budget=4)
    reselector.selection_for(0)
    reselector.forgetting.events += np.arange(N)
    reselector.selection_for(1)
    np.testing.assert_array_equal(selector.seen[0].forgetting, np.zeros(N))
    np.testing.assert_array_equal(selector.seen[1].forgetting, np.arange(N))


@pytest.mark.parametrize(
    ("selector", "settings", "error", "message"),
    [
        (Largest(), {}, ValueError, "no size given"),
        (Largest(), {"budget": 4, "fraction": 0.1}, ValueError, "two sizes given"),
        (Largest(), {"budget": 41}, ValueError, r"outside \[1, 40\]"),
        (Largest(), {"fraction": 0.0}, ValueError, r"outside \(0, 1\]"),
        (Largest(), {"budget": 4, "labels": [1, 2]}, ValueError, r"expected \(40,\)"),
        (LargestOfEachClass(), {"budget": 3}, ValueError, "below the number of classes"),
        (LargestOfEachClass(), {"budget": 3, "labels": np.arange(N) % 5}, ValueError, "below the number of classes"),
        (Largest(Requirements(validation=True)), {"budget": 4}, ValueError, "largest needs validation data"),
        (Random, {"budget": 4}, TypeError, r"pass an instance, Random\(\)"),
        ("adacore", {"budget": 4}, TypeError, "no selector"),
        (Largest(), {"budget": 4, "seed": -1}, ValueError, "seed=-1"),
        (Largest(), {"budget": 4, "seed": 0.5}, TypeError, "seed=0.5"),
        (Largest(), {"budget": 4, "probe_dataset": TensorDataset(torch.ones(3, 3))}, ValueError, "3 examples"),
    ],
)
def test_errors_come_before_the_model_is_run(data, selector, settings, error, message):
    def explode(_model, _inputs):
        raise AssertionError

    with pytest.raises(error, match=message):
        select(nn.Linear(3, CLASSES), data, selector, probe=Probe(forward=explode), **settings)


def test_a_selector_that_chooses_nothing_is_an_error(model, data):
    @dataclass(frozen=True)
    class Nothing(Largest):
        def select(self, snapshot, budget, *, generator):
            return Coreset(np.array([], int), np.array([]), snapshot.n)

    with pytest.raises(ValueError, match="selected nothing"):
        select(model, data, Nothing(), budget=4)


def test_full_takes_everything_at_no_cost(model, data):
    coreset = select(model, data, Full(), budget=1)
    np.testing.assert_array_equal(coreset.indices, np.arange(N))


def test_adacore_selects_by_preconditioned_gradients(model, data):
    """The whole way of the data, against its steps taken one by one."""
    if not hasattr(adacore, "AdaCore"):
        pytest.skip("AdaCore is not there")
    coreset = select(model, data, adacore.AdaCore(), budget=8)
    assert len(coreset) == 8
    assert coreset.weights.sum() == pytest.approx(N)
    np.testing.assert_array_equal(np.bincount(coreset.indices % CLASSES), [2, 2, 2, 2])
    np.testing.assert_array_equal(coreset.indices, select(model, data, adacore.AdaCore(), budget=8).indices)


@pytest.mark.parametrize(
    ("selector", "batches", "prepared"),
    [
        (adacore.Stratified(), "weighted", 1),
        (adacore.CRAIG(), "stratified", 1),
        (adacore.CRAIG(), "weighted", 0),
        (adacore.Stratified(), None, 0),
    ],
)
def test_compiling_is_not_booked_as_selecting(monkeypatch, model, data, selector, batches, prepared):
    """The first run on a machine compiles for half a minute; a comparison of costs would count it as the method's."""
    calls = []

    def slow(selector):
        calls.append(selector)
        time.sleep(2)

    Reselector(model, data, selector, budget=8, batches=batches).selection_for(0)  # whatever is compiled is, after this
    monkeypatch.setattr("adacore.training.reselector.prepare_strata", slow)
    reselector = Reselector(model, data, selector, budget=8, schedule=Schedule(1), batches=batches)
    for epoch in range(3):
        reselector.selection_for(epoch)
    assert calls == [selector] * prepared
    assert reselector.ledger.seconds["selecting"] < 2
