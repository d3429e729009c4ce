"""How often to select: what a reselection costs as measured, R as chosen from it, and a warning where it cannot pay."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from adacore.training.advisor import Costs, advise, choose_every, costs_from
from adacore.training.ledger import Ledger
from adacore.training.schedule import Chosen, Phase, Schedule

WORTH_A_WARNING = 0.5
"""Seconds that a reselection takes at least for a warning that it cannot pay."""


class Pace:
    """Chooses R for ``every="auto"``, once and for all, after the second selection.

    The first selection does not count: it also pays for what is done only once, such as compiling. The choice depends
    on measured time, so that runs differ from machine to machine; once made it is part of the state.

    Args:
        schedule: When to select.
        ledger: Where the time is accounted for.
        budget: Examples in a coreset.

    Attributes:
        chosen: R, and the epoch that it counts from, or None as long as it is not chosen.
        reselection_seconds: What the last reselection cost.
    """

    def __init__(self, schedule: Schedule, ledger: Ledger, budget: int) -> None:
        self.schedule, self.ledger, self.budget = schedule, ledger, budget
        self.chosen: Chosen | None = None
        self.reselection_seconds = 0.0
        self._advised = False

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Take what is entered in the ledger within as the cost of a reselection."""
        before = self._overhead()
        yield
        self.reselection_seconds = self._overhead() - before

    def _overhead(self) -> float:
        return self.ledger.seconds["probing"] + self.ledger.seconds["selecting"]

    def choice(self, epoch: int, current: Phase | None) -> Chosen | None:
        """Tell R as it would be in an epoch.

        Args:
            epoch: From 0.
            current: What is trained on now, or None before the first selection.

        Returns:
            R, or None where it is not chosen automatically, or cannot be yet.
        """
        if self.chosen is not None or self.schedule.every != "auto" or current is None:
            return self.chosen
        costs = self.costs(epoch, current)
        return None if costs is None else Chosen(choose_every(costs), current.since)

    def settle(self, epoch: int, current: Phase | None) -> None:
        """Choose R for good if it can be, and warn once if selecting so often cannot pay, unless it is quick.

        Args:
            epoch: The one that is about to start, from 0.
            current: What was trained on before, or None before the first selection.
        """
        self.chosen = self.choice(epoch, current)
        every = self.schedule.every if self.chosen is None else self.chosen.every
        costs = None if self._advised or every == "auto" or current is None else self.costs(epoch, current)
        if costs is None or every == "auto":
            return
        self._advised = True
        warning = advise(costs, every).warning
        if warning is not None and costs.reselection >= WORTH_A_WARNING:
            warnings.warn(warning, UserWarning, stacklevel=4)

    def costs(self, epoch: int, current: Phase) -> Costs | None:
        """Read the costs off the ledger.

        Args:
            epoch: The one that is about to start, from 0.
            current: What was trained on before.

        Returns:
            The costs, or None until a coreset other than the first has been trained on.
        """
        if current.source != "selector" or not self.schedule.warm_start < current.since < epoch:
            return None
        if not (self.ledger.gradient_evaluations and self.ledger.seconds["training"]):
            return None
        measured = costs_from(self.ledger, reselections=1, budget=self.budget)
        return replace(measured, reselection=self.reselection_seconds)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values that ``torch.load(weights_only=True)`` takes."""
        return {
            "chosen": None if self.chosen is None else list(self.chosen),
            "reselection_seconds": self.reselection_seconds,
            "advised": self._advised,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict()``."""
        self.chosen = None if state["chosen"] is None else Chosen(*state["chosen"])
        self.reselection_seconds, self._advised = float(state["reselection_seconds"]), bool(state["advised"])
