"""Solvers on weighted subsets that record the loss on the full data after each pass, and say how they ended."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from adacore.convex.losses import Array
from adacore.convex.problems import Problem
from adacore.coreset import Coreset

ARMIJO = 1e-4
"""Share of the decrease that the slope promises which a step has to reach (Nocedal and Wright, Section 3.1)."""

HALVINGS = 50
"""How often a step may be halved: 2^-50 is near float64's rounding, and a smaller step would not change w."""

NEWTON_PARAMETERS = 5_000
"""A Hessian of 5,000 parameters takes 200 MB, its factorisation some 4e10 operations a step."""

OPTIMUM_STEPS = 200
"""Newton's method doubles its digits near the optimum; the smoothed hinge, whose curvature jumps, needs some dozens."""

FTOL = 0.0
"""L-BFGS may not stop because the loss falls slowly: along a valley it does, far from the optimum."""

JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6)
"""Multiples of the mean diagonal that are tried: from just above float64's rounding of a sum of thousands of terms to
what moves a step by a millionth."""

FLAT_PIVOT = 1e-14
"""Of the mean diagonal: float64's eps, 2e-16, times the few dozen terms that a pivot is the difference of."""


@dataclass(eq=False)
class Trace:
    """What a solver did: entry 0 is the start, entry t the state after pass t.

    Attributes:
        w: The last parameters, float64, shape (K * p,).
        losses: L(w) on the full data.
        seconds: Of training so far; evaluating L is not counted.
        gradient_evaluations: Gradients of single examples computed so far. What selecting took is in the coreset's
            ``statistics``, and is part of the cost.
        converged: Whether the solver reached its tolerance. A solver of a fixed number of passes (SGD, AdaHessian) has
            none, and never says so.
        exhausted: Whether it ended because it had made all its passes.
        message: How it ended, for people.
    """

    w: Array
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gradient_evaluations: list[int] = field(default_factory=list)
    converged: bool = False
    exhausted: bool = False
    message: str = ""

    def residuals(self, optimum: float) -> Array:
        """Return L(w) - L*, float64, one for each entry."""
        return np.asarray(self.losses) - optimum


@dataclass(frozen=True)
class Ending:
    """How a solver ended; see ``Trace``."""

    converged: bool
    exhausted: bool
    message: str


Step = tuple[Array, int]
Passes = Generator[Step, None, Ending]


def run(problem: Problem, start: Array, passes: Passes) -> Trace:
    """Run the passes of a solver and record each.

    Args:
        problem: The full data, on which L is evaluated.
        start: w_0, float64, shape (K * p,).
        passes: Yields, after each pass, w and the gradients of single examples that it took; returns how it ended.

    Returns:
        The trace.
    """
    trace = Trace(start, [problem.value(start)], [0.0], [0])
    while True:
        # The clock runs around the solver's own work alone: L on the full data is evaluated for the record, and no
        # method pays for it.
        clock = time.perf_counter()
        try:
            w, evaluations = next(passes)
        # A generator's return value arrives with its end: that is how a solver hands over how it ended.
        except StopIteration as stop:
            ending: Ending = stop.value
            trace.converged, trace.exhausted, trace.message = ending.converged, ending.exhausted, ending.message
            return trace
        spent = time.perf_counter() - clock
        trace.w = w
        trace.losses.append(problem.value(w))
        trace.seconds.append(trace.seconds[-1] + spent)
        trace.gradient_evaluations.append(trace.gradient_evaluations[-1] + evaluations)


def all_passes(passes: int) -> Ending:
    """Return the ending of a solver that has made all its passes and knows no tolerance."""
    return Ending(False, True, f"made all of its {passes} passes")


def restrict(problem: Problem, coreset: Coreset | None) -> tuple[Problem, Array]:
    """Return what to train on: the coreset's examples with their weights, or all examples with ones."""
    if coreset is None:
        return problem, np.ones(problem.n)
    if coreset.population != problem.n:
        raise ValueError(f"the coreset is of {coreset.population} examples, the problem has {problem.n}: pass its own")
    return problem.take(coreset.indices), coreset.weights


