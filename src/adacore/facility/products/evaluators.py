"""What the greedy algorithm asks of whoever evaluates candidates: the CPU's compiled passes, or torch on any device."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adacore.facility.heap import CandidateQueue
from adacore.facility.list_gains import Goal


class Served(NamedTuple):
    """Clients that a candidate serves: nearer to it than to what is selected.

    Attributes:
        clients: int64, shape (m,), an array or a tensor, as the evaluator keeps them.
        distances: float64, shape (m,).
    """

    clients: Any
    distances: Any


class Evaluator(Protocol):
    """Distances, bounds and gains of candidates, and who is served by what is selected.

    Attributes:
        m: Number of clients.
        distances: How many distances were evaluated.
        batches: How many candidates to bound together, at first and at most. Few at first, since often the top one
            wins; then twice as many from batch to batch, since a product of few rows waits for memory (on a GPU up to
            64 rows cost hardly more than one).
    """

    m: int
    distances: int
    batches: tuple[int, int]

    @property
    def listed(self) -> bool:
        """Whether the lists are written."""

    def sum_bounds(self) -> NDArray[np.float64]:
        """Bound every candidate's sum of distances from below, from moments."""

    def lower_sums(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bound candidates' sums of weighted distances from below, in single precision."""

    def upper_gains(self, positions: NDArray[np.int64], reached: float = 0.0) -> NDArray[np.float64]:
        """Bound candidates' gains sum_j w_j max(0, m_j - d_ij) from above, in single precision or in 8 bits.

        Bounds below ``reached`` may be coarser: whoever can't reach that need not be known better.
        """

    def upper_gains_of_all(self, *, closely: bool = False) -> NDArray[np.float64]:
        """Bound the gains of all candidates from above; ``closely`` in single precision and not in 8 bits."""

    def served(self, position: int) -> Served:
        """List the clients that a candidate serves, in double precision."""

    def gain(self, served: Served) -> float:
        """Sum w_j (m_j - d_ij) over them; before anything is selected, the sum of w_j d_ij, negative."""

    def add(self, served: Served, number: int) -> None:
        """Let what is selected as this number serve them."""

    def add_initial(self) -> None:
        """Let the initial rows serve everyone."""

    def total(self) -> float:
        """Sum weights times minima."""

    def served_weights(self, size: int) -> NDArray[np.float64]:
        """Sum weights by what serves them, shape (size,)."""

    def lists_fit(self, selected: int) -> bool:
        """Predict whether the lists would fit in memory, if so many are to be selected in all."""

    def write_lists(self) -> bool:
        """Write down whom each candidate may serve; False if that does not fit."""

    def list_bounds(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bound gains from the lists."""


@runtime_checkable
class PicksFromLists(Protocol):
    """An evaluator that selects from its lists by itself, where a call for each pick would cost more than the pick."""

    def pick_from_lists(
        self,
        queue: CandidateQueue,
        picks: NDArray[np.int64],
        gains: NDArray[np.float64],
        total: float,
        goal: Goal,
    ) -> tuple[int, float, bool]:
        """Select from the lists; return how many, the running total, and whether nothing is left to do."""
