"""Convex problems: regularised linear models with values, gradients and Hessians, per example and in total."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.convex.losses import Array, Logistic, Loss, SmoothedHinge, Softmax, Squared

CHUNK_ELEMENTS = 2**22
"""float64 elements of the temporaries that a chunk of rows may take: 32 MiB."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A regularised linear model on n examples: f_i(w) = phi(W x_i, y_i) + l2/2 ||w||^2 + l1 ||w||_1.

    The objective is the weighted mean, ``L(w) = sum_i gamma_i f_i(w) / sum_i gamma_i``; weights None are ones. A
    parameter vector w is W flattened, K rows of p numbers one after the other. An intercept is the last of the p
    numbers, its column of the design all ones, and is not regularised. Gradients and Hessians are of the smooth part:
    l1's subgradient is the same for every example, so that no difference between two of them knows of it.

    Attributes:
        design: Rows x_i, float64, dense or CSR, shape (n, p).
        targets: y_i as the loss wants them, float64, shape (n,).
        loss: phi.
        l2: mu, >= 0.
        l1: >= 0.
        intercept: Whether the last column of the design is the intercept's.

    Example:
        >>> problem = ridge(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), l2=0.0, intercept=False)
        >>> problem.value(np.zeros(1)), problem.gradient(np.zeros(1)), problem.hessian(np.zeros(1))
        (1.25, array([-2.5]), array([[2.5]]))
    """

    design: Any
    targets: Array
    loss: Loss
    l2: float
    l1: float = 0.0
    intercept: bool = True

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.design.shape[0])

    @property
    def parameters(self) -> int:
        """Length of w, K * p."""
        return self.loss.outputs * int(self.design.shape[1])

    def zero(self) -> Array:
        """Return w = 0, float64, shape (K * p,)."""
        return np.zeros(self.parameters)

    def take(self, rows: NDArray[np.int64]) -> Problem:
        """Restrict the problem to some examples, positions int64, shape (m,), in their order."""
        return replace(self, design=self.design[rows], targets=self.targets[rows])

    def penalty(self) -> Array:
        """Return the diagonal of the regulariser's Hessian: l2, and 0 for intercepts; float64, shape (K * p,)."""
        diagonal = np.full((self.loss.outputs, self.design.shape[1]), self.l2)
        if self.intercept:
            diagonal[:, -1] = 0.0
        return diagonal.ravel()

    def scores(self, w: Array) -> Array:
        """Return z_i = W x_i, float64, shape (n, K)."""
        return np.asarray(self.design @ w.reshape(self.loss.outputs, -1).T)

    def losses(self, w: Array) -> Array:
        """Return f_i(w), float64, shape (n,)."""
        return self.loss.values(self.scores(w), self.targets) + self._regulariser(w)

    def value(self, w: Array, weights: Array | None = None) -> float:
        """Return L(w), the weighted mean of f_i; weights float64, shape (n,)."""
        return float(self._shares(weights) @ self.loss.values(self.scores(w), self.targets) + self._regulariser(w))

    def gradient(self, w: Array, weights: Array | None = None) -> Array:
        """Return the gradient of L, float64, shape (K * p,)."""
        residuals = self.loss.gradients(self.scores(w), self.targets) * self._shares(weights)[:, None]
        return np.asarray(self.design.T @ residuals).T.ravel() + self.penalty() * w

    def gradients(self, w: Array) -> Array:
        """Return the gradients of all f_i, dense: float64, shape (n, K * p)."""
        rows = np.asarray(self.design.toarray() if is_sparse(self.design) else self.design)
        residuals = self.loss.gradients(self.scores(w), self.targets)
        products = np.einsum("nk,np->nkp", residuals, rows).reshape(self.n, -1)
        return np.asarray(products + self.penalty() * w)

    def hessian(self, w: Array, weights: Array | None = None) -> Array:
        """Return the Hessian of L, dense: float64, shape (K * p, K * p)."""
        K, p = self.loss.outputs, self.design.shape[1]
        H = np.empty((K, p, K, p))
        curvatures = self.loss.hessians(self.scores(w), self.targets) * self._shares(weights)[:, None, None]
        for a in range(K):
            for b in range(a + 1):
                H[a, :, b, :] = self._gram(curvatures[:, a, b])
                H[b, :, a, :] = H[a, :, b, :].T
        H = H.reshape(K * p, K * p)
        H[np.diag_indices(K * p)] += self.penalty()
        return H

    def hessians(self, w: Array) -> Array:
        """Return the Hessians of all f_i, dense: float64, shape (n, K * p, K * p). For small problems."""
        rows = np.asarray(self.design.toarray() if is_sparse(self.design) else self.design)
        curvatures = self.loss.hessians(self.scores(w), self.targets)
        blocks = np.einsum("nab,np,nq->napbq", curvatures, rows, rows)
        return np.asarray(blocks.reshape(self.n, self.parameters, self.parameters) + np.diag(self.penalty()))

    def hessian_diagonal(self, w: Array, weights: Array | None = None) -> Array:
        """Return the diagonal of the Hessian of L, eq. (34): float64, shape (K * p,)."""
        curvatures = np.einsum("nkk->nk", self.loss.hessians(self.scores(w), self.targets))
        squares = self.design.multiply(self.design) if is_sparse(self.design) else np.square(self.design)
        diagonal = np.asarray(squares.T @ (curvatures * self._shares(weights)[:, None])).T.ravel()
        return diagonal + self.penalty()

    def hessian_product(self, w: Array, directions: Array, weights: Array | None = None) -> Array:
        """Return the Hessian of L times directions, float64, both of shape (K * p, m)."""
        K, m = self.loss.outputs, directions.shape[1]
        curvatures = self.loss.hessians(self.scores(w), self.targets) * self._shares(weights)[:, None, None]
        products = np.empty_like(directions)
        for part in chunks(m, self.n * K):
            thin = directions[:, part].reshape(K, -1, part.stop - part.start)
            moved = np.stack([np.asarray(self.design @ thin[k]) for k in range(K)], axis=1)
            bent = np.einsum("nab,nbm->nam", curvatures, moved)
            back = np.stack([np.asarray(self.design.T @ bent[:, k]) for k in range(K)])
            products[:, part] = back.reshape(self.parameters, -1)
        return products + self.penalty()[:, None] * directions

    def _regulariser(self, w: Array) -> float:
        free = w.reshape(self.loss.outputs, -1)[:, : self.design.shape[1] - int(self.intercept)]
        return float(0.5 * self.l2 * np.sum(np.square(free)) + self.l1 * np.sum(np.abs(free)))

    def _shares(self, weights: Array | None) -> Array:
        if weights is None:
            return np.full(self.n, 1.0 / self.n)
        return np.asarray(weights, dtype=np.float64) / np.sum(weights)

    def _gram(self, curvatures: Array) -> Array:
        if is_sparse(self.design):
            return np.asarray((self.design.T @ self.design.multiply(curvatures[:, None]).tocsr()).toarray())
        gram = np.zeros((self.design.shape[1],) * 2)
        for rows in chunks(self.n, self.design.shape[1]):
            gram += self.design[rows].T @ (self.design[rows] * curvatures[rows, None])
        return gram


