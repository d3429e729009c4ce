"""A plain weighted loop over coresets, epoch by epoch, whose whole state can be saved and loaded."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adacore.experiments.analysis import MEASURED, describe_examples, epoch_batches, measure_run
from adacore.experiments.analysis.variance import Draw
from adacore.experiments.data import Splits
from adacore.experiments.runs.arms import parse_arm
from adacore.experiments.runs.devices import choose_device, place, synchronize
from adacore.experiments.runs.evaluation import check_fit, evaluate, nonfinite_example
from adacore.experiments.runs.metrics_rows import Row
from adacore.experiments.runs.models import make_model
from adacore.experiments.runs.optimizers import (
    Optimization,
    learning_rate,
    make_optimizer,
    needs_graph,
    set_learning_rate,
)
from adacore.experiments.runs.run_folder import Divergence, RunFolder
from adacore.experiments.runs.settings import TrainConfig, check_held_out, to_mapping
from adacore.labelling.durable_files import replace_by
from adacore.probing.batch_layout import call, move, split
from adacore.probing.labels import labels_of
from adacore.probing.model_state import preserving_state
from adacore.selectors.preparation import prepare_selector
from adacore.training.loader import CoresetLoader

LOOK_EVERY = 100
"""Steps between looks at the loss: on an accelerator each look waits for all steps before it."""

DRAWS = 200
"""Mini-batches whose error is measured where a run is analysed: enough for a standard error of some 3 %."""


class DivergedError(ValueError):
    """The loss or a weight became nan or infinite although the data are finite.

    Args:
        divergence: When, why, and what had been reached.
        kept: What is left of the run, for the message.
    """

    def __init__(self, divergence: Divergence, kept: str) -> None:
        self.divergence = divergence
        super().__init__(
            f"{divergence.reason} in epoch {divergence.epoch}: the training diverged; {kept}; lower --learning-rate"
        )


class TrainingLoop:
    """A model, its optimizer and its loader, with one state.

    Args:
        config: Settings.
        splits: The data set.

    Attributes:
        epoch: Epochs that are over.
        device: Where the model is, and data in memory that fit beside it.
        model: What is trained.
        loader: Delivers weighted batches and selects.

    Raises:
        ValueError: If settings, data and model do not fit together.
    """

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        # Both are kept: ``given`` is what is recorded and compared, ``config`` what this arm trains with.
        self.given, self.config = config, config.own()
        config = self.config
        self.epoch, self.evaluating_seconds = 0, 0.0
        self.reached = 1 / splits.classes  # what guessing gets right, until there is something better
        self.device = choose_device(config.device)
        selector = parse_arm(config.method).selector
        # Before the model is made: refusals come in the order of what they cost.
        check_held_out(config.method, splits.validation is not None)
        # Compiled before any clock runs: it would count as selecting in the first epoch.
        prepare_selector(selector)
        model = make_model(config.model, splits.shape, splits.classes, seed=config.seed)
        # On the CPU, where a mismatch of shapes is a plain message; on an accelerator it may come late.
        check_fit(model, splits, config.model)
        self.model = model.to(self.device)
        self.memory_format = torch.channels_last if config.channels_last else None
        if self.memory_format is not None:
            cast("Any", self.model).to(memory_format=self.memory_format)  # not in torch's type stubs
        settings = Optimization(config.optimizer, config.momentum, config.damped_momentum, config.weight_decay)
        # After the move to the device: the optimizer holds the parameters that it is given.
        self.optimizer = make_optimizer(self.model, settings, config.base_rate)
        self.differentiable = needs_graph(self.optimizer)
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        # Read before data are placed: counting classes on an accelerator would wait for it.
        labels = labels_of(splits.train)
        # Worker processes can't share what lies on an accelerator: with workers, data stay where they are.
        self.splits = splits = place(splits, self.device) if config.num_workers == 0 else splits
        self.loader = CoresetLoader(
            splits.train,
            self.model,
            selector,
            **config.size,
            every=config.every,
            batch_size=config.batch_size,
            seed=config.seed,
            labels=labels,
            validation=splits.validation,
            warm_start=config.warm_start,
            warm_start_on=config.warm_start_on,
            batches=config.batches,
            drop_last=config.drop_last,
            num_workers=config.num_workers,
            persistent_workers=config.num_workers > 0,
        )
        # Counting waits for the accelerator at every step, so that it is done only where somebody looks.
        self.counts_forgetting = selector.requirements().forgetting or config.analyse_every > 0
        # Models with dropout, and data sets that augment, draw from the global streams.
        random.seed(config.seed)
        np.random.seed(config.seed % 2**32)  # noqa: NPY002  # for data sets that draw from it
        torch.manual_seed(config.seed)

    def run_epoch(self, folder: RunFolder) -> Row:
        """Train for one epoch, reselecting if due, and evaluate.

        Args:
            folder: Where a new coreset is written.

        Returns:
            A row of metrics.

        Raises:
            DivergedError: If the loss, or a weight, becomes nan or infinite.
            ValueError: If an example holds nan or infinite inputs, or the selection fails.
        """
        start, epoch, loader = time.perf_counter(), self.epoch + 1, self.loader
        # A schedule is a function of the epoch, so that a resumed run has no schedule to restore.
        rate = learning_rate(self.config.schedule, self.config.base_rate, self.epoch, self.config.epochs)
        set_learning_rate(self.optimizer, rate)
        before = loader.reselector.reselections
        self.model.train()
        try:
            with self._autocast():
                # Autocast here as well: selection must see the logits that training sees.
                batches = iter(loader)
        except ValueError as error:
            if self._logits_overflow():
                raise self._diverged("a logit became nan or infinite", epoch) from error
            raise ValueError(f"epoch {epoch}: {error}") from error
        reselected = loader.reselector.reselections > before
        if loader.coreset is not None and reselected:
            # Before the epoch's row: a row that says ``reselected`` never lacks its coreset.
            folder.save_coreset(loader.coreset, epoch)
        train_loss, train_accuracy = self._steps(batches, epoch)
        # One wait for the accelerator in place of one for each tensor.
        finite = [tensor.isfinite().all() for tensor in self.model.state_dict().values() if torch.is_tensor(tensor)]
        if not bool(torch.stack(finite).all()):
            raise self._diverged("a weight became nan or infinite", epoch)
        # Counted up only now: an epoch that failed has not been.
        self.epoch = epoch
        test_loss, test_accuracy = self._evaluate()
        if test_loss is not None and not np.isfinite(test_loss):
            raise self._diverged("the loss on the test set became nan or infinite", epoch)
        # What a run that diverges later counts as: the last accuracy that was measured.
        self.reached = self.reached if test_accuracy is None else test_accuracy
        ledger = loader.ledger
        return {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "learning_rate": rate,
            "coreset_size": 0 if loader.coreset is None else len(loader.coreset),
            "reselected": reselected,
            "fraction_seen": ledger.fraction_seen,
            "gradient_evaluations": ledger.gradient_evaluations,
            "probed_examples": ledger.probed_examples,
            **{f"{part}_seconds": seconds for part, seconds in ledger.seconds.items()},
            "evaluating_seconds": self.evaluating_seconds,
            **self._analyse(folder),
            "epoch_seconds": time.perf_counter() - start,
        }

    def _steps(self, batches: Iterator[Any], epoch: int) -> tuple[float, float]:
        """Step through an epoch; what is measured stays on the device until the end, so that no step waits for it."""
        model, optimizer, device, autocast = self.model, self.optimizer, self.device, self._autocast
        losses, predicted, actual = list[Tensor](), list[Tensor](), list[Tensor]()
        for step, batch in enumerate(batches, 1):
            inputs, targets, weights = (move(part, device, self.memory_format) for part in unpack(batch))
            with autocast():
                logits = call(model, inputs)
                examples = functional.cross_entropy(logits, targets, reduction="none")
            # Weights have mean one over the coreset: an example of weight two counts twice, at the same learning rate.
            loss = (weights * examples).mean()
            optimizer.zero_grad()
            if self.differentiable:
                # In place of ``backward(create_graph=True)``, which leaves a cycle of parameter and gradient that keeps
                # memory.
                gradients = torch.autograd.grad(loss, self.trained, create_graph=True, allow_unused=True)
                for parameter, gradient in zip(self.trained, gradients, strict=True):
                    parameter.grad = gradient
            else:
                loss.backward()
            optimizer.step()
            logits, loss = logits.detach(), loss.detach()
            if self.counts_forgetting:
                self.loader.observe(logits, targets)
            losses.append(loss)
            predicted.append(logits.argmax(1))
            actual.append(targets)
            # Looked at now and then: training on after a nan wastes an epoch at most, and the end of the epoch looks
            # again.
            if step % LOOK_EVERY == 0 and not loss.isfinite():
                raise self._diverged("the loss became nan or infinite", epoch)
        with self.loader.ledger.measure("training"):
            # Steps are queued on an accelerator: their seconds are only spent once it has caught up.
            synchronize(device)
        # Weighted by batch size: a last batch of one example must not count as much as a full one.
        sizes = torch.tensor([len(targets) for targets in actual], dtype=torch.float64)
        mean = float((torch.stack(losses).cpu().double() * sizes).sum() / sizes.sum())
        if not np.isfinite(mean):
            raise self._diverged("the loss became nan or infinite", epoch)
        right = int((torch.cat(predicted) == torch.cat(actual)).sum())
        return mean, right / int(sizes.sum())

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _diverged(self, reason: str, epoch: int) -> ValueError:
        """Say why there is no going on: a broken example is mended in the data, not by a lower learning rate."""
        kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "there is no checkpoint yet"
        # Only now that something is wrong: looking through all data takes as long as an evaluation.
        for name, dataset in (("training", self.splits.train), ("test", self.splits.test)):
            broken = nonfinite_example(dataset)
            if broken is not None:
                return ValueError(
                    f"{reason} in epoch {epoch}: {name} example {broken} holds nan or infinite inputs; {kept}; mend or "
                    "leave out that example"
                )
        return DivergedError(Divergence(epoch, reason, self.reached), kept)

    def _logits_overflow(self) -> bool:
        """Tell whether the model gives nan or infinite logits for finite training examples."""
        with preserving_state(self.model), self._autocast():
            loss, _ = evaluate(
                self.model,
                self.splits.train,
                self.device,
                memory_format=self.memory_format,
                num_workers=self.config.num_workers,
            )
        return not np.isfinite(loss)

    def _evaluate(self) -> tuple[float | None, float | None]:
        # The last epoch is always evaluated: it is what the run counts as.
        if self.epoch % self.config.eval_every and self.epoch != self.config.epochs:
            return None, None
        start = time.perf_counter()
        with preserving_state(self.model), self._autocast():
            measured = evaluate(
                self.model,
                self.splits.test,
                self.device,
                memory_format=self.memory_format,
                num_workers=self.config.num_workers,
            )
        self.evaluating_seconds += time.perf_counter() - start
        return measured

    def _analyse(self, folder: RunFolder) -> Row:
        """Measure what the report draws, at the end also of every example; no stream and no second is touched by it."""
        config, reselector = self.config, self.loader.reselector
        if not config.analyse_every:
            return {}
        last = self.epoch == config.epochs
        # Every row of a run that is analysed has the same keys, with None where nothing was measured.
        if (self.epoch % config.analyse_every and not last) or reselector.selection is None:
            return dict.fromkeys(MEASURED)
        train, probe, seed = self.splits.train, reselector.probe, config.seed
        with self._autocast():
            # A rank takes an order of picks: methods without an objective have none.
            if last and reselector.selector.traits.objective:
                forgetting = self.loader.forgetting.events
                examples = describe_examples(
                    self.model,
                    train,
                    reselector.selector,
                    probe,
                    forgetting,
                    validation=self.splits.validation,
                    seed=seed,
                )
                replace_by(folder.path / "examples.npz", examples.save)
            return measure_run(
                self.model,
                train,
                self.splits.test,
                reselector.coreset,
                probe,
                draws=self._draws(),
                seed=seed,
                epoch=self.epoch,
            )

    def _draws(self) -> list[Draw]:
        """Draw mini-batches as training does from what it trains on now, but others."""
        config, reselector = self.config, self.loader.reselector
        assert reselector.selection is not None
        size = min(config.batch_size, reselector.budget)
        # A stream of its own (0xBA): the training's own batches were learnt from a moment ago, and would err less.
        seed = int(np.random.default_rng([config.seed, self.epoch, 0xBA]).integers(2**31))
        drawn = epoch_batches(reselector.selection, config.batches, size, DRAWS, size=reselector.budget, seed=seed)
        return list(drawn)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, as ``torch.load(weights_only=True)`` takes it."""
        # Global streams are a part of the state: dropout and augmentation draw from them.
        numpy_stream = np.random.get_state()  # noqa: NPY002
        return {
            "epoch": self.epoch,
            "config": to_mapping(self.given),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "evaluating_seconds": self.evaluating_seconds,
            "reached": self.reached,
            "streams": {
                "python": list(random.getstate()),
                # As a tensor: ``weights_only`` refuses numpy arrays.
                "numpy": [torch.from_numpy(p.copy()) if isinstance(p, np.ndarray) else p for p in numpy_stream],
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }

    def load_state_dict(self, state: Mapping[str, Any], folder: RunFolder) -> None:
        """Continue from a ``state_dict()``.

        Args:
            state: Of a trainer with the same settings and data.
            folder: Where it comes from, for the message.

        Raises:
            ValueError: If it does not fit.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.loader.load_state_dict(state["loader"])
            self.epoch, self.evaluating_seconds = int(state["epoch"]), float(state["evaluating_seconds"])
            self.reached = float(state["reached"])
            streams = state["streams"]
            version, words, gauss = streams["python"]
            random.setstate((version, tuple(words), gauss))
            kind, keys, *rest = streams["numpy"]
            np.random.set_state((kind, keys.numpy(), *rest))  # noqa: NPY002
            torch.set_rng_state(streams["torch"])
            if torch.cuda.is_available() and streams["cuda"]:
                torch.cuda.set_rng_state_all(streams["cuda"])
        # All that loading into another model, optimizer or loader raises: the message must name the file and what to
        # do.
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(
                f"the checkpoint {folder.checkpoint_file} does not fit its run ({words}): the data set, the model or "
                "the library has changed; put them back, or start another run in another folder"
            ) from error


def unpack(batch: Any) -> tuple[Any, Tensor, Tensor]:
    """Split a batch of a ``CoresetLoader`` into inputs, targets and weights.

    Args:
        batch: A tuple that ends in weights, or a mapping that has them under "weights".

    Returns:
        Inputs as the model takes them, classes, and weights of shape (batch,).
    """
    # The common case first, and exactly: it is asked at every step.
    if type(batch) is tuple and len(batch) == 3:
        return batch
    weights = batch["weights"] if isinstance(batch, Mapping) else batch[-1]
    inputs, targets = split(batch if isinstance(batch, Mapping) else batch[:-1])
    if targets is None:
        raise ValueError("a batch to train on has no targets")
    return inputs, targets, weights
