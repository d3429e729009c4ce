"""Convex problems: regularised linear models with values, gradients and Hessians, per example and in total."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.convex.losses import Array, Logistic, Loss, SmoothedHinge, Softmax, Squared
from adacore.convex.rows import (
    as_float64,
    check_rows,
    chunks,
    gram,
    is_sparse,
    squares_transposed_times,
    times,
    transposed_times,
)
from adacore.facility.strata import partition

LOOKED_AT = 2**24
"""Numbers of all examples' Hessians that are made at once, 128 MiB: for tests and for looking at them."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A regularised linear model on n examples: f_i(w) = phi(W x_i, y_i) + l2/2 ||w||^2 + l1 ||w||_1.

    The objective is the weighted mean, ``L(w) = sum_i gamma_i f_i(w) / sum_i gamma_i``; weights None are ones. A
    parameter vector w is W flattened, K rows of p numbers one after the other. An intercept is the last of the p
    numbers, and is not regularised. Gradients and Hessians are of the smooth part: l1's subgradient is the same for
    every example, so that no difference between two of them knows of it.

    Rows are held as they came, float32 ones too, and summed in float64.

    Attributes:
        design: Rows x_i, float32 or float64, dense or CSR, shape (n, d), without a column for the intercept.
        targets: y_i as the loss wants them, float64, shape (n,).
        loss: phi.
        l2: mu, >= 0.
        l1: >= 0.
        intercept: Whether there is one: p = d + 1, else p = d.

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
    def width(self) -> int:
        """p, the parameters of one output: the features, and the intercept if there is one."""
        return int(self.design.shape[1]) + int(self.intercept)

    @property
    def parameters(self) -> int:
        """Length of w, K * p."""
        return self.loss.outputs * self.width

    def zero(self) -> Array:
        """Return w = 0, float64, shape (K * p,)."""
        return np.zeros(self.parameters)

    def take(self, rows: NDArray[np.int64]) -> Problem:
        """Restrict the problem to some examples, positions int64, shape (m,), in their order."""
        return replace(self, design=self.design[rows], targets=self.targets[rows])

    def penalty(self) -> Array:
        """Return the diagonal of the regulariser's Hessian: l2, and 0 for intercepts; float64, shape (K * p,)."""
        diagonal = np.full((self.loss.outputs, self.width), self.l2)
        if self.intercept:
            # A penalty on intercepts would make the answer depend on where the features' origin lies.
            diagonal[:, -1] = 0.0
        return diagonal.ravel()

    def scores(self, w: Array) -> Array:
        """Return z_i = W x_i, float64, shape (n, K)."""
        return self._forward(w.reshape(self.loss.outputs, self.width).T)

    def losses(self, w: Array) -> Array:
        """Return f_i(w), float64, shape (n,)."""
        return self.loss.values(self.scores(w), self.targets) + self._regulariser(w)

    def value(self, w: Array, weights: Array | None = None) -> float:
        """Return L(w), the weighted mean of f_i; weights float64, shape (n,)."""
        return float(self._shares(weights) @ self.loss.values(self.scores(w), self.targets) + self._regulariser(w))

    def gradient(self, w: Array, weights: Array | None = None) -> Array:
        """Return the gradient of L, float64, shape (K * p,)."""
        residuals = self.residuals(w) * self._shares(weights)[:, None]
        return self._backward(residuals).T.ravel() + self.penalty() * w

    def residuals(self, w: Array) -> Array:
        """Return d phi / d z of all examples, float64, shape (n, K): times x_i, plus l2 w, they are f_i's gradients."""
        return self.loss.gradients(self.scores(w), self.targets)

    def gradients(self, w: Array) -> Array:
        """Return the gradients of all f_i, dense: float64, shape (n, K * p)."""
        found = np.empty((self.n, self.loss.outputs, self.width))
        residuals = self.residuals(w)
        for part in chunks(self.n, self.parameters):
            found[part] = residuals[part, :, None] * self.dense_rows(part)[:, None, :]
        return found.reshape(self.n, -1) + self.penalty() * w

    def dense_rows(self, part: slice) -> Array:
        """Return some rows, dense, with the intercept's 1 at their ends: float64, shape (m, p)."""
        rows = self.design[part]
        rows = as_float64(rows.toarray() if is_sparse(rows) else rows)
        return np.hstack([rows, np.ones((len(rows), 1))]) if self.intercept else np.asarray(rows)

    def hessian(self, w: Array, weights: Array | None = None) -> Array:
        """Return the Hessian of L, dense: float64, shape (K * p, K * p)."""
        K, p = self.loss.outputs, self.width
        blocks = np.empty((K, p, K, p))
        hessians = self.loss.hessians(self.scores(w), self.targets)
        shares = self._shares(weights)
        for a in range(K):
            # A_i is symmetric: half of the K^2 products of rows are enough.
            for b in range(a + 1):
                blocks[a, :, b, :] = gram(self.design, hessians.entries(a, b) * shares, self.intercept)
                blocks[b, :, a, :] = blocks[a, :, b, :].T
        H = blocks.reshape(K * p, K * p)
        # On the diagonal alone, in place: l2 times an identity would be a second matrix of the Hessian's size.
        H[np.diag_indices(K * p)] += self.penalty()
        return H

    def hessians(self, w: Array) -> Array:
        """Return the Hessians of all f_i, dense, to look at: float64, shape (n, K * p, K * p). Nothing here needs them.

        Raises:
            ValueError: If they would hold more than 2^24 numbers.
        """
        # Nothing may grow as n x (K p)^2 with a data set: this is refused before it is allocated.
        if self.n * self.parameters**2 > LOOKED_AT:
            raise ValueError(
                f"{self.n} Hessians of {self.parameters} x {self.parameters} numbers: take fewer rows, or use "
                "hessian_product"
            )
        A, rows = self.loss.hessians(self.scores(w), self.targets).dense(), self.dense_rows(slice(0, self.n))
        blocks = np.einsum("nab,np,nq->napbq", A, rows, rows)
        return np.asarray(blocks.reshape(self.n, self.parameters, self.parameters) + np.diag(self.penalty()))

    def hessian_diagonal(self, w: Array, weights: Array | None = None) -> Array:
        """Return the diagonal of the Hessian of L, eq. (34): float64, shape (K * p,)."""
        curvatures = self.loss.hessians(self.scores(w), self.targets).diagonals() * self._shares(weights)[:, None]
        squares = squares_transposed_times(self.design, curvatures)
        if self.intercept:
            squares = np.vstack([squares, curvatures.sum(axis=0)])
        return squares.T.ravel() + self.penalty()

    def hessian_product(self, w: Array, directions: Array, weights: Array | None = None) -> Array:
        """Return the Hessian of L times directions, float64, both of shape (K * p, m).

        Rows are taken in chunks: a chunk's scores along all directions, K * m numbers a row, are all that is held.
        """
        K, p, m = self.loss.outputs, self.width, directions.shape[1]
        # The scores do not depend on the directions: they are computed once, outside of the loop over chunks.
        hessians = self.loss.hessians(self.scores(w), self.targets)
        shares = self._shares(weights)
        # One product for all outputs: column (k, j) of the table is direction j's part for output k.
        table = directions.reshape(K, p, m).transpose(1, 0, 2).reshape(p, K * m)
        total = np.zeros((p, K * m))
        for part in chunks(self.n, K * m):
            rows = replace(self, design=self.design[part])
            moved = rows._forward(table).reshape(-1, K, m)
            bent = hessians.part(part).times(moved) * shares[part, None, None]
            total += rows._backward(bent.reshape(-1, K * m))
        product = total.reshape(p, K, m).transpose(1, 0, 2).reshape(K * p, m)
        return np.asarray(product + self.penalty()[:, None] * directions)

    def gradient_noise(self, w: Array, weights: Array | None = None) -> float:
        """Return what rounding alone may leave of the gradient's norm at an exact optimum.

        A score of p products is off by at most about eps sum_j |W_kj x_ij| per rounding, and the residual by that times
        the loss's largest curvature; a sum of n terms of either sign adds eps times the terms' sizes. A factor of
        sqrt(n + p) stands for the random walk of as many roundings, and 8 for luck.

        Args:
            w: Parameters, float64, shape (K * p,).
            weights: Of the rows, as for ``gradient``: a row's rounding counts as much as the row.

        Returns:
            A norm, >= 0.

        Example:
            >>> problem = ridge(np.array([[1.0], [1e8]]), np.array([1.0, 1e8]), intercept=False)
            >>> few, many = (problem.gradient_noise(np.ones(1), np.array([1.0, heavy])) for heavy in (1e-16, 1.0))
            >>> few < 1e-12 < many
            True
        """
        eps = np.finfo(np.float64).eps
        # Absolute values throughout: rounding errors add up where the terms themselves cancel.
        size = replace(self, design=abs(self.design))
        scores = size._forward(np.abs(w).reshape(self.loss.outputs, self.width).T)
        errors = np.abs(self.residuals(w)) + self.loss.curvature_bound * (scores + np.abs(self.targets)[:, None])
        terms = size._backward(errors * self._shares(weights)[:, None]).T.ravel() + self.penalty() * np.abs(w)
        return float(8.0 * eps * np.sqrt(self.n + self.width) * np.linalg.norm(terms))

    def _forward(self, M: Array) -> Array:
        """Return the rows, with the intercept's 1, times M, shape (p, m)."""
        if not self.intercept:
            return times(self.design, M)
        product = times(self.design, M[:-1])
        product += M[-1]
        return product

    def _backward(self, M: Array) -> Array:
        """Return the transposed rows, with the intercept's 1, times M, shape (n, m)."""
        product = transposed_times(self.design, M)
        return np.vstack([product, M.sum(axis=0)]) if self.intercept else product

    def _regulariser(self, w: Array) -> float:
        # The last column, the intercept's where there is one, is cut off by the number of features.
        free = w.reshape(self.loss.outputs, -1)[:, : self.design.shape[1]]
        return float(0.5 * self.l2 * np.sum(np.square(free)) + self.l1 * np.sum(np.abs(free)))

    def _shares(self, weights: Array | None) -> Array:
        if weights is None:
            return np.full(self.n, 1.0 / self.n)
        # Shares and not weights: the loss is a mean, so that l2 and a learning rate mean the same on a coreset as on
        # the full data.
        return np.asarray(weights, dtype=np.float64) / np.sum(weights)


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
        ValueError: If the labels are not of two classes, one is missing, or shapes or l2 are wrong.

    Example:
        >>> logistic(np.array([[1.0], [2.0]]), ["no", "yes"]).value(np.zeros(2))
        0.6931471805599453
    """
    return _make(X, _signs(X, y, "logistic"), Logistic(), l2, 0.0, intercept)


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
        ValueError: If there are fewer than two classes, a label is missing, or shapes or l2 are wrong.

    Example:
        >>> multinomial(np.eye(3), ["a", "b", "c"]).parameters
        12
    """
    count, codes = _classes(X, y)
    if count < 2:
        raise ValueError(f"y has {count} class: multinomial regression needs at least two")
    return _make(X, codes, Softmax(count), l2, 0.0, intercept)


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
        ValueError: If the labels are not of two classes, one is missing, or shapes or l2 are wrong.

    Example:
        >>> smoothed_hinge(np.array([[1.0], [2.0]]), ["no", "yes"]).value(np.zeros(2))
        0.5
    """
    return _make(X, _signs(X, y, "smoothed hinge"), SmoothedHinge(), l2, 0.0, intercept)


def ridge(X: Any, y: ArrayLike, *, l2: float = 1e-5, intercept: bool = True) -> Problem:
    """Make a ridge regression; B.1.

    ``f_i(w) = (w^T x_i + b - y_i)^2 / 2 + l2/2 w^T w``.

    Args:
        X: Features, dense or CSR, shape (n, d).
        y: Real targets, shape (n,).
        l2: mu, >= 0.
        intercept: Whether there is one.

    Returns:
        The problem, with K = 1.

    Raises:
        ValueError: If shapes or l2 are wrong.

    Example:
        >>> ridge(np.array([[1.0], [2.0]]), [1.0, 2.0], l2=0.0, intercept=False).value(np.zeros(1))
        1.25
    """
    return _make(X, np.asarray(y, dtype=np.float64), Squared(), l2, 0.0, intercept)


def elastic_net(X: Any, y: ArrayLike, *, l1: float, l2: float = 0.0, intercept: bool = True) -> Problem:
    """Make an elastic net, or with l2 = 0 a LASSO.

    ``f_i(w) = (w^T x_i + b - y_i)^2 / 2 + l2/2 w^T w + l1 ||w||_1``. Its Hessian is that of a ridge regression.

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

    Example:
        >>> problem = elastic_net(np.array([[1.0], [2.0]]), [1.0, 2.0], l1=0.5, intercept=False)
        >>> problem.value(np.ones(1))  # both rows fitted: what remains is l1 |w|
        0.5
    """
    return _make(X, np.asarray(y, dtype=np.float64), Squared(), l2, l1, intercept)


def _make(X: Any, targets: ArrayLike, loss: Loss, l2: float, l1: float, intercept: bool) -> Problem:
    for name, value in (("l2", l2), ("l1", l1)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value} is no strength of a regulariser: expected a finite number >= 0")
    rows, targets = check_rows(X, targets)
    return Problem(rows, np.asarray(targets, dtype=np.float64), loss, float(l2), float(l1), intercept)


def _signs(X: Any, y: ArrayLike, what: str) -> Array:
    count, codes = _classes(X, y)
    if count != 2:
        raise ValueError(
            f"y has {count} class{'es' * (count != 1)}: the {what} loss takes two; for more, use multinomial"
        )
    # The losses of two classes are functions of the margin y z, which takes labels of -1 and 1.
    return 2.0 * codes - 1.0


def _classes(X: Any, y: ArrayLike) -> tuple[int, Array]:
    """Number the classes: how many there are, and which one each row has, float64, shape (n,)."""
    # Not np.unique, to which nan is one more class, and a masked label whatever lies underneath.
    strata = partition(y, X.shape[0] if hasattr(X, "shape") else len(X))
    return len(strata.names), strata.numbers.astype(np.float64)