def chunks(n: int, width: int) -> Iterator[slice]:
    """Cut n rows into slices of at most ``CHUNK_ELEMENTS`` elements of the given width."""
    step = max(1, CHUNK_ELEMENTS // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def logistic(X: Any, y: ArrayLike, *, l2: float = 1e-5, intercept: bool = True) -> Problem:
    """Make an L2-regularised logistic regression of two classes; Section 5.1 and B.3.

    ``f_i(w) = ln(1 + exp(-y_i (w^T x_i + b))) + l2/2 w^T w``.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Two distinct labels of any kind, shape (n,); the greater one in sorting order counts as 1.
        l2: mu, >= 0.
        intercept: Whether there is a b.

    Returns:
        The problem, with K = 1.

    Raises:
        ValueError: If the labels are not of two classes, or shapes or l2 are wrong.

    Example:
        >>> logistic(np.array([[1.0], [2.0]]), ["no", "yes"]).value(np.zeros(2))
        0.6931471805599453
    """
    return _make(X, _signs(y, "logistic"), Logistic(), l2, 0.0, intercept)


def multinomial(X: Any, y: ArrayLike, *, l2: float = 1e-5, intercept: bool = True) -> Problem:
    """Make an L2-regularised multinomial logistic regression: softmax and cross-entropy.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Labels of any kind, shape (n,); class k is the k-th of the sorted distinct ones.
        l2: mu, >= 0.
        intercept: Whether every class has one.

    Returns:
        The problem, with K the number of classes.

    Raises:
        ValueError: If there are fewer than two classes, or shapes or l2 are wrong.

    Example:
        >>> multinomial(np.eye(3), ["a", "b", "c"]).parameters
        12
    """
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has {len(classes)} class: multinomial regression needs at least two")
    return _make(X, codes.astype(np.float64), Softmax(len(classes)), l2, 0.0, intercept)


def smoothed_hinge(X: Any, y: ArrayLike, *, l2: float = 1e-5, intercept: bool = True) -> Problem:
    """Make a linear support vector machine with a smoothed hinge; see ``SmoothedHinge``.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Two distinct labels of any kind, shape (n,).
        l2: mu, >= 0.
        intercept: Whether there is one.

    Returns:
        The problem, with K = 1.

    Raises:
        ValueError: If the labels are not of two classes, or shapes or l2 are wrong.
    """
    return _make(X, _signs(y, "smoothed hinge"), SmoothedHinge(), l2, 0.0, intercept)


def ridge(X: Any, y: ArrayLike, *, l2: float = 1e-5, intercept: bool = True) -> Problem:
    """Make a ridge regression: ``f_i(w) = (w^T x_i - y_i)^2 / 2 + l2/2 w^T w``; B.1.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Real targets, shape (n,).
        l2: mu, >= 0.
        intercept: Whether there is one.

    Returns:
        The problem, with K = 1.

    Raises:
        ValueError: If shapes or l2 are wrong.
    """
    return _make(X, np.asarray(y, dtype=np.float64), Squared(), l2, 0.0, intercept)


def elastic_net(X: Any, y: ArrayLike, *, l1: float, l2: float = 0.0, intercept: bool = True) -> Problem:
    """Make an elastic net, or with l2 = 0 a LASSO: ridge's f_i + l1 ||w||_1, with ridge's Hessian.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Real targets, shape (n,).
        l1: >= 0.
        l2: mu, >= 0.
        intercept: Whether there is one.

    Returns:
        The problem, with K = 1.

    Raises:
        ValueError: If shapes, l1 or l2 are wrong.
    """
    return _make(X, np.asarray(y, dtype=np.float64), Squared(), l2, l1, intercept)


def _make(X: Any, targets: Array, loss: Loss, l2: float, l1: float, intercept: bool) -> Problem:
    for name, value in (("l2", l2), ("l1", l1)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value} is no strength of a regulariser: expected a finite number >= 0")
    if not is_sparse(X):
        X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or targets.shape != (X.shape[0],):
        raise ValueError(f"X has shape {X.shape}, y {targets.shape}: expected (n, d) and (n,)")
    if X.shape[0] == 0:
        raise ValueError("X has no rows: pass at least one example")
    values = X.data if is_sparse(X) else X
    if not (np.isfinite(values).all() and np.isfinite(targets).all()):
        raise ValueError("X or y contains nan or infinity: impute or drop those rows first")
    return Problem(_with_ones(X) if intercept else _as_rows(X), targets, loss, float(l2), float(l1), intercept)


def _with_ones(X: Any) -> Any:
    ones = np.ones((X.shape[0], 1))
    if is_sparse(X):
        from scipy import sparse

        return sparse.csr_array(sparse.hstack([sparse.csr_array(X, dtype=np.float64), ones], format="csr"))
    return np.hstack([X, ones])


def _as_rows(X: Any) -> Any:
    if is_sparse(X):
        from scipy import sparse

        return sparse.csr_array(X, dtype=np.float64)
    return X


def _signs(y: ArrayLike, what: str) -> Array:
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) != 2:
        raise ValueError(f"y has {len(classes)} classes: the {what} loss takes two; for more, use multinomial")
    return 2.0 * codes.astype(np.float64) - 1.0


def is_sparse(X: Any) -> bool:
    """Return whether X is a SciPy sparse matrix or array."""
    from scipy import sparse

    return bool(sparse.issparse(X))
