"""Of each pool of a stream what ``select`` chooses, weighted; a pass that is stopped goes on as an undisturbed one."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset, get_worker_info

import adacore

N, POOL = 50, 20
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


class Stream(IterableDataset):
    """Each worker reads every so many examples, as Hugging Face's streams of several files do."""

    def __iter__(self):
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return ((X[i], Y[i]) for i in range(start, N, step))


class WithState(IterableDataset):
    """A stream that knows where it stands, by the protocol of Hugging Face's and of torchdata's."""

    def __init__(self):
        self.position = 0
        self.read = 0

    def __iter__(self):
        while self.position < N:
            self.position += 1
            self.read += 1
            yield X[self.position - 1], Y[self.position - 1]
        self.position = 0

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def make_model():
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def make(stream=None, model=None, selector=None, **settings):
    settings = {"pool": POOL, "fraction": 0.3, "batch_size": 4, **settings}
    return adacore.StreamLoader(
        Stream() if stream is None else stream, model or make_model(), selector or adacore.AdaCore(), **settings
    )


def step(model, optimizer, batch):
    inputs, targets, weights = batch
    loss = (weights * nn.functional.cross_entropy(model(inputs), targets, reduction="none")).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def positions(inputs):
    return [int((row == X).all(1).nonzero()) for row in inputs]


def test_each_pool_gives_what_select_chooses_of_it():
    loader, model = make(), make_model()
    seen = [(positions(x), w) for x, _, w in loader]
    assert [len(rows) for rows, _ in seen] == [4, 2, 4, 2, 3]  # the last pool has ten examples
    by_pool = [seen[:2], seen[2:4], seen[4:]]
    for pool, (first, last) in enumerate([(0, 20), (20, 40), (40, 50)]):
        part = TensorDataset(X[first:last], Y[first:last])
        expected = adacore.select(model, part, adacore.AdaCore(), fraction=0.3)
        got = dict(zip(*(np.concatenate(c) for c in zip(*by_pool[pool], strict=True)), strict=True))
        scaled = expected.weights / expected.weights.mean()
        assert got == pytest.approx(dict(zip((expected.indices + first).tolist(), scaled, strict=True)))


def test_pools_are_chosen_by_the_model_as_it_is_then():
    model = make_model()
    loader, optimizer = make(model=model, selector=adacore.CRAIG()), torch.optim.SGD(model.parameters(), lr=5.0)
    trained = []
    for batch in loader:
        trained += positions(batch[0])
        step(model, optimizer, batch)
    untrained = [row for x, *_ in make(selector=adacore.CRAIG()) for row in positions(x)]
    assert sorted(trained)[:6] == sorted(untrained)[:6]
    assert trained != untrained


@pytest.mark.parametrize("kind", [Stream, WithState])
@pytest.mark.parametrize("stop", range(6))
def test_a_pass_that_is_stopped_anywhere_goes_on_as_the_undisturbed_one(kind, stop):
    def train(loader, model, optimizer, most=None):
        seen = []
        for number, batch in enumerate(loader, start=1):
            step(model, optimizer, batch)
            seen.append(positions(batch[0]))
            if number == most:
                break
        return seen

    model = make_model()
    whole = train(make(kind(), model), model, torch.optim.SGD(model.parameters(), lr=0.5))
    stopped = make_model()
    loader = make(kind(), stopped)
    begun = train(loader, stopped, torch.optim.SGD(stopped.parameters(), lr=0.5), stop) if stop else []
    file = io.BytesIO()
    torch.save({"loader": loader.state_dict(), "model": stopped.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)

    resumed, stream = make_model(), kind()
    resumed.load_state_dict(state["model"])
    loader = make(stream, resumed)
    loader.load_state_dict(state["loader"])
    rest = train(loader, resumed, torch.optim.SGD(resumed.parameters(), lr=0.5))
    assert begun + rest == whole
    assert torch.equal(resumed.weight, model.weight)
    if kind is WithState:  # what was read before the pool is not read again
        assert stream.read == N - POOL * (max(stop - 1, 0) // 2)
    assert [positions(x) for x, *_ in loader] != []  # the next pass begins at the start


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_read_ahead(workers):
    seen = [positions(x) for x, *_ in make(num_workers=workers, selector=adacore.Random())]
    rows = [row for batch in seen for row in batch]
    assert len(rows) == len(set(rows)) == 15
    if workers == 1:
        assert seen == [positions(x) for x, *_ in make(selector=adacore.Random())]


def test_random_takes_other_places_of_each_pool():
    seen = [row for x, *_ in make(selector=adacore.Random()) for row in positions(x)]
    first, second = (sorted(row % POOL for row in part) for part in (seen[:6], seen[6:12]))
    assert first != second


def test_dicts_of_any_iterable_with_a_collate_fn():
    class Named(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    stream = [{"x": x, "label": y} for x, y in zip(X.tolist(), Y.tolist(), strict=True)]

    def collate(items):
        return {"x": torch.tensor([i["x"] for i in items]), "label": torch.tensor([i["label"] for i in items])}

    torch.manual_seed(0)
    loader = make(stream, Named(5, 3), collate_fn=collate, weight_key="gamma")
    for batch, (x, y, w) in zip(loader, make(), strict=True):
        assert torch.equal(batch["x"], x)
        assert torch.equal(batch["label"], y)
        assert torch.equal(batch["gamma"], w)


def test_a_state_of_other_settings_is_refused():
    state = make().state_dict()
    with pytest.raises(ValueError, match="pool"):
        make(pool=10).load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"stream": 3}, TypeError, "stream is a int"),
        ({"selector": adacore.GLISTER()}, ValueError, "GLISTER|glister"),
        ({"pool": 0}, ValueError, "pool=0"),
        ({"fraction": 0.0}, ValueError, "fraction"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_what_cannot_be_is_refused(settings, kind, message):
    with pytest.raises(kind, match=message):
        make(**settings)


def test_a_stream_given_to_the_coreset_loader_is_sent_here():
    with pytest.raises(TypeError, match=r"adacore\.StreamLoader"):
        adacore.CoresetLoader(Stream(), make_model(), adacore.AdaCore(), fraction=0.1)


def test_a_stream_of_hugging_face_goes_on_by_its_own_state():
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    stream = datasets.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()}).to_iterable_dataset(num_shards=5)

    def collate(items):
        return torch.tensor([i["x"] for i in items]), torch.tensor([i["label"] for i in items])

    whole = [positions(x) for x, *_ in make(stream, collate_fn=collate)]
    loader = make(stream, collate_fn=collate)
    batches = iter(loader)
    begun = [positions(next(batches)[0]) for _ in range(3)]
    resumed = make(stream, collate_fn=collate)
    resumed.load_state_dict(loader.state_dict())
    assert begun + [positions(x) for x, *_ in resumed] == whole
