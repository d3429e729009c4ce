"""When to select anew: a pure function of the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

from adacore.errors import unknown_name

WarmStart = Literal["full", "random"]


class Phase(NamedTuple):
    """What is trained on in an epoch.

    Attributes:
        source: ``"selector"``, or in a warm start ``"full"`` or ``"random"``.
        since: The epoch, from 0, in which it was, or is to be, selected.
    """

    source: Literal["selector", "full", "random"]
    since: int


class Chosen(NamedTuple):
    """What ``every="auto"`` has settled on.

    Attributes:
        every: R.
        since: The epoch, from 0, that it counts from.
    """

    every: int
    since: int


@dataclass(frozen=True)
class Schedule:
    """A coreset every R epochs, after a warm start.

    Attributes:
        every: R, epochs between reselections, at least 1; or ``"auto"``, to be chosen once its costs are known.
        warm_start: Epochs at the start that do without the selector.
        warm_start_on: ``"full"`` data, or a fresh ``"random"`` subset in each of them.

    Raises:
        ValueError: If a number is too small or the name unknown.
        TypeError: If a number is not whole.

    Example:
        >>> schedule = Schedule(every=2, warm_start=1)
        >>> [schedule.phase(epoch) for epoch in range(4)][1:]
        [Phase(source='selector', since=1), Phase(source='selector', since=1), Phase(source='selector', since=3)]
    """

    every: int | Literal["auto"] = 1
    warm_start: int = 0
    warm_start_on: WarmStart = "full"

    def __post_init__(self) -> None:
        for name, value, least in (("every", self.every, 1), ("warm_start", self.warm_start, 0)):
            if name == "every" and value == "auto":
                continue
            # numpy's integers pass, 2.5 epochs and True do not.
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise TypeError(f"{name}={value!r} is not a whole number: pass a number of epochs")
            if value < least:
                raise ValueError(f"{name}={value} is below {least}: pass a number of epochs")
        if self.warm_start_on not in {"full", "random"}:
            raise unknown_name("warm start", self.warm_start_on, ("full", "random"))

    def phase(self, epoch: int, chosen: Chosen | None = None) -> Phase:
        """Tell what an epoch trains on.

        Args:
            epoch: From 0.
            chosen: R, if it is chosen automatically; None before, when every epoch selects anew.

        Returns:
            Where its examples come from, and since when.
        """
        if epoch < self.warm_start:
            # The full data are the same in every epoch: since=0 lets them be "selected" once. A random subset is a
            # fresh one each.
            return Phase("full", 0) if self.warm_start_on == "full" else Phase("random", epoch)
        # "auto" selects in every epoch until two selections have told what one costs.
        fixed = Chosen(1 if self.every == "auto" else self.every, self.warm_start)
        every, since = chosen if chosen is not None and self.every == "auto" else fixed
        return Phase("selector", epoch - (epoch - since) % every)
