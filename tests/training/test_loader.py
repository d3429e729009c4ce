"""CoresetLoader: a DataLoader in every respect, and one that can be stopped anywhere."""

import io
import random
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import adacore
from adacore import CoresetLoader, Full, Random
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements
from adacore.selectors import Traits

N, CLASSES = 60, 3
X = torch.arange(N, dtype=torch.float32).unsqueeze(1).repeat(1, 2)  # an example's input tells its position
Y = torch.arange(N) % CLASSES


@dataclass(frozen=True)
class Surest:
    """Needs the model, so that a reselection shows in what was probed; weights 1, 2, 3, ..."""

    name: ClassVar[str] = "surest"
    traits: ClassVar[Traits] = Traits(objective=False)
    per: ClassVar[str] = "data"

    def requirements(self):
        return Requirements(losses=True, forgetting=True)

    def select(self, snapshot, budget, *, generator):
        return Coreset(np.argsort(snapshot.losses)[:budget], np.arange(1.0, budget + 1), snapshot.n)


class Plain(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return X[index], Y[index]


class Dicts(Plain):
    def __getitem__(self, index):
        return {"input": X[index], "label": int(Y[index])}


def make_loader(dataset=None, *, selector=None, budget=21, batch_size=4, **settings):
    torch.manual_seed(0)
    model = settings.pop("model", None) or nn.Linear(2, CLASSES)
    dataset = TensorDataset(X, Y) if dataset is None else dataset
    return CoresetLoader(dataset, model, selector or Surest(), budget=budget, batch_size=batch_size, **settings)


KINDS = {
    "in memory": lambda **s: make_loader(**s),
    "subset": lambda **s: make_loader(Subset(TensorDataset(X, Y), range(N)), **s),
    "fetched singly": lambda **s: make_loader(Plain(), **s),
    "workers": lambda **s: make_loader(Plain(), num_workers=2, prefetch_factor=3, **s),
    "persistent workers": lambda **s: make_loader(Plain(), num_workers=2, persistent_workers=True, **s),
    "in memory, workers": lambda **s: make_loader(num_workers=2, **s),
}


@pytest.fixture(params=KINDS, ids=KINDS)
def make(request):
    return KINDS[request.param]


def epoch_of(loader):
    return [(x.clone(), y, w, loader.indices.clone()) for x, y, w in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def test_an_epoch_delivers_the_coreset_with_its_weights(make):
    loader = make()
    batches = epoch_of(loader)
    assert [len(x) for x, *_ in batches] == [4, 4, 4, 4, 4, 1]
    x, y, w, indices = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert torch.equal(x, X[indices])
    assert torch.equal(y, Y[indices])
    assert w.dtype == torch.float32
    assert w.mean() == pytest.approx(1)
    gamma = dict(zip(loader.coreset.indices.tolist(), loader.coreset.weights.tolist(), strict=True))
    expected = torch.tensor([gamma[i] for i in indices.tolist()]) / 11
    torch.testing.assert_close(w, expected)


def test_every_kind_delivers_the_same(make):
    expected, loader = make_loader(), make()
    for _ in range(2):
        assert_same(epoch_of(loader), epoch_of(expected))


def test_the_order_changes_from_epoch_to_epoch_but_not_from_run_to_run():
    loader, again, other = make_loader(every=9), make_loader(every=9), make_loader(every=9, seed=1)
    first, second = epoch_of(loader), epoch_of(loader)
    assert not all(torch.equal(a[3], b[3]) for a, b in zip(first, second, strict=True))
    assert_same(first, epoch_of(again))
    assert not all(torch.equal(a[3], b[3]) for a, b in zip(first, epoch_of(other), strict=True))


def test_dict_batches_get_a_key():
    class Named(nn.Linear):
        def forward(self, input):  # noqa: A002
            return super().forward(input)

    for batch in make_loader(Dicts(), model=Named(2, CLASSES)):
        assert batch.keys() == {"input", "label", "weights"}
        assert len(batch["weights"]) == len(batch["label"])


def test_peeking_costs_no_reselection_and_no_epoch(make):
    loader, undisturbed = make(), make()
    for _ in range(3):
        next(iter(loader))
    assert (loader.reselector.reselections, loader.epoch) == (1, 0)
    assert_same(epoch_of(loader), epoch_of(undisturbed))
    next(iter(loader))
    assert_same(epoch_of(loader), epoch_of(undisturbed))
    assert (loader.reselector.reselections, loader.epoch) == (2, 2)


def test_a_loop_that_counts_batches_ends_epochs_too():
    loader, undisturbed = make_loader(), make_loader()
    for epoch in range(3):
        batches = iter(loader)
        assert_same([(*next(batches), loader.indices) for _ in range(len(loader))], epoch_of(undisturbed))
        assert loader.epoch == epoch


def test_reselection_every_r_epochs():
    loader = make_loader(every=2)
    coresets = []
    for _ in range(4):
        list(loader)
        coresets.append(loader.coreset)
    assert coresets[0] is coresets[1]
    assert coresets[2] is coresets[3]
    assert coresets[0] is not coresets[2]
    assert loader.ledger.probed_examples == 2 * N


def test_set_epoch_leaves_an_epoch_early():
    loader, undisturbed = make_loader(selector=Random()), make_loader(selector=Random())
    expected = [epoch_of(undisturbed) for _ in range(3)]
    for epoch in range(3):
        loader.set_epoch(epoch)
        for step, batch in enumerate(loader):
            assert torch.equal(batch[0], expected[epoch][step][0])
            if step == 1:
                break
    with pytest.raises(ValueError, match="epoch=-1"):
        loader.set_epoch(-1)


@pytest.mark.parametrize(
    ("kind", "stop"),
    [*((kind, 3) for kind in KINDS), *(("in memory", stop) for stop in (0, 1, 6)), ("persistent workers", 6)],
)
def test_stopping_in_an_epoch_and_going_on(kind, stop):
    make = KINDS[kind]
    undisturbed, loader = make(every=2), make(every=2)
    expected = [epoch_of(undisturbed) for _ in range(4)]
    epoch_of(loader)
    for step, _ in enumerate(loader, 1):
        if step == stop:
            break
    state = loader.state_dict() if stop else make_state_at_the_start(make)
    other = make(every=2)
    other.load_state_dict(through_a_file(state))
    next(iter(other), None)  # a peek changes nothing, if the epoch has not ended
    if stop < 6:
        assert_same(epoch_of(other), expected[1][stop:])
    assert_same(epoch_of(other), expected[2])
    assert_same(epoch_of(other), expected[3])
    assert other.ledger.gradient_evaluations >= undisturbed.ledger.gradient_evaluations
    np.testing.assert_array_equal(other.ledger.seen, undisturbed.ledger.seen)


def make_state_at_the_start(make):
    loader = make(every=2)
    epoch_of(loader)
    return loader.state_dict()


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_resumed_ledger_counts_as_one_that_was_not_stopped():
    undisturbed, loader, other = make_loader(), make_loader(), make_loader()
    epoch_of(undisturbed)
    for step, _ in enumerate(loader):
        if step == 2:
            break
    other.load_state_dict(loader.state_dict())
    epoch_of(other)
    assert other.ledger.gradient_evaluations == undisturbed.ledger.gradient_evaluations == 21
    assert other.ledger.probed_examples == undisturbed.ledger.probed_examples
    assert other.ledger.fraction_seen == undisturbed.ledger.fraction_seen == 21 / N


def test_states_of_other_loaders_are_refused():
    state = make_loader().state_dict()
    with pytest.raises(ValueError, match="seed=0, this loader has seed=1"):
        make_loader(seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="batch_size=4"):
        make_loader(batch_size=5).load_state_dict(state)
    with pytest.raises(ValueError, match="budget=21, population=60, this loader has budget=2, population=2"):
        make_loader(TensorDataset(X[:2], Y[:2]), budget=2).load_state_dict(state)
    with pytest.raises(ValueError, match="no state of a CoresetLoader"):
        make_loader().load_state_dict({"epoch": 1})


def test_workers_that_augment_are_seeded_by_the_epoch():
    class Augmented(Plain):
        def __getitem__(self, index):
            return X[index] + torch.rand(2), Y[index]

    def run(epochs, state=None):
        loader = make_loader(Augmented(), selector=Random(), num_workers=2)
        if state is not None:
            loader.load_state_dict(state)
        return [epoch_of(loader) for _ in range(epochs)], loader.state_dict()

    whole, _ = run(3)
    (first,), state = run(1)
    (second, third), _ = run(2, state)
    for a, b in zip(whole, [first, second, third], strict=True):
        assert_same(a, b)


def test_no_global_random_stream_is_used(make):
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    loader = make()
    before = torch.get_rng_state()
    epoch_of(loader)
    assert torch.get_rng_state().equal(before)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_settings_of_the_dataloader_are_carried_over():
    generator = torch.Generator()
    loader = make_loader(
        Plain(),
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=5,
        timeout=30,
        generator=generator,
        multiprocessing_context="fork",
        worker_init_fn=print,
    )
    assert isinstance(loader, DataLoader)
    assert loader.num_workers == 2
    assert loader.persistent_workers
    assert loader.prefetch_factor == 5
    assert loader.timeout == 30
    assert loader.generator is generator
    assert loader.multiprocessing_context.get_start_method() == "fork"
    assert loader.worker_init_fn is print


def test_a_collate_fn_is_used_for_training_and_probing(make):
    def collate(examples):
        return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])

    assert_same(epoch_of(make(collate_fn=collate)), epoch_of(make()))


