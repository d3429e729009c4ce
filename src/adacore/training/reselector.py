"""The Reselector selects a coreset, or strata, whenever one is due in a training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import nn
from torch.utils.data import Dataset

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.errors import shown
from adacore.probing.batch_layout import length_of
from adacore.probing.curvature import RunningAverages
from adacore.probing.probe import Probe
from adacore.probing.processes import Processes
from adacore.probing.snapshot import Snapshot
from adacore.selectors import Full, HasStrata, Random, Selector
from adacore.selectors.ordered_strata import Strata
from adacore.selectors.preparation import prepare_strata
from adacore.training.advisor import Advisor
from adacore.training.arguments import check_probe, check_seed, check_selector
from adacore.training.choosing import check_has_clusters, check_size, choose
from adacore.training.fingerprint import check_fingerprint, written
from adacore.training.forgetting import ForgettingCounts
from adacore.training.groups import Groups
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
        self.probe = check_probe(probe)
        self.validation, self.batches = validation, batches
        self.ledger = Ledger(self.population) if ledger is None else ledger
        self.requirements = check_selector(selector).requirements()
        if self.requirements.needs_model and not isinstance(model, nn.Module):
            raise TypeError(f"model={shown(model)} is no torch.nn.Module: pass the model that is trained")
        self.coreset: Coreset | None = None
        self.strata: Strata | None = None
        self.phase: Phase | None = None
        self.reselections = 0
        self.advisor = Advisor(self.schedule, self.ledger, self.budget)
        self.forgetting = ForgettingCounts(self.population)
        # Made here, so that decays out of range are refused before training starts.
        self.averages = RunningAverages.init(self.requirements.beta1, self.requirements.beta2)
        self._groups = Groups(dataset, self.probe, selector, labels, population=self.population, budget=self.budget)
        self._warned = self._prepared = False
        check_has_clusters(selector, batches)
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
        self._prepare(phase)
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
        # A warm start's subset is exactly of the size asked for.
        if coreset is not None and phase.source == "selector":
            check_size(self.selector, len(coreset), self.budget)
        # Only now: a selection that raised has not been averaged, and can be tried again.
        self.averages = averages
        return coreset, strata

    def _prepare(self, phase: Phase) -> None:
        """Compile what orders examples and balances batches, outside of the ledger, before the first such selection.

        Compiling takes half a minute, once on a machine: it is no cost of this training, and no later selection has it.
        Balancing is compiled too, which would otherwise be booked as training, when the first batches are drawn.
        """
        # A coreset method compiles just what its data need, seconds, where preparing it would compile every engine.
        ordered = self.batches is not None and (isinstance(self.selector, HasStrata) or self.batches == "stratified")
        # In one process: the files that it leaves on disk serve the others.
        if ordered and not self._prepared and phase.source == "selector" and not self.processes.rank:
            self._prepared = True
            prepare_strata(self.selector)

    def _snapshot(self, phase: Phase) -> tuple[Snapshot, RunningAverages]:
        if phase.source != "selector" or self.requirements == type(self.requirements)():
            # Random, Full and a warm start ask nothing of the model: it is not run, and the averages are of other
            # reselections.
            return Snapshot(self.population, self._groups.without_a_model()), self.averages
        if self.requirements.needs_model:
            self._groups.check_before_probing(targets_given=self.requirements.targets == "given")
        snapshot = self.probe.measure(
            self.model,
            self.dataset,
            self.requirements,
            # Labels that were found in the data set are what the probe reads anyway, batch by batch, at the present.
            strata=self._groups.given,
            validation=self.validation,
            seed=self.seed,
            reselection=self.reselections,
            forgetting=self.forgetting.scores,
            processes=self.processes,
        )
        if not self.requirements.needs_model:
            snapshot = Snapshot(snapshot.n, self._groups.without_a_model(), forgetting=snapshot.forgetting)
        else:
            held_out = 0 if snapshot.validation is None else snapshot.validation.n
            self.ledger.probed_examples += snapshot.n + held_out
            self._warn_of_augmentation(snapshot)
        # The snapshot is ours alone: averaging in place spares a second array of n d numbers, a hundred MB for 400,000
        # x 64.
        averages, snapshot = self.averages.update(snapshot, overwrite=True)
        return snapshot, averages

    def _warn_of_augmentation(self, snapshot: Snapshot) -> None:
        if snapshot.augmented and not self._warned:
            self._warned = True
            warnings.warn(
                "dataset[i] changes from call to call (augmentation?), so that what is selected depends on chance: "
                "pass probe_dataset=, the same examples in the same order without augmentation",
                UserWarning,
                stacklevel=2,
            )

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
            # A coreset within other groups would be gone on with until the next reselection.
            "labels": self._groups.key(),
            # Averages of proxies in both precisions would be those of no run.
            "autocast": self.probe.autocast,
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
