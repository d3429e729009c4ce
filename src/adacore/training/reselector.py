"""The Reselector selects a coreset whenever one is due in a training; ``select`` selects one for a model as it is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.data import Dataset

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.probing.batch_layout import length_of
from adacore.probing.curvature import RunningAverages
from adacore.probing.labels import check_labels, labels_of
from adacore.probing.probe import Probe
from adacore.probing.processes import Processes
from adacore.probing.snapshot import Snapshot
from adacore.selectors import Full, HasStrata, Random, Selector
from adacore.selectors.ordered_strata import Strata
from adacore.training.advisor import Advisor
from adacore.training.arguments import budget_of, check_seed, check_selector, probed
from adacore.training.choosing import choose
from adacore.training.clusters import medoids_of
from adacore.training.fingerprint import check_fingerprint, written
from adacore.training.forgetting import ForgettingCounts
from adacore.training.ledger import Ledger
from adacore.training.plan import Batches
from adacore.training.schedule import Phase, Schedule


class Reselector:
    """Selects a coreset, again and again while a model trains.

    Args:
        model: The model that is being trained.
        dataset: What to select from; if ``dataset[i]`` is augmented, pass the same examples without.
        selector: The method.
        budget: How many to select, in [1, n].
        schedule: When.
        probe: How to run the model over the data.
        labels: Strata to select within, whole numbers, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        seed: Of every random draw; reselection t draws from ``default_rng([seed, t])``.
        ledger: Where to account for seconds and probed examples.
        batches: How batches are drawn: along strata where the selector orders the examples, or where this is
            ``"stratified"``. None for a single selection, which is a coreset and made in this process alone.

    Attributes:
        coreset: The current coreset, or None before the first selection, and where the selector has strata instead.
        strata: The current strata that batches are drawn along, or None.
        phase: What they came from, and the epoch in which it was selected.
        reselections: How many selections there were.
        advisor: What reselections cost, and R once ``every="auto"`` has settled on one.
        forgetting: Forgetting events, for selectors that require them.
        averages: Running averages of proxies and curvature.
        ledger: The ledger.

    Raises:
        ValueError: If something that the selector requires is missing, or a setting is out of range.
        TypeError: If the selector is not one.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset[Any],
        selector: Selector,
        *,
        budget: int,
        schedule: Schedule | None = None,
        probe: Probe | None = None,
        labels: ArrayLike | None = None,
        validation: Dataset[Any] | None = None,
        seed: int = 0,
        ledger: Ledger | None = None,
        batches: Batches | None = "weighted",
    ) -> None:
        self.model, self.dataset, self.selector, self.seed = model, dataset, selector, check_seed(seed)
        self.population = length_of(dataset)
        self.budget = resolve_budget(self.population, budget=budget)
        self.schedule = Schedule() if schedule is None else schedule
        self.probe = Probe() if probe is None else probe
        self.validation, self.batches = validation, batches
        self.ledger = Ledger(self.population) if ledger is None else ledger
        self.requirements = check_selector(selector).requirements()
        self.coreset: Coreset | None = None
        self.strata: Strata | None = None
        self.phase: Phase | None = None
        self.reselections = 0
        self.advisor = Advisor(self.schedule, self.ledger, self.budget)
        self.forgetting = ForgettingCounts(self.population)
        # Made here, so that decays out of range are refused before training starts.
        self.averages = RunningAverages.init(self.requirements.beta1, self.requirements.beta2)
        self._labels: NDArray[np.int64] | None = None
        self._checked = self._warned = False
        self._given = labels is not None
        if labels is not None:
            self._labels = check_labels(labels, self.population)
            self._check_budget(self._labels)
        # Only medoids have clusters; any other coreset says nothing of the examples that it leaves out.
        if batches == "stratified" and not isinstance(selector, HasStrata) and medoids_of(selector) is None:
            raise ValueError(
                f'batches="stratified" draws members of the clusters about medoids, and {selector.name} has none: pass '
                'batches="proportional", a selector such as AdaCore(), or Stratified(), which needs no coreset'
            )
        if self.requirements.validation:
            if validation is None:
                raise ValueError(
                    f"{selector.name} needs validation data: pass validation=, a data set held out from training"
                )
            length_of(validation, "validation")

    @property
    def selection(self) -> Coreset | Strata | None:
        """What batches are drawn of: the strata if there are any, else the coreset."""
        return self.coreset if self.strata is None else self.strata

    @property
    def processes(self) -> Processes:
        """Those that select together; this one alone for ``select``, and where no process group is initialised."""
        # select() may be called by one process of a group, for a look: it must not wait for the others.
        return Processes() if self.batches is None else Processes.current()

    def is_due(self, epoch: int) -> bool:
        """Tell whether an epoch needs a new selection.

        Args:
            epoch: From 0.

        Returns:
            Whether ``selection_for(epoch)`` would select.
        """
        return self.selection is None or self.phase != self.phase_of(epoch)

    def phase_of(self, epoch: int) -> Phase:
        """Tell what an epoch trains on, and since when.

        Args:
            epoch: From 0.

        Returns:
            By the schedule, with R as chosen so far.
        """
        return self.schedule.phase(epoch, self.advisor.choice(epoch, self.phase))

    def selection_for(self, epoch: int) -> Coreset | Strata:
        """Return the coreset, or the strata, of an epoch; select if it is due.

        Args:
            epoch: From 0.

        Returns:
            The selection; asking again in the same epoch costs nothing.
        """
        # Before anything is due: whether it is depends on R.
        self.advisor.settle(epoch, self.phase)
        self.advisor.chosen = self.processes.from_the_first(self.advisor.chosen)  # measured time differs
        if self.is_due(epoch):
            # Read before the selection, whose seconds would change what the advisor answers.
            phase = self.phase_of(epoch)
            with self.advisor.measure():
                self.coreset, self.strata = self._select(phase)
            # Last: a selection that was interrupted leaves phase and count, and so is made again with the same stream.
            self.phase = phase
            self.reselections += 1
        assert self.selection is not None
        return self.selection

    def _select(self, phase: Phase) -> tuple[Coreset | None, Strata | None]:
        # By the number of the reselection and not from one stream: a resumed run draws what one without a stop would
        # draw.
        generator = np.random.default_rng([self.seed, self.reselections])
        with self.ledger.measure("probing"):
            snapshot, averages = self._snapshot(phase)
        with self.ledger.measure("selecting"):
            # Phase.source is one of these two, or "selector".
            warm: dict[str, Selector] = {"full": Full(), "random": Random()}
            coreset, strata = choose(
                warm.get(phase.source, self.selector),
                snapshot,
                self.budget,
                batches=self.batches,
                generator=generator,
                processes=self.processes,
            )
        if coreset is not None and not len(coreset):
            raise ValueError(f"{self.selector.name} selected nothing: raise the budget or use another selector")
        # A warm start's subset is exactly of the size asked for.
        if coreset is not None and phase.source == "selector":
            self._warn_of_few(len(coreset))
        # Only now: a selection that raised has not been averaged, and can be tried again.
        self.averages = averages
        return coreset, strata

    def _warn_of_few(self, selected: int) -> None:
        # Below half only: a few duplicates are common, and no cause for alarm.
        if 2 * selected < self.budget and not self.selector.traits.ignores_budget:
            warnings.warn(
                f"{self.selector.name} selected {selected} examples where {self.budget} were asked for: to it the "
                "others are the same as these (duplicates, or examples without a gradient); ask for fewer, or compare "
                "with adacore.Random()",
                UserWarning,
                stacklevel=5,
            )

    def _snapshot(self, phase: Phase) -> tuple[Snapshot, RunningAverages]:
        if phase.source != "selector" or self.requirements == type(self.requirements)():
            # Random, Full and a warm start ask nothing of the model: it is not run, and the averages are of other
            # reselections.
            return Snapshot(self.population, self._classes()), self.averages
        if self.requirements.needs_model and not self._checked:
            self._check_before_probing()
        snapshot = self.probe.measure(
            self.model,
            self.dataset,
            self.requirements,
            # Labels that were found in the data set are what the probe reads anyway, batch by batch, at the present.
            strata=self._labels if self._given else None,
            validation=self.validation,
            seed=self.seed,
            reselection=self.reselections,
            forgetting=self.forgetting.scores,
            processes=self.processes,
        )
        if not self.requirements.needs_model:
            snapshot = Snapshot(snapshot.n, self._classes(), forgetting=snapshot.forgetting)
        else:
            held_out = 0 if snapshot.validation is None else snapshot.validation.n
            self.ledger.probed_examples += snapshot.n + held_out
            self._warn_of_augmentation(snapshot)
        # The snapshot is ours alone: averaging in place spares a second array of n d numbers, a hundred MB for 400,000
        # x 64.
        averages, snapshot = self.averages.update(snapshot, overwrite=True)
        return snapshot, averages

    def _check_before_probing(self) -> None:
        self._checked = True
        labels = self._labels
        if not self._given and self.requirements.targets == "given":
            # Only where no reading is needed for it: the probe reads everything a moment later and finds the rest.
            labels = self._find_labels(read_all=False)
        if labels is not None:
            self._check_budget(labels)

    def _warn_of_augmentation(self, snapshot: Snapshot) -> None:
        if snapshot.augmented and not self._warned:
            self._warned = True
            warnings.warn(
                "dataset[i] changes from call to call (augmentation?), so that what is selected depends on chance: "
                "pass probe_dataset=, the same examples in the same order without augmentation",
                UserWarning,
                stacklevel=2,
            )

    def _classes(self) -> NDArray[np.int64] | None:
        if self._labels is None and self._wants_labels():
            self._labels = self._find_labels(read_all=True)
        return self._labels

    def _wants_labels(self) -> bool:
        # A selector that orders examples handles classes by itself and gets by without.
        return self.selector.per == "class" or isinstance(self.selector, HasStrata)

    def _find_labels(self, *, read_all: bool) -> NDArray[np.int64] | None:
        return labels_of(self.dataset, criterion=self.probe.criterion, loader=self.probe.loader, read_all=read_all)

    def _check_budget(self, labels: NDArray[np.int64]) -> None:
        if self.selector.per == "class" and not self.selector.traits.ignores_budget:
            # For its refusal alone: a budget below the number of classes must not wait until the model has run over the
            # data.
            split_budget(np.unique(labels, return_counts=True)[1], self.budget)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that ``torch.load(weights_only=True)`` takes."""
        return {
            "fingerprint": self.fingerprint(),
            "reselections": self.reselections,
            "phase": None if self.phase is None else list(self.phase),
            "advisor": self.advisor.state_dict(),
            "coreset": None if self.coreset is None else self.coreset.state_dict(),
            "strata": None if self.strata is None else self.strata.state_dict(),
            "averages": self.averages.state_dict(),
            "ledger": self.ledger.state_dict(),
            "forgetting": self.forgetting.state_dict(),
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings on which a state depends: plain values by name."""
        schedule = self.schedule
        return {
            "selector": written(self.selector),
            "budget": self.budget,
            "population": self.population,
            "seed": self.seed,
            "every": schedule.every,
            "warm_start": schedule.warm_start,
            "warm_start_on": schedule.warm_start_on,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict()``.

        Args:
            state: Of a reselector with the same settings, over as many examples.

        Raises:
            ValueError: If it is of another; the message names what differs.
        """
        # Before anything is changed, so that a state which is refused leaves this one as it was.
        check_fingerprint(state["fingerprint"], self.fingerprint())
        self.reselections = state["reselections"]
        self.phase = None if state["phase"] is None else Phase(*state["phase"])
        self.advisor.load_state_dict(state["advisor"])
        coreset, strata = state["coreset"], state["strata"]
        self.coreset = None if coreset is None else Coreset.from_state_dict(coreset)
        self.strata = None if strata is None else Strata.from_state_dict(strata)
        self.averages = RunningAverages.from_state_dict(state["averages"])
        self.ledger.load_state_dict(state["ledger"])
        self.forgetting.load_state_dict(state["forgetting"])


def select(
    model: nn.Module,
    dataset: Dataset[Any],
    selector: Selector,
    *,
    fraction: float | None = None,
    budget: int | None = None,
    labels: ArrayLike | None = None,
    validation: Dataset[Any] | None = None,
    probe_dataset: Dataset[Any] | None = None,
    probe: Probe | None = None,
    seed: int = 0,
) -> Coreset:
    """Select a coreset of a data set, once, by what a model makes of it.

    The model is run over the data set in eval mode. Parameters, buffers, gradients and random streams are left as they
    were.

    Args:
        model: Maps a batch of inputs to logits of shape (batch, outputs).
        dataset: A map-style data set of n examples: tuples (inputs, targets) or dicts.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the examples to select, in (0, 1]; this or ``budget``.
        budget: How many to select, in [1, n].
        labels: Strata to select within, whole numbers, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        probe_dataset: The same examples in the same order without augmentation.
        probe: How to run the model over the data set: loss, last layer, batch size, device, workers; see
            ``adacore.Probe``.
        seed: Of every random draw.

    Returns:
        Indices into the data set, and weights.

    Raises:
        ValueError: If sizes, labels, targets, logits or the criterion do not fit together.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch
        >>> from adacore.selectors import Random
        >>> data = torch.utils.data.TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
        >>> select(nn.Linear(3, 2), data, Random(), fraction=0.2).weights
        array([5., 5., 5., 5.])
    """
    n = length_of(dataset)
    reselector = Reselector(
        model,
        probed(dataset, probe_dataset),
        selector,
        budget=budget_of(selector, n, budget=budget, fraction=fraction),
        probe=probe,
        labels=labels,
        validation=validation,
        seed=seed,
        batches=None,
    )
    reselector.selection_for(0)
    assert reselector.coreset is not None
    return reselector.coreset
