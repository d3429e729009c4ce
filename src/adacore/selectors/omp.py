"""Orthogonal matching pursuit with non-negative, regularised least-squares weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adacore.selectors.interruption import check_interrupted

_INDEPENDENT = 1e-10
"""Smallest share of a squared norm that must be new to the support for a candidate to be added."""

_ASCENT = 1e-12
"""Smallest slope, relative to the first residual, that is told from rounding."""


_TINY = 1e-300
"""Keeps 0 / 0 from being formed where a weight is 0 already and its solution is too."""

_ROUNDS = 4
"""Most steps for each example asked for: rounding must not let examples come and go for ever."""


@dataclass(frozen=True, eq=False)
class Pursuit:
    """What a pursuit found.

    Attributes:
        indices: The support in pick order, int64, shape (m,).
        weights: Their weights, above 0, float64, shape (m,).
        residual: Norm of ``target - rows[indices].T @ weights``.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    residual: float


def pursue(
    rows: NDArray[np.floating], target: NDArray[np.float64], k: int, *, lam: float = 0.0, eps: float = 0.0
) -> Pursuit:
    """Minimise ``||sum_j w_j g_j - b||^2 + lam ||w||^2`` over w >= 0 with at most k entries above 0, greedily.

    Each step adds the candidate with the largest inner product with the residual, and solves the non-negative problem
    on the support by Lawson and Hanson's active sets, so that each step makes the objective smaller. Stops at k, when
    the residual is at most ``eps ||b||``, or when no candidate has a positive inner product left: then no more examples
    could help.

    Args:
        rows: g, shape (n, d).
        target: b, float64, shape (d,).
        k: Most examples to choose.
        lam: Weight of the regularisation, at least 0.
        eps: Tolerance, relative to the norm of b, at least 0.

    Returns:
        Support, weights and residual.

    Example:
        >>> found = pursue(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), np.array([2.0, 3.0]), 2)
        >>> found.indices, found.weights
        (array([1, 0]), array([3., 2.]))
    """
    # In float64: slopes late in the pursuit are differences of gradients that agree in all but their last digits.
    points: NDArray[np.float64] = np.asarray(rows, np.float64)
    support = _Support(points, target, lam)
    available = np.ones(len(rows), dtype=np.bool_)
    # With w = 0 the residual is b itself.
    residual, goal = target.copy(), eps * float(np.linalg.norm(target))
    flat = _ASCENT * float(np.linalg.norm(target))
    norms = np.sqrt(np.einsum("ij,ij->i", points, points))
    for _ in range(_ROUNDS * k):
        check_interrupted()
        if len(support.members) >= k or np.linalg.norm(residual) <= goal:
            break
        # Half the objective's slope along w_j at w_j = 0 is -g_j . r: the steepest descent among all candidates.
        slopes = np.where(available, points @ residual, -np.inf)
        best = int(slopes.argmax())
        if not slopes[best] > flat * norms[best]:
            break
        available[best] = False
        for dropped in support.add(best):
            # One that was dropped at once is no descent direction but for rounding: leave it out for good.
            available[dropped] = dropped != best
        residual = target - points[support.members].T @ support.weights
    return Pursuit(np.array(support.members, dtype=np.int64), support.weights, float(np.linalg.norm(residual)))


