"""Compiled inner loop of stochastic gradient descent."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _residuals(code, scores, target, residuals):  # type: ignore[no-untyped-def]
    """Write d phi / d z of one example; see ``adacore.convex.losses`` for the losses."""
    z = scores[0]
    if code == 0:
        residuals[0] = -target / (1.0 + math.exp(target * z)) if target * z < 700.0 else 0.0
    elif code == 1:
        largest = scores.max()
        total = 0.0
        for k in range(len(scores)):
            residuals[k] = math.exp(scores[k] - largest)
            total += residuals[k]
        for k in range(len(scores)):
            residuals[k] /= total
        residuals[int(target)] -= 1.0
    elif code == 2:
        residuals[0] = z - target
    else:
        residuals[0] = -target * min(1.0, max(0.0, 1.0 - target * z))


@njit(cache=True, nogil=True)
def sgd_pass(  # type: ignore[no-untyped-def]
    values, columns, bounds, targets, gammas, order, W, velocity, code, rate, momentum, batch_size, l2, free
):
    """Step once for every batch of ``order``; W and velocity, shape (K, p), change in place.

    Rows are CSR: ``values``, ``columns`` and ``bounds``. The first ``free`` columns of W are regularised.
    """
    outputs, width = W.shape
    scores = np.empty(outputs)
    residuals = np.empty(outputs)
    gradient = np.zeros((outputs, width))
    for first in range(0, len(order), batch_size):
        last = min(first + batch_size, len(order))
        gradient[:, :] = 0.0
        mass = 0.0
        for position in range(first, last):
            i = order[position]
            for k in range(outputs):
                z = 0.0
                for e in range(bounds[i], bounds[i + 1]):
                    z += W[k, columns[e]] * values[e]
                scores[k] = z
            _residuals(code, scores, targets[i], residuals)
            share = gammas[i] / (last - first)
            mass += share
            for k in range(outputs):
                for e in range(bounds[i], bounds[i + 1]):
                    gradient[k, columns[e]] += share * residuals[k] * values[e]
        for k in range(outputs):
            for c in range(width):
                g = gradient[k, c]
                if c < free:
                    g += mass * l2 * W[k, c]
                velocity[k, c] = momentum * velocity[k, c] + (1.0 - momentum) * g
                W[k, c] -= rate * velocity[k, c]
