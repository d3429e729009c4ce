"""Stochastic solvers on weighted subsets: SGD, SGD with momentum, AdaHessian."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.convex.losses import Array
from adacore.convex.problems import Problem
from adacore.convex.rows import is_sparse
from adacore.convex.solvers import Passes, Trace, all_passes, check_smooth, restrict, run
from adacore.coreset import Coreset


def sgd(
    problem: Problem,
    coreset: Coreset | None = None,
    *,
    rate: float,
    decay: float = 0.9,
    passes: int = 20,
    momentum: float = 0.0,
    batch_size: int = 1,
    records: int = 1,
    seed: int = 0,
    start: Array | None = None,
) -> Trace:
    """Train on a weighted subset by stochastic gradient descent, rate alpha_k = alpha_0 b^k; eq. (2), Section 5.1.

    A pass visits every example of the subset once, in a random order. With weights of mean one, an example's gradient
    counts gamma_j times. Momentum is the paper's damped one: ``v <- beta v + (1 - beta) g``.

    Args:
        problem: The full data.
        coreset: What to train on; None for all examples.
        rate: alpha_0, > 0.
        decay: b, in (0, 1]: what each pass multiplies the rate by.
        passes: How many.
        momentum: beta, in [0, 1).
        batch_size: Examples a step.
        records: Entries of the trace for each pass, evenly spaced.
        seed: Of the order of the examples.
        start: w_0, float64, shape (K * p,); None for zeros.

    Returns:
        The trace.

    Raises:
        ValueError: If a setting is out of range, or there is an l1 penalty.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> problem = ridge(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), l2=0.0, intercept=False)
        >>> sgd(problem, rate=0.2, passes=50).w.round(3)
        array([1.])
    """
    check_smooth(problem)
    _check_schedule(rate, decay, passes, batch_size)
    if records < 1:
        raise ValueError(f"records={records} is below 1: the trace needs at least one entry a pass")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum={momentum} is outside [0, 1): choose for example 0.9")
    subset, weights = restrict(problem, coreset)
    start = problem.zero() if start is None else start
    rates = rate * decay ** np.arange(passes, dtype=np.float64)
    return run(problem, start, _sgd_passes(subset, weights, start, rates, momentum, batch_size, records, seed))


def _check_schedule(rate: float, decay: float, passes: int, batch_size: int) -> None:
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate={rate} is no learning rate: choose a finite number > 0")
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"decay={decay} is outside (0, 1]: choose for example 0.9, or 1 for a constant rate")
    if passes < 0 or batch_size < 1:
        raise ValueError(f"passes={passes}, batch_size={batch_size}: expected at least 0 and 1")


def _sgd_passes(
    subset: Problem,
    weights: Array,
    start: Array,
    rates: Array,
    momentum: float,
    batch_size: int,
    records: int,
    seed: int,
) -> Passes:
    # Loaded here: it takes numba, and compiles in the first process that runs it.
    from adacore.convex.kernels import sgd_pass

    values, columns, bounds = _as_csr(subset.design)
    # Mean one: the rate then means on a coreset what it means on the full data, and only proportions of weights act.
    gammas = weights / weights.mean()
    W = start.reshape(subset.loss.outputs, -1).copy()
    velocity = np.zeros_like(W)
    generator = np.random.default_rng(seed)
    for rate in rates:
        settings = (subset.loss.code, float(rate), momentum, batch_size, subset.l2, subset.intercept)
        # Cut at records and not by a counter in the kernel: a pass is compiled code that does not come back in between.
        for order in np.array_split(generator.permutation(subset.n), records):
            sgd_pass(values, columns, bounds, subset.targets, gammas, order, W, velocity, settings)
            yield W.ravel().copy(), len(order)
    return all_passes(len(rates))


def _as_csr(design: Any) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Return values, columns and bounds; no columns where the rows are dense."""
    if is_sparse(design):
        # int64 whatever SciPy chose: it takes int32 for small tables, and the kernel would be compiled for both.
        return design.data, design.indices.astype(np.int64), design.indptr.astype(np.int64)
    return np.ascontiguousarray(design).ravel(), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)


def adahessian(
    problem: Problem,
    coreset: Coreset | None = None,
    *,
    rate: float,
    decay: float = 0.9,
    passes: int = 20,
    beta1: float = 0.9,
    beta2: float = 0.999,
    power: float = 1.0,
    batch_size: int = 256,
    seed: int = 0,
    start: Array | None = None,
) -> Trace:
    """Train on a weighted subset by AdaHessian (Yao et al., 2020): averaged gradients over averaged curvature.

    ``w <- w - alpha m / (sqrt(v)^k + 1e-8)``, m and v the bias-corrected averages of batch gradients and of the squares
    of batch Hessian diagonals, eq. (7) and (9). The diagonals are exact, where Hutchinson's estimator has noise.

    Args:
        problem: The full data.
        coreset: What to train on; None for all examples.
        rate: alpha_0, > 0.
        decay: b, in (0, 1].
        passes: How many.
        beta1: Decay of the gradients' average.
        beta2: Decay of the diagonals' average.
        power: k, the Hessian power of Corollary 4.2.
        batch_size: Examples a step.
        seed: Of the order of the examples.
        start: w_0; None for zeros.

    Returns:
        The trace.

    Raises:
        ValueError: If a setting is out of range, or there is an l1 penalty.

    Example:
        >>> from adacore.convex.problems import logistic
        >>> problem = logistic(np.array([[-1.0], [1.0], [2.0]]), [0, 1, 1], l2=0.1)
        >>> trace = adahessian(problem, rate=0.1, passes=50)
        >>> problem.value(trace.w) < problem.value(problem.zero())
        True
    """
    check_smooth(problem)
    _check_schedule(rate, decay, passes, batch_size)
    subset, weights = restrict(problem, coreset)
    start = problem.zero() if start is None else start

    def steps() -> Passes:
        generator = np.random.default_rng(seed)
        w, m, v, t = start.copy(), np.zeros_like(start), np.zeros_like(start), 0
        share = weights / weights.mean()
        for epoch in range(passes):
            order = generator.permutation(subset.n)
            for first in range(0, subset.n, batch_size):
                rows = order[first : first + batch_size]
                batch, gammas, t = subset.take(rows), share[rows], t + 1
                # Weighted means over the batch would forget that some batches weigh more than others.
                scale = gammas.mean()
                m = beta1 * m + (1.0 - beta1) * scale * batch.gradient(w, gammas)
                v = beta2 * v + (1.0 - beta2) * np.square(scale * batch.hessian_diagonal(w, gammas))
                # Both averages start at 0 and are too small by 1 - beta^t after t steps, which the divisions undo.
                diagonal = np.sqrt(v / (1.0 - beta2**t)) ** power
                # 1e-8, as in Adam, keeps a direction without curvature from a division
                # by 0.
                w = w - rate * decay**epoch * (m / (1.0 - beta1**t)) / (diagonal + 1e-8)
            yield w, subset.n
        return all_passes(passes)

    return run(problem, start, steps())
