"""From a table and its targets to a coreset: what the estimators, the resampler and the search share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

import adacore
from adacore.budget import resolve_budget
from adacore.convex.preconditioning import coordinates
from adacore.convex.problems import Problem, logistic, multinomial, ridge, smoothed_hinge
from adacore.convex.selection import medoids, select
from adacore.convex.table_strata import Quotas, draw, quantile_bins
from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.sklearn.features import as_numbers

METHODS = ("adacore", "craig", "full", "random")

UNEQUAL_SCALES = 1e3
"""Ratio of the largest to the smallest standard deviation from which there is a warning: a feature a thousand times as
large adds a million times as much to squared distances, and the small one is not looked at."""

TARGET_SHARE = 0.5
"""The target's standard deviation as a column, in units of the root of the number of features, which is about half the
mean distance of two rows: measured against 1 / sqrt(d) and 1, it was between the two or better on nine sets."""

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "logistic": logistic,
    "multinomial": multinomial,
    "hinge": smoothed_hinge,
    "ridge": ridge,
}


class UnscaledFeaturesWarning(UserWarning):
    """Some features are so much larger than others that they alone decide which examples look alike."""


@dataclass(frozen=True)
class Settings:
    """How to select; the fields are parameters of the estimators, which document them.

    Attributes:
        task: ``"classification"`` (classes are the strata), ``"regression"``, or ``"none"``.
        target: Of a regression: ``"bins"`` (quantile bins of it are the strata), ``"column"`` (it is one more column of
            the features) or ``"none"``.
        version: Of the library: a cache must not serve what another version selected.
    """

    method: str
    fraction: float | None
    budget: int | None
    quotas: Quotas
    features: Any
    task: str
    target: str
    at: Any
    problem: str
    l2: float
    curvature: str
    pilot_size: int
    bins: int | None
    seed: int
    version: str = ""


def choose(X: Any, y: Any, weights: NDArray[np.float64] | None, settings: Settings) -> tuple[Coreset, float]:
    """Select a coreset of a table: a pure function, so that its answer can be cached.

    Args:
        X: Rows as the estimator gets them: array, CSR or data frame, shape (n, d). Not looked at by ``"random"`` and
            ``"full"``.
        y: Class codes or real targets, shape (n,); anything of length n, or None, where the task is ``"none"``.
        weights: Of the examples, >= 0, float64, shape (n,); None for ones. Examples of weight 0 are never selected.
        settings: How.

    Returns:
        The coreset of the n examples, its weights summing to n (to the sum of ``weights``), and the seconds it took.

    Raises:
        ValueError: If a setting is wrong.
    """
    if settings.method not in METHODS:
        raise unknown_name("method", settings.method, ["auto", *METHODS])
    # Outside of the clock: see the function.
    _load(settings.method)
    begin = time.perf_counter()
    n = int(X.shape[0])
    # Rows of weight 0 are taken out first: they would be chosen, and then weigh nothing.
    rows = np.arange(n) if weights is None else np.flatnonzero(weights > 0)
    inside = np.ones(len(rows)) if weights is None else weights[rows]
    if isinstance(settings.quotas, Mapping) and y is not None:
        settings = replace(settings, quotas=_quotas_of_present(settings.quotas, y[rows]))
    strata = _strata(None if y is None else y[rows], len(rows), settings)
    size = _size(strata, settings)
    found = _select(X, y, rows, inside if weights is not None else None, strata, size, settings)
    # Positions are taken back to all n examples, which the caller indexes with.
    coreset = found if len(rows) == n else replace(found, indices=rows[found.indices], population=n)
    return coreset, time.perf_counter() - begin


def cached(memory: Any) -> Callable[..., tuple[tuple[Coreset, float], bool]]:
    """Return ``choose`` behind a cache, its answer paired with whether it was there already.

    Args:
        memory: None for no cache, a folder, or a ``joblib.Memory``.
    """
    from sklearn.utils.validation import check_memory

    def versioned(settings: Settings) -> Settings:
        # joblib looks at the source of ``choose`` alone; what that calls changes with the library.
        return replace(settings, version=adacore.__version__)

    # Without a cache the version is not needed, and nothing is hashed.
    if memory is None:
        return lambda X, y, weights, settings: (choose(X, y, weights, settings), False)
    function = check_memory(memory).cache(choose)

    def look_up(X: Any, y: Any, weights: Any, settings: Settings) -> tuple[tuple[Coreset, float], bool]:
        arguments = (X, y, weights, versioned(settings))
        # Asked before the call: afterwards every answer is in the cache. An older joblib, or a Memory without a folder,
        # can't be asked.
        known = bool(getattr(function, "check_call_in_cache", lambda *_: False)(*arguments))
        return function(*arguments), known

    return look_up


def _load(method: str) -> None:
    """Load and compile what selects, before the clock starts: it is paid once a process, not once a selection."""
    # The other methods compute nothing that is compiled.
    if method in {"adacore", "craig"}:
        import scipy.linalg  # noqa: F401

        from adacore.facility import prepare_kernels

        prepare_kernels()


def _strata(y: Any, n: int, settings: Settings) -> NDArray[np.int64]:
    if settings.task == "classification":
        # Numbered anew: without rows of weight 0 a class may be missing, and strata have no gaps.
        return np.unique(y, return_inverse=True)[1].astype(np.int64)
    if settings.task == "regression" and settings.target == "bins":
        # Numbers for each bin replace the budget: nothing limits the number of bins.
        size = n if isinstance(settings.quotas, Mapping) else resolve_budget(n, **_given(settings))
        bins = quantile_bins(y, settings.bins)
        # More bins than picks would ask for more picks than there may be.
        return bins if settings.bins is None or settings.bins <= size else quantile_bins(y, size)
    return np.zeros(n, dtype=np.int64)


def _quotas_of_present(quotas: Mapping[int, int], codes: NDArray[np.int64]) -> dict[int, int]:
    """Number the quotas as ``_strata`` numbers the classes that are there; the others' have nothing to choose from."""
    return {stratum: quotas[code] for stratum, code in enumerate(np.unique(codes).tolist())}


