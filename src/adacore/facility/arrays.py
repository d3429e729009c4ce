"""Whatever people hold their data in, viewed as numpy arrays: rows, positions, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32] | NDArray[np.float64]

DENSE_BYTES = 2**30
"""Sparse rows are written out without their empty columns where that takes at most this much: 1 GiB holds 2,000 rows
of 134,000 columns, and is little beside the list memory of a selection that large."""

_EXACT_IN_FLOAT32 = {"float16", "float32", "bool", "int8", "uint8", "int16", "uint16"}


def as_array(values: Any, name: str) -> NDArray[Any]:
    """View an array, a tensor on any device, a data frame or a nested sequence as a numpy array.

    Args:
        values: What was passed.
        name: Its name, for the error.

    Returns:
        The array; a view of the memory that ``values`` holds where there is one.

    Raises:
        TypeError: If it can't be viewed so.
        ValueError: If it is a masked array with masked entries.
    """
    # ``np.asarray`` would drop the mask and hand out what lies underneath.
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.getmaskarray(values).any():
            raise ValueError(f"{name} is a masked array with masked entries: drop or fill them first")
        return np.asarray(values.data)
    if hasattr(values, "detach"):
        values = values.detach()
        if values.dtype.is_floating_point and values.dtype.itemsize < 4:
            values = values.float()  # numpy has no bfloat16
        # A lazily conjugated tensor has no numpy view; for real ones nothing is done.
        return np.asarray(values.cpu().resolve_conj().numpy())
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name} is no array ({error}): pass a numpy array, a torch tensor or equal rows") from error


def as_rows(values: Any, name: str) -> Rows:
    """Bring rows to the form that the engine reads: finite, C-contiguous, float32 where that holds them exactly.

    C-contiguous float32 and float64 arrays, memory maps and CPU tensors are used where they lie. Others are copied
    once: float16, bfloat16, booleans and integers of at most 16 bits to float32, everything else to float64. Sparse
    matrices are written out without the columns that are empty, which changes no distance.

    Args:
        values: What was passed, shape (n, d).
        name: Its name, for errors.

    Returns:
        The rows, shape (n, d).

    Raises:
        ValueError: If the shape is wrong, there are no rows or columns, or a number is nan or infinite.
        TypeError: If the numbers are not real.
    """
    if hasattr(values, "tocsr"):
        return _from_sparse(values, name)
    rows = as_array(values, name)
    if rows.ndim != 2:
        raise ValueError(f"{name} has shape {rows.shape}: expected (n, d), one row per example; reshape it")
    if rows.shape[0] == 0:
        raise ValueError(f"there are no examples to select from: {name} is empty; pass at least one row")
    if rows.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {rows.shape}: examples without features can't be compared; pass d >= 1 columns"
        )
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {rows.dtype}: expected real numbers; convert it first")
    # Where float32 holds every value, half the memory and the same distances: those are computed in float64 anyway.
    dtype = np.float32 if rows.dtype.name in _EXACT_IN_FLOAT32 else np.float64
    rows = np.ascontiguousarray(rows, dtype=dtype)
    # The extremes of a finite array are finite, and nan spreads to them: no array of flags is needed.
    if not (np.isfinite(rows.min()) and np.isfinite(rows.max())):
        row, column = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
        raise ValueError(
            f"{name}[{row}, {column}] is {rows[row, column]}: expected finite numbers; drop or repair such rows first"
        )
    return rows


def as_rows_of_both(x: Any, clients: Any) -> Rows:
    """Bring rows and clients to one array, those of ``x`` first; see ``as_rows``.

    Args:
        x: Shape (n, d).
        clients: Shape (m, d).

    Returns:
        The rows, shape (n + m, d).

    Raises:
        ValueError: If they differ in columns, or as by ``as_rows``.
    """
    shapes = [tuple(values.shape if hasattr(values, "shape") else np.shape(values)) for values in (x, clients)]
    if len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] != shapes[1][1]:
        raise ValueError(f"clients have shape {shapes[1]}: expected (m, {shapes[0][1]}), as many columns as x")
    if hasattr(x, "tocsr") or hasattr(clients, "tocsr"):
        from scipy.sparse import csr_array, vstack  # whoever has sparse rows has scipy

        # Together, so that both keep the same columns.
        return as_rows(vstack([csr_array(x), csr_array(clients)]), "x with clients")
    return np.concatenate([as_rows(x, "x"), as_rows(clients, "clients")])


def _from_sparse(values: Any, name: str) -> Rows:
    if len(values.shape) != 2 or 0 in values.shape:
        raise ValueError(f"{name} has shape {values.shape}: expected (n, d) with n >= 1 examples and d >= 1 columns")
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {values.dtype}: expected real numbers; convert it first")
    filled = values.tocsc()
    # Stored columns only: bags of words have hundreds of thousands of columns, of which a subset of rows fills few.
    filled = filled[:, np.diff(filled.indptr) > 0]
    size = filled.dtype.itemsize * filled.shape[0] * filled.shape[1]
    if size > DENSE_BYTES:
        raise ValueError(
            f"{name} is sparse with {filled.shape[1]:,} columns that are not empty: {filled.shape[0]:,} such rows take "
            f"{size / 2**30:.1f} GiB; project them to fewer columns first, for example by "
            "sklearn.random_projection.SparseRandomProjection"
        )
    dense = np.asarray(filled.toarray(order="C"))
    return as_rows(dense if dense.shape[1] else np.zeros((dense.shape[0], 1), np.float32), name)


def as_positions(values: Any, n: int, name: str) -> NDArray[np.int64]:
    """Read positions of rows, or a mask over them.

    Args:
        values: Whole numbers in [0, n), each at most once, shape (k,); or booleans, shape (n,).
        n: Number of rows.
        name: Its name, for errors.

    Returns:
        Positions, int64, shape (k,), in the order given; of a mask, ascending.

    Raises:
        ValueError: If a shape is wrong, a position is out of range, or one occurs twice.
        TypeError: If the numbers are not whole.
    """
    array = as_array(values, name)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind == "b":
        if array.shape != (n,):
            raise ValueError(f"{name} is a mask of shape {array.shape}: expected ({n},), one flag per row of x")
        return np.flatnonzero(array).astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: expected positions (whole numbers) or a mask (booleans)")
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: expected (k,), positions of rows of x")
    if array.min() < 0 or array.max() >= n:
        wrong = array[(array < 0) | (array >= n)][0]
        raise ValueError(f"{name} holds {wrong}: expected positions in [0, {n}), the rows of x")
    positions = array.astype(np.int64)
    # A row named twice would be served and counted twice.
    distinct, counts = np.unique(positions, return_counts=True)
    if distinct.size < positions.size:
        raise ValueError(f"{name} holds {distinct[counts > 1][0]} twice: name each row once")
    return positions


def as_weights(values: Any, n: int, rows: str) -> NDArray[np.float64]:
    """Read how much each client counts.

    Args:
        values: Finite numbers, at least 0 and not all 0, shape (n,).
        n: Number of clients.
        rows: Name of the rows that are weighed, for errors.

    Returns:
        The weights, float64, shape (n,).

    Raises:
        ValueError: If the shape is wrong, or a number is negative, nan or infinite, or all are 0.
        TypeError: If the numbers are not real.
    """
    weights = as_array(values, "weights")
    if weights.shape != (n,):
        raise ValueError(f"weights have shape {weights.shape}: expected ({n},), one for each row of {rows}")
    if weights.dtype.kind not in "fiub":
        raise TypeError(f"weights have dtype {weights.dtype}: expected real numbers")
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("weights hold a negative, nan or infinite number, or only zeros: expected finite numbers >= 0")
    return weights