def newton(
    problem: Problem,
    coreset: Coreset | None = None,
    *,
    start: Array | None = None,
    rate: float = 1.0,
    decay: float = 1.0,
    passes: int = 50,
    tolerance: float = 1e-10,
    damped: bool = True,
) -> Trace:
    """Train on a weighted subset by Newton's method, eq. (3): w <- w - eta H^-1 g, backtracking from eta where damped.

    Args:
        problem: The full data.
        coreset: What to train on; None for all examples.
        start: w_0, float64, shape (K * p,); None for zeros.
        rate: eta of the first step, the first one tried where damped.
        decay: b, each pass multiplies eta by it.
        passes: Steps at most.
        tolerance: Stops when the norm of the subset's gradient is at most this.
        damped: Whether to halve eta until the subset's loss falls enough (Armijo).

    Returns:
        The trace; a pass is one step and costs one gradient of every example of the subset.

    Raises:
        ValueError: If there are more than 5,000 parameters, or an l1 penalty.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> trace = newton(ridge(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), l2=0.0, intercept=False))
        >>> trace.w
        array([1.])
    """
    check_smooth(problem)
    if problem.parameters > NEWTON_PARAMETERS:
        raise ValueError(f"{problem.parameters} parameters are too many for Newton's method: use lbfgs")
    subset, weights = restrict(problem, coreset)
    start = problem.zero() if start is None else start
    eta = rate * decay ** np.arange(passes, dtype=np.float64)
    return run(problem, start, _newton_steps(subset, weights, start, eta, tolerance, damped))


def _newton_steps(subset: Problem, weights: Array, w: Array, rates: Array, tolerance: float, damped: bool) -> Passes:
    # One turn more than there are steps: the gradient after the last step decides whether the solver has converged.
    for rate in [*rates, None]:
        gradient = subset.gradient(w, weights)
        norm = float(np.linalg.norm(gradient))
        if norm <= tolerance:
            return Ending(True, False, f"the gradient's norm, {norm:.3g}, is within the tolerance")
        if rate is None:
            break
        direction = solve_regularised(subset.hessian(w, weights), gradient)
        eta = _backtrack(subset, weights, w, direction, float(gradient @ direction), rate) if damped else rate
        if eta == 0.0:
            # Rounding of the loss, eps L, hides a decrease of about half the gradient's square over the curvature: the
            # gradient stops short of a tolerance that rounding does not reach.
            noise = subset.gradient_noise(w, weights)
            at_rounding = f"no step lowers the loss any more; the gradient's norm is {norm:.3g}"
            return Ending(norm <= noise, False, f"{at_rounding}, rounding alone may leave {noise:.3g}")
        w = w - eta * direction
        yield w, subset.n
    return Ending(False, True, f"made all of its {len(rates)} passes; the gradient's norm is {norm:.3g}")


def _backtrack(subset: Problem, weights: Array, w: Array, direction: Array, slope: float, eta: float) -> float:
    here = subset.value(w, weights)
    # Written so that a nan loss fails the comparison, and the step is halved as for one that is too large.
    for _ in range(HALVINGS):
        if subset.value(w - eta * direction, weights) <= here - ARMIJO * eta * slope:
            return eta
        eta *= 0.5
    return 0.0


def solve_regularised(H: Array, right: Array) -> Array:
    """Solve H x = right for a positive semi-definite H, adding to its diagonal the least that makes it factorise.

    Args:
        H: float64, shape (d, d).
        right: float64, shape (d,) or (d, m).

    Returns:
        float64, the shape of ``right``.
    """
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve((cholesky(H), True), right))


def cholesky(H: Array) -> Array:
    """Factorise H = L L^T, adding to the diagonal the least tried multiple of its mean that makes H positive definite.

    A softmax with intercepts, a constant feature or l2 = 0 leave directions without any curvature.

    Args:
        H: Positive semi-definite, float64, shape (d, d).

    Returns:
        L, lower triangular, float64, shape (d, d).

    Raises:
        ValueError: If H is not finite, or far from positive semi-definite.
    """
    from scipy.linalg import LinAlgError
    from scipy.linalg import cholesky as factorise

    # Relative to the mean diagonal, so that scaling the features does not change which jitter is tried; 1 for a zero
    # matrix.
    mean = float(np.trace(H)) / len(H) or 1.0
    for jitter in JITTERS:
        try:
            factor = np.asarray(factorise(H + jitter * mean * np.eye(len(H)) if jitter else H, lower=True))
        except LinAlgError:
            continue
        # A pivot at rounding level is a direction without curvature that happened to factorise.
        if np.square(np.diag(factor)).min() > FLAT_PIVOT * mean:
            return factor
    raise ValueError("the Hessian is not positive semi-definite: raise l2, or scale the features")


