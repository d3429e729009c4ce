"""CoresetLoader: a DataLoader that trains on coresets which it selects itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.batches import attach, check_rows, length_of
from adacore.probing.probe import Probe
from adacore.probing.reading import BatchFetcher, batch_fetcher, for_data_loader, reading_settings
from adacore.selectors import Selector
from adacore.training.arguments import check_batch_size, check_seed, check_settings, probed
from adacore.training.forgetting import ForgettingCounts
from adacore.training.ledger import Ledger
from adacore.training.reselector import Reselector
from adacore.training.sampler import CoresetBatchSampler, batch_count
from adacore.training.schedule import Schedule, WarmStart


class CoresetLoader(DataLoader[Any]):
    """Delivers weighted batches of a coreset that is selected again every R epochs.

    A batch (inputs, targets) becomes (inputs, targets, weights); one that is a dict gets the key "weights". Weights are
    float32 with mean one over the coreset, so that a learning rate means the same as on the full data:
    ``loss = (weights * criterion(model(inputs), targets)).mean()``, the criterion with ``reduction="none"``.

    An epoch ends when its iterator is exhausted, or, where it has several batches, when the last has been delivered and
    the next iteration begins; until then ``iter(loader)`` starts the same epoch again, so that looking at a first batch
    costs nothing. A loop that leaves epochs early calls ``set_epoch``.

    Args:
        dataset: A map-style data set of n examples, which is trained on.
        model: The model that is being trained; it is run over the data to select, and left untouched.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the examples to select, in (0, 1]; this or ``budget``.
        budget: How many to select, in [1, n].
        every: R, epochs between reselections; ``"auto"`` measures the first two and then chooses the smallest that
            keeps probing and selecting under a fifth of the time, so that it differs from machine to machine.
        batch_size: Examples in a batch.
        seed: Of every random draw.
        labels: Strata to select within, whole numbers, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        probe_dataset: The same examples in the same order without augmentation.
        probe: How to run the model over the data to select: loss, last layer, batch size, device; see
            ``adacore.Probe``. Its ``loader`` defaults to this loader's own settings.
        warm_start: Epochs at the start that do without the selector.
        warm_start_on: ``"full"`` data, or a fresh ``"random"`` subset in each of them.
        drop_last: Whether an incomplete last batch of an epoch is left out.
        **dataloader_settings: Any other setting of ``torch.utils.data.DataLoader``.

    Attributes:
        epoch: The current epoch, from 0.
        indices: Positions of the examples in the batch last delivered, int64 tensor.
        forgetting: Forgetting events, counted by ``observe``.
        reselector: Schedule, averages and current coreset.

    Raises:
        ValueError: If a setting is out of range or clashes with what the loader decides.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from adacore.selectors import Random
        >>> data = TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
        >>> loader = CoresetLoader(data, nn.Linear(3, 2), Random(), fraction=0.2, batch_size=4)
        >>> for inputs, targets, weights in loader:
        ...     print(tuple(inputs.shape), weights)
        (4, 3) tensor([1., 1., 1., 1.])
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        model: nn.Module,
        selector: Selector,
        *,
        fraction: float | None = None,
        budget: int | None = None,
        every: int | Literal["auto"] = 1,
        batch_size: int = 256,
        seed: int = 0,
        labels: ArrayLike | None = None,
        validation: Dataset[Any] | None = None,
        probe_dataset: Dataset[Any] | None = None,
        probe: Probe | None = None,
        warm_start: int = 0,
        warm_start_on: WarmStart = "full",
        drop_last: bool = False,
        **dataloader_settings: Any,
    ) -> None:
        n = length_of(dataset)
        check_settings(dataloader_settings)
        collate_fn = dataloader_settings.get("collate_fn")
        self._fetch = _direct_fetch(dataset, dataloader_settings)
        self._own_generator = dataloader_settings.get("generator") is None
        if self._own_generator:
            dataloader_settings["generator"] = torch.Generator()
        probe = Probe() if probe is None else probe
        probe = replace(probe, loader={**reading_settings(dataloader_settings), **probe.loader})
        self.reselector = Reselector(
            model,
            probed(dataset, probe_dataset),
            selector,
            budget=resolve_budget(n, budget=budget, fraction=fraction),
            schedule=Schedule(every, warm_start, warm_start_on),
            probe=probe,
            labels=labels,
            validation=validation,
            seed=check_seed(seed),
        )
        self._sampler = CoresetBatchSampler(check_batch_size(batch_size), seed, drop_last=drop_last)
        self.forgetting = ForgettingCounts(n)
        self.epoch = 0
        self.indices: Tensor = torch.empty(0, dtype=torch.int64)
        self._start = self._position = self._recorded = 0
        self._running = object()
        source, collate = for_data_loader(dataset, collate_fn)
        super().__init__(source, batch_sampler=self._sampler, **{**dataloader_settings, "collate_fn": collate})
        if not len(self):
            raise ValueError(
                f"drop_last=True leaves no batch of {batch_size} in a coreset of {self.reselector.budget}: "
                "lower batch_size or raise the budget"
            )

    @property
    def coreset(self) -> Coreset | None:
        """The current coreset, or None before the first selection."""
        return self.reselector.coreset

    @property
    def ledger(self) -> Ledger:
        """Seconds by part, gradient evaluations, and the share of the data touched, up to the batch last delivered."""
        self._record()
        return self.reselector.ledger

    def __len__(self) -> int:
        return self._batches_in(self.epoch)

    def total_steps(self, epochs: int) -> int:
        """Count the batches of a whole training, for learning-rate schedules.

        Args:
            epochs: How many, from epoch 0.

        Returns:
            Batches; an upper bound for selectors that may select fewer than the budget.

        Raises:
            ValueError: If there is no epoch.
        """
        if epochs < 1:
            raise ValueError(f"epochs={epochs} is below 1: pass the number of epochs of the training")
        return sum(self._batches_in(epoch) for epoch in range(epochs))

    def _batches_in(self, epoch: int) -> int:
        reselector = self.reselector
        if reselector.coreset is not None and not reselector.is_due(epoch):
            size = len(reselector.coreset)
        else:
            everything = reselector.phase_of(epoch).source == "full" or reselector.selector.traits.ignores_budget
            size = reselector.population if everything else reselector.budget
        return batch_count(size, self._sampler.batch_size, drop_last=self._sampler.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the coreset is selected, if due, when its first batch is asked for.

        Args:
            epoch: From 0.

        Raises:
            ValueError: If it is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch={epoch} is negative: epochs count from 0")
        self._record()
        if epoch != self.epoch:
            self.epoch, self._start, self._position, self._recorded = epoch, 0, 0, 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._record()
        if self._start < self._position == len(self._sampler.batches) > 1:
            self._end_epoch()
        coreset = self.reselector.coreset_for(self.epoch, forgetting=self.forgetting.scores)
        self._sampler.prepare(coreset, self.epoch, self._start)
        self._position = self._recorded = self._start
        self._running = object()
        if self._fetch is not None:
            return self._deliver(map(self._fetch, self._sampler.batches[self._start :]), self._running)
        if self._own_generator and self.generator is not None:
            # Workers are seeded by the epoch, so that a resumed run augments as one that was not stopped.
            self.generator.manual_seed(_worker_seed(self.reselector.seed, self.epoch))
        return self._deliver(super().__iter__(), self._running)

    def _deliver(self, source: Iterator[Any], running: object) -> Iterator[Any]:
        """Attach weights to batches and keep account of the latest iteration, which ``running`` stands for."""
        batches, all_weights, start = self._sampler.batches, self._sampler.weights, self._start
        seconds, clock = self.reselector.ledger.seconds, time.perf_counter
        last = clock()
        for position, batch in enumerate(source, start):
            indices = batches[position]
            if position == start or self._fetch is None:
                check_rows(batch, len(indices))
            if self._running is running:
                self.indices, self._position = indices, position + 1
                now = clock()
                seconds["training"] += now - last
                last = now
            yield attach(batch, all_weights[position])
        if self._running is running:
            seconds["training"] += clock() - last
            self._end_epoch()

    def _end_epoch(self) -> None:
        self._record()
        self.epoch, self._start, self._position, self._recorded = self.epoch + 1, 0, 0, 0

    def _record(self) -> None:
        """Enter the batches delivered since the last time into the ledger: once an epoch, not once a batch."""
        delivered = self._sampler.batches[self._recorded : self._position]
        if delivered:
            self.reselector.ledger.step(torch.cat(delivered).numpy())
        self._recorded = self._position

    def observe(self, logits: Tensor, targets: Tensor) -> None:
        """Count forgetting events of the batch last delivered.

        Args:
            logits: The model's, on that batch, shape (batch, classes).
            targets: Its classes, shape (batch,).

        Raises:
            ValueError: If they are not of that batch.
        """
        self.forgetting.observe(self.indices, logits, targets)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that lives across batches and epochs, as ``torch.load(weights_only=True)`` takes it.

        The position is counted by batches delivered, not by those that workers fetched ahead.
        """
        return {
            "seed": self.reselector.seed,
            "batch_size": self._sampler.batch_size,
            "epoch": self.epoch,
            "position": self._position,
            "reselector": self.reselector.state_dict(),
            "forgetting": self.forgetting.state_dict(),
            "ledger": self.ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a ``state_dict()`` was taken: the next iteration delivers the batches that remained.

        Args:
            state: Of a loader with the same data set, seed and batch size.

        Raises:
            ValueError: If it is of another.
        """
        expected = self.state_dict()
        if not isinstance(state, Mapping) or not expected.keys() <= state.keys():
            raise ValueError(f"this is no state of a CoresetLoader: expected the keys {sorted(expected)}")
        for name in ("seed", "batch_size"):
            if state[name] != expected[name]:
                raise ValueError(
                    f"the state was saved with {name}={state[name]}, this loader has {name}={expected[name]}: "
                    "make the loader with the settings that it was saved with"
                )
        self.reselector.load_state_dict(state["reselector"])
        self.reselector.ledger.load_state_dict(state["ledger"])
        self.forgetting.load_state_dict(state["forgetting"])
        self.epoch = state["epoch"]
        self._start = self._position = self._recorded = state["position"]
        self._running = object()


def _direct_fetch(dataset: Dataset[Any], settings: Mapping[str, Any]) -> BatchFetcher | None:
    """Fetch without the ``DataLoader``'s machinery where it has nothing to do."""
    pinned = settings.get("pin_memory", False) and torch.accelerator.is_available()
    if settings.get("num_workers", 0) or settings.get("collate_fn") is not None or pinned:
        return None
    return batch_fetcher(dataset)


def _worker_seed(seed: int, epoch: int) -> int:
    return int(np.random.default_rng([seed, epoch, 0x33]).integers(2**62))
