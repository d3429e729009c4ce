"""Facility location over rows in several parts: choose in each part, merge the picks, serve all rows.

GreeDi (Mirzasoleiman, Karbasi, Sarkar and Krause, NeurIPS 2013) chooses k rows in each part by greedy, and k of all
these picks by greedy again. Here each pick is as heavy in the merge as the rows that it stands for, so that the merge
needs the picks alone. By the triangle inequality, moving every row of part p to its pick changes L(S) by at most
L_p(S_p), for every S:

    |L(S) - L_merge(S)| <= sum_p L_p(S_p),

and the right side is known. GreeDi's own guarantee needs F over all rows in the merge: ``(1 - 1/e) / 2`` of the best F
in expectation with rows in parts at random (Barbosa, Ene, Nguyen and Ward, ICML 2015).

This module holds the mathematics on arrays; `adacore.integrations.ray` runs it in many processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adacore.budget import counted_by_caller

if TYPE_CHECKING:
    from adacore.facility.workers import Workers


PIECE_BYTES = 8 << 20
"""Bytes of rows in float64 that are served at a time: the engine copies them, and scales them, several times over.
Served in one piece, 200,000 x 64 rows took 217 MB beside themselves."""


@dataclass(frozen=True, eq=False)
class PartPicks:
    """Rows chosen in one part, or in a merge of several.

    Attributes:
        positions: Of the rows among all rows of all parts, int64, shape (k,).
        rows: The rows themselves, shape (k, d).
        weights: Weight of the rows that each stands for so far, float64, shape (k,).
        labels: Stratum of each, shape (k,), or None.
        objective: L over the rows that were chosen from.
        lower_bound: As many rows of these have no smaller L; 0 where that is not known.
    """

    positions: NDArray[np.int64]
    rows: NDArray[Any]
    weights: NDArray[np.float64]
    labels: NDArray[Any] | None = None
    objective: float = 0.0
    lower_bound: float = 0.0


@dataclass(frozen=True, eq=False)
class Task:
    """What to choose: the same for every part and every merge.

    Attributes:
        budget: k, new picks over all parts.
        metric: Of the distances: ``"euclidean"`` or ``"cosine"``.
        method: Of ``adacore.facility_location``, within a part; merges are exact.
        quotas: Picks of each stratum over all parts, or None without strata.
        seed: Of ``method="stochastic"`` and ``"sampled"``; each part draws its own stream.
        initial: Rows that are selected already, shape (m, d), or None.
        initial_labels: Their strata, shape (m,), or None.
    """

    budget: int
    metric: str = "euclidean"
    method: str = "exact"
    quotas: Mapping[str, int] | None = None
    seed: int | None = None
    initial: NDArray[Any] | None = None
    initial_labels: NDArray[Any] | None = None


def choose_in_part(
    rows: NDArray[Any],
    task: Task,
    *,
    labels: NDArray[Any] | None = None,
    weights: NDArray[np.float64] | None = None,
    excluded: NDArray[np.int64] | None = None,
    stream: int = 0,
    device: str | None = None,
) -> PartPicks:
    """Choose k of one part's rows.

    Args:
        rows: Shape (n, d).
        task: What to choose.
        labels: Strata of the rows, shape (n,), where the task has quotas.
        weights: Of the rows, shape (n,); None for ones.
        excluded: Positions that may not be chosen: of rows that are selected already.
        stream: Number of the part's own random stream.
        device: Where to compute, on which the picks do not depend: ``"cpu"``, ``"cuda"``, or None for the CPU.

    Returns:
        At most k rows of the part, with positions in it.

    Raises:
        ValueError: If a row is not finite, or a task with quotas gets no labels.

    Example:
        >>> rows = np.array([[0.0], [0.1], [4.0], [4.2]])
        >>> choose_in_part(rows, Task(2)).positions.tolist()
        [1, 2]
    """
    n = len(rows)
    able = np.arange(n) if excluded is None else np.setdiff1d(np.arange(n), excluded)
    positions = np.arange(n)
    ones = np.ones(n) if weights is None else weights
    every = PartPicks(positions, rows, ones, labels)
    return _choose(every, task, able, method=task.method, stream=stream, device=device)


def merge(parts: Sequence[PartPicks], task: Task, *, device: str | None = None) -> PartPicks:
    """Choose k of the rows that several parts chose, each as heavy as what it stands for.

    Args:
        parts: Picks of the parts, in the order of the parts, on which alone the result depends.
        task: What to choose.
        device: As for ``choose_in_part``.

    Returns:
        At most k rows, with positions as those of the parts.

    Example:
        >>> left = PartPicks(np.array([3]), np.array([[0.0]]), np.array([5.0]))
        >>> right = PartPicks(np.array([9]), np.array([[1.0]]), np.array([7.0]))
        >>> merge([left, right], Task(1)).positions.tolist()
        [9]
    """
    # Nothing to choose from: its k rows are the picks already.
    if len(parts) == 1:
        return parts[0]
    named = [part.labels for part in parts if part.labels is not None]
    every = PartPicks(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate(named) if named else None,
    )
    return _choose(every, task, np.arange(len(every.positions)), method="exact", stream=0, device=device)


def _choose(
    every: PartPicks, task: Task, able: NDArray[np.int64], *, method: str, stream: int, device: str | None
) -> PartPicks:
    """Choose among the rows ``able`` so as to serve all of ``every``, beside the rows that are selected already."""
    from adacore.facility.selection import facility_location  # which compiles

    if task.quotas is not None and every.labels is None:
        raise ValueError("quotas were given without labels: pass the strata of the rows")
    # A part without weight has nobody to serve; it is no error, for the other parts may have.
    if able.size == 0 or not every.weights.any():
        return _take(every, np.empty(0, np.int64), np.empty(0))
    n, rows, weights, labels = len(every.rows), every.rows, every.weights, every.labels
    settings: dict[str, Any] = {"metric": task.metric, "method": method, "candidates": able, "device": device}
    if method != "exact":
        # Seeded by the part's number: parts of equal rows would otherwise draw equal samples.
        settings["seed"] = np.random.default_rng([task.seed or 0, stream])
    before = _initial_of(task, labels)
    if len(before):
        # Rows selected before serve this part, and are no clients of it: they join with weight zero.
        assert task.initial is not None
        rows = np.concatenate([rows, task.initial[before]])
        weights = np.concatenate([weights, np.zeros(len(before))])
        settings["initial"] = np.arange(n, n + len(before))
        if labels is not None and task.initial_labels is not None:
            labels = np.concatenate([labels, task.initial_labels[before]])
    if task.quotas is None:
        settings["budget"] = min(task.budget, able.size)
    else:
        assert every.labels is not None
        assert labels is not None
        # A part may hold fewer of a stratum than all parts together are to choose, or none.
        counts = {name: int((every.labels[able] == name).sum()) for name in np.unique(labels).tolist()}
        quotas = {name: min(task.quotas.get(name, 0), count) for name, count in counts.items()}
        if not any(quotas.values()):
            return _take(every, np.empty(0, np.int64), np.empty(0))
        settings |= {"labels": labels, "quotas": quotas}
    # Of one part, or of what parts chose: who reads the answer counts the rows of all.
    with counted_by_caller():
        chosen = facility_location(rows, weights=weights, progress=False, **settings)
    return _take(every, chosen.indices, chosen.weights, chosen.objective or 0.0, chosen.lower_bound or 0.0)


def _initial_of(task: Task, labels: NDArray[Any] | None) -> NDArray[np.int64]:
    """Number the rows selected before that can serve a part: with strata, those of strata that occur in it."""
    if task.initial is None:
        return np.empty(0, np.int64)
    if labels is None or task.initial_labels is None:
        return np.arange(len(task.initial))
    return np.flatnonzero(np.isin(task.initial_labels, labels))


def _take(
    every: PartPicks,
    chosen: NDArray[np.int64],
    weights: NDArray[np.float64],
    objective: float = 0.0,
    lower_bound: float = 0.0,
) -> PartPicks:
    labels = None if every.labels is None else every.labels[chosen]
    return PartPicks(every.positions[chosen], every.rows[chosen], weights, labels, objective, lower_bound)


@dataclass(frozen=True, eq=False)
class Served:
    """How picks serve rows.

    Attributes:
        weights: Weight of the rows that each pick is nearest to, float64, shape (k,).
        objective: Sum of the rows' weighted distances to the nearest pick.
        farthest: The largest of these distances.
    """

    weights: NDArray[np.float64]
    objective: float
    farthest: float

    def __add__(self, other: Served) -> Served:
        return Served(
            self.weights + other.weights, self.objective + other.objective, max(self.farthest, other.farthest)
        )


def serve_part(
    rows: NDArray[Any],
    picks: NDArray[Any],
    *,
    metric: str = "euclidean",
    labels: NDArray[Any] | None = None,
    pick_labels: NDArray[Any] | None = None,
    weights: NDArray[np.float64] | None = None,
    device: str | None = None,
) -> Served:
    """Find the nearest of the picks for each of one part's rows, with strata among those of its own stratum.

    Args:
        rows: Shape (n, d).
        picks: Rows of the picks, shape (k, d).
        metric: Of the distances.
        labels: Strata of the rows, shape (n,), or None.
        pick_labels: Strata of the picks, shape (k,), or None.
        weights: Of the rows, shape (n,); None for ones.
        device: As for ``choose_in_part``.

    Returns:
        What each pick serves.

    Raises:
        ValueError: If a stratum of the rows has no pick.

    Example:
        >>> served = serve_part(np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [4.0]]))
        >>> served.weights.tolist(), served.objective
        ([2.0, 1.0], 2.0)
    """
    from adacore.facility.devices import check_device
    from adacore.facility.threads import check_threads
    from adacore.facility.workers import open_workers

    ones = np.ones(len(rows)) if weights is None else weights
    total = Served(np.zeros(len(picks)), 0.0, 0.0)
    size = max(1, PIECE_BYTES // (8 * picks.shape[1]))
    with open_workers(check_threads(None), check_device(device, rows)) as workers:
        for first in range(0, len(rows), size):
            some = slice(first, first + size)
            if labels is None or pick_labels is None:
                total = total + _serve_piece(rows[some], picks, ones[some], metric, workers)
                continue
            # Strata are problems of their own: each row goes to the nearest pick of its stratum.
            for label in np.unique(labels[some]).tolist():
                members, mine = np.flatnonzero(pick_labels == label), labels[some] == label
                if not len(members):
                    raise ValueError(f"stratum {label!r} has rows and no pick: raise its quota, or the budget")
                inside = _serve_piece(rows[some][mine], picks[members], ones[some][mine], metric, workers)
                # Back to the numbering of all picks.
                spread = np.zeros(len(picks))
                spread[members] = inside.weights
                total = total + Served(spread, inside.objective, inside.farthest)
    return total


def _serve_piece(
    rows: NDArray[Any], picks: NDArray[Any], weights: NDArray[np.float64], metric: str, workers: Workers
) -> Served:
    from adacore.facility.assignment import assign_rows  # which loads torch
    from adacore.facility.problem import check_problem

    # Picks are the rows of the problem, and the piece's rows its clients.
    problem = check_problem(picks, clients=rows, metric=metric).in_own_units()
    owner, distances = assign_rows(problem, np.arange(len(picks)), workers)
    return Served(
        np.bincount(owner, weights=weights, minlength=len(picks)).astype(np.float64),
        float(weights @ distances),
        float(distances[weights > 0].max(initial=0.0)),
    )


def half_of_bounds(bounds: Sequence[float]) -> float:
    """Bound the L of any k rows from below by the parts' own bounds.

    For any k rows S and a part P, put in place of each s in S the row s' of P nearest to it. A row i of P served by s
    has ``d(i, s') <= d(i, s) + d(s, s') <= 2 d(i, s)``, since s' is at least as near to s as i is. So L over P is at
    least half of the best L with k rows of P itself, and the sum over parts is at least half of the sum of the parts'
    bounds. Rows selected before may serve a part better than its own rows do: beside them this proof does not hold.

    Args:
        bounds: Of the parts: no k rows of part p have a smaller L over it than ``bounds[p]``.

    Returns:
        The bound.
    """
    return sum(bounds) / 2
