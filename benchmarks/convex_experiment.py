"""Coresets of ijcnn1, rate searches and runs: what the convex figures and bars share."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Memory
from sklearn.metrics import pairwise_distances_argmin_min

from adacore.budget import split_budget
from adacore.convex import (
    Problem,
    Trace,
    features,
    logistic,
    newton,
    optimum,
    pilot,
    preconditioned_gradients,
    select,
    sgd,
)
from adacore.coreset import Coreset
from convex_data import load

PILOT_SIZE = 2_500


@dataclass(frozen=True)
class Setting:
    """One data set, its optimum, and how to select and search; the fields of a figure's YAML."""

    problem: Problem
    best: Any
    lowest: float
    fractions: list[float]
    methods: list[str]
    solvers: list[str]
    at: str
    seeds: int
    passes: int
    rates: list[float]
    decays: list[float]


def setting(config: dict[str, Any]) -> Setting:
    X, y = load()
    problem = logistic(X, y, l2=config["l2"])
    best, lowest = optimum(problem)
    names = ("fractions", "methods", "solvers", "at", "seeds", "passes", "rates", "decays")
    return Setting(problem, best, lowest, **{name: config[name] for name in names})


def coresets(s: Setting, method: str, seed: int) -> tuple[dict[float, Coreset | None], float]:
    """Select for every fraction, by a method such as adacore, adacore-zero or adacore-10000 (examples of the pilot).

    Returns what selecting the largest took, too.

    Greedy's picks for a small budget are the first of those for a large one: it runs once, and the weights of the
    smaller coresets are counted anew.
    """
    if method == "full":
        return dict.fromkeys(s.fractions), 0.0
    kind, _, where = method.partition("-")
    at, size = (s.at, int(where)) if where.isdigit() else (where or s.at, PILOT_SIZE)
    largest, seconds = _timed_select(s.problem, kind, max(s.fractions), at, size, seed)
    if method == "random":
        return {f: select(s.problem, method="random", fraction=f, seed=seed) for f in s.fractions}, seconds
    if len(s.fractions) == 1:
        return {s.fractions[0]: largest}, seconds
    if method == "craig":
        x = features(s.problem)
    else:
        w = pilot(s.problem, size=size, seed=seed).w if at == "pilot" else s.problem.zero()
        x = preconditioned_gradients(s.problem, w)
    return _prefixes(x, s.problem.targets, largest, s.fractions), seconds


def selecting_evaluations(s: Setting, method: str, seed: int) -> int:
    """Return the gradients of single examples that a selection takes: the pilot's, and one of every example.

    They are what ``Coreset.statistics["gradient_evaluations"]`` says, without selecting: the pilot alone decides.
    """
    kind, _, where = method.partition("-")
    if kind != "adacore":
        return 0
    size = int(where) if where.isdigit() else PILOT_SIZE
    at = s.at if where.isdigit() or not where else where
    piloted = pilot(s.problem, size=size, seed=seed).gradient_evaluations if at == "pilot" else 0
    return piloted + s.problem.n


def _select(problem: Problem, method: Any, fraction: float, at: Any, size: int, seed: int) -> tuple[Coreset, float]:
    begin = time.perf_counter()
    coreset = select(problem, method=method, fraction=fraction, at=at, pilot_size=size, seed=seed)
    return coreset, time.perf_counter() - begin


_timed_select = Memory(os.environ.get("ADACORE_CACHE"), verbose=0).cache(_select)


def _prefixes(x: Any, targets: Any, largest: Coreset, fractions: list[float]) -> dict[float, Coreset | None]:
    signs, counts = np.unique(targets, return_counts=True)
    found: dict[float, list[tuple[Any, Any]]] = {f: [] for f in fractions}
    for c, sign in enumerate(signs):
        rows = np.flatnonzero(targets == sign)
        picks = largest.indices[targets[largest.indices] == sign]
        nearest, owner, done = np.full(len(rows), np.inf), np.zeros(len(rows), dtype=np.int64), 0
        for fraction in sorted(fractions):
            k = min(len(picks), int(split_budget(counts, round(fraction * len(targets)))[c]))
            closest, distance = pairwise_distances_argmin_min(x[rows], x[picks[done:k]])
            closer = distance < nearest
            owner[closer], nearest[closer], done = closest[closer] + done, distance[closer], k
            found[fraction].append((picks[:k], np.bincount(owner, minlength=k).astype(float)))
    return {
        f: Coreset(np.concatenate([i for i, _ in parts]), np.concatenate([w for _, w in parts]), len(targets))
        for f, parts in found.items()
    }


def run_sgd(s: Setting, coreset: Coreset | None, rate: float, decay: float, seed: int) -> Trace:
    """SGD for as many gradient evaluations as ``passes`` over everything; recorded every tenth of a pass at least."""
    size = s.problem.n if coreset is None else len(coreset)
    own = max(1, round(s.passes * s.problem.n / size))
    records = max(1, round(size / (s.problem.n / 10)))
    return sgd(s.problem, coreset, rate=rate, decay=decay ** (1 / own), passes=own, records=records, seed=seed)


def search(s: Setting, coreset: Coreset | None, seed: int = 0) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (rate, decay) of the lowest final residual, and of the fewest evaluations to the residual 1e-3."""
    final, early = {}, {}
    for rate in s.rates:
        for decay in s.decays:
            trace = run_sgd(s, coreset, rate, decay, seed)
            final[rate, decay] = float(np.nan_to_num(trace.residuals(s.lowest)[-1], nan=np.inf))
            reached = evaluations_to(trace, s.lowest, 1e-3)
            early[rate, decay] = np.inf if reached is None else reached
    return min(final, key=final.__getitem__), min(early, key=early.__getitem__)


def run_newton(s: Setting, coreset: Coreset | None) -> Trace:
    return newton(s.problem, coreset, passes=50)


def evaluations_to(trace: Trace, lowest: float, level: float, selecting: int = 0) -> int | None:
    """Return the first recorded number of gradients, selecting included, at which the residual is ``level`` or less."""
    reached = np.flatnonzero(trace.residuals(lowest) <= level)
    return selecting + int(trace.gradient_evaluations[reached[0]]) if len(reached) else None


def seconds_to(trace: Trace, lowest: float, level: float) -> float | None:
    reached = np.flatnonzero(trace.residuals(lowest) <= level)
    return float(trace.seconds[reached[0]]) if len(reached) else None


def gradient_difference(s: Setting, coreset: Coreset, w: Any) -> float:
    """||g - g_S|| at w, over the norm of the full gradient at w = 0, which does not vanish as training goes on."""
    full = s.problem.gradient(w)
    part = s.problem.take(coreset.indices).gradient(w, coreset.weights)
    return float(np.linalg.norm(full - part) / np.linalg.norm(s.problem.gradient(s.problem.zero())))


def geometric_mean(values: Any) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(values, 1e-16)))))
