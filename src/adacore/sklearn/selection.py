"""From a table and its targets to a coreset: what the estimators and the resampler share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.convex.problems import Problem, is_sparse, logistic, multinomial, ridge, smoothed_hinge
from adacore.convex.selection import group, select
from adacore.coreset import Coreset
from adacore.errors import unknown_name

UNEQUAL_SCALES = 1e3

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
    """How to select; the fields are parameters of the estimators, which document them."""

    method: str
    fraction: float | None
    budget: int | None
    at: Any
    problem: str
    l2: float
    curvature: str
    scale: bool
    pilot_size: int
    bins: int | None
    seed: int


def choose(X: Any, y: NDArray[Any], masses: NDArray[np.float64] | None, settings: Settings) -> tuple[Coreset, float]:
    """Select a coreset of a table: a pure function, so that its answer can be cached.

    Args:
        X: Features, float, dense or CSR, shape (n, d).
        y: Class codes or real targets, shape (n,).
        masses: Of the examples, >= 0, float64, shape (n,); None for ones.
        settings: How.

    Returns:
        The coreset of the n examples, and the seconds that it took.
    """
    begin = time.perf_counter()
    rows = np.arange(len(y)) if masses is None else np.flatnonzero(masses > 0)
    whole = len(rows) == len(y)
    problem = _problem(_scaled(X, settings.scale)[rows], y[rows], settings)
    size = _size(problem, settings)
    found = select(
        problem,
        method=cast("Any", settings.method),
        budget=size,
        at=settings.at,
        curvature=cast("Any", settings.curvature),
        weights=None if masses is None else masses[rows],
        pilot_size=settings.pilot_size,
        bins=settings.bins,
        seed=settings.seed,
    )
    coreset = found if whole else Coreset(rows[found.indices], found.weights, len(y), statistics=found.statistics)
    return coreset, time.perf_counter() - begin


def cached(memory: Any) -> Callable[..., tuple[tuple[Coreset, float], bool]]:
    """Return ``choose`` behind a cache, its answer paired with whether it was there already.

    Args:
        memory: None for no cache, a folder, or a ``joblib.Memory``.
    """
    from sklearn.utils.validation import check_memory

    if memory is None:
        return lambda *arguments: (choose(*arguments), False)
    function = check_memory(memory).cache(choose)

    def look_up(*arguments: Any) -> tuple[tuple[Coreset, float], bool]:
        known = bool(getattr(function, "check_call_in_cache", lambda *_: False)(*arguments))
        return function(*arguments), known

    return look_up


def warn_if_unscaled(X: Any, settings: Settings) -> None:
    """Warn if distances between examples depend on a few large features, and say what to do.

    Args:
        X: Features, dense or CSR, shape (n, d).
        settings: Nothing is said where they scale, or choose without distances.
    """
    if settings.scale or settings.method not in {"adacore", "craig"}:
        return
    sizes = np.asarray(abs(X).max(axis=0).toarray() if is_sparse(X) else np.std(X, axis=0)).ravel()
    sizes = sizes[sizes > 0]
    if len(sizes) and sizes.max() > UNEQUAL_SCALES * sizes.min():
        warnings.warn(
            f"features differ in scale by a factor of {sizes.max() / sizes.min():.0e}: the largest decide which "
            "examples look alike; pass scale=True to select on scaled features (the estimator gets them as they are), "
            "or put a StandardScaler before",
            UnscaledFeaturesWarning,
            stacklevel=3,
        )


def _problem(X: Any, y: NDArray[Any], settings: Settings) -> Problem:
    if settings.problem not in PROBLEMS:
        raise unknown_name("problem", settings.problem, ["auto", *PROBLEMS])
    return PROBLEMS[settings.problem](X, y, l2=settings.l2)


def _size(problem: Problem, settings: Settings) -> int:
    """A budget is taken at its word; a fraction of few examples still leaves one of every class."""
    if settings.budget is not None:
        return resolve_budget(problem.n, budget=settings.budget)
    classes = 1 if problem.loss.name == "squared" else int(group(problem, None).max()) + 1
    return max(classes, resolve_budget(problem.n, fraction=settings.fraction))


def _scaled(X: Any, scale: bool) -> Any:
    if not scale:
        return X
    from sklearn.preprocessing import MaxAbsScaler, StandardScaler

    return (MaxAbsScaler() if is_sparse(X) else StandardScaler()).fit_transform(X)