class _Support:
    """Chosen rows A, their weights, and what solves for them.

    While there are at most d rows, a Cholesky factor of ``A A^T + lam I`` that grows by a row at each pick; beyond, the
    d x d matrix ``A^T A + lam I``, since ``w = A (A^T A + lam I)^-1 b``. Neither is larger than d x d.
    """

    def __init__(self, rows: NDArray[np.float64], target: NDArray[np.float64], lam: float) -> None:
        self.members: list[int] = []
        self.weights = np.empty(0)
        self._rows, self._target, self._lam = rows, target, lam
        self._factor = np.zeros((0, 0))
        self._gram: NDArray[np.float64] | None = None

    def add(self, row: int) -> list[int]:
        """Add a row, solve, and return the rows whose weights fell to 0 on the way; they are not members any more."""
        if not self._append(row):
            return [row]
        left: list[int] = []
        while self.members:
            solved = self._solve()
            falling = solved <= 0  # the least-squares solution leaves w >= 0 in these coordinates
            if not falling.any():
                self.weights = solved
                break
            # Walk towards the solution until the first weight reaches 0, and drop it: Lawson and Hanson's inner loop.
            steps = np.full(len(solved), np.inf)
            steps[falling] = self.weights[falling] / np.maximum(self.weights[falling] - solved[falling], _TINY)
            step = min(1.0, float(steps.min()))
            self.weights = self.weights + step * (solved - self.weights)
            gone = steps <= step
            left += [member for member, drop in zip(self.members, gone, strict=True) if drop]
            self._drop(gone)
        return left

    def _append(self, row: int) -> bool:
        """Take a row in with weight 0; False if it is linearly dependent on the members."""
        new, size, d = self._rows[row], len(self.members), len(self._target)
        scale = _INDEPENDENT * (float(new @ new) + self._lam)
        if size < d:
            # One more row of the Cholesky factor L of A A^T + lam I: L l = A g and pivot^2 = |g|^2 + lam - |l|^2, which
            # is the part of g that no member explains.
            below = self._rows[self.members] @ new
            edge = _solve_lower(self._factor, below) if size else below
            pivot = float(new @ new) + self._lam - float(edge @ edge)
            if not pivot > scale:
                return False
            grown = np.zeros((size + 1, size + 1))
            grown[:size, :size], grown[size, :size], grown[size, size] = self._factor, edge, np.sqrt(pivot)
            self._factor = grown
        elif not self._lam > scale:
            return False  # d independent rows span the space: without regularisation another adds nothing
        elif self._gram is None:
            self._gram = self._inner([*self.members, row])
        else:
            self._gram += np.outer(new, new)
        self.members.append(row)
        self.weights = np.append(self.weights, 0.0)
        return True

    def _inner(self, members: list[int]) -> NDArray[np.float64]:
        """Return ``A^T A + lam I``."""
        chosen = self._rows[members]
        return np.asarray(chosen.T @ chosen + self._lam * np.eye(chosen.shape[1]))

    def _solve(self) -> NDArray[np.float64]:
        """Return the least-squares weights of the members, of any sign."""
        chosen = self._rows[self.members]
        if self._gram is None:
            return _solve_factored(torch.from_numpy(self._factor), chosen @ self._target)
        # w = A (A^T A + lam I)^-1 b: the push-through identity (A A^T + lam I)^-1 A = A (A^T A + lam I)^-1.
        dual = _solve_factored(torch.linalg.cholesky(torch.from_numpy(self._gram)), self._target)
        return np.asarray(chosen @ dual)

    def _drop(self, gone: NDArray[np.bool_]) -> None:
        self.members = [member for member, drop in zip(self.members, gone, strict=True) if not drop]
        self.weights = self.weights[~gone]
        # Made anew: subtracting outer products would pile up their rounding.
        if len(self.members) > len(self._target):
            self._gram = self._inner(self.members)
            return
        self._gram = None
        # Rows leave seldom; factoring anew costs O(m^2 d) and does not pile up the rounding of downdates.
        chosen = self._rows[self.members]
        self._factor = np.asarray(np.linalg.cholesky(chosen @ chosen.T + self._lam * np.eye(len(chosen))), np.float64)


# LAPACK comes by way of torch, which the core needs anyway: scipy has the same routines, but is not a part of the core.


def _solve_lower(factor: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``L x = b`` for a lower triangle L, shape (m, m)."""
    column = torch.from_numpy(b)[:, None]
    return np.asarray(torch.linalg.solve_triangular(torch.from_numpy(factor), column, upper=False)[:, 0].numpy())


def _solve_factored(factor: torch.Tensor, b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``L L^T x = b``."""
    return np.asarray(torch.cholesky_solve(torch.from_numpy(b)[:, None], factor)[:, 0].numpy())
