"""Sparse rows as the engine compares them: in single precision for bounds, in double precision for what decides.

The bound of ``products.rows`` holds with fewer terms. A product of two sparse rows sums over the columns that both have
an entry in: at most t, the entries of the fullest row. So |fl(y_i . y_j) - y_i . y_j| <= gamma_t (a_i + a_j) / 2, and
squared norms lowered and raised by gamma_(t + 24) carry the error as they do there, with t = 50 for 100,000 columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.facility.problem import Problem
from adacore.facility.products.rows import LIMIT_ROUNDING, ROUNDINGS, UNDERFLOW, gamma, round_up
from adacore.facility.sparse import kernels
from adacore.facility.sparse.compressed import CompressedRows
from adacore.facility.sparse.kernels import ByColumn, ExactRows


class SparseRows:
    """Rows x_i = factors[i] * exact[index[i]], and their single-precision copy; the sparse ``products.rows.Rows``.

    Args:
        exact: All rows.
        index: Which of them, int64, shape (n,).
        factors: float64, shape (n,).
        same: Distances up to this count as 0.

    Attributes:
        single: The copy in float32.
        low: |single_i|^2 less what rounding may add, float32, shape (n,).
        high: The same, more than what rounding may take away.
    """

    def __init__(
        self, exact: CompressedRows, index: NDArray[np.int64], factors: NDArray[np.float64], same: float
    ) -> None:
        self.exact = ExactRows(exact, index, factors, same)
        self.n = index.size
        mine = exact.take(index)
        lengths = mine.lengths
        # Scaled in double precision and rounded once, as the bound has it.
        values = mine.values * np.repeat(factors, lengths) if (factors != 1).any() else mine.values
        self.single = mine._replace(values=values.astype(np.float32, copy=False))
        # Norms of the copies, in double precision: their own rounding is nothing beside gamma_(t + 24).
        squares = np.bincount(
            np.repeat(np.arange(self.n), lengths), np.square(self.single.values, dtype=np.float64), minlength=self.n
        )
        # Of all rows: a product has no more terms than the shorter of the two, whichever rows it is taken with.
        terms = int(exact.lengths.max())
        error = gamma(terms + ROUNDINGS)
        low = squares * (1 - error) - terms * UNDERFLOW - same * same
        high = squares * (1 + error) + terms * UNDERFLOW
        # Rounded to nearest, perhaps inwards; the neighbour is outwards for certain. Of rows of extreme lengths an
        # infinite norm is a bound as well.
        with np.errstate(over="ignore"):
            low, high = low.astype(np.float32), high.astype(np.float32)
        self.low = torch.from_numpy(np.nextafter(low, np.float32(-np.inf)))
        self.high = torch.from_numpy(np.nextafter(high, np.float32(np.inf)))
        self._by_column: ByColumn | None = None

    @property
    def same(self) -> float:
        """Distances up to this count as 0."""
        return self.exact.same

    @property
    def by_column(self) -> ByColumn:
        """The entries of ``single``, column after column; sorted when first asked for."""
        if self._by_column is None:
            values, row_of = np.empty(self.single.values.size, np.float32), np.empty(self.single.values.size, np.int32)
            starts = np.zeros(self.single.width + 1, np.int64)
            kernels.sort_by_column(self.single, values, row_of, starts)
            self._by_column = ByColumn(values, row_of, starts)
        return self._by_column

    def take(self, at: Tensor) -> SparseRows:
        """Return some of the rows, by position."""
        return self.pick(at.numpy())

    def products(self, some: slice, others: SparseRows, those: slice, norms: Tensor) -> Tensor:
        """Compute norms_j - 2 y_i . y_j for some of the rows and some of the others."""
        out = np.empty((some.stop - some.start, min(those.stop, others.n) - those.start), np.float32)
        which = np.arange(some.start, some.stop)
        kernels.multiply(self.single, which, others.by_column, those.start, those.start + out.shape[1], out)
        return torch.from_numpy(out).add_(norms)

    def pick(self, which: NDArray[np.int64]) -> SparseRows:
        """Return some of the rows, by position."""
        return SparseRows(self.exact.rows, self.exact.which[which], self.exact.factors[which], self.exact.same)

    def near(
        self, position: int, clients: SparseRows, limits: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """List the clients that are nearer to one of the rows than their limits.

        Args:
            position: Which row.
            clients: Who may be near.
            limits: float64, shape (clients,); infinite ones let everyone in.

        Returns:
            Positions, int64, ascending, and distances in double precision.
        """
        squares = np.empty((1, clients.n), np.float32)
        kernels.multiply(self.single, np.array([position]), clients.by_column, 0, clients.n, squares)
        squares += self.low[position].numpy() + clients.low.numpy()
        found, distances = np.empty(clients.n, np.int64), np.empty(clients.n)
        count = kernels.serve(
            squares[0], round_up(np.square(limits) * LIMIT_ROUNDING), limits, position, self.exact, clients.exact,
            found, distances,
        )  # fmt: skip
        return found[:count], distances[:count]

    def distances(self, i: Tensor, others: SparseRows, j: Tensor) -> Tensor:
        """Compute distances of pairs in double precision, from differences; see ``products.rows.pair_distances``."""
        out = np.empty(i.shape[0])
        kernels.pair_distances(self.exact, i.numpy(), others.exact, j.numpy(), out)
        return torch.from_numpy(out)

    def distances_to_mean(self) -> Tensor:
        """Compute every row's distance to the mean of all, in double precision."""
        mean, out = np.zeros(self.single.width), np.empty(self.n)
        kernels.add_columns(self.exact, mean)
        kernels.distances_to_point(self.exact, mean / self.n, out)
        return torch.from_numpy(out)


def open_sparse_rows(problem: Problem) -> Callable[[NDArray[np.int64]], SparseRows]:
    """Bring sparse rows of a problem to the form in which they are multiplied.

    Args:
        problem: The problem, in its own units, its rows compressed.

    Returns:
        A function of rows' numbers.
    """
    assert isinstance(problem.rows, CompressedRows)
    rows, exponent = problem.rows, problem.product_exponent
    factors, same = np.ldexp(problem.unit, -exponent), float(np.ldexp(problem.same, -exponent))
    # No shift, unlike dense rows: it would fill them.
    return lambda index: SparseRows(rows, index, factors[index], same)
