"""What the processes of a data-parallel training do, run by torchrun from ``test_processes.py``; also in one process.

torchrun --nproc-per-node 2 tests/training/data_parallel.py OUT plain|accelerate
"""

import contextlib
import sys
import time
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, TensorDataset

import adacore

N, CLASSES, TOGETHER = 150, 3, 8
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % CLASSES

SELECTORS = {
    "adacore": (adacore.AdaCore(), {"budget": 37}),
    "hutchinson": (adacore.AdaCore(curvature="hutchinson", block_size=16), {"budget": 33}),
    "proportional": (adacore.CRAIG(), {"budget": 37, "batches": "proportional"}),
    "stratified": (adacore.Stratified(), {"fraction": 0.5}),
    "random": (adacore.Random(), {"budget": 37, "drop_last": True}),
    "glister": (adacore.GLISTER(), {"budget": 30, "validation": TensorDataset(X[:40], Y[:40])}),
}

PROXIES = ("logits", "penultimate", "last_layer")


class Failing(Dataset):
    """Fails where the second process alone reads."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index == 40:  # in the third batch of the probe
            raise OSError("disk on fire")
        return X[index], Y[index]


def make_model(kind="linear"):
    torch.manual_seed(0)
    return (
        nn.Linear(5, CLASSES) if kind == "linear" else nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, CLASSES))
    )


def make_loader(model, name="adacore", dataset=None, **settings):
    selector, more = SELECTORS[name]
    selector = settings.pop("selector", selector)
    processes = dist.get_world_size() if dist.is_initialized() else 1
    settings = {
        "every": 2,
        "batch_size": TOGETHER // processes,
        "probe": adacore.Probe(batch_size=20),
        **more,
        **settings,
    }
    return adacore.CoresetLoader(TensorDataset(X, Y) if dataset is None else dataset, model, selector, **settings)


def position_of(x):
    return [int((row == X).all(1).nonzero()) for row in x]


def train(loader, model, epochs=3, backward=torch.Tensor.backward):
    """Train, and return what was seen: for every batch the positions and the weights."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    seen = []
    for _ in range(epochs):
        for x, y, w in loader:
            seen.append((position_of(x), w.tolist()))
            loss = (w * nn.functional.cross_entropy(model(x), y, reduction="none")).mean()
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()
    return seen


def trained(kind, name):
    model = make_model(kind)
    parallel = DistributedDataParallel(model) if dist.is_initialized() else model
    loader = make_loader(parallel, name)
    steps = len(loader)
    seen = train(loader, parallel)
    coreset = loader.coreset
    return {
        "seen": seen,
        "steps": steps,
        "weights": [parameter.detach().clone() for parameter in model.parameters()],
        "coreset": None if coreset is None else (coreset.indices.tolist(), coreset.weights.tolist()),
        "evaluations": loader.ledger.gradient_evaluations,
        "probed": loader.ledger.probed_examples,
        "state": loader.state_dict(),
    }


def sharded(proxy):
    """The coreset after three epochs of a model whose parameters are spread over the processes, or of a whole one."""
    model = make_model("mlp")
    if dist.is_initialized():
        from torch.distributed.fsdp import fully_shard

        for layer in (model[0], model[2], model):
            fully_shard(layer)
    loader = make_loader(model, dataset=None, budget=37, selector=adacore.AdaCore(proxy=proxy))
    train(loader, model)
    return loader.coreset.indices.tolist(), loader.coreset.weights.tolist()


def stopped():
    """The state in the middle of the second epoch, and the model then."""
    model = make_model()
    loader = make_loader(model)
    list(loader)
    batches = iter(loader)
    next(batches), next(batches)
    return {"state": loader.state_dict()}


def message_of(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def chosen():
    """R of every="auto", where this process is slower than the others by far."""
    model = make_model()
    loader = make_loader(model, every="auto")
    for _ in range(4):
        for _ in loader:
            time.sleep(0.002 * (1 + 20 * dist.get_rank()))
    return loader.reselector.advisor.chosen


def rebuilt_message():
    loader = make_loader(make_model())
    return message_of(lambda: list(DataLoader(loader.dataset, batch_sampler=loader.batch_sampler)))


def accelerated(name, **configuration):
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**configuration))
    model = make_model()
    loader = make_loader(model, name)
    parallel, prepared = accelerator.prepare(model, loader)
    steps = len(prepared)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = train(prepared, parallel, backward=accelerator.backward)
    return {
        "seen": seen,
        "steps": steps,
        "weights": [parameter.detach().clone() for parameter in model.parameters()],
        "evaluations": loader.ledger.gradient_evaluations,
    }


def main(out, what):
    if what == "plain":
        dist.init_process_group("gloo")
        results = {(kind, name): trained(kind, name) for kind in ("linear", "mlp") for name in SELECTORS}
        results["stopped"] = stopped()
        results.update({("sharded", proxy): sharded(proxy) for proxy in PROXIES})
        results["chosen"] = chosen()
        results["failing"] = message_of(lambda: iter(make_loader(make_model(), dataset=Failing(), labels=Y)))
        results["rebuilt"] = rebuilt_message()
    else:
        results = {name: accelerated(name) for name in SELECTORS}
        for refused in ("split_batches", "dispatch_batches"):
            results[refused] = message_of(lambda refused=refused: accelerated("adacore", **{refused: True}))
    torch.save(results, Path(out) / f"{dist.get_rank()}.pt")
    if what == "plain":
        dist.barrier()
    with contextlib.suppress(Exception):
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
