"""Who is served by what, in arrays: what the evaluators of dense and of sparse rows on a CPU share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.facility.products import list_gains
from adacore.facility.products.evaluators import Served
from adacore.facility.products.list_gains import Lists, State
from adacore.facility.products.rows import LIMIT_ROUNDING, round_up
from adacore.facility.workers import Workers

LISTS_AT_A_TIME = 2048
"""Lists bounded at a time by one thread: below a millisecond."""


class ArrayEvaluator:
    """The clients' state in numpy arrays, and the lists once they are written; see ``Evaluator``.

    Args:
        weights: The clients' weights, float64, shape (m,).
        workers: Threads.
    """

    def __init__(self, weights: NDArray[np.float64], workers: Workers) -> None:
        self.m = weights.size
        self.distances = 0
        self._workers = workers
        self._weights = weights
        # Upwards, for gains are bounded from above; sums of distances, from below, take it off again.
        self._weights32 = round_up(weights)
        self._minima = np.full(self.m, np.inf)
        self._owner = np.zeros(self.m, np.int64)
        self._lists: Lists | None = None
        self._capacity = -1

    @property
    def listed(self) -> bool:
        """Whether the lists are written."""
        return self._lists is not None

    def gain(self, served: Served) -> float:
        """See ``Evaluator``."""
        minima, weights = self._minima[served.clients], self._weights[served.clients]
        # Before anything is selected minima are infinite, and the negative sum stands in: larger means nearer.
        return float(weights @ (minima - served.distances if np.isfinite(minima).all() else -served.distances))

    def add(self, served: Served, number: int) -> None:
        """See ``Evaluator``."""
        self._minima[served.clients] = served.distances
        self._owner[served.clients] = number

    def total(self) -> float:
        """See ``Evaluator``."""
        return float(self._weights @ self._minima)

    def served_weights(self, size: int) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        # In the order of the clients: the same sums everywhere.
        return np.bincount(self._owner, weights=self._weights, minlength=size)[:size].astype(np.float64)

    def list_bounds(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See ``Evaluator``."""
        assert self._lists is not None
        bounds, written, state = np.empty(positions.size), self._lists.written, self._state()
        self._workers.share(
            lambda a, b: list_gains.bounds_from_lists(positions, a, b, written, state, bounds),
            positions.size,
            LISTS_AT_A_TIME,
        )
        return bounds

    def _state(self) -> State:
        return State(self._minima, self._owner, self._weights, round_up(self._minima), self._weights32)

    def _limits(self) -> NDArray[np.float32]:
        """Squared minima, rounded up; infinite before anything is selected."""
        return round_up(np.square(self._minima) * LIMIT_ROUNDING)
