import contextlib
import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import adacore

lightning = pytest.importorskip("lightning.pytorch")
from adacore.integrations.lightning import CoresetCallback  # noqa: E402

NOTHING = contextlib.nullcontext()
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
DATA = TensorDataset(torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3)


class Module(lightning.LightningModule):
    """A linear classifier that records what it is given."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.model = nn.Linear(5, 3)
        self.seen = []

    def training_step(self, batch, batch_idx):
        inputs, targets, weights = batch
        self.seen.append((inputs.clone(), weights.clone()))
        return (weights * nn.functional.cross_entropy(self.model(inputs), targets, reduction="none")).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def loader_for(module, **settings):
    return adacore.CoresetLoader(DATA, module.model, adacore.AdaCore(), fraction=0.2, every=2, batch_size=4, **settings)


def fit(module, loader, folder, epochs=5, path=None, callbacks=(), **settings):
    callbacks = [CoresetCallback(), *callbacks]
    trainer = lightning.Trainer(
        max_epochs=epochs, default_root_dir=folder, callbacks=callbacks, **{**QUIET, **settings}
    )
    trainer.fit(module, train_dataloaders=loader, ckpt_path=path)
    return trainer


def plain_loop(epochs=5):
    module = Module()
    optimizer, loader = module.configure_optimizers(), loader_for(module)
    for _ in range(epochs):
        for number, batch in enumerate(loader):
            loss = module.training_step(batch, number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module


@pytest.mark.parametrize("workers", [0, 2])
def test_it_trains_on_the_batches_and_weights_of_the_plain_loop(tmp_path, workers):
    module, expected = Module(), plain_loop()
    fit(module, loader_for(module, num_workers=workers), tmp_path, enable_checkpointing=False)
    assert len(module.seen) == len(expected.seen) == 15
    for (inputs, weights), (plain_inputs, plain_weights) in zip(module.seen, expected.seen, strict=True):
        assert torch.equal(inputs, plain_inputs)
        assert torch.equal(weights, plain_weights)
    assert torch.equal(module.model.weight, expected.model.weight)


class Checkpoints:
    """Checkpoints of an undisturbed run, after every step and after every epoch, and the weights that it ends with."""

    def __init__(self, folder, **settings):
        every_step = lightning.callbacks.ModelCheckpoint(dirpath=folder / "step", save_top_k=-1, every_n_train_steps=1)
        every_epoch = lightning.callbacks.ModelCheckpoint(dirpath=folder / "epoch", save_top_k=-1, every_n_epochs=1)
        module, self.settings = Module(), settings
        loader = loader_for(module)
        fit(module, loader, folder, callbacks=[every_step, every_epoch], **settings)
        self.files = sorted(folder.rglob("*.ckpt"))
        self.weight, self.gradient_evaluations = module.model.weight.detach(), loader.ledger.gradient_evaluations

    def resumed(self, file, folder, **loading):
        module = Module(seed=7)
        loader = loader_for(module, **loading)
        fit(module, loader, folder, path=file, enable_checkpointing=False, **self.settings)
        return module, loader


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 15 + 5),
        ({"limit_train_batches": 2}, 10 + 5),
        ({"accumulate_grad_batches": 3}, 5 + 5),
        ({"reload_dataloaders_every_n_epochs": 1}, 15 + 5),
    ],
)
def test_a_run_resumed_from_any_step_or_end_of_an_epoch_ends_as_the_undisturbed_one(tmp_path, settings, count):
    whole = Checkpoints(tmp_path, **settings)
    assert len(whole.files) == count
    for file in whole.files:
        module, loader = whole.resumed(file, tmp_path)
        assert torch.equal(module.model.weight, whole.weight), file.name
        if module.seen:  # Lightning does not begin a training whose last epoch has ended
            assert loader.reselector.reselections == 3, file.name
            assert loader.ledger.gradient_evaluations == whole.gradient_evaluations, file.name


def test_a_run_resumed_with_workers_ends_as_the_undisturbed_one(tmp_path):
    whole = Checkpoints(tmp_path)
    for file in (whole.files[0], whole.files[-1]):  # the end of an epoch, the middle of one
        module, _ = whole.resumed(file, tmp_path, num_workers=1, persistent_workers=True)
        assert torch.equal(module.model.weight, whole.weight), file.name


def test_loggers_get_the_ledger(tmp_path):
    module = Module()
    loader = loader_for(module)
    logger = lightning.loggers.CSVLogger(tmp_path)
    fit(module, loader, tmp_path, logger=logger, enable_checkpointing=False, log_every_n_steps=1)
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()))
    assert len(rows) == 5
    assert [float(row["coreset/gradient_evaluations"]) for row in rows] == [12.0, 24.0, 36.0, 48.0, 60.0]
    for name in ("probing_seconds", "selecting_seconds", "training_seconds", "probed_examples", "fraction_seen"):
        assert float(rows[-1][f"coreset/{name}"]) == pytest.approx(loader.ledger.figures()[name], rel=0.5), name


def test_a_warm_start_on_the_full_data_has_longer_epochs(tmp_path):
    module = Module()
    fit(module, loader_for(module, warm_start=1), tmp_path, epochs=3, enable_checkpointing=False)
    assert len(module.seen) == 15 + 3 + 3


@pytest.mark.parametrize("shared", [False, True])
def test_lightning_s_own_sharing_of_examples_is_refused(shared):
    connector = SimpleNamespace(use_distributed_sampler=shared)
    trainer = SimpleNamespace(world_size=2, _accelerator_connector=connector)
    expected = pytest.raises(ValueError, match=r"2 processes: .*use_distributed_sampler=False") if shared else NOTHING
    with expected:
        CoresetCallback().on_fit_start(trainer, None)


def test_epochs_that_are_cut_short_still_count(tmp_path, recwarn):
    module = Module()
    loader = loader_for(module)
    fit(module, loader, tmp_path, limit_train_batches=2, enable_checkpointing=False)
    assert len(module.seen) == 10
    assert loader.reselector.reselections == 3
    assert not [warning for warning in recwarn if "was left after" in str(warning.message)]


def test_a_checkpoint_of_training_on_another_loader_is_refused(tmp_path):
    plain = Module()
    plain.training_step = lambda batch, batch_idx: plain.model(batch[0]).sum()
    trainer = lightning.Trainer(max_epochs=1, default_root_dir=tmp_path, **QUIET)
    trainer.fit(plain, train_dataloaders=torch.utils.data.DataLoader(DATA, batch_size=30))
    (file,) = tmp_path.rglob("*.ckpt")
    module = Module()
    with pytest.raises(ValueError, match="no state of a CoresetLoader"):
        fit(module, loader_for(module), tmp_path, path=file, enable_checkpointing=False)


def test_another_loader_is_refused(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match=r"found a DataLoader .* pass a CoresetLoader"):
        fit(module, torch.utils.data.DataLoader(DATA), tmp_path, enable_checkpointing=False)


def test_validating_and_testing_go_without_the_loader(tmp_path):
    class Validated(Module):
        def test_step(self, batch, batch_idx):
            self.tested = len(batch[0])

    module = Validated()
    fit(module, loader_for(module), tmp_path, epochs=1)
    (file,) = tmp_path.rglob("*.ckpt")
    trainer = lightning.Trainer(default_root_dir=tmp_path, callbacks=[CoresetCallback()], **QUIET)
    trainer.test(module, torch.utils.data.DataLoader(DATA, batch_size=60), ckpt_path=file)
    assert module.tested == 60
