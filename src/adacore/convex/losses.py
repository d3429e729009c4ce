"""Losses of linear models as functions of their scores: values, gradients and curvature of every example at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adacore.convex.kernels import HINGE, LOGISTIC, SOFTMAX, SQUARED, gradients_of_rows

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LossHessians:
    """The Hessians A_i = d2 phi / d z2 of n examples, as ``diag(d_i) - u_i u_i^T``.

    Every loss here has that form: with K = 1 the second derivative is d_i, and a softmax has d = u = p. So n K x K
    matrices are never made; n x K numbers stand for them.

    Attributes:
        diagonal: d, float64, shape (n, K).
        outer: u, float64, shape (n, K), or None for 0.

    Example:
        >>> p = np.array([[0.25, 0.75]])
        >>> LossHessians(p, p).times(np.array([[[1.0], [0.0]]]))
        array([[[ 0.1875],
                [-0.1875]]])
    """

    diagonal: Array
    outer: Array | None = None

    def dense(self) -> Array:
        """Return A_i as matrices, to look at: float64, shape (n, K, K)."""
        K = self.diagonal.shape[1]
        # Built from ``entries``: a second way to write A_i out could disagree with the one that the solvers use.
        return np.stack([np.stack([self.entries(a, b) for b in range(K)], axis=-1) for a in range(K)], axis=1)

    def part(self, rows: slice) -> LossHessians:
        """Return those of some examples."""
        return LossHessians(self.diagonal[rows], None if self.outer is None else self.outer[rows])

    def entries(self, a: int, b: int) -> Array:
        """Return entry (a, b) of every A_i, float64, shape (n,)."""
        found = self.diagonal[:, a] if a == b else np.zeros(len(self.diagonal))
        return found if self.outer is None else found - self.outer[:, a] * self.outer[:, b]

    def diagonals(self) -> Array:
        """Return the diagonal of every A_i, float64, shape (n, K)."""
        return self.diagonal if self.outer is None else self.diagonal - np.square(self.outer)

    def times(self, directions: Array) -> Array:
        """Return A_i v_i of v, float64, shape (n, K, m)."""
        found = self.diagonal[:, :, None] * directions
        if self.outer is None:
            return found
        return np.asarray(found - self.outer[:, :, None] * np.einsum("nk,nkm->nm", self.outer, directions)[:, None, :])

    def solve(self, scale: Array, shift: float, right: Array) -> Array:
        """Return (scale_i A_i + shift I)^-1 r_i by Sherman and Morrison's formula.

        With D = scale d + shift and v = u sqrt(scale): ``(D - v v^T)^-1 r = r / D + (v / D) (v . r / D) / (1 - v . v /
        D)``. Since A_i is positive semi-definite and shift > 0, ``1 - v . v / D > 0``.

        Args:
            scale: >= 0, float64, shape (n,).
            shift: > 0.
            right: r, float64, shape (n, K).
        """
        D = scale[:, None] * self.diagonal + shift
        found = right / D
        if self.outer is None:
            return np.asarray(found)
        v = self.outer * np.sqrt(scale)[:, None]
        thin = v / D
        # For a softmax 1 - sum_k v_k^2 / D_k = sum_k p_k shift / D_k, whose terms are all positive: the difference
        # itself would lose all its digits where scale p is far above shift.
        rest = np.sum(self.outer * shift / D, axis=1)
        return np.asarray(found + thin * (np.sum(v * found, axis=1) / rest)[:, None])


class Loss(Protocol):
    """A convex function phi(z, y) of an example's scores z = W x, K of them, and its target y.

    Its gradient is written once, for one example, in ``adacore.convex.kernels``; compiled solvers call it there, and
    ``gradients`` runs it over rows.

    Attributes:
        name: What it is called.
        outputs: K, the number of scores.
        curvature_bound: Least upper bound of the largest eigenvalue of its Hessian.
        code: Which gradient of ``adacore.convex.kernels.gradient_of_example`` is its own.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def outputs(self) -> int: ...  # noqa: D102

    @property
    def curvature_bound(self) -> float: ...  # noqa: D102

    @property
    def code(self) -> int: ...  # noqa: D102

    def values(self, scores: Array, targets: Array) -> Array:
        """Return phi, float64, shape (n,), of scores, shape (n, K), and targets, shape (n,)."""
        ...

    def gradients(self, scores: Array, targets: Array) -> Array:
        """Return d phi / d z, float64, shape (n, K)."""
        ...

    def hessians(self, scores: Array, targets: Array) -> LossHessians:
        """Return d2 phi / d z2 of every example."""
        ...


