"""Whoever builds a loader from data set and batch sampler trains on the right weights, and selects on time."""

import io
import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from adacore import AdaCore, CoresetLoader, Probe
from adacore.training.arguments import swallows

N, CLASSES = 90, 3
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % CLASSES


class Singly(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return X[index], Y[index]


class Dicts(Singly):
    def __getitem__(self, index):
        return {"x": X[index], "label": Y[index]}


class Augmented(Singly):
    def __getitem__(self, index):
        return X[index] + 0.1 * torch.rand(6) + 0.1 * np.random.rand(), Y[index]  # noqa: NPY002


class Named(nn.Linear):
    def forward(self, x):
        return super().forward(x)


DATASETS = {
    "tensors": lambda: TensorDataset(X, Y),
    "subset": lambda: Subset(TensorDataset(X, Y), range(N)),
    "singly": Singly,
    "augmented": Augmented,
}


def make(dataset=None, *, probe_dataset=None, **settings):
    torch.manual_seed(0)
    settings = {"fraction": 0.2, "batch_size": 4, "every": 2, **settings}
    dataset = TensorDataset(X, Y) if dataset is None else dataset
    model = settings.pop("model", nn.Linear)(6, CLASSES)
    probe_dataset = TensorDataset(X, Y) if isinstance(dataset, Augmented) else probe_dataset  # as its users are advised
    return CoresetLoader(dataset, model, AdaCore(), probe_dataset=probe_dataset, **settings)


def train(loader, model, epochs=4):
    """Train a little, so that selections differ, and return everything that was seen."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    seen = []
    for _ in range(epochs):
        for x, y, w in loader:
            seen.append((x.clone(), y.clone(), w.clone()))
            loss = (w * nn.functional.cross_entropy(model(x), y, reduction="none")).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return seen


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("settings", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_a_data_loader_over_data_set_and_batch_sampler_trains_the_same(kind, settings):
    plain = make(DATASETS[kind]())
    expected = train(plain, plain.reselector.model)
    ours = make(DATASETS[kind]())
    rebuilt = DataLoader(ours.dataset, batch_sampler=ours.batch_sampler, **settings)
    assert len(rebuilt) == len(ours)
    assert_same(train(rebuilt, ours.reselector.model), expected)
    assert ours.reselector.reselections == plain.reselector.reselections == 2
    assert ours.ledger.gradient_evaluations == plain.ledger.gradient_evaluations
    torch.testing.assert_close(ours.reselector.model.weight, plain.reselector.model.weight, rtol=0, atol=0)


def test_dicts_too():
    ours = make(Dicts(), model=Named, weight_key="gamma")
    expected = list(make(Dicts(), model=Named, weight_key="gamma"))
    for a, b in zip(DataLoader(ours.dataset, batch_sampler=ours.batch_sampler), expected, strict=True):
        assert a.keys() == {"x", "label", "gamma"}
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def accelerate():
    library = pytest.importorskip("accelerate")
    yield library
    library.state.AcceleratorState._reset_state(reset_partial_state=True)  # other tests make other Accelerators
    library.state.GradientState._reset_state()


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("dispatch", [False, True])
def test_accelerate_in_one_process(accelerate, kind, dispatch):
    plain = make(DATASETS[kind]())
    expected = train(plain, plain.reselector.model)
    ours = make(DATASETS[kind]())
    configuration = accelerate.utils.DataLoaderConfiguration(dispatch_batches=dispatch)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=configuration)
    model, prepared = accelerator.prepare(ours.reselector.model, ours)
    assert_same(train(prepared, model), expected)
    assert ours.reselector.reselections == 2


def test_accelerate_resumed_in_an_epoch(accelerate):
    plain = make()
    expected = train(plain, plain.reselector.model, epochs=3)
    accelerator = accelerate.Accelerator(cpu=True)
    stopped = make()
    model, prepared = accelerator.prepare(stopped.reselector.model, stopped)
    steps = len(prepared)
    train(prepared, model, epochs=1)
    trained_to_an_epochs_end, state = pickle.dumps(model.state_dict()), through_a_file(stopped.state_dict())

    resumed = make()
    resumed.reselector.model.load_state_dict(pickle.loads(trained_to_an_epochs_end))
    resumed.load_state_dict(state)
    model, prepared = accelerator.prepare(resumed.reselector.model, resumed)
    with pytest.raises(ValueError, match=r"call set_epoch\(1\)"):
        next(iter(prepared))  # Accelerate counts from 0 in every process
    prepared.set_epoch(1)
    skipped = accelerate.skip_first_batches(prepared, 2)
    assert_same([tuple(batch) for batch in skipped], expected[steps + 2 : 2 * steps])


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", DATASETS)
def test_a_loader_can_be_pickled_and_goes_on(kind):
    loader, expected = make(DATASETS[kind](), every=1), make(DATASETS[kind](), every=1)
    assert_same(list(loader), list(expected))
    next(iter(loader))
    copied = pickle.loads(pickle.dumps(loader))
    assert_same(list(copied), list(expected))


def test_a_loader_with_running_workers_can_be_pickled():
    loader = make(Singly(), num_workers=1, persistent_workers=True)
    next(iter(loader))
    assert_same(list(pickle.loads(pickle.dumps(loader))), list(make(Singly())))


@pytest.mark.parametrize("kind", DATASETS)
def test_forked_workers_deliver_what_the_main_process_would(kind):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    workers = make(DATASETS[kind](), num_workers=2, multiprocessing_context="fork", timeout=120)
    assert_same(list(workers), list(make(DATASETS[kind]())))


AUGMENTING = """
import torch
from torch.utils.data import TensorDataset

class Augmenting(TensorDataset):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.rand(x.shape), y
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensors", "subset", "augmented"])
def test_spawned_workers_deliver_what_the_main_process_would(kind, tmp_path, monkeypatch):
    (tmp_path / "augmenting.py").write_text(AUGMENTING)  # a spawned worker finds classes by their module's name
    monkeypatch.syspath_prepend(tmp_path)
    from augmenting import Augmenting

    dataset = Augmenting(X, Y) if kind == "augmented" else DATASETS[kind]()
    settings = {"probe": Probe(loader={"num_workers": 0}), "probe_dataset": TensorDataset(X, Y)}
    workers = make(dataset, num_workers=1, multiprocessing_context="spawn", timeout=120, **settings)
    assert_same(list(workers), list(make(dataset, **settings)))


@pytest.mark.parametrize("settings", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_two_iterations_at_once_deliver_each_its_own_epoch(settings):
    undisturbed = make(Augmented(), every=1)
    expected = [list(undisturbed), list(undisturbed)]
    loader = make(Augmented(), every=1, **settings)
    first = iter(loader)
    loader.set_epoch(1)
    second = iter(loader)
    both = [(next(first), next(second)) for _ in range(len(expected[0]))]
    for epoch, batches in zip(expected, zip(*both, strict=True), strict=True):
        assert_same(list(batches), epoch)


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_workers": 1}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}],
)
@pytest.mark.parametrize("stop", range(5))
def test_a_run_resumed_at_any_batch_augments_as_the_undisturbed_one(settings, stop):
    undisturbed = make(Augmented())
    expected = [list(undisturbed) for _ in range(3)]
    steps = len(expected[0])
    stopped = make(Augmented(), **settings)
    list(stopped)
    batches = iter(stopped)
    for _ in range(stop):
        next(batches)
    state = through_a_file(stopped.state_dict())
    torch.rand(7)  # the streams are elsewhere in the process that goes on
    resumed = make(Augmented(), **settings)
    resumed.load_state_dict(state)
    assert_same([*resumed, *resumed], [*expected[1][stop:], *expected[2]])
    assert steps == 5


class Swallowing(nn.Module):
    """As models of transformers: any keyword is taken, and the loss is of its own making."""

    def __init__(self, *sizes):
        super().__init__()
        self.layer = nn.Linear(*sizes)

    def forward(self, x, label=None, **kwargs):
        return self.layer(x)


class Weighing(Swallowing):
    def forward(self, x, label=None, weights=None, **kwargs):
        return self.layer(x)


def test_a_model_that_would_swallow_the_weights_is_warned_of():
    with pytest.warns(UserWarning, match=r"batch\.pop\('weights'\)") as caught:
        list(make(Dicts(), model=Swallowing))
    assert sum("batch.pop" in str(warning.message) for warning in caught) == 1
    for wrapped in (nn.DataParallel(Swallowing(6, 3)), torch.compile(Swallowing(6, 3))):
        assert swallows(wrapped, "weights")
    for naming in (nn.DataParallel(Weighing(6, 3)), torch.compile(Weighing(6, 3)), torch.jit.script(nn.Linear(6, 3))):
        assert not swallows(naming, "weights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(make(Dicts(), model=Weighing))
        list(make(Singly(), model=Swallowing))
