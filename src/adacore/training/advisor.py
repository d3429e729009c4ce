"""The advisor: from measured costs, whether selecting can pay, and how often to select."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adacore.training.ledger import Ledger

SHARE = 0.2
"""Share of the time that ``every="auto"`` leaves to probing and selecting."""


@dataclass(frozen=True)
class Costs:
    """What training and selecting cost, in seconds, as measured.

    Attributes:
        full_epoch: One epoch of training on everything.
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
        """Seconds of an epoch on a coreset, divided by those of one on everything."""
        return self.coreset_epoch / self.full_epoch

    @property
    def probe_cost(self) -> float:
        """Seconds of a reselection, divided by those of an epoch on everything."""
        return self.reselection / self.full_epoch


def costs_from(ledger: Ledger, *, reselections: int, budget: int) -> Costs:
    """Read the costs off a ledger.

    Args:
        ledger: After at least one reselection and one batch.
        reselections: How many there were.
        budget: Examples in a coreset.

    Returns:
        Mean costs so far.

    Raises:
        ValueError: If nothing was measured yet.

    Example:
        >>> ledger = Ledger(1000)
        >>> ledger.seconds.update(probing=2.0, selecting=1.0, training=5.0)
        >>> ledger.gradient_evaluations = 500
        >>> costs_from(ledger, reselections=1, budget=100)
        Costs(full_epoch=10.0, coreset_epoch=1.0, reselection=3.0)
    """
    if reselections < 1 or ledger.gradient_evaluations < 1:
        raise ValueError(
            f"{reselections} reselections and {ledger.gradient_evaluations} gradient evaluations were measured: "
            "costs are known after the first epoch on a coreset"
        )
    each = ledger.seconds["training"] / ledger.gradient_evaluations
    overhead = ledger.seconds["probing"] + ledger.seconds["selecting"]
    return Costs(each * ledger.population, each * budget, overhead / reselections)


def speed_up(costs: Costs, every: int) -> float:
    """Bound how much sooner as many epochs end on coresets as on everything.

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
    exact = costs.reselection * (1 - share) / (costs.coreset_epoch * share)
    return max(1, math.ceil(exact - 1e-9 * max(1.0, exact)))


@dataclass(frozen=True)
class Advice:
    """What the first reselections tell about the whole run.

    Attributes:
        every: R as it is.
        speed_up: Bound on the speed-up over as many epochs on everything.
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
        The advice; its warning is None where the run can end sooner than as many epochs on everything.

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
