"""A ``transformers.Trainer`` that trains on coresets which it selects itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.errors import require_extra
from adacore.probing.probe import Probe
from adacore.probing.tokens import predicts_the_next
from adacore.selectors import Selector
from adacore.training.loader import CoresetLoader
from adacore.training.plan import examples_in

require_extra("huggingface", "CoresetTrainer")

from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

WEIGHT_KEY = "coreset_weights"
"""The weights' key in a batch. No model of transformers has an argument of that name, so that none could swallow it."""
STATE_FILE = "coreset_loader.pt"
"""The loader's state in a checkpoint's folder, beside the optimizer's."""
IGNORED = -100
"""The label of tokens that do not count, as everywhere in transformers."""


class CoresetTrainer(Trainer):
    """Trains on a coreset of ``train_dataset`` that is selected again every R epochs.

    In every other respect it is a ``transformers.Trainer``: arguments, callbacks, mixed precision, gradient
    accumulation, evaluation, checkpoints and ``resume_from_checkpoint``. An epoch is a pass over the coreset.

    The loss of a step is ``sum_i w_i l_i / N`` over the N examples of all micro-batches that the step accumulates, w of
    mean one over the coreset. For a language model an example is a sequence, and l_i the mean over its own tokens:
    transformers' own loss weighs a sequence by its length instead.

    In several processes (``torchrun``, ``accelerate launch``) the batches of a step are those that one process with
    batches as large as all of theirs together would take.

    Args:
        *args: As ``transformers.Trainer`` takes them.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the examples to select, in (0, 1]; this or ``budget``.
        budget: How many to select.
        every: R, epochs between reselections, or ``"auto"``.
        labels: Strata to select within, shape (n,); None to take the labels where they are classes.
        probe: How to run the model to select; reads with the trainer's collator unless it says otherwise.
        coreset_settings: Any other setting of ``adacore.CoresetLoader``, such as ``warm_start``.
        **kwargs: As ``transformers.Trainer`` takes them.

    Attributes:
        coreset_loader: The loader, once training has begun.

    Raises:
        ValueError: If a label smoother or ``compute_loss_func`` are asked for, or a setting is out of range.
        TypeError: When training begins, if the data set is an ``IterableDataset``.

    Example:
        >>> trainer = CoresetTrainer(  # doctest: +SKIP
        ...     model, arguments, train_dataset=texts, selector=adacore.AdaCore(), fraction=0.1, every=5
        ... )
        >>> trainer.train(resume_from_checkpoint=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        *args: Any,
        selector: Selector,
        fraction: float | None = None,
        budget: int | None = None,
        every: Any = 1,
        labels: ArrayLike | None = None,
        probe: Probe | None = None,
        coreset_settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.label_smoother is not None:
            raise ValueError(
                f"label_smoothing_factor={self.args.label_smoothing_factor} is not supported with weights: pass 0"
            )
        if self.compute_loss_func is not None:
            raise ValueError(
                "compute_loss_func gives one loss for the batch, weights need one for each example: leave it out, "
                "or train in your own loop with adacore.CoresetLoader"
            )
        # Said once and for all: compute_loss divides by the examples of the whole accumulated step.
        self.loss_is_scaled_for_ga = True
        self._selection = {
            "selector": selector,
            "fraction": fraction,
            "budget": budget,
            "every": every,
            "labels": labels,
            "probe": probe,
            **(coreset_settings or {}),
        }
        self._resumed: Mapping[str, Any] | None = None
        self.coreset_loader: CoresetLoader | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train; ``resume_from_checkpoint=True`` passes over a checkpoint that a killed run has left unfinished.

        Args:
            resume_from_checkpoint: Folder of a checkpoint; True for the last one of ``output_dir`` that is whole.
            *args: As ``transformers.Trainer.train`` takes them.
            **kwargs: Likewise.

        Returns:
            What ``transformers.Trainer.train`` returns.
        """
        if resume_from_checkpoint is True:
            # The trainer takes the folder with the largest number, which is the one that was being written when the
            # run was killed, and starts its steps from 0 where the file that counts them is missing.
            resume_from_checkpoint = last_whole_checkpoint(str(self.args.output_dir)) or True
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def get_train_dataloader(self) -> Any:
        """Return the loader over coresets, prepared by Accelerate as the trainer's own loaders are."""
        # Prepared anew by every train(), but over one loader of coresets: it holds the running averages.
        return self.accelerator.prepare(self._loader())

    def _loader(self) -> CoresetLoader:
        if self.coreset_loader is None:
            if self.train_dataset is None:
                raise ValueError("training requires train_dataset=")
            assert isinstance(self.model, nn.Module)
            settings = dict(self._selection)
            dataset, collate = self._readable(self.train_dataset)
            workers = self.args.dataloader_num_workers
            self.coreset_loader = CoresetLoader(
                dataset,
                self.model,
                settings.pop("selector"),
                batch_size=self._train_batch_size,
                seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
                drop_last=self.args.dataloader_drop_last,
                weight_key=WEIGHT_KEY,
                collate_fn=collate,
                num_workers=workers,
                pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
                persistent_workers=bool(workers and self.args.dataloader_persistent_workers),
                **settings,
            )
            self.coreset_loader.dataset.swallowed_by = None  # compute_loss takes the weights out
        return self.coreset_loader

    def _readable(self, dataset: Any) -> tuple[Any, Any]:
        """Leave out the columns that the model does not take, as the trainer's own loaders do."""
        if hasattr(dataset, "remove_columns"):  # of the library datasets
            return self._remove_unused_columns(dataset, description="training"), self.data_collator
        return dataset, self._get_collator_with_removed_columns(self.data_collator, description="training")

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Collect the micro-batches of a step, and count their examples in place of their tokens."""
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not samples or WEIGHT_KEY not in samples[0]:
            return samples, items
        counts = [len(batch[WEIGHT_KEY]) for batch in samples]
        if self.args.world_size > 1 and len(samples) > 1:
            # With one micro-batch the mean over processes is right already. Of several, the incomplete one has the
            # smaller part in the step, by how many examples it has in all processes without the padding.
            real = torch.tensor([examples_in(batch[WEIGHT_KEY]) for batch in samples], device=device)
            together = self.accelerator.reduce(real, reduction="sum").tolist()
            for batch, size, count in zip(samples, counts, together, strict=True):
                batch[WEIGHT_KEY] = batch[WEIGHT_KEY] * (count / size)
            counts = together
        return samples, sum(counts)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Weigh each example's loss; batches without weights, as in evaluation, go the trainer's own way."""
        if WEIGHT_KEY not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        weights: Tensor = inputs.pop(WEIGHT_KEY)
        if "labels" not in inputs:
            raise ValueError(f"the batch has keys {sorted(inputs)}: expected labels; pass a data set that has them")
        labels: Tensor = inputs["labels"]
        if not getattr(self._unwrapped(model).config, "is_encoder_decoder", False):
            # The model would compute the mean loss beside the logits, over all the vocabulary, for nothing.
            inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]
        losses = self._losses(model, logits, labels)
        count = len(weights) if num_items_in_batch is None else num_items_in_batch
        loss = (weights.to(losses.device) * losses).sum() / count
        return (loss, outputs) if return_outputs else loss

    def _unwrapped(self, model: nn.Module) -> Any:
        return self.accelerator.unwrap_model(model)

    def _losses(self, model: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
        return example_losses(logits, labels, shift=predicts_the_next(self._unwrapped(model)))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add what selecting has cost and how much of the data was seen."""
        loader = self.coreset_loader
        if loader is not None and "loss" in logs:
            logs = {**logs, **{f"coreset_{name}": value for name, value in loader.ledger.figures().items()}}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.coreset_loader is not None and self.args.should_save:
            # First: the trainer writes trainer_state.json last, by which a whole checkpoint is known.
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            # Batches are fetched ahead of training, beyond the end of an epoch: the trainer knows which epoch it is in.
            # 1e-6: its epoch is a float, e + steps / steps_in_epoch, and must not fall below e by rounding.
            epoch = math.floor((self.state.epoch or 0) + 1e-6)
            torch.save({**self.coreset_loader.state_dict(), "epoch": epoch, "position": 0}, folder / STATE_FILE)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.coreset_loader is None:
            return
        file = Path(checkpoint) / STATE_FILE
        if not file.is_file():
            raise ValueError(
                f"{checkpoint} has no {STATE_FILE}: it is not a CoresetTrainer's; train without resume_from_checkpoint"
            )
        # The trainer itself skips the batches of the epoch that were trained on: the loader starts at the first.
        self.coreset_loader.load_state_dict(torch.load(file, weights_only=True))


def last_whole_checkpoint(folder: str) -> str | None:
    """Find the last checkpoint whose writing came to an end.

    Args:
        folder: Of a run, which holds folders ``checkpoint-STEP``.

    Returns:
        Its path, or None if there is none.
    """
    numbered = [path for path in Path(folder).glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    for path in sorted(numbered, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True):
        try:
            # Half a file is as good as none: the trainer does not write it in one piece.
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def example_losses(logits: Tensor, labels: Tensor, *, shift: bool = False) -> Tensor:
    """Compute the loss of each example, as transformers' heads do for the mean over a batch.

    Args:
        logits: Shape (batch, outputs), or (batch, tokens, outputs).
        labels: Classes, shape (batch,); numbers for regression, shape (batch,) or (batch, outputs); several labels,
            floats of 0 and 1, shape (batch, outputs); classes of tokens, shape (batch, tokens), -100 where none counts.
        shift: Whether the logits of a token predict the next one, as in causal language models.

    Returns:
        Shape (batch,). A sequence's loss is the mean over its tokens that count, 0 if none does.

    Raises:
        ValueError: If labels and logits do not fit.

    Example:
        >>> example_losses(torch.zeros(2, 4), torch.tensor([0, 3])).exp().round().tolist()
        [4.0, 4.0]
    """
    logits = logits.float()
    if logits.ndim == 3 and labels.ndim == 2:
        if shift:
            logits, labels = logits[:, :-1], labels[:, 1:]
        tokens = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        counted = (labels != IGNORED).sum(1)
        return tokens.sum(1) / counted.clamp(min=1)
    if logits.ndim != 2:
        raise ValueError(f"logits of shape {tuple(logits.shape)} and labels of {tuple(labels.shape)} do not fit")
    if labels.is_floating_point() and labels.ndim == 2 and labels.shape[1] > 1:
        return functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none").mean(1)
    if labels.is_floating_point() or logits.shape[1] == 1:
        return functional.mse_loss(logits, labels.float().view_as(logits), reduction="none").mean(1)
    return functional.cross_entropy(logits, labels.view(-1), reduction="none")
