"""Coverage: which rows each pick stands for, how far they are from it, and how much a further pick would help."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.facility.metrics import Metric
from adacore.labelling.durable_files import replace_file
from adacore.labelling.items import Items
from adacore.labelling.texts import read_cells

FLAT = 0.2
"""Where the last tenth of the picks brings less than this times its even share, the curve counts as flat."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """How a selection covers the rows it was made from.

    Attributes:
        picks: Positions of the picks, int64, shape (k,), in pick order; rows that were selected before come first.
        initial: How many of them were selected before.
        owner: For each row, the position in ``picks`` of the pick nearest to it, int64, shape (n,).
        distances: To that pick, float64, shape (n,).
        served: Rows that each pick is nearest to, float64, shape (k,), summing to n.
        curve: L(S_t) after t of the new picks, float64, shape (new picks + 1,), nan at 0 where nothing was selected
            before; None where the picks are not in one greedy order (they were made stratum by stratum).
    """

    picks: NDArray[np.int64]
    initial: int
    owner: NDArray[np.int64]
    distances: NDArray[np.float64]
    served: NDArray[np.float64]
    curve: NDArray[np.float64] | None

    def nearest(self, pick: int, count: int = 1) -> NDArray[np.int64]:
        """Return the rows nearest to a pick among those that it serves, other picks left out.

        Args:
            pick: Position in ``picks``.
            count: How many at most.

        Returns:
            Positions of rows, int64, nearest first.
        """
        return self._ordered(pick)[:count]

    def farthest(self, pick: int, count: int = 1) -> NDArray[np.int64]:
        """Return the rows farthest from a pick among those that it serves.

        Args:
            pick: Position in ``picks``.
            count: How many at most.

        Returns:
            Positions of rows, int64, farthest first.
        """
        return self._ordered(pick)[::-1][:count]

    def worst(self, count: int) -> NDArray[np.int64]:
        """Return the rows that are farthest from every pick.

        Args:
            count: How many at most.

        Returns:
            Positions of rows, int64, farthest first.
        """
        return np.argsort(-self.distances, kind="stable")[:count].astype(np.int64)

    def _ordered(self, pick: int) -> NDArray[np.int64]:
        rows = np.flatnonzero(self.owner == pick)
        # A pick is at distance 0 from itself, and would always come first among what it stands for.
        rows = rows[rows != self.picks[pick]]
        return np.asarray(rows[np.argsort(self.distances[rows], kind="stable")].astype(np.int64))


@dataclass(frozen=True)
class Reached:
    """How the gain of a selection is spread over its picks.

    The gain is the fall of the mean distance, from what was selected before, or from the first pick, to all picks: the
    first pick of a selection from nothing has no start to be measured from.

    Attributes:
        start: The mean distance before.
        end: The mean distance after all picks.
        half: New picks that bring half of the gain.
        most: New picks that bring nine tenths of it.
        last: The last tenth of the picks, how many they are.
        share: What these bring of the gain, in percent.
        evenly: What they would bring if all picks brought the same.
    """

    start: float
    end: float
    half: int
    most: int
    last: int
    share: float
    evenly: float

    @property
    def sentence(self) -> str:
        """Where further labels stop helping."""
        end = (
            "More picks of this kind would change little."
            if self.share < FLAT * self.evenly
            else "The curve is still falling: more picks would help."
        )
        return (
            f"It falls from {self.start:.3g} to {self.end:.3g}. The first {self.half:,} picks bring half of this fall "
            f"(first dot), the first {self.most:,} bring nine tenths of it (second dot). The last {self.last:,} bring "
            f"{self.share:.1f} % of it; if all picks brought the same, they would bring {self.evenly:.1f} %. {end}"
        )


def reached(coverage: Coverage) -> Reached | None:
    """Tell how the gain is spread over the new picks.

    Args:
        coverage: Of the selection.

    Returns:
        None where there is no curve, or one of fewer than ten picks, of which a tenth is nothing.

    Example:
        >>> curve = np.array([np.nan, *(10 + 90 * 0.5 ** np.arange(20))])
        >>> picks = np.arange(20)
        >>> told = reached(Coverage(picks, 0, picks, np.zeros(20), np.ones(20), curve))
        >>> told.half, told.most, told.last
        (2, 5, 2)
    """
    if coverage.curve is None or len(coverage.curve) < 11:
        return None
    curve = coverage.curve[np.isfinite(coverage.curve)]
    first, gain = len(coverage.curve) - len(curve), curve[0] - curve[-1]
    if gain <= 0:
        return None
    gained = (curve[0] - curve) / gain
    new = len(coverage.curve) - 1
    last = new // 10
    return Reached(
        float(curve[0]) / len(coverage.owner),
        float(curve[-1]) / len(coverage.owner),
        int(np.argmax(gained >= 0.5)) + first,
        int(np.argmax(gained >= 0.9)) + first,
        last,
        100 * float(1 - gained[-1 - last]),
        100 * last / (len(curve) - 1),
    )


def coverage_of(
    features: Any,
    coreset: Coreset,
    *,
    initial: NDArray[np.int64] | None = None,
    metric: Metric = "euclidean",
    in_greedy_order: bool = True,
) -> Coverage:
    """Work out what each pick stands for.

    Args:
        features: The rows that were chosen from, shape (n, d).
        coreset: The selection.
        initial: Positions of the rows that were selected before, or None.
        metric: Of the selection.
        in_greedy_order: Whether the picks were made one after another over all rows, without strata.

    Returns:
        The coverage.

    Example:
        >>> rows = np.array([[0.0], [0.2], [5.0], [5.0], [9.0]])
        >>> from adacore.facility import facility_location
        >>> coverage = coverage_of(rows, facility_location(rows, budget=2))
        >>> coverage.picks.tolist(), coverage.served.tolist(), coverage.worst(1).tolist()
        ([2, 0], [3.0, 2.0], [4])
    """
    from adacore.facility import assign  # loads compiling kernels

    # Rows selected before serve others as well: left out, their neighbours would count for the nearest new pick.
    before = np.empty(0, np.int64) if initial is None else np.asarray(initial, np.int64)
    picks = np.concatenate([before, coreset.indices])
    served = assign(features, picks, metric=metric)
    curve = None
    if in_greedy_order and coreset.objective is not None and coreset.gains is not None:
        # L(S_t) = L(S_k) + the gains of the picks that are still to come; the first gain is nan without initial rows.
        curve = coreset.objective + np.concatenate([np.cumsum(coreset.gains[::-1])[::-1], [0.0]])
    return Coverage(picks, len(before), served.owner, served.distances, served.weights, curve)


def write_sheet(path: Path, coverage: Coverage, items: Items | None = None) -> None:
    """Write a table to label in: one line for each new pick, in pick order.

    Args:
        path: A .csv file: position, item, weight, label (empty).
        coverage: Of the selection.
        items: What stands behind each row.
    """
    # newline="": the csv module writes line ends itself.
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(["position", "item", "weight", "label"])
    for place in range(coverage.initial, len(coverage.picks)):
        row = int(coverage.picks[place])
        # New picks alone: those selected before have their labels already.
        item = "" if items is None or items.values is None else str(items.values[row])
        lines.writerow([row, item, f"{coverage.served[place]:g}", ""])
    # Whole or not at all: the sheet of an earlier round may stand there, with labels in it.
    replace_file(path, text.getvalue())


def labels_in(path: Path) -> int:
    """Count the labels that a person has written into a table to label in.

    Args:
        path: What ``write_sheet`` wrote, or anything else.

    Returns:
        Lines whose column ``label`` is filled; 0 where there is no such file or column.
    """
    if not path.is_file():
        return 0
    names, *lines = read_cells(path) or [[]]
    names = [name.strip().lower() for name in names]
    if "label" not in names:
        return 0
    column = names.index("label")
    return sum(1 for line in lines if len(line) > column and line[column].strip())
