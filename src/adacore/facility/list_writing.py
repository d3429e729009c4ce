"""When to write down who would be served by whom, and writing it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adacore.facility import list_gains
from adacore.facility.costs import list_entries
from adacore.facility.distance_gains import GROUP
from adacore.facility.evaluation import Evaluation
from adacore.facility.minima import count_served

SAMPLED = 32
"""Candidates whose lists are counted to predict the length of all: enough for the factor below."""

MARGIN = 1.3
"""By how much the prediction from 32 candidates may fall short; also by how much the number of picks grows until the
question is asked again."""

OVERHEAD_PAIRS = 300_000
"""What a pick costs beside distances, as many distances: some 0.2 ms of Python and of heap."""


class ListDecision:
    """Decides when lists fit in memory, and cost less than going on without them is likely to.

    Args:
        evaluation: Evaluates candidates.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._ask_at = 1.0
        self._asked = 0, 0

    def pay(self, candidates: NDArray[np.int64], count: int, limit: int) -> bool:
        """Say whether to write the lists now.

        Args:
            candidates: Positions of all candidates.
            count: How many points are selected.
            limit: How many are to be.

        Returns:
            Whether all lists are likely to fit and to pay.
        """
        if count < self._ask_at:
            return False
        # Geometrically, so that asking (a look at 32 candidates) costs little beside the picks in between.
        self._ask_at = max(count + 1, MARGIN * count)
        evaluation = self._evaluation
        # Writing the lists costs one evaluation of every candidate at present prices. After one or two picks a
        # candidate would serve a large share of all clients, and lists would be hardly shorter than all pairs.
        if count < 3 or self._cost_of_going_on(count, limit) < evaluation.distances_each * candidates.size:
            return False
        # Candidates are in the order of the tree: evenly spaced positions are a sample from all regions.
        sample = candidates[np.linspace(0, candidates.size - 1, min(SAMPLED, candidates.size)).astype(np.int64)]
        entries = count_served(evaluation.tree, evaluation.state, sample) / sample.size * candidates.size
        evaluation.distances += sample.size * evaluation.clients
        # Whoever is wrong here writes lists for nothing, or too late; picks are the same.
        return bool(MARGIN * entries <= list_entries(evaluation.clients, candidates.size))

    def _cost_of_going_on(self, count: int, limit: int) -> float:
        """Predict the distances until the last pick, from those for the picks since the question was asked last."""
        picks, spent = self._asked
        self._asked = count, self._evaluation.distances
        # The cost of a pick falls as minima do; the average since the last question is the newest that is known.
        each = (self._evaluation.distances - spent) / max(1, count - picks) + OVERHEAD_PAIRS
        return each * (limit - count)


def write_lists(evaluation: Evaluation, candidates: NDArray[np.int64]) -> list_gains.Lists | None:
    """Write every candidate's list of the clients that it would serve.

    Args:
        evaluation: Evaluates candidates.
        candidates: Their positions.

    Returns:
        The lists; None if they do not fit.
    """
    rows, tree, state, workers = evaluation.rows, evaluation.tree, evaluation.state, evaluation.workers
    # A region for each thread, so that writing needs no lock and lists stay contiguous.
    parts = workers.threads
    # Threads do unequal parts of the work, so each may fill more than its share, up to eight times; what is never
    # written to takes up no memory.
    share = list_entries(evaluation.clients, candidates.size) * min(parts, 8) // parts
    written = list_gains.Lists(
        np.zeros(tree.n, np.int64),
        np.zeros(tree.n, np.int64),
        # Not zeros: pages that are never touched are never taken from the system.
        np.empty(parts * share, np.int32),
        np.empty(parts * share),
    )
    # A multiple of what is evaluated together; small, so that threads end at nearly the same time.
    chunk = max(GROUP, min(256, candidates.size // (8 * parts) // GROUP * GROUP))
    ends = [part * share for part in range(parts)]
    free = list(range(parts))

    def work(first: int, last: int) -> int:
        # Both list operations are atomic under the GIL, and there are as many regions as threads: one is always free.
        part = free.pop()
        evaluated = 0
        # -1 from a kernel means that the region is full; what follows would be thrown away.
        if ends[part] >= 0:
            ends[part], evaluated = list_gains.list_served(
                rows, tree, state, candidates, first, last, ends[part], (part + 1) * share, written
            )
        free.append(part)
        return int(evaluated)

    evaluation.distances += workers.share(work, candidates.size, chunk)
    if min(ends) < 0:
        return None
    if tree.same[0] > 0:  # what counts as 0 is told apart here, see ``distances.distance_or_zero``
        for part, end in enumerate(ends):
            distances = written.distances[part * share : end]
            distances[distances <= tree.same[0]] = 0.0
    return written