def _given(settings: Settings) -> dict[str, Any]:
    return {"budget": settings.budget} if settings.budget is not None else {"fraction": settings.fraction}


def _size(strata: NDArray[np.int64], settings: Settings) -> int:
    """Return how many to select: the budget, the sum of numbers by class, or a fraction of n (at least one a class)."""
    n, classes = len(strata), int(strata.max()) + 1
    if isinstance(settings.quotas, Mapping):
        return resolve_budget(n, budget=int(sum(settings.quotas.values())))
    size = resolve_budget(n, **_given(settings))
    # A fraction is a wish for a size, and grows where it would leave a class out; a budget is kept or refused.
    return size if settings.budget is not None else max(classes, size)


def _select(
    X: Any, y: Any, rows: NDArray[np.int64], weights: Any, strata: NDArray[np.int64], size: int, settings: Settings
) -> Coreset:
    """Select among the rows that are there; indices are positions in ``rows``."""
    from sklearn.utils import _safe_indexing

    ones = np.ones(len(rows))
    if settings.method == "full":
        return Coreset(np.arange(len(rows)), ones if weights is None else weights, len(rows))
    if settings.method == "random":
        # [seed, 2]: the pilot draws with [seed, 1], and its rows must not be Random's.
        return draw(strata, size, ones if weights is None else weights, [settings.seed, 2], settings.quotas)
    # All rows are passed on as they are: indexing would copy the table.
    every = len(rows) == X.shape[0]
    inside, targets = (X if every else _safe_indexing(X, rows)), (y if every or y is None else y[rows])
    x = as_numbers(inside, targets, weights, settings.features)
    if settings.features is None:
        _warn_if_unscaled(x)
    if settings.method == "craig":
        if settings.task == "regression" and settings.target == "column":
            x = _with_target(x, targets, weights)
        # Wide sparse tables are projected first: the engine writes rows out densely.
        return medoids(coordinates(x, seed=settings.seed), strata, size, weights, settings.quotas)
    problem = _problem(x, targets, settings)
    return select(
        problem,
        budget=size,
        quotas=settings.quotas,
        at=settings.at,
        curvature=cast("Any", settings.curvature),
        weights=weights,
        pilot_size=settings.pilot_size,
        bins=settings.bins,
        seed=settings.seed,
    )


def _with_target(x: Any, y: NDArray[np.float64], weights: Any) -> Any:
    """Put the standardised target beside the features, so that rows of unlike targets do not stand for each other."""
    # With weights: what the rows stand for decides the scale, not how many of them are stored.
    mean = np.average(y, weights=weights)
    deviation = np.sqrt(np.average(np.square(y - mean), weights=weights))
    column = (y - mean) / (deviation if deviation > 0 else 1.0) * (TARGET_SHARE * np.sqrt(x.shape[1]))
    if sparse.issparse(x):
        return sparse.csr_array(sparse.hstack([x, column[:, None]], format="csr"))
    return np.column_stack([x, column.astype(x.dtype)])


def _problem(x: Any, y: Any, settings: Settings) -> Problem:
    if settings.task == "none":
        raise ValueError("method='adacore' needs targets of one column: pass method='craig', which compares features")
    if settings.problem not in PROBLEMS:
        raise unknown_name("problem", settings.problem, ["auto", *PROBLEMS])
    return PROBLEMS[settings.problem](x, y, l2=settings.l2)


def _warn_if_unscaled(x: Any) -> None:
    # The largest entry in place of the deviation: that of a sparse column is small for rare words whatever their scale.
    sizes = np.asarray(abs(x).max(axis=0).toarray() if sparse.issparse(x) else np.std(x, axis=0)).ravel()
    # Constant columns add nothing to any distance, and 0 to no ratio.
    sizes = sizes[sizes > 0]
    if len(sizes) and sizes.max() > UNEQUAL_SCALES * sizes.min():
        warnings.warn(
            f"features differ in scale by a factor of {sizes.max() / sizes.min():.0e}: the largest decide which "
            "examples look alike; pass features='auto' to select on scaled features (the estimator gets them as they "
            "are)",
            UnscaledFeaturesWarning,
            stacklevel=6,
        )