def lbfgs(
    problem: Problem,
    coreset: Coreset | None = None,
    *,
    start: Array | None = None,
    passes: int = 200,
    tolerance: float = 1e-10,
) -> Trace:
    """Train on a weighted subset by L-BFGS (SciPy's).

    Args:
        problem: The full data.
        coreset: What to train on; None for all examples.
        start: w_0; None for zeros.
        passes: Iterations at most.
        tolerance: Stops when no entry of the gradient is larger.

    Returns:
        The trace; a pass is one iteration, and costs the subset's gradients as often as its line search asked for them.
        ``converged`` where the gradient is within the tolerance, or within what rounding leaves of it; look at it.

    Raises:
        ValueError: If there is an l1 penalty.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> trace = lbfgs(ridge(np.array([[1.0], [2.0]]), [1.0, 2.0], l2=0.0, intercept=False))
        >>> trace.converged, trace.w.round(6)
        (True, array([1.]))
    """
    from scipy.optimize import minimize

    check_smooth(problem)
    subset, weights = restrict(problem, coreset)
    start = problem.zero() if start is None else start
    visited: list[Step] = []
    counted = [0]

    def objective(w: Array) -> tuple[float, Array]:
        # SciPy evaluates several points a line search and calls back once an iteration: evaluations are counted where
        # they occur.
        counted[0] += subset.n
        return subset.value(w, weights), subset.gradient(w, weights)

    def remember(w: Array) -> None:
        # A copy: SciPy goes on writing into the array that it hands to the callback.
        visited.append((w.copy(), counted[0] - sum(evaluations for _, evaluations in visited)))

    begin = time.perf_counter()
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=remember,
        options={"maxiter": passes, "gtol": tolerance, "ftol": FTOL, "maxfun": 20 * passes},
    )
    seconds = time.perf_counter() - begin
    largest = float(np.abs(subset.gradient(found.x, weights)).max())
    # A tolerance below what rounding leaves can't be reached, and a solver that stops there has done its work.
    noise = subset.gradient_noise(found.x, weights)
    # SciPy counts a stalled line search and a flat loss as ends of their own: what says that w is an optimum is its
    # gradient alone.
    ending = Ending(
        converged=largest <= max(tolerance, noise),
        exhausted=found.status == 1,
        message=f"{found.message}; the gradient's largest entry is {largest:.3g}, asked for was {tolerance:.3g}",
    )

    def replay() -> Passes:
        yield from visited
        return ending

    trace = run(problem, start, replay())
    # The iterates come all at once: spread the time over them as the gradients were.
    total = max(1, trace.gradient_evaluations[-1])
    trace.seconds = [seconds * evaluations / total for evaluations in trace.gradient_evaluations]
    return trace


def check_smooth(problem: Problem) -> None:
    """Raise a ValueError if the problem has an l1 penalty, which no solver here handles."""
    if problem.l1:
        raise ValueError(f"l1={problem.l1}: this solver needs a smooth problem; fit sklearn.linear_model.ElasticNet")


def optimum(problem: Problem, *, tolerance: float = 1e-10) -> tuple[Array, float]:
    """Find w* and L* by Newton's method on the full data, until the gradient's norm is at most ``tolerance``.

    Args:
        problem: A smooth problem of at most 5,000 parameters.
        tolerance: Of the norm of the gradient; or what rounding leaves of it, if that is more.

    Returns:
        w*, float64, shape (K * p,), and L(w*).

    Raises:
        RuntimeError: If the gradient did not get there: the parameters would be no optimum.
        ValueError: If there are more than 5,000 parameters, or an l1 penalty.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> w, lowest = optimum(ridge(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), l2=0.0, intercept=False))
        >>> w, round(lowest, 12)
        (array([1.]), 0.0)
    """
    trace = newton(problem, passes=OPTIMUM_STEPS, tolerance=tolerance)
    norm, noise = float(np.linalg.norm(problem.gradient(trace.w))), problem.gradient_noise(trace.w)
    # Negated, so that a norm of nan raises as well.
    if not norm <= max(tolerance, noise):
        raise RuntimeError(
            f"Newton's method found no optimum: {trace.message}; asked for was {tolerance:.3g}. Raise l2, scale the "
            "features, or raise tolerance"
        )
    return trace.w, trace.losses[-1]