def test_a_collate_fn_that_loses_examples_is_noticed():
    def collate(examples):
        return X[: len(examples) - 1], Y[: len(examples) - 1]

    with pytest.raises(ValueError, match="4 examples came out with 3 rows"):
        next(iter(make_loader(Plain(), selector=Random(), collate_fn=collate, labels=Y)))
    with pytest.raises(ValueError, match="60 examples came out with 59 rows"):
        next(iter(make_loader(Plain(), selector=Random(), collate_fn=collate)))
    with pytest.raises(ValueError, match="16 examples came out with 15 rows"):
        next(iter(make_loader(Plain(), collate_fn=collate)))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"shuffle": True}, ValueError, "shuffle= is not taken"),
        ({"sampler": [1]}, ValueError, "sampler= is not taken"),
        ({"batch_sampler": [[1]]}, ValueError, "set batch_size="),
        ({"num_worker": 2}, ValueError, "did you mean 'num_workers'"),
        ({"in_order": False}, ValueError, "in_order=False is not taken"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": None}, TypeError, "batch_size=None"),
        ({"batch_size": 22, "drop_last": True}, ValueError, "drop_last=True leaves no batch"),
        ({"batch_size": 22, "drop_last": True, "warm_start": 2}, ValueError, "drop_last=True leaves no batch"),
        ({"every": 0}, ValueError, "every=0"),
        ({"budget": 61}, ValueError, r"outside \[1, 60\]"),
        ({"seed": -3}, ValueError, "seed=-3"),
        ({"labels": [0]}, ValueError, "labels have shape"),
        ({"drop_last": "no"}, TypeError, "drop_last='no'"),
        ({"probe": {"batch_size": 4}}, TypeError, "is no Probe: pass"),
        ({"model": "mlp", "selector": adacore.AdaCore()}, TypeError, "is no torch.nn.Module"),
        ({"model": nn.Linear, "selector": adacore.AdaCore()}, TypeError, "is no torch.nn.Module"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, error, message):
    with pytest.raises(error, match=message):
        make_loader(**settings)
    with pytest.raises(TypeError, match=r"epoch=1\.5 is not a whole number"):
        make_loader().set_epoch(1.5)


@pytest.mark.parametrize("drop_last", [False, True])
def test_lengths_are_known_before_anything_is_selected(drop_last):
    loader = make_loader(every=2, warm_start=2, drop_last=drop_last)
    predicted = [len(loader), loader.total_steps(5)]
    counted = []
    for _ in range(5):
        assert len(loader) == (15 if len(counted) < 2 else 5 if drop_last else 6)
        counted.append(len(list(loader)))
    assert predicted == [counted[0], sum(counted)]
    assert len(make_loader(selector=Full())) == 15
    with pytest.raises(ValueError, match="epochs=0"):
        loader.total_steps(0)


def test_forgetting_events_reach_the_selector():
    shown = []

    class Watching(Surest):
        def select(self, snapshot, budget, *, generator):
            shown.append(snapshot.forgetting.copy())
            return super().select(snapshot, budget, generator=generator)

    loader = make_loader(selector=Watching(), every=2, warm_start=1)
    for epoch in range(3):
        for _x, y, _w in loader:
            right = nn.functional.one_hot(y, CLASSES).float()
            loader.observe(right if epoch == 0 else -right, y)
    list(loader)
    assert shown[0].sum() == 0
    assert shown[1].sum() == 21  # everything in the coreset was right in the warm start and wrong once afterwards
    with pytest.raises(ValueError, match="once for each batch"):
        loader.observe(torch.zeros(9, CLASSES), torch.zeros(9).long())


def test_training_seconds_are_those_between_batches():
    loader = make_loader()
    start = time.perf_counter()
    for _ in loader:
        time.sleep(0.01)
    elapsed = time.perf_counter() - start
    seconds = loader.ledger.seconds
    assert seconds["training"] >= 0.06
    assert sum(seconds.values()) <= elapsed
    assert seconds["probing"] > 0
    time.sleep(0.05)  # such as an evaluation between epochs
    next(iter(loader))
    assert loader.ledger.seconds["training"] - seconds["training"] < 0.05


def test_weights_are_never_nan():
    @dataclass(frozen=True)
    class Weightless(Surest):
        def select(self, snapshot, budget, *, generator):
            return Coreset(np.arange(budget), np.zeros(budget), snapshot.n)

    for *_, weights in make_loader(selector=Weightless()):
        assert torch.equal(weights, torch.ones(len(weights)))


def test_forked_workers_survive_a_selection_with_compiled_kernels():
    """Thread pools started by a selection must not be needed by, nor hang, what is forked after it."""
    if not hasattr(adacore, "AdaCore"):
        pytest.skip("AdaCore is not there")
    loader = make_loader(Plain(), selector=adacore.AdaCore(), num_workers=2, multiprocessing_context="fork", timeout=60)
    for _ in range(2):
        assert sum(len(x) for x, *_ in loader) == 21


@dataclass(frozen=True)
class Fewer(Surest):
    """Selects half as many as asked for and one less, as happens where examples are duplicates."""

    def select(self, snapshot, budget, *, generator):
        return super().select(snapshot, (budget - 1) // 2, generator=generator)


def test_whoever_gets_fewer_than_half_of_what_was_asked_for_is_warned():
    with pytest.warns(UserWarning, match="surest selected 10 examples where 21 were asked for"):
        next(iter(make_loader(selector=Fewer())))
    with pytest.warns(UserWarning, match="selected 2 examples where 6"):
        adacore.select(nn.Linear(2, CLASSES), TensorDataset(X, Y), Fewer(), budget=6)


def test_an_epoch_whose_coreset_holds_no_whole_batch_is_refused():
    loader = make_loader(selector=Fewer(), batch_size=16, drop_last=True)
    with pytest.raises(ValueError, match="epoch 0 has 10 examples, which is no whole batch of 16"):
        iter(loader)


def test_duplicates_that_leave_no_whole_batch_are_refused():
    same = TensorDataset(torch.ones(N, 2), torch.zeros(N, dtype=torch.int64))
    loader = make_loader(same, selector=adacore.AdaCore(), batch_size=16, drop_last=True)
    with pytest.warns(UserWarning, match="where 21 were asked for"), pytest.raises(ValueError, match="no whole batch"):
        iter(loader)


def test_full_needs_no_fraction():
    loader = make_loader(selector=Full(), budget=None)
    assert len(loader) == 15
    assert len(epoch_of(loader)) == 15
    assert len(adacore.select(nn.Linear(2, CLASSES), TensorDataset(X, Y), Full())) == N


@pytest.mark.parametrize(
    ("saved", "loaded", "message"),
    [
        (
            {"selector": adacore.AdaCore()},
            {"selector": adacore.CRAIG()},
            r"selector=AdaCore\(.*this loader has.*CRAIG\(",
        ),
        ({"selector": adacore.AdaCore()}, {"selector": adacore.AdaCore(beta1=0.5)}, r"beta1=0\.9.*beta1=0\.5"),
        ({"budget": 20}, {"budget": 40}, "budget=20, this loader has budget=40"),
        ({"every": 2}, {"every": 3}, "every=2, this loader has every=3"),
        ({"warm_start": 1}, {"warm_start": 2}, "warm_start=1, this loader has warm_start=2"),
        ({"warm_start_on": "full"}, {"warm_start_on": "random"}, "warm_start_on=full"),
        ({"batch_size": 4}, {"batch_size": 5}, "batch_size=4, this loader has batch_size=5"),
        ({"drop_last": False}, {"drop_last": True}, "drop_last=False, this loader has drop_last=True"),
        (
            {"batches": "weighted"},
            {"batches": "proportional"},
            "batches=weighted, this loader has batches=prop",
        ),
        ({"seed": 0}, {"seed": 1}, "seed=0, this loader has seed=1"),
        ({"labels": np.arange(N) % 2}, {"labels": np.arange(N) % 2 == 0}, "labels=.*this loader has labels="),
        ({"labels": np.arange(N) % 2}, {}, "labels=.*this loader has labels=None"),
    ],
)
def test_a_state_of_other_settings_is_refused_and_leaves_no_trace(saved, loaded, message):
    one, other = make_loader(**saved), make_loader(**loaded)
    epoch_of(one)
    state = through_a_file(one.state_dict())
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)
    assert (other.coreset, other.epoch, other.ledger.gradient_evaluations) == (None, 0, 0)
    make_loader(**saved).load_state_dict(state)


def test_batches_in_proportion_have_weights_of_one():
    loader = make_loader(selector=adacore.AdaCore(), batches="proportional", every=9)
    counts = np.zeros(N)
    for _ in range(60):
        for _, _, w in loader:
            assert torch.equal(w, torch.ones(len(w)))
            counts += np.bincount(loader.indices, minlength=N)
    assert counts.sum() == 60 * 21
    expected = np.zeros(N)
    expected[loader.coreset.indices] = 60 * 21 * loader.coreset.weights / N
    assert (np.abs(counts - expected) <= 4 * np.sqrt(60) * 0.5).all()  # by epoch off by less than one
    with pytest.raises(ValueError, match="did you mean 'proportional'"):
        make_loader(batches="proportionl")


def collate_pairs(examples):
    return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 4, "shuffle": True},
        {"batch_size": 4},
        {"batch_size": 4, "collate_fn": collate_pairs, "drop_last": True},
        {"batch_size": 4, "num_workers": 1, "persistent_workers": True, "prefetch_factor": 3, "timeout": 30},
        {"batch_size": 4, "num_workers": 1, "multiprocessing_context": "fork", "worker_init_fn": hash},
    ],
)
def test_a_loader_can_be_made_of_one_that_exists(settings):
    plain = DataLoader(Plain(), **settings)
    torch.manual_seed(0)
    loader = CoresetLoader.from_data_loader(plain, nn.Linear(2, CLASSES), Surest(), budget=21)
    settings = {name: value for name, value in settings.items() if name != "shuffle"}
    assert_same(epoch_of(loader), epoch_of(make_loader(Plain(), **settings)))
    for name in ("num_workers", "persistent_workers", "prefetch_factor", "timeout", "worker_init_fn"):
        assert getattr(loader, name) == getattr(plain, name)
    other = CoresetLoader.from_data_loader(plain, nn.Linear(2, CLASSES), Surest(), budget=20, batch_size=5, seed=3)
    assert [len(x) for x, *_ in epoch_of(other)] == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("plain", "error", "message"),
    [
        (lambda: DataLoader(Plain(), sampler=WeightedRandomSampler([1.0] * N, N)), ValueError, "WeightedRandomSampler"),
        (lambda: DataLoader(Plain(), sampler=SubsetRandomSampler(range(5))), ValueError, "Subset where only some"),
        (lambda: DataLoader(Plain(), sampler=RandomSampler(Plain(), replacement=True)), ValueError, "RandomSampler"),
        (lambda: DataLoader(Plain(), sampler=RandomSampler(Plain(), num_samples=7)), ValueError, "RandomSampler"),
        (lambda: DataLoader(Plain(), batch_sampler=[[0, 1]]), ValueError, "a batch_sampler"),
        (lambda: DataLoader(Plain(), batch_size=None), ValueError, "batch_size=None"),
        (lambda: Plain(), TypeError, "is a Plain"),
        (lambda: make_loader(), TypeError, "is a CoresetLoader"),
        (lambda: DataLoader(Streamed(), batch_size=2), TypeError, "map-style"),
    ],
)
def test_loaders_that_choose_examples_themselves_are_refused(plain, error, message):
    with pytest.raises(error, match=message):
        CoresetLoader.from_data_loader(plain(), nn.Linear(2, CLASSES), Surest(), budget=21)


class Streamed(IterableDataset):
    def __iter__(self):
        yield X[0], Y[0]
