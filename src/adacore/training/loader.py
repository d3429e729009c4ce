"""CoresetLoader: a DataLoader that trains on coresets which it selects itself."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from adacore.coreset import Coreset
from adacore.probing.batch_layout import length_of
from adacore.probing.probe import Probe
from adacore.probing.reading import reading_settings
from adacore.selectors import Selector
from adacore.selectors.settings import check_flag
from adacore.training.arguments import (
    budget_of,
    check_batches,
    check_probe,
    check_seed,
    check_settings,
    probed,
    settings_of,
    swallows,
)
from adacore.training.forgetting import ForgettingCounts
from adacore.training.ledger import Ledger
from adacore.training.plan import Batches, EpochPlan, Key
from adacore.training.reselector import Reselector
from adacore.training.sampler import CoresetBatchSampler
from adacore.training.schedule import Schedule, WarmStart
from adacore.training.weighted import WeightedDataset, unpack


class CoresetLoader(DataLoader[Any]):
    """Delivers mini-batches with weights, of a coreset that is selected anew every R epochs.

    A batch (inputs, targets) becomes (inputs, targets, weights); one that is a dict gets the key ``weight_key``.
    Weights are float32 with mean one over the coreset, so that a learning rate means the same as on the full data:
    ``loss = (weights * criterion(model(inputs), targets)).mean()``, the criterion with ``reduction="none"``.

    An iteration over the loader is an epoch. A loop that leaves an iteration early calls ``set_epoch`` before each
    epoch, and is warned once if it does not: an iteration left after its first batch begins the same epoch again the
    next time, one left later counts as an epoch.

    Weights travel with the examples: ``DataLoader(loader.dataset, batch_sampler=loader.batch_sampler)``, which is what
    Accelerate makes of a loader, selects, shuffles and weights as this loader does.

    In a group of several processes (``torch.distributed``) each process makes its own loader with the same arguments.
    They select together, and each delivers its share of every batch: see ``EpochPlan.share``.

    Args:
        dataset: A map-style data set of n examples, which is trained on.
        model: The model that is being trained; it is run over the data to select, and left untouched.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the examples to select, in (0, 1]; this or ``budget``. ``Full`` needs neither, nor does
            ``Stratified``: it then draws each epoch's batches from all examples, each once.
        budget: How many to select, in [1, n].
        every: R, epochs between reselections; ``"auto"`` measures the first two and then chooses the smallest that
            keeps probing and selecting under a fifth of the time, so that it differs from machine to machine. A
            ``Random()`` to compare with takes ``every=1``: it costs nothing, and a subset that is kept trains worse.
        batch_size: Examples in a batch; of each process, where there are several.
        seed: Of every random draw, those of augmentation included.
        labels: Strata to select within, whole numbers, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        probe_dataset: The same examples in the same order without augmentation.
        probe: How to run the model over the data set: loss, last layer, batch size, device; see ``adacore.Probe``. It
            reads with the DataLoader's settings, unless it has its own.
        weight_key: Name of the weights in batches that are dicts.
        warm_start: Epochs at the start that do without the selector.
        warm_start_on: ``"full"`` data, or a fresh ``"random"`` subset in each of them.
        batches: How an epoch draws them from a coreset. ``"weighted"``: each example once, with its weight.
            ``"proportional"``: each as often as its weight says, with a weight of one. ``"stratified"``, for methods
            that choose medoids: random members of their clusters, as many as the clusters' sizes say, with a weight of
            one.
            ``Stratified`` has no coreset; its batches are stratified samples of all examples, with a weight of one.
        drop_last: Whether an incomplete last batch of an epoch is left out.
        **dataloader_settings: Any other setting of ``torch.utils.data.DataLoader``.

    Attributes:
        indices: Positions of the examples in the batch last delivered, int64 tensor.
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

    dataset: WeightedDataset
    batch_sampler: CoresetBatchSampler

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
        weight_key: str = "weights",
        warm_start: int = 0,
        warm_start_on: WarmStart = "full",
        batches: Batches = "weighted",
        drop_last: bool = False,
        **dataloader_settings: Any,
    ) -> None:
        n = length_of(dataset)
        check_settings(dataloader_settings)
        check_flag("drop_last", drop_last)  # "no" is true to Python
        probe = check_probe(probe)
        # The probe reads the data set as training does, unless it says otherwise.
        probe = replace(probe, loader={**reading_settings(dataloader_settings), **probe.loader})
        # Whatever can be wrong with model, data and selector is found before the workers of a DataLoader are set up.
        self.reselector = Reselector(
            model,
            probed(dataset, probe_dataset),
            selector,
            budget=budget_of(selector, n, budget=budget, fraction=fraction),
            schedule=Schedule(every, warm_start, warm_start_on),
            probe=probe,
            labels=labels,
            validation=validation,
            seed=check_seed(seed),
            batches=check_batches(batches),
        )
        sampler = CoresetBatchSampler(self.reselector, batch_size=batch_size, drop_last=drop_last, batches=batches)
        weighted = WeightedDataset(
            dataset,
            weight_key=weight_key,
            collate_fn=dataloader_settings.pop("collate_fn", None),
            seed=seed,
            swallowed_by=type(model).__name__ if swallows(model, weight_key) else None,
        )
        if dataloader_settings.get("generator") is None:
            # A DataLoader draws its workers' seed from it, or from the global stream, which is not ours to draw from.
            dataloader_settings["generator"] = torch.Generator()
        self.indices: Tensor = torch.empty(0, dtype=torch.int64)
        # unpack and not the user's collate_fn: a batch is collated before its weights are put beside it.
        super().__init__(weighted, batch_sampler=sampler, collate_fn=unpack, **dataloader_settings)
        # The epoch after a warm start too: a warm start may train on more than the budget, and ends hours later.
        if not all(sampler.batches_in(epoch) for epoch in (0, warm_start)):
            raise ValueError(
                f"drop_last=True leaves no batch of {batch_size} in a coreset of {self.reselector.budget}: "
                "lower batch_size or raise the budget"
            )
        # Reads ahead of training in other processes; its sampler yields what the current plan says and counts nothing.
        self._planned = _PlannedKeys()
        self._reader: DataLoader[Any] | None = None
        # Without either, batches are read in this process straight from the plan, and no DataLoader stands between.
        if self.num_workers or self.pin_memory:
            self._reader = DataLoader(weighted, batch_sampler=self._planned, collate_fn=unpack, **dataloader_settings)

    @classmethod
    def from_data_loader(
        cls, loader: DataLoader[Any], model: nn.Module, selector: Selector, **settings: Any
    ) -> CoresetLoader:
        """Make a loader of coresets of a ``DataLoader`` that exists already.

        Args:
            loader: Its data set, batch size, ``drop_last``, ``collate_fn`` and settings of workers are taken over.
            model: The model that is being trained.
            selector: The method.
            **settings: Any other argument of ``CoresetLoader``; they win over those of the loader.

        Returns:
            A loader of its own; nothing is shared but the data set.

        Raises:
            ValueError: If the loader has a sampler that chooses among the examples, or makes no batches.
            TypeError: If it is no ``DataLoader``, or its data set is no map-style one.

        Example:
            >>> data = torch.utils.data.TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
            >>> plain = DataLoader(data, batch_size=4, shuffle=True)
            >>> from adacore.selectors import Random
            >>> len(CoresetLoader.from_data_loader(plain, nn.Linear(3, 2), Random(), fraction=0.4))
            2
        """
        taken = settings_of(loader)
        return cls(loader.dataset, model, selector, **{**taken, **settings})

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return self.batch_sampler.epoch

    @property
    def coreset(self) -> Coreset | None:
        """The current coreset, or None before the first selection, and where the selector has strata instead."""
        return self.reselector.coreset

    @property
    def ledger(self) -> Ledger:
        """Seconds by part, gradient evaluations, and the share of the data seen, up to the batch last delivered."""
        return self.reselector.ledger

    @property
    def forgetting(self) -> ForgettingCounts:
        """Forgetting events, counted by ``observe``."""
        return self.reselector.forgetting

    def __len__(self) -> int:
        return self.batch_sampler.batches_in(self.epoch)

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
        return sum(self.batch_sampler.batches_in(epoch) for epoch in range(epochs))

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the coreset is selected, if due, when its first batch is asked for.

        Args:
            epoch: From 0.

        Raises:
            ValueError: If it is negative.
        """
        self.batch_sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Not a generator itself: the selection belongs to the call of iter(), before any worker reads ahead.
        return self._deliver(*self._begin())

    def _begin(self) -> tuple[EpochPlan, EpochPlan, Iterator[Any] | None]:
        """Begin an epoch: the plan, this process's share of it, and its batches where workers fetch them."""
        processes = self.reselector.processes
        plan = self.batch_sampler.begin()
        share = plan.share(processes.rank, processes.size) if processes.size > 1 else plan
        if self._reader is None:
            return plan, share, None
        # Set before the workers start: they fetch the first batches as soon as the iterator exists.
        self._planned.plan = share
        return plan, share, iter(self._reader)

    def _deliver(self, plan: EpochPlan, share: EpochPlan, fetched: Iterator[Any] | None) -> Iterator[Any]:
        """Deliver a share of a plan, read here or fetched by workers, and keep account of the plan."""
        sampler, read, clock = self.batch_sampler, self.dataset.read, time.perf_counter
        if sampler.redirected:  # between iter() and the first next()
            plan, share, fetched = self._begin()
        last = clock()
        for number in range(plan.start, len(plan)):
            if fetched is not None and self.persistent_workers and self._planned.plan is not share:
                # torch's persistent workers belong to the iteration that began last. This one reads the rest itself:
                # the streams are seeded by batch, so that nothing differs but the time it takes.
                fetched = None
            batch = read(share, number) if fetched is None else next(fetched)
            now = clock()
            # Counted before the yield: a training loop that saves its state between two batches has had this one.
            if sampler.deliver(plan, number, now - last):
                self.indices = share.batches[number]
            last = now
            # The time until the next batch is asked for is the training step's; reading is within it, as in any
            # training.
            yield batch
        sampler.end(plan, clock() - last)

    def __getstate__(self) -> dict[str, Any]:
        # Neither workers nor what talks to them can be pickled; they start again with the next iteration.
        reader = copy.copy(self._reader)
        if reader is not None:
            reader._iterator = None
        return {**self.__dict__, "_reader": reader}

    def observe(self, logits: Tensor, targets: Tensor) -> None:
        """Count forgetting events of the batch last delivered.

        Args:
            logits: The model's, on that batch, shape (batch, classes).
            targets: Its classes, shape (batch,).

        Raises:
            ValueError: If they are not of that batch.
            NotImplementedError: In a group of several processes, each of which sees a share of the examples.
        """
        # Each process would count its own examples, and the counts would have to be added up before each selection.
        if self.reselector.processes.size > 1:
            raise NotImplementedError("forgetting events are counted in one process only: do not call observe")
        self.forgetting.observe(self.indices, logits, targets)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that lives across batches and epochs, as ``torch.load(weights_only=True)`` takes it.

        The position is counted by batches delivered, not by those that workers fetched ahead.
        """
        return self.batch_sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a ``state_dict()`` was taken: the next iteration delivers the batches that remained.

        Args:
            state: Of a loader with the same data set and settings.

        Raises:
            ValueError: If it is of another; the message names what differs.
        """
        self.batch_sampler.load_state_dict(state)


class _PlannedKeys:
    """The batch sampler of the workers' reader: the keys of whatever plan is current."""

    plan: EpochPlan | None = None

    def __iter__(self) -> Iterator[list[Key]]:
        plan = self.plan
        if plan is not None:
            # Lazily: the keys of all batches of an epoch are as many Python objects as it has examples.
            yield from map(plan.keys, range(plan.start, len(plan)))

    def __len__(self) -> int:
        return 0 if self.plan is None else len(self.plan)
