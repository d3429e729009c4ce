"""One small training in each trainer, with checkpoints after every step: it goes on from the last one if there is any.

Each returns the weights at the end, and what was seen: inputs and weights of every batch since it (re)started.
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

import adacore

N, EPOCHS, TOGETHER = 60, 4, 4
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


def processes():
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def make_loader(model, **settings):
    # 13 examples: of the last batch two processes have shares of different size.
    settings = {"budget": 13, "every": 2, "batch_size": TOGETHER // processes(), **settings}
    return adacore.CoresetLoader(
        TensorDataset(X, Y), model, adacore.AdaCore(), probe=adacore.Probe(batch_size=20), **settings
    )


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)


def loss_of(model, batch):
    inputs, targets, weights = batch
    return (weights * nn.functional.cross_entropy(model(inputs), targets, reduction="none")).mean()


def ended(model, seen):
    return {"weights": [parameter.detach().clone() for parameter in model.parameters()], "seen": seen}


def plain(folder):
    """A loop of one's own; its checkpoint is replaced in one piece."""
    if processes() > 1:
        dist.init_process_group("gloo")
    model, seen, file = make_model(), [], Path(folder) / "checkpoint.pt"
    optimizer, loader = optimizer_of(model), make_loader(model)
    parallel = DistributedDataParallel(model) if processes() > 1 else model
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
    while loader.epoch < EPOCHS:
        for batch in loader:
            seen.append((batch[0].clone(), batch[2].clone()))
            optimizer.zero_grad()
            loss_of(parallel, batch).backward()
            optimizer.step()
            if processes() == 1 or dist.get_rank() == 0:
                states = {"model": model, "optimizer": optimizer, "loader": loader}
                torch.save({name: part.state_dict() for name, part in states.items()}, f"{file}.part")
                os.replace(f"{file}.part", file)  # noqa: PTH105
    return ended(model, seen)


def accelerate(folder, **settings):
    """``save_state`` into a folder of its own after every step; a link names the last that is whole."""
    from accelerate import Accelerator, skip_first_batches

    from adacore.integrations.accelerate import CoresetCheckpoint

    accelerator = Accelerator(cpu=True)
    model, seen, last = make_model(), [], Path(folder) / "last.txt"
    loader = make_loader(model, **settings)
    parallel, optimizer, prepared = accelerator.prepare(model, optimizer_of(model), loader)
    accelerator.register_for_checkpointing(CoresetCheckpoint(loader, prepared))
    first, done = 0, 0
    if last.exists():
        name, first, done = last.read_text().split()
        accelerator.load_state(name)
        first, done = int(first), int(done)
    for epoch in range(first, EPOCHS):
        prepared.set_epoch(epoch)
        batches = skip_first_batches(prepared, done) if done else prepared
        for step, batch in enumerate(batches, start=done):
            seen.append((batch[0].clone(), batch[2].clone()))
            optimizer.zero_grad()
            accelerator.backward(loss_of(parallel, batch))
            optimizer.step()
            name = Path(folder) / f"{epoch}-{step}"
            accelerator.save_state(str(name))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                (last.parent / "part.txt").write_text(f"{name} {epoch} {step + 1}")
                os.replace(last.parent / "part.txt", last)  # noqa: PTH105
        done = 0
    return ended(model, seen)


def accelerate_with_workers(folder):
    """Which fetch all of an epoch long before it is trained on."""
    return accelerate(folder, num_workers=2)


def fabric(folder):
    """``fabric.save`` after every step; the checkpoint is replaced in one piece."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=processes(), strategy="ddp" if processes() > 1 else "auto")
    fabric.launch()
    model, seen, file = make_model(), [], Path(folder) / "checkpoint.ckpt"
    loader = make_loader(model)
    module, optimizer = fabric.setup(model, optimizer_of(model))
    batches = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    if file.exists():
        loader.load_state_dict(fabric.load(file, {"model": module, "optimizer": optimizer})["loader"])
    while loader.epoch < EPOCHS:
        for batch in batches:
            seen.append((batch[0].clone(), batch[2].clone()))
            optimizer.zero_grad()
            fabric.backward(loss_of(module, batch))
            optimizer.step()
            fabric.save(f"{file}.part", {"model": module, "optimizer": optimizer, "loader": loader.state_dict()})
            if fabric.is_global_zero:
                os.replace(f"{file}.part", file)  # noqa: PTH105
            fabric.barrier()
    return ended(model, seen)


def lightning(folder):
    """``ModelCheckpoint`` after every step and every epoch."""
    import lightning.pytorch as pl

    from adacore.integrations.lightning import CoresetCallback

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.seen = make_model(), []

        def training_step(self, batch, batch_idx):
            self.seen.append((batch[0].clone(), batch[2].clone()))
            return loss_of(self.model, batch)

        def configure_optimizers(self):
            return optimizer_of(self.model)

    module = Module()
    files = sorted(Path(folder).glob("*/*.ckpt"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        default_root_dir=folder,
        accelerator="cpu",
        strategy="ddp" if processes() > 1 else "auto",
        devices=processes(),
        use_distributed_sampler=False,
        callbacks=[
            CoresetCallback(),
            pl.callbacks.ModelCheckpoint(dirpath=Path(folder) / "step", save_top_k=-1, every_n_train_steps=1),
            pl.callbacks.ModelCheckpoint(dirpath=Path(folder) / "epoch", save_top_k=-1, every_n_epochs=1),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, make_loader(module.model), ckpt_path=next(filter(whole, files), None))
    return ended(module, module.seen)


def whole(file):
    try:
        torch.load(file, weights_only=False)
    except Exception:  # whatever half a file brings about
        return False
    return True


class Dicts(torch.utils.data.Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return {"inputs": X[index], "labels": Y[index]}


def hugging_face(folder, accumulated=1, budget=13, workers=0):
    """Checkpoints after every step; ``resume_from_checkpoint=True`` where there are any."""
    import transformers
    from transformers.modeling_outputs import SequenceClassifierOutput

    from adacore.integrations.huggingface import WEIGHT_KEY, CoresetTrainer

    class Model(transformers.PreTrainedModel):
        config_class = transformers.PretrainedConfig

        def __init__(self, config):
            super().__init__(config)
            self.model = make_model()
            self.post_init()

        def _init_weights(self, module):
            pass

        def forward(self, inputs=None, labels=None):
            return SequenceClassifierOutput(logits=self.model(inputs))

    model, seen = Model(transformers.PretrainedConfig()), []
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=TOGETHER // processes() // accumulated,
        gradient_accumulation_steps=accumulated,
        dataloader_num_workers=workers,
        save_steps=1,
        learning_rate=0.3,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        seed=0,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )

    class Recording(CoresetTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            seen.append((inputs["inputs"].clone(), inputs[WEIGHT_KEY].clone()))
            return super().compute_loss(model, inputs, *args, **kwargs)

    trainer = Recording(
        model=model,
        args=arguments,
        train_dataset=Dicts(),
        optimizers=(optimizer_of(model), None),  # optim_args of transformers 5.0 has no momentum
        selector=adacore.AdaCore(),
        budget=budget,
        every=2,
        probe=adacore.Probe(batch_size=20),
    )
    trainer.train(resume_from_checkpoint=any(Path(folder).glob("checkpoint-*")))
    return ended(model, seen)


TRAINERS = {
    "plain": plain,
    "accelerate": accelerate,
    "fabric": fabric,
    "lightning": lightning,
    "hugging_face": hugging_face,
}
