"""Products with a table of rows, dense or sparse, float32 or float64, always summed in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CHUNK_ELEMENTS = 2**22
"""float64 elements of the temporaries that a chunk of rows may take: 32 MiB, well under what a table takes that is
worth cutting, and long enough that BLAS runs at full speed."""


def check_rows(X: Any, targets: ArrayLike) -> tuple[Any, NDArray[Any]]:
    """Check a table and its targets, without copying what can be used as it is.

    Args:
        X: Features, dense or CSR, shape (n, d).
        targets: Shape (n,).

    Returns:
        X as float32 or float64, dense in C order or CSR, and the targets as an array.

    Raises:
        ValueError: If shapes are wrong, there are no rows, or a number is not finite.
    """
    targets = np.asarray(targets)
    if is_sparse(X):
        # Late: dense rows never come here, and do not wait for SciPy.
        from scipy import sparse

        X = sparse.csr_array(X)
        # float32 is kept: a copy as float64 would take twice what the caller holds already.
        X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    else:
        X = np.asarray(X)
        X = np.ascontiguousarray(X, dtype=X.dtype if X.dtype in (np.float32, np.float64) else np.float64)
    if X.ndim != 2 or targets.shape != (X.shape[0],):
        raise ValueError(f"X has shape {X.shape}, y {targets.shape}: expected (n, d) and (n,)")
    if X.shape[0] == 0:
        raise ValueError("X has no rows: pass at least one example")
    # A nan would pass through every solver and end as a coreset of any rows: it is cheaper to look once.
    if not np.isfinite(X.data if is_sparse(X) else X).all() or (
        targets.dtype.kind == "f" and not np.isfinite(targets).all()
    ):
        raise ValueError("X or y contains nan or infinity: impute or drop those rows first")
    return X, targets


def chunks(n: int, width: int) -> Iterator[slice]:
    """Cut n rows into slices of at most ``CHUNK_ELEMENTS`` elements of the given width, and of at least one row."""
    step = max(1, CHUNK_ELEMENTS // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def as_float64(rows: Any) -> Any:
    """Return rows, dense or sparse, as float64: themselves where they are that already."""
    return rows.astype(np.float64, copy=False)


def times(X: Any, M: Array) -> Array:
    """Return X M, float64, shape (n, m), of M, shape (d, m)."""
    if is_sparse(X) or X.dtype == np.float64:
        return np.asarray(X @ M)
    # float32 rows are widened a chunk at a time: numpy would copy the whole table.
    product = np.empty((X.shape[0], M.shape[1]))
    for part in chunks(*X.shape):
        product[part] = as_float64(X[part]) @ M
    return product


def transposed_times(X: Any, M: Array) -> Array:
    """Return X^T M, float64, shape (d, m), of M, shape (n, m)."""
    if is_sparse(X) or X.dtype == np.float64:
        return np.asarray(X.T @ M)
    product = np.zeros((X.shape[1], M.shape[1]))
    for part in chunks(*X.shape):
        product += as_float64(X[part]).T @ M[part]
    return product


def gram(X: Any, weights: Array, intercept: bool) -> Array:
    """Return sum_i weights_i x_i x_i^T, x_i with a 1 at its end where there is an intercept.

    Args:
        X: Rows, shape (n, d).
        weights: Of either sign, float64, shape (n,).
        intercept: Whether each row has a 1 at its end.

    Returns:
        float64, shape (p, p), p = d or d + 1.
    """
    d = X.shape[1]
    found = np.zeros((d + int(intercept),) * 2)
    if is_sparse(X):
        # The weights go to one side only and not as square roots to both: they may be negative, as off-diagonal entries
        # of A_i are.
        found[:d, :d] = (X.T @ X.multiply(weights[:, None]).tocsr()).toarray()
    else:
        for part in chunks(*X.shape):
            rows = as_float64(X[part])
            found[:d, :d] += rows.T @ (rows * weights[part, None])
    if intercept:
        found[d, :d] = found[:d, d] = transposed_times(X, weights[:, None])[:, 0]
        found[d, d] = weights.sum()
    return found


def squares_transposed_times(X: Any, M: Array) -> Array:
    """Return (X * X)^T M, float64, shape (d, m): M weighs the squares of the features."""
    if is_sparse(X):
        return np.asarray(as_float64(X).power(2).T @ M)
    product = np.zeros((X.shape[1], M.shape[1]))
    for part in chunks(*X.shape):
        product += np.square(as_float64(X[part])).T @ M[part]
    return product


def squared_lengths(X: Any) -> Array:
    """Return ||x_i||^2 of every row, float64, shape (n,)."""
    if is_sparse(X):
        return np.asarray(as_float64(X).power(2).sum(axis=1)).ravel()
    return np.concatenate([np.square(as_float64(X[part])).sum(axis=1) for part in chunks(*X.shape)])


def is_sparse(X: Any) -> bool:
    """Return whether X is a SciPy sparse matrix or array."""
    # Late, for the same reason as above.
    from scipy import sparse

    return bool(sparse.issparse(X))
