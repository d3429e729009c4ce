"""Sparse rows in the form in which the engine reads them: compressed, ascending columns, no zeros, no empty column."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.floating_point import float_kind

DENSE_SHARE = 2
"""Sparse rows are written out where that takes at most so many times what they take compressed, 8 to 12 bytes an entry:
from a third of all entries on. Dense products are then several times as fast."""


class CompressedRows(NamedTuple):
    """Rows of which only the entries that are not 0 are stored (CSR); a tuple, which compiled code can take.

    Attributes:
        values: The entries, row after row, float32 or float64, none 0, shape (entries,).
        columns: The column of each, int32 or int64, ascending within a row.
        starts: Where each row begins, and where the last one ends, int64, shape (n + 1,).
        width: Number of columns, all of which occur.
    """

    values: NDArray[Any]
    columns: NDArray[Any]
    starts: NDArray[np.int64]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.starts.size - 1, self.width

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of entries of each row, int64, shape (n,)."""
        return np.diff(self.starts)

    @property
    def mean_entries(self) -> float:
        """Entries of a row, on average."""
        return self.values.size / self.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return int(self.values.nbytes + self.columns.nbytes + self.starts.nbytes)

    def take(self, rows: NDArray[np.int64]) -> CompressedRows:
        """Copy some rows.

        Args:
            rows: Which, int64.

        Returns:
            These rows, in the order given, with the same columns.
        """
        if rows.size == self.shape[0] and np.array_equal(rows, np.arange(rows.size)):
            return self  # nothing to leave out, and nothing is ever written to
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # The entries of row r lie from starts[r] on: so the entry numbered e of the copy is e - (its row's start in
        # the copy) + starts[r].
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return CompressedRows(self.values[at], self.columns[at], starts, self.width)

    def largest(self) -> NDArray[np.float64]:
        """Find the largest absolute value of each row, float64, shape (n,); 0 for rows without entries."""
        largest = np.zeros(self.shape[0])
        filled = self.lengths > 0
        if filled.any():
            # Segments between the starts of rows that have entries: ``reduceat`` has no empty ones.
            largest[filled] = np.maximum.reduceat(np.abs(self.values), self.starts[:-1][filled])
        return largest

    def key(self, row: int) -> bytes:
        """Tell rows apart: equal rows have equal keys."""
        some = slice(self.starts[row], self.starts[row + 1])
        return bytes(self.columns[some].tobytes() + self.values[some].tobytes())


def compress(values: Any, name: str) -> Any:
    """Bring a scipy matrix to canonical CSR of float32 or float64, without changing what was passed.

    Args:
        values: Any scipy sparse matrix or array, shape (n, d).
        name: Its name, for errors.

    Returns:
        A scipy CSR array: sorted, duplicates summed, no stored zeros; float32 where that holds the numbers,
        else float64.

    Raises:
        ValueError: If the shape is wrong, or a number is nan or infinite.
        TypeError: If the numbers are not real.
    """
    from scipy.sparse import csr_array  # whoever has sparse rows has scipy

    if len(values.shape) != 2 or 0 in values.shape:
        raise ValueError(f"{name} has shape {values.shape}: expected (n, d) with n >= 1 examples and d >= 1 columns")
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {values.dtype}: expected real numbers; convert it first")
    dtype = float_kind(values.dtype)
    if values.dtype == np.float16:
        # scipy constructs such matrices and then can do nothing with them; the sum of duplicates is taken in float32.
        values = type(values)((values.data.astype(np.float32), values.indices, values.indptr), shape=values.shape)
    rows = csr_array(values)
    if not rows.has_canonical_format or (rows.data == 0).any():
        # In the caller's type, as ``toarray`` would; on a copy, since scipy sums duplicates in place.
        rows = rows.copy()
        rows.sum_duplicates()
        rows.eliminate_zeros()
    if rows.dtype != dtype:
        rows = csr_array((rows.data.astype(dtype), rows.indices, rows.indptr), shape=rows.shape)
    wrong = np.flatnonzero(~np.isfinite(rows.data))
    if wrong.size:
        row = int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"{name}[{row}, {rows.indices[wrong[0]]}] is {rows.data[wrong[0]]}: expected finite numbers; drop or "
            "repair such rows first"
        )
    return rows


def compressed_or_dense(rows: Any) -> CompressedRows | NDArray[Any]:
    """Leave out the empty columns, which changes no distance; write rows out where that takes little more memory.

    Args:
        rows: A canonical scipy CSR array; see ``compress``.

    Returns:
        Compressed rows, or an array, C-contiguous, of shape (n, columns that are not empty; at least one).
    """
    # Bags of words have hundreds of thousands of columns, of which a subset of rows fills few.
    filled, columns = np.unique(rows.indices, return_inverse=True)
    n, width = rows.shape[0], filled.size
    kept = CompressedRows(
        rows.data,
        columns.reshape(-1).astype(np.int32 if width < 2**31 else np.int64),
        rows.indptr.astype(np.int64),
        width,
    )
    if rows.dtype.itemsize * n * width > DENSE_SHARE * kept.nbytes:
        return kept
    dense = np.zeros((n, max(1, width)), rows.dtype)
    dense[np.repeat(np.arange(n), kept.lengths), kept.columns] = kept.values
    return dense
