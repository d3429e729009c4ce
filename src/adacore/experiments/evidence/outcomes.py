"""What one run came to: the accuracy that it counts as, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adacore.training.ledger import PARTS

Rows = Sequence[Mapping[str, Any]]
"""Rows of metrics, one for each epoch; see ``adacore.experiments.runs.metrics_rows.SCHEMA``."""

End = Literal["finished", "diverged", "unfinished"]


@dataclass(frozen=True)
class Cost:
    """What a run has spent up to an epoch, selection included.

    Attributes:
        seconds: By part: probing, selecting, training. Evaluating is no part of training and is left out.
        steps: Examples that were stepped on: one gradient of the whole model each.
        probed: Examples that the model was run on to select.
    """

    seconds: Mapping[str, float]
    steps: float
    probed: float

    @property
    def total_seconds(self) -> float:
        """Seconds of all parts."""
        # fsum: exact whatever the order of the parts, so that two reports of one run print the same total.
        return math.fsum(self.seconds.values())

    @property
    def gradient_evaluations(self) -> float:
        """Gradients in all: a probed example counts as one, although only its last layer is differentiated."""
        return self.steps + self.probed


def cost_of(row: Mapping[str, Any]) -> Cost:
    """Read the cost of a run up to an epoch from its row.

    Args:
        row: Of metrics, whose counts and seconds are totals since the start.

    Returns:
        The cost.
    """
    seconds: dict[str, float] = {part: float(row[f"{part}_seconds"]) for part in PARTS}
    return Cost(seconds, float(row["gradient_evaluations"]), float(row["probed_examples"]))


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Attributes:
        rows: Its rows of metrics.
        end: How it ended. A run that is not finished counts for nothing yet. One that diverged counts as what it had
            reached: were it left out, a method would be judged by the seeds on which it works.
        accuracy: Test accuracy in [0, 1] that the run counts as; nan while it is unfinished.
    """

    rows: Rows
    end: End
    accuracy: float

    @classmethod
    def finished(cls, rows: Rows) -> Outcome:
        """Make the outcome of a run that trained for all of its epochs.

        Args:
            rows: The last one has a test accuracy.

        Returns:
            The outcome.

        Raises:
            ValueError: If there is no row, or the last one has no test accuracy.
        """
        if not rows or rows[-1].get("test_accuracy") is None:
            raise ValueError("the last epoch of a finished run has no test accuracy: it was not evaluated")
        return cls(rows, "finished", float(rows[-1]["test_accuracy"]))

    @property
    def counts(self) -> bool:
        """Whether the run may be averaged and paired."""
        return self.end != "unfinished"

    def cost_to_reach(self, accuracy: float) -> Cost | None:
        """Tell what it cost until an evaluation first gave at least this accuracy; None if none did."""
        for row in self.rows:
            # Epochs that were not evaluated have None: whether they reached it is not known, and the next evaluation
            # counts.
            reached = row.get("test_accuracy")
            if reached is not None and reached >= accuracy:
                return cost_of(row)
        return None
