"""Whatever people hold their data in, viewed as numpy arrays: rows, positions, weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.errors import shown
from adacore.facility.floating_point import float_kind
from adacore.facility.sparse.compressed import CompressedRows, compress, compressed_or_dense

DenseRows = NDArray[np.float32] | NDArray[np.float64]
Rows = DenseRows | CompressedRows


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
    # ``np.asarray`` makes arrays without dimensions of these, and what it says of such an array helps nobody.
    if values is None or callable(values) or isinstance(values, str | bytes | Mapping | Set | Coreset):
        what = "None" if values is None else f"a {type(values).__name__}"
        remedy = "its .indices" if isinstance(values, Coreset) else "a numpy array, a torch tensor or a list"
        raise TypeError(f"{name} is {what}: pass {remedy}")
    try:
        if not hasattr(values, "detach"):
            return np.asarray(values)
        values = values.detach()
        if values.dtype.is_floating_point and values.dtype.itemsize < 4:
            values = values.float()  # numpy has no bfloat16
        # A lazily conjugated tensor has no numpy view; for real ones nothing is done.
        return np.asarray(values.cpu().resolve_conj().numpy())
    except (ValueError, TypeError, NotImplementedError, OverflowError) as error:
        words = " ".join(str(error).split())
        raise TypeError(f"{name} is no array ({words}): pass a numpy array, a torch tensor or equal rows") from error


def check_real(array: NDArray[Any], name: str) -> None:
    """Refuse numbers that are not real.

    Args:
        array: What was passed.
        name: Its name, for the error.

    Raises:
        TypeError: If they are not, with the first that is none.
    """
    if array.dtype.kind in "fiub":
        return
    if array.dtype.kind == "O":
        for at, value in np.ndenumerate(array):
            place = f"{name}[{', '.join(map(str, at))}]"
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{place} is {shown(value)}: expected real numbers; encode or drop what is none")
            # As ``float()`` would: a whole number may be beyond what float64 holds.
            number: Any = value
            if number == number and not -sys.float_info.max <= number <= sys.float_info.max:
                raise TypeError(f"{place} is {shown(value)}: beyond 1.8e308, what float64 holds; divide by a constant")
        raise TypeError(f"{name} has dtype object and holds numbers: pass {name}.astype(float)")
    raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers; convert it first")


def as_rows(values: Any, name: str) -> Rows:
    """Bring rows to the form that the engine reads: finite, C-contiguous, float32 where that holds them exactly.

    C-contiguous float32 and float64 arrays, memory maps and CPU tensors are used where they lie. Others are copied
    once: float16, bfloat16, booleans and integers of at most 16 bits to float32, everything else to float64. Sparse
    matrices stay sparse, without the columns that are empty, which changes no distance; they are written out where that
    takes little more memory.

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
        return compressed_or_dense(compress(values, name))
    if getattr(values, "layout", None) is not None and "strided" not in str(values.layout):
        raise TypeError(f"{name} is a sparse torch tensor: pass a scipy CSR array, or {name}.to_dense()")
    rows = as_array(values, name)
    if rows.ndim != 2:
        raise ValueError(f"{name} has shape {rows.shape}: expected (n, d), one row per example; reshape it")
    if rows.shape[0] == 0:
        raise ValueError(f"there are no examples to select from: {name} is empty; pass at least one row")
    if rows.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {rows.shape}: examples without features can't be compared; pass d >= 1 columns"
        )
    check_real(rows, name)
    rows = np.ascontiguousarray(rows, dtype=float_kind(rows.dtype))
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

        parts = [
            compress(values if hasattr(values, "tocsr") else csr_array(as_rows(values, name)), name)
            for values, name in ((x, "x"), (clients, "clients"))
        ]
        # Together, so that both keep the same columns.
        return compressed_or_dense(vstack(parts, format="csr"))
    return np.concatenate([as_rows(x, "x"), as_rows(clients, "clients")])


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
    if array.dtype.kind == "O" and all(isinstance(value, Integral) for value in array.flat):
        raise ValueError(
            f"{name} holds {shown(max(array.flat, key=abs))}: expected positions in [0, {n}), the rows of x"
        )
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
    check_real(weights, "weights")
    weights = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))  # nan is not >= 0
    if wrong.size:
        raise ValueError(f"weights[{wrong[0]}] is {weights[wrong[0]]}: expected finite numbers >= 0, one for each row")
    if not weights.any():
        raise ValueError("weights hold only zeros: nobody would be served; give one row at least a weight above 0")
    return weights
