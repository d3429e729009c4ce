"""Losses of linear models as functions of their scores: values, gradients and Hessians for every example at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Loss(Protocol):
    """A convex function phi(z, y) of an example's scores z = W x, K of them, and its target y.

    Attributes:
        name: What it is called.
        outputs: K, the number of scores.
        curvature_bound: Least upper bound of the largest eigenvalue of its Hessian.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def outputs(self) -> int: ...  # noqa: D102

    @property
    def curvature_bound(self) -> float: ...  # noqa: D102

    def values(self, scores: Array, targets: Array) -> Array:
        """Return phi, float64, shape (n,), of scores, shape (n, K), and targets, shape (n,)."""
        ...

    def gradients(self, scores: Array, targets: Array) -> Array:
        """Return d phi / d z, float64, shape (n, K)."""
        ...

    def hessians(self, scores: Array, targets: Array) -> Array:
        """Return d2 phi / d z2, float64, shape (n, K, K)."""
        ...


@dataclass(frozen=True)
class Logistic:
    """Logistic loss ``ln(1 + exp(-y z))`` with targets y in {-1, 1}; Section 5.1 and B.3.

    Example:
        >>> Logistic().values(np.array([[0.0]]), np.array([1.0]))
        array([0.69314718])
    """

    name: str = "logistic"
    outputs: int = 1
    curvature_bound: float = 0.25

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        return np.logaddexp(0.0, -targets * scores[:, 0])

    def gradients(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.gradients``."""
        from scipy.special import expit

        return np.asarray(-targets * expit(-targets * scores[:, 0]))[:, None]

    def hessians(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.hessians``."""
        from scipy.special import expit

        return np.asarray(expit(scores[:, 0]) * expit(-scores[:, 0]))[:, None, None]


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy ``logsumexp(z) - z_y`` of a softmax over K classes, with targets y in {0, ..., K - 1}.

    Example:
        >>> Softmax(2).values(np.zeros((1, 2)), np.array([1.0]))
        array([0.69314718])
    """

    outputs: int
    name: str = "multinomial"
    curvature_bound: float = 0.5

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        from scipy.special import logsumexp

        own = scores[np.arange(len(scores)), targets.astype(np.int64)]
        return np.asarray(logsumexp(scores, axis=1) - own)

    def gradients(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.gradients``."""
        from scipy.special import softmax

        residuals = np.asarray(softmax(scores, axis=1))
        residuals[np.arange(len(scores)), targets.astype(np.int64)] -= 1.0
        return residuals

    def hessians(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.hessians``: ``diag(p) - p p^T``."""
        from scipy.special import softmax

        p = np.asarray(softmax(scores, axis=1))
        return np.asarray(np.eye(self.outputs) * p[:, None, :] - p[:, :, None] * p[:, None, :])


@dataclass(frozen=True)
class Squared:
    """Squared loss ``(z - y)^2 / 2``; B.1.

    Example:
        >>> Squared().values(np.array([[3.0]]), np.array([1.0]))
        array([2.])
    """

    name: str = "squared"
    outputs: int = 1
    curvature_bound: float = 1.0

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        return np.asarray(0.5 * np.square(scores[:, 0] - targets))

    def gradients(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.gradients``."""
        return (scores[:, 0] - targets)[:, None]

    def hessians(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.hessians``."""
        return np.ones((len(scores), 1, 1))


@dataclass(frozen=True)
class SmoothedHinge:
    """Smoothed hinge of the margin m = y z, targets y in {-1, 1}: a linear support vector machine that has a Hessian.

    ``1/2 - m`` for m <= 0, ``(1 - m)^2 / 2`` for 0 < m < 1, and 0 beyond.

    Example:
        >>> SmoothedHinge().values(np.array([[-1.0], [0.5], [2.0]]), np.ones(3))
        array([1.5  , 0.125, 0.   ])
    """

    name: str = "hinge"
    outputs: int = 1
    curvature_bound: float = 1.0

    def values(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.values``."""
        margins = targets * scores[:, 0]
        short = np.clip(1.0 - margins, 0.0, 1.0)
        return np.asarray(0.5 * np.square(short) + np.maximum(-margins, 0.0))

    def gradients(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.gradients``."""
        return (-targets * np.clip(1.0 - targets * scores[:, 0], 0.0, 1.0))[:, None]

    def hessians(self, scores: Array, targets: Array) -> Array:
        """See ``Loss.hessians``: 1 within the margin, 0 elsewhere (at the kinks, 0)."""
        margins = targets * scores[:, 0]
        return ((margins > 0.0) & (margins < 1.0)).astype(np.float64)[:, None, None]
