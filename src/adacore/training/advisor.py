"""The advisor: from measured costs, how often to select, and a warning where selecting cannot pay."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adacore.training.ledger import Ledger
from adacore.training.schedule import Chosen, Phase, Schedule

SHARE = 0.2
"""Share of the time that ``every="auto"`` leaves to probing and selecting. With a fifth, coresets of 10 % take
0.1 / (1 - 0.2) = 12.5 % of the time of the full data; selecting more seldom would gain little."""

WORTH_A_WARNING = 0.5
"""Seconds that a reselection takes at least for a warning that it cannot pay: below, nobody waits for it."""


@dataclass(frozen=True)
class Costs:
    """What training and selecting cost, in seconds, as measured.

    Attributes:
        full_epoch: One epoch of training on the full data.
        coreset_epoch: One epoch of training on a coreset.
        reselection: Probing and selecting, once.

    Raises:
        ValueError: If one is negative, not finite, or training costs nothing.
    """

    full_epoch: float
    coreset_epoch: float
    reselection: float

    def __post_init__(self) -> None:
        for name in ("full_epoch", "coreset_epoch", "reselection"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value}: expected finite seconds, at least 0")
        if self.full_epoch == 0 or self.coreset_epoch == 0:
            raise ValueError("an epoch that takes no time was measured: train at least one batch first")

    @property
    def fraction(self) -> float:
        """Seconds of an epoch on a coreset, divided by those of one on the full data."""
        return self.coreset_epoch / self.full_epoch

    @property
    def probe_cost(self) -> float:
        """Seconds of a reselection, divided by those of an epoch on the full data."""
        return self.reselection / self.full_epoch


def speed_up(costs: Costs, every: int) -> float:
    """Bound how much sooner as many epochs end on coresets as on the full data.

    ``1 / (fraction + probe_cost / R)``. Where the coreset needs more epochs for the same accuracy, the real speed-up
    is lower in proportion.

    Args:
        costs: As measured.
        every: R, epochs between reselections, at least 1.

    Returns:
        The bound; 2.0 means half the time.

    Example:
        >>> speed_up(Costs(full_epoch=10.0, coreset_epoch=1.0, reselection=4.0), every=1)
        2.0
    """
    return 1 / (costs.fraction + costs.probe_cost / _check_every(every))


def overhead_share(costs: Costs, every: int) -> float:
    """Tell the share of the time that probing and selecting take.

    Args:
        costs: As measured.
        every: R, epochs between reselections, at least 1.

    Returns:
        A share in [0, 1).

    Example:
        >>> overhead_share(Costs(full_epoch=10.0, coreset_epoch=1.0, reselection=4.0), every=16)
        0.2
    """
    return costs.reselection / (costs.reselection + costs.coreset_epoch * _check_every(every))


def choose_every(costs: Costs, share: float = SHARE) -> int:
    """Choose the smallest R that keeps probing and selecting under a share of the time.

    ``R >= reselection (1 - share) / (coreset_epoch share)``.

    Args:
        costs: As measured.
        share: In (0, 1).

    Returns:
        R, at least 1.

    Raises:
        ValueError: If the share is outside (0, 1).

    Example:
        >>> choose_every(Costs(full_epoch=10.0, coreset_epoch=1.0, reselection=4.0), share=0.2)
        16
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share} is outside (0, 1): pass for example 0.2 for 20 % of the time")
    # From reselection / (reselection + R coreset_epoch) <= share.
    exact = costs.reselection * (1 - share) / (costs.coreset_epoch * share)
    # 1e-9 off before rounding up: where the share is met exactly, rounding in the quotient must not cost another epoch.
    return max(1, math.ceil(exact - 1e-9 * max(1.0, exact)))


@dataclass(frozen=True)
class Advice:
    """What the first reselections tell about the whole run.

    Attributes:
        every: R as it is.
        speed_up: Bound on the speed-up over as many epochs on the full data.
        overhead_share: Share of the time that goes to probing and selecting.
        suggested_every: The smallest R that keeps that share under the wanted one.
        warning: One line, if selecting so often cannot pay, else None.
    """

    every: int
    speed_up: float
    overhead_share: float
    suggested_every: int
    warning: str | None


def advise(costs: Costs, every: int, *, share: float = SHARE) -> Advice:
    """Predict whether a run can pay, and what would make it pay.

    Args:
        costs: As measured.
        every: R, epochs between reselections.
        share: Of the time, that probing and selecting should stay under, in (0, 1).

    Returns:
        The advice; its warning is None where the run can end sooner than as many epochs on the full data.

    Example:
        >>> advise(Costs(full_epoch=2.0, coreset_epoch=0.5, reselection=2.0), every=1).warning
        'selecting every epoch cannot pay: an epoch costs 1.25 x one on all the data; every=16 brings it to 0.31 x'
    """
    bound, suggested = speed_up(costs, every), choose_every(costs, share)
    warning = None
    if bound <= 1:
        often = "every epoch" if every == 1 else f"every {every} epochs"
        there = speed_up(costs, suggested)
        remedy = (
            f"every={suggested} brings it to {1 / there:.2f} x"
            if there > 1
            else "no number of epochs between reselections helps: select fewer examples"
        )
        warning = f"selecting {often} cannot pay: an epoch costs {1 / bound:.2f} x one on all the data; {remedy}"
    return Advice(every, bound, overhead_share(costs, every), suggested, warning)


def _check_every(every: int) -> int:
    if every < 1:
        raise ValueError(f"every={every} is below 1: pass a number of epochs")
    return every


class Advisor:
    """Watches what reselections cost: chooses R for ``every="auto"``, and warns once where selecting cannot pay.

    R is chosen once and for all, after the second selection: the first also pays for what is done only once, such as
    compiling. The choice depends on measured time and so on the machine; it is part of the state.

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
        # By the ledger and not by a clock of its own, so that a reselection and the report of the run tell the same
        # seconds.
        before = self._selection_seconds()
        yield
        self.reselection_seconds = self._selection_seconds() - before

    def _selection_seconds(self) -> float:
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
        # The choice for an epoch is asked for before it is settled, as by len(loader): it must not change anything.
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
        # Also where nothing is to be said: R and the costs will not change enough to ask again in every epoch.
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
        ledger = self.ledger
        # The first selection (in epoch warm_start) also compiles kernels and starts workers; its seconds would tell an
        # R that is too large.
        if current.source != "selector" or not self.schedule.warm_start < current.since < epoch:
            return None
        if not (ledger.gradient_evaluations and ledger.seconds["training"]):
            return None
        # The full data were never trained on, unless in a warm start: their epoch is taken as n times the seconds of an
        # example.
        each = ledger.seconds["training"] / ledger.gradient_evaluations
        return Costs(each * ledger.population, each * self.budget, self.reselection_seconds)

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
