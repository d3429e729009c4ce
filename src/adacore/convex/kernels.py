"""Compiled: the gradient of every loss, written once, and the inner loop of stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adacore.facility.compiling import kernel

LOGISTIC, SOFTMAX, SQUARED, HINGE = range(4)
"""Which gradient. A number and not a function: numba compiles anew in every process what takes a function."""


@kernel
def gradient_of_example(code: int, scores: Any, target: float, gradient: Any) -> None:
    """Write d phi / d z of one example into ``gradient``; scores and gradient float64, shape (K,)."""
    if code == LOGISTIC:
        # exp(700) is finite in float64 and exp(710) is not; the gradient is below 1e-304 there, and exact elsewhere.
        gradient[0] = -target / (1.0 + math.exp(min(target * scores[0], 700.0)))
    elif code == SOFTMAX:
        # Subtracting the largest score leaves the softmax as it is and every exponent at most 0.
        largest = scores.max()
        total = 0.0
        for k in range(len(scores)):
            gradient[k] = math.exp(scores[k] - largest)
            total += gradient[k]
        for k in range(len(scores)):
            gradient[k] /= total
        gradient[int(target)] -= 1.0
    elif code == SQUARED:
        gradient[0] = scores[0] - target
    # The smoothed hinge: slope -1 for margins below 0, from there linear up to 0 at a margin of 1.
    else:
        gradient[0] = -target * min(1.0, max(0.0, 1.0 - target * scores[0]))


@kernel
def gradients_of_rows(code: int, scores: Any, targets: Any, gradients: Any) -> None:
    """Write d phi / d z of n examples; scores and gradients float64, shape (n, K), targets shape (n,)."""
    for i in range(len(scores)):
        gradient_of_example(code, scores[i], targets[i], gradients[i])


@kernel
def sgd_pass(
    values: Any,
    columns: Any,
    bounds: Any,
    targets: Any,
    gammas: Any,
    order: Any,
    W: Any,
    velocity: Any,
    settings: tuple[int, float, float, int, float, bool],
) -> None:
    """Step once for every batch of ``order``; W and velocity, shape (K, p), change in place.

    Rows are CSR: ``values``, ``columns`` and ``bounds``; with no columns at all they are dense, and ``values`` runs
    through the table row by row. ``settings`` are the loss's code, rate, momentum, batch size, l2, and whether the last
    column of W is an intercept, which the rows do not hold and l2 does not touch.
    """
    code, rate, momentum, batch_size, l2, intercept = settings
    outputs, p = W.shape
    d = p - 1 if intercept else p
    dense = len(columns) == 0
    scores = np.empty(outputs)
    residuals = np.empty(outputs)
    # Allocated once and not once a step: rows of few features make short steps, of which allocating would be a part.
    gradient = np.zeros((outputs, p))
    for first in range(0, len(order), batch_size):
        last = min(first + batch_size, len(order))
        gradient[:, :] = 0.0
        total = 0.0
        for position in range(first, last):
            i = order[position]
            start = i * d if dense else bounds[i]
            stop = start + d if dense else bounds[i + 1]
            for k in range(outputs):
                z = W[k, d] if intercept else 0.0
                for e in range(start, stop):
                    z += W[k, e - start if dense else columns[e]] * values[e]
                scores[k] = z
            gradient_of_example(code, scores, targets[i], residuals)
            # Weights have mean one, so that a batch of weights gamma steps sum(gamma) / batch size times as far: an
            # unbiased estimate, where a mean weighted within the batch would forget how heavy the batch is.
            share = gammas[i] / (last - first)
            total += share
            for k in range(outputs):
                step = share * residuals[k]
                for e in range(start, stop):
                    gradient[k, e - start if dense else columns[e]] += step * values[e]
                if intercept:
                    gradient[k, d] += step
        for k in range(outputs):
            for c in range(p):
                g = gradient[k, c]
                if c < d:
                    # The penalty is a part of every f_i, so that it weighs what the examples of the batch weigh
                    # together.
                    g += total * l2 * W[k, c]
                # Damped, as in the paper: a rate keeps its meaning whatever the momentum, where the undamped v = beta v
                # + g steps 1 / (1 - beta) times as far.
                velocity[k, c] = momentum * velocity[k, c] + (1.0 - momentum) * g
                W[k, c] -= rate * velocity[k, c]
