"""The two sides of a problem as they are multiplied: clients and candidates, one matrix where they are the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.facility.problem import Problem
from adacore.facility.products.rows import Rows, choose_shift, make_rows
from adacore.facility.sparse.rows import open_sparse_rows

MOSTLY = 0.7
"""Where at least this share of the clients are candidates, both are treated as the same rows: a product then serves
both halves of a pair, which is worth more than what is computed for those that may not be selected."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Clients and candidates.

    Attributes:
        clients: Rows to be served.
        candidates: Rows that may be selected, ascending; the same object as ``clients`` where they are mostly the same.
        able: Which of them may be selected, bool, shape (candidates.n,).
        candidate_rows: Their numbers in the problem, int64.
        initial: Rows selected already, or None.
        weights: Of the clients, float64.
        exponent: Distances of the problem are those of the engine times 2 to this.
    """

    clients: Rows
    candidates: Rows
    able: NDArray[np.bool_]
    candidate_rows: NDArray[np.int64]
    initial: Rows | None
    weights: NDArray[np.float64]
    exponent: int


def split_sides(problem: Problem, device: torch.device) -> Sides:
    """Bring a problem to the form in which it is multiplied.

    Args:
        problem: The problem, in its own units.
        device: Where to compute.

    Returns:
        The two sides, on that device.
    """
    take = open_dense_rows(problem, device)
    clients = problem.clients
    inside = np.isin(problem.candidates, clients, assume_unique=True)
    # Every candidate must be a client, for one matrix to serve as both sides.
    same = bool(inside.all()) and problem.candidates.size >= MOSTLY * clients.size
    rows = clients if same else problem.candidates
    served = take(_within_reach(problem))
    return Sides(
        served,
        served if same else take(rows),
        np.isin(rows, problem.candidates, assume_unique=True) if same else np.ones(rows.size, bool),
        rows,
        take(problem.initial) if problem.initial.size else None,
        problem.weights,
        problem.product_exponent - problem.distance_exponent,
    )


def _within_reach(problem: Problem) -> NDArray[np.int64]:
    """Return the clients, with another row in place of each that matters to nobody.

    The units are those of the rows that matter. Others, which nobody weighs and nobody may select, could overflow
    single precision, and 0 times infinity would not be 0.
    """
    if problem.weights.all():
        return problem.clients
    members = problem.members()
    idle = (problem.weights == 0) & ~np.isin(problem.clients, members, assume_unique=True)
    return np.where(idle, members[0], problem.clients)


def open_dense_rows(problem: Problem, device: torch.device) -> Callable[[NDArray[np.int64]], Rows]:
    """Bring dense rows of a problem to the form in which they are multiplied.

    Args:
        problem: The problem, in its own units.
        device: Where to compute.

    Returns:
        A function of rows' numbers; all that it returns lies in one set of coordinates.
    """
    own = problem.product_exponent
    exact = to_device(problem.dense_rows(), device)
    factors, equal_up_to = np.ldexp(problem.unit, -own), math.ldexp(problem.same, -own)
    # One shift for all: distances stay only if all are moved alike.
    shift = choose_shift(exact, to_device(problem.clients, device), to_device(factors[problem.clients], device))

    def take(index: NDArray[np.int64]) -> Rows:
        return make_rows(exact, to_device(index, device), to_device(factors[index], device), shift, equal_up_to)

    return take


def open_rows(problem: Problem, device: torch.device) -> Callable[[NDArray[np.int64]], Any]:
    """Bring rows of a problem, dense or sparse, to the form in which they are multiplied; see ``open_dense_rows``."""
    if not problem.sparse:
        return open_dense_rows(problem, device)
    return open_sparse_rows(problem)


def to_device(values: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """View an array as a tensor, on a device."""
    with warnings.catch_warnings():
        # Memory maps may be read-only, and nothing here writes to the rows.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values).to(device)
