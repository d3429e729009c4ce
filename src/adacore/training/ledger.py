"""The ledger of a training: seconds spent on each part, gradients computed, and the share of the data that was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.errors import unknown_name

Part = Literal["probing", "selecting", "training"]

PARTS: tuple[Part, ...] = ("probing", "selecting", "training")


class Ledger:
    """Keeps account of a training run on coresets of n examples.

    Args:
        population: n.

    Attributes:
        population: n.
        seconds: Wall-clock seconds by part: ``"probing"``, ``"selecting"`` and ``"training"`` (between the delivery of
            batches, probing and selecting excluded).
        gradient_evaluations: Examples in the batches that were delivered to be stepped on.
        probed_examples: Examples that the model was run on to select.
        seen: Which examples were delivered at least once, bool, shape (n,).

    Example:
        >>> ledger = Ledger(4)
        >>> with ledger.measure("selecting"):
        ...     ledger.step(np.array([0, 3, 3]))
        >>> ledger.gradient_evaluations, ledger.fraction_seen
        (3, 0.5)
        >>> print(Ledger(60000))
        0.0 s: probing 0.0, selecting 0.0, training 0.0; 0 gradient evaluations, 0 examples probed; 0.0 % of 60000 seen
    """

    def __init__(self, population: int) -> None:
        self.population = population
        self.seconds: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self.gradient_evaluations = 0
        self.probed_examples = 0
        self.seen: NDArray[np.bool_] = np.zeros(population, dtype=np.bool_)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in self.seconds.items())
        return (
            f"{self.total_seconds:.1f} s: {parts}; {self.gradient_evaluations} gradient evaluations, "
            f"{self.probed_examples} examples probed; {100 * self.fraction_seen:.1f} % of {self.population} seen"
        )

    @property
    def fraction_seen(self) -> float:
        """Share of the data that was delivered at least once, in [0, 1]."""
        return float(self.seen.mean())

    @property
    def total_seconds(self) -> float:
        """Seconds of all parts together."""
        return sum(self.seconds.values())

    def figures(self) -> dict[str, float]:
        """Return what a logger takes, by name: seconds of each part, and how much was computed and seen, up to now.

        Example:
            >>> sorted(Ledger(4).figures())
            ['fraction_seen', 'gradient_evaluations', 'probed_examples', 'probing_seconds', 'selecting_seconds',
             'training_seconds']
        """
        return {
            **{f"{part}_seconds": seconds for part, seconds in self.seconds.items()},
            "gradient_evaluations": float(self.gradient_evaluations),
            "probed_examples": float(self.probed_examples),
            "fraction_seen": self.fraction_seen,
        }

    @contextmanager
    def measure(self, part: Part) -> Iterator[None]:
        """Add the seconds spent within to a part, also when an error ends it.

        Args:
            part: ``"probing"``, ``"selecting"`` or ``"training"``.

        Raises:
            ValueError: If there is no such part.
        """
        if part not in self.seconds:
            raise unknown_name("part of the ledger", part, PARTS)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start

    def step(self, indices: NDArray[np.int64]) -> None:
        """Account for examples that were delivered to be stepped on.

        Args:
            indices: Their positions, int64, shape (m,).
        """
        # Repeated examples count each time: each costs a gradient.
        self.gradient_evaluations += len(indices)
        self.seen[indices] = True

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that ``torch.load(weights_only=True)`` takes."""
        return {
            "seconds": dict(self.seconds),
            "gradient_evaluations": self.gradient_evaluations,
            "probed_examples": self.probed_examples,
            "seen": torch.from_numpy(self.seen.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict()``.

        Args:
            state: Of a ledger over as many examples.

        Raises:
            ValueError: If it is of another number of examples.
        """
        if len(state["seen"]) != self.population:
            raise ValueError(
                f"the ledger's state is of {len(state['seen'])} examples, this data set has {self.population}: "
                "load it with the data set that it was saved with"
            )
        self.seconds = {part: float(state["seconds"][part]) for part in PARTS}
        self.gradient_evaluations = int(state["gradient_evaluations"])
        self.probed_examples = int(state["probed_examples"])
        # A copy, since step() writes to it and the state may be loaded a second time.
        self.seen = state["seen"].numpy().copy()