class _Gradients:
    """Gradients from the compiled derivative of one example."""

    code: int

    def gradients(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.gradients``."""
        # The compiled derivative is typed for contiguous float64: other layouts would each compile it anew.
        found = np.empty(scores.shape)
        gradients_of_rows(self.code, np.ascontiguousarray(scores, dtype=np.float64), targets, found)
        return found


@dataclass(frozen=True)
class Logistic(_Gradients):
    """Logistic loss ``ln(1 + exp(-y z))`` with targets y in {-1, 1}; Section 5.1 and B.3.

    Example:
        >>> Logistic().values(np.array([[0.0]]), np.array([1.0]))
        array([0.69314718])
    """

    name: str = "logistic"
    outputs: int = 1
    curvature_bound: float = 0.25
    code: int = LOGISTIC

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        # ln(1 + exp(-m)) overflows from m = -710 on; logaddexp takes the larger exponent out first.
        return np.logaddexp(0.0, -targets * scores[:, 0])

    def hessians(self, scores: Array, targets: Array) -> LossHessians:
        """See ``Loss.hessians``: ``s (1 - s)`` of the sigmoid s, which keeps its digits at both ends in this form."""
        # With t = exp(-|z|) <= 1: s (1 - s) = t / (1 + t)^2. It does not overflow, and does not subtract s from a
        # number near it.
        tail = np.exp(-np.abs(scores))
        return LossHessians(tail / np.square(1.0 + tail))


@dataclass(frozen=True)
class Softmax(_Gradients):
    """Cross-entropy ``logsumexp(z) - z_y`` of a softmax over K classes, with targets y in {0, ..., K - 1}.

    Example:
        >>> Softmax(2).values(np.zeros((1, 2)), np.array([1.0]))
        array([0.69314718])
    """

    outputs: int
    name: str = "multinomial"
    curvature_bound: float = 0.5
    code: int = SOFTMAX

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        own = scores[np.arange(len(scores)), targets.astype(np.int64)]
        # With the largest score m taken out every exponent is at most 0, and (m - z_y) >= 0 is added to a logarithm >=
        # 0: no cancellation.
        largest = scores.max(axis=1)
        return np.asarray(np.log(np.sum(np.exp(scores - largest[:, None]), axis=1)) + (largest - own))

    def hessians(self, scores: Array, targets: Array) -> LossHessians:
        """See ``Loss.hessians``: ``diag(p) - p p^T``."""
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return LossHessians(p, p)


@dataclass(frozen=True)
class Squared(_Gradients):
    """Squared loss ``(z - y)^2 / 2``; B.1.

    Example:
        >>> Squared().values(np.array([[3.0]]), np.array([1.0]))
        array([2.])
    """

    name: str = "squared"
    outputs: int = 1
    curvature_bound: float = 1.0
    code: int = SQUARED

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        return np.asarray(0.5 * np.square(scores[:, 0] - targets))

    def hessians(self, scores: Array, targets: Array) -> LossHessians:
        """See ``Loss.hessians``."""
        return LossHessians(np.ones((len(scores), 1)))


@dataclass(frozen=True)
class SmoothedHinge(_Gradients):
    """Smoothed hinge of the margin m = y z, targets y in {-1, 1}: a linear support vector machine that has a Hessian.

    ``1/2 - m`` for m <= 0, ``(1 - m)^2 / 2`` for 0 < m < 1, and 0 beyond.

    Example:
        >>> SmoothedHinge().values(np.array([[-1.0], [0.5], [2.0]]), np.ones(3))
        array([1.5  , 0.125, 0.   ])
    """

    name: str = "hinge"
    outputs: int = 1
    curvature_bound: float = 1.0
    code: int = HINGE

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        margins = targets * scores[:, 0]
        # One expression for all three pieces: for m <= 0 the clipped square is 1/2 and -m is added, which is 1/2 - m.
        short = np.clip(1.0 - margins, 0.0, 1.0)
        return np.asarray(0.5 * np.square(short) + np.maximum(-margins, 0.0))

    def hessians(self, scores: Array, targets: Array) -> LossHessians:
        """See ``Loss.hessians``: 1 for margins in [0, 1), 0 elsewhere.

        At a kink any number in [0, 1] is a generalised second derivative. The kink at 0 takes 1: at w = 0 every margin
        is 0, and with no curvature at all Newton's method would have no direction to go.
        """
        margins = targets[:, None] * scores
        return LossHessians(((margins >= 0.0) & (margins < 1.0)).astype(np.float64))
