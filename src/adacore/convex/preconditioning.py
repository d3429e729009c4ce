"""Preconditioned gradients H^-1 g_i of all examples, without ever holding all gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from adacore.convex.losses import Array
from adacore.convex.problems import Problem
from adacore.convex.rows import chunks, is_sparse, squared_lengths, times
from adacore.convex.solvers import cholesky
from adacore.errors import unknown_name

Curvature = Literal["auto", "full", "diagonal", "low_rank", "example"]

CURVATURES = ("auto", "full", "diagonal", "low_rank", "example")
FULL_PARAMETERS = 5_000
"""Up to here the Hessian is made and factorised: 200 MB, and some ten seconds of one core at the limit."""

FULL_COST = 2**37
"""Multiplications that the Hessian may take, about half a minute of one core; beyond, it is the mean over a sample of
the examples. 2,750 parameters and 18,000 examples are the corner."""

EXACT_DIMENSION = 256
"""Numbers that are left of longer vectors: squared distances are then off by sqrt(2 / 256) = 9 %, distances by half of
that, as little as how far apart the first and the second candidate of a greedy step usually are."""

EXACT_ELEMENTS = 2**24
"""Numbers, n times the parameters, up to which nothing is projected: 128 MiB in float64."""

RANK = 100
"""Eigenpairs that are told apart. The Hessians of text classifiers have a few dozen above the bulk."""

OVERSAMPLING, ITERATIONS = 10, 2
"""Of randomised subspace iteration: Halko, Martinsson and Tropp (2011), Sections 4.2 and 4.5, advise 5 to 10 and 2."""

# The inverse is handed on as a function: a diagonal, a factorisation and a low-rank form all multiply columns, and none
# of them needs H^-1 as a matrix.
Inverse = Callable[[Array], Array]


def preconditioned_gradients(
    problem: Problem,
    w: Array,
    *,
    curvature: Curvature = "auto",
    weights: Array | None = None,
    dimension: int = EXACT_DIMENSION,
    seed: int = 0,
) -> Array:
    """Return x_i = H(w)^-1 g_i(w) of all examples, up to one vector that all share; Section 4.4, B.1 and B.3.

    The shared vector (H^-1 mu w, from the regulariser) is no part of any difference x_i - x_j, and is left out, except
    with one Hessian for each example, where w takes its place.

    - ``"full"``: the Hessian of L, by Cholesky. Where n times its size squared exceeds 2^37, it is the mean over as
      many random examples as that allows, at least twice as many as there are parameters.
    - ``"diagonal"``: its diagonal only, eq. (34).
    - ``"low_rank"``: its 100 leading eigenpairs by randomised subspace iteration, and the mean of the other eigenvalues
      in place of each of them.
    - ``"example"``: each example's own H_i = (d2 phi / d z2) x_i x_i^T + mu I, inverted by Sherman and Morrison's
      formula; intercepts are regularised like the rest in it, since H_i would be singular.
    - ``"auto"``: ``"full"`` up to 5,000 parameters, ``"low_rank"`` beyond.

    Where there are more than ``dimension`` parameters and n times their number exceeds 2^24, what is returned is
    projected to ``dimension`` numbers by a Gaussian matrix, which keeps squared distances within
    about sqrt(2 / dimension): 9 % for 256, and distances within half of that. A sparse design stays sparse.

    Args:
        problem: n examples and K * p parameters.
        w: Where to take gradients and Hessian, float64, shape (K * p,).
        curvature: Which Hessian.
        weights: Of the examples in the mean Hessian, float64, shape (n,); None for ones.
        dimension: Of the projection.
        seed: Of the projection, the low-rank approximation and the choice of examples for the Hessian.

    Returns:
        float64, shape (n, K * p), or (n, dimension).

    Raises:
        ValueError: If the curvature is unknown, or one for each example is asked for with l2 = 0.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> problem = ridge(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), l2=0.0, intercept=False)
        >>> preconditioned_gradients(problem, np.zeros(1))
        array([[-0.4],
               [-1.6]])
    """
    if curvature not in CURVATURES:
        raise unknown_name("curvature", curvature, CURVATURES)
    if curvature == "auto":
        curvature = "full" if problem.parameters <= FULL_PARAMETERS else "low_rank"
    generator = np.random.default_rng(seed)
    # With one Hessian for each example mu w does not cancel in x_i - x_j: H_i^-1 (r_i x_i + mu w) = s_i x_i + w, and
    # the factors s_i hold all that differs.
    if curvature == "example":
        rows, shift = _example_factors(problem, w), w
        inverse: Inverse = _identity
    else:
        # H^-1 mu w is the same vector for every example, so that it drops out of every difference: it need not be
        # computed.
        rows, shift = problem.residuals(w), np.zeros_like(w)
        inverse = _inverse(problem, w, curvature, weights, generator)
    if problem.parameters <= dimension or problem.n * problem.parameters <= EXACT_ELEMENTS:
        return np.asarray(_exact(problem, rows, inverse) + shift)
    # Johnson and Lindenstrauss: entries of variance 1 / dimension keep E ||R^T v||^2 = ||v||^2, with a relative
    # standard deviation of the square of sqrt(2 / dimension). R is put through H^-1 once, which costs ``dimension``
    # columns and not n.
    R = generator.standard_normal((problem.parameters, dimension)) / np.sqrt(dimension)
    return np.asarray(_projected(problem, rows, inverse(R)) + shift @ R)


def features(problem: Problem, *, seed: int = 0) -> Any:
    """Return the features of all examples, which CRAIG compares for convex losses.

    A sparse table of many columns is projected to 256 numbers a row; see ``coordinates``.

    Args:
        problem: Of n examples with d features.
        seed: Of the projection, where there is one.

    Returns:
        Shape (n, d), or (n, 256).

    Example:
        >>> from adacore.convex.problems import ridge
        >>> features(ridge(np.array([[1.0], [2.0]]), [1.0, 2.0], intercept=False))
        array([[1.],
               [2.]])
    """
    return coordinates(problem.design, seed=seed)


def coordinates(rows: Any, *, dimension: int = EXACT_DIMENSION, seed: int = 0) -> Any:
    """Return rows as facility location can hold them: it writes sparse ones out.

    Args:
        rows: float32 or float64, dense or CSR, shape (n, d).
        dimension: Of the Gaussian projection, where rows are sparse, n * d exceeds 2^24 and d exceeds ``dimension``.
        seed: Of the projection.

    Returns:
        The rows themselves, shape (n, d), or float64, shape (n, dimension).
    """
    n, width = rows.shape
    # Dense rows are held at full width already: projecting them would lose digits and save nothing.
    if not is_sparse(rows) or width <= dimension or n * width <= EXACT_ELEMENTS:
        return rows
    R = np.random.default_rng(seed).standard_normal((width, dimension)) / np.sqrt(dimension)
    return times(rows, R)


def _identity(columns: Array) -> Array:
    return columns


def _inverse(problem: Problem, w: Array, curvature: Curvature, weights: Array | None, generator: Any) -> Inverse:
    """Return a function that multiplies columns, shape (K * p, m), by the inverse of the chosen Hessian."""
    if curvature == "diagonal":
        diagonal = problem.hessian_diagonal(w, weights)
        # A feature that is zero everywhere has no curvature where l2 = 0; its gradients are zero as well.
        diagonal = np.where(diagonal > 0.0, diagonal, 1.0)
        return lambda columns: columns / diagonal[:, None]
    # A mean of fewer examples than parameters has no full rank; twice as many leave its smallest eigenvalues well above
    # 0.
    allowed = max(2 * problem.parameters, FULL_COST // problem.parameters**2)
    if problem.n > allowed:
        rows = np.sort(generator.choice(problem.n, allowed, replace=False))
        problem, weights = problem.take(rows), None if weights is None else weights[rows]
    if curvature == "low_rank":
        return _low_rank_inverse(problem, w, weights, generator)
    # Late: scipy.linalg is slow to load, and of the curvatures only the full one factorises.
    from scipy.linalg import cho_solve

    factor = cholesky(problem.hessian(w, weights))
    return lambda columns: np.asarray(cho_solve((factor, True), columns))


def _low_rank_inverse(problem: Problem, w: Array, weights: Array | None, generator: Any) -> Inverse:
    D = problem.parameters
    rank = min(RANK, D - 1)
    basis = np.linalg.qr(generator.standard_normal((D, min(D, rank + OVERSAMPLING))))[0]
    for _ in range(ITERATIONS):
        # Each product multiplies a direction by its eigenvalue, so that the leading ones grow apart from the rest;
        # without the QR in between all columns would turn into the first eigenvector.
        basis = np.linalg.qr(problem.hessian_product(w, basis, weights))[0]
    small = basis.T @ problem.hessian_product(w, basis, weights)
    # Rounding leaves B^T H B slightly unsymmetric, and eigh reads one triangle only.
    eigenvalues, rotation = np.linalg.eigh((small + small.T) / 2)
    eigenvalues, vectors = eigenvalues[::-1][:rank], (basis @ rotation[:, ::-1])[:, :rank]
    # The trace is exact and cheap, and the sum of all eigenvalues: less the leading ones it gives the mean of the
    # others.
    trace = float(problem.hessian_diagonal(w, weights).sum())
    # Outside of the intercepts no eigenvalue is below l2. The last term keeps 1 / rest finite where l2 = 0 and rounding
    # makes the difference of sums 0 or negative.
    rest = max(problem.l2, (trace - eigenvalues.sum()) / (D - rank), 1e-12 * trace / D)
    # No curvature anywhere, as of a smoothed hinge whose margins are all >= 1, with l2 = 0: the gradients are zero as
    # well, and any inverse will do.
    if rest <= 0.0:
        return _identity
    # H^-1 is about I / rest + V (1 / lambda - 1 / rest) V^T: right on the leading eigenvectors, the mean curvature
    # elsewhere. An estimate below ``rest`` is raised to it, since the low-rank part may only shrink steps further.
    shrink = 1.0 / np.maximum(eigenvalues, rest) - 1.0 / rest
    return lambda columns: columns / rest + vectors @ (shrink[:, None] * (vectors.T @ columns))


def _example_factors(problem: Problem, w: Array) -> Array:
    """Return s_i with H_i^-1 g_i = s_i (x) x_i + w, shape (n, K).

    With A_i = d2 phi / d z2 and r_i = d phi / d z: H_i = A_i (x) x_i x_i^T + mu I, so that
    ``s_i = (||x_i||^2 A_i + mu I)^-1 (r_i - A_i z_i)``; for K = 1 this is Sherman and Morrison's formula.
    """
    if problem.l2 == 0.0:
        raise ValueError('curvature="example" with l2=0: one example\'s Hessian has rank one; set l2 > 0')
    scores = problem.scores(w)
    hessians = problem.loss.hessians(scores, problem.targets)
    # The intercept is one more feature that is 1, and adds 1 to every squared length.
    lengths = squared_lengths(problem.design) + float(problem.intercept)
    right = problem.loss.gradients(scores, problem.targets) - hessians.times(scores[:, :, None])[:, :, 0]
    return hessians.solve(lengths, problem.l2, right)


def _exact(problem: Problem, rows: Array, inverse: Inverse) -> Array:
    x = np.empty((problem.n, problem.parameters))
    # The gradients of a chunk alone are written out: those of all examples would take as much again as what is
    # returned.
    for part in chunks(problem.n, problem.parameters):
        g = rows[part, :, None] * problem.dense_rows(part)[:, None, :]
        x[part] = inverse(g.reshape(len(g), -1).T).T
    return x


def _projected(problem: Problem, rows: Array, M: Array) -> Array:
    """Return sum_k rows[i, k] M_k^T x_i, float64, shape (n, m), of M, shape (K * p, m)."""
    x = np.zeros((problem.n, M.shape[1]))
    for k, part in enumerate(np.split(M, problem.loss.outputs)):
        body, last = (part[:-1], part[-1]) if problem.intercept else (part, 0.0)
        # M_k^T (r_ik x_i) = r_ik (M_k^T x_i): rows go through the projection before they meet the residuals, and stay
        # sparse.
        x += rows[:, k, None] * (times(problem.design, body) + last)
    return x


def measured_error(problem: Problem, w: Array, indices: Any, weights: Array) -> float:
    """Measure how far a coreset's preconditioned gradient is from that of all examples: epsilon of eq. (5) at w.

    ``epsilon = ||H^-1 (g - sum_j gamma_j g_j / n)||``, with g and H of the mean over all n examples: one Hessian, in
    place of each example's own.

    Args:
        problem: All n examples.
        w: Where, float64, shape (K * p,).
        indices: The coreset's, int64, shape (k,).
        weights: The coreset's, summing to n, float64, shape (k,).

    Returns:
        epsilon, on the scale of the mean.

    Example:
        >>> from adacore.convex.problems import ridge
        >>> problem = ridge(np.array([[1.0], [1.0], [3.0]]), [1.0, 1.0, 3.0], intercept=False)
        >>> measured_error(problem, np.zeros(1), np.array([0, 2]), np.array([2.0, 1.0]))  # rows 0 and 1 are equal
        0.0
    """
    # Late, for the same reason: most callers select and do not measure.
    from scipy.linalg import cho_solve

    # The regulariser's gradient is known without any example: its share is no error of a coreset.
    data = replace(problem, l2=0.0)
    full = data.gradient(w)
    # ``gradient`` divides by the weights' sum; eq. (5) divides by n. They differ where weights do not sum to n.
    part = data.take(indices).gradient(w, weights) * (weights.sum() / problem.n)
    return float(np.linalg.norm(cho_solve((cholesky(problem.hessian(w)), True), full - part)))
