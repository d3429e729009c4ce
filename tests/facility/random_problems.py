"""Random small problems of every awkward kind over all options, and what must hold of a selection.

Every problem follows from its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.oracles import TIE, distances_between

from adacore.budget import split_budget
from adacore.coreset import Coreset
from adacore.facility import facility_location

ROUNDING = 1e-13
KINDS = ("gaussian", "grid", "clusters", "heavy", "simplex", "line", "binary", "identical", "duplicates", "outlier")


@dataclass(frozen=True)
class RandomProblem:
    """What is passed to facility_location."""

    kind: str
    x: NDArray[Any]
    options: dict[str, Any] = field(default_factory=dict)


def draw_rows(rng: np.random.Generator, kind: str, n: int, d: int) -> NDArray[np.float64]:
    """Draw rows of a kind."""
    if kind == "grid":
        return rng.integers(0, int(rng.integers(2, 9)), (n, d)).astype(float)
    if kind == "clusters":
        return rng.normal(size=(5, d))[rng.integers(0, 5, n)] + 10.0 ** -rng.integers(0, 9) * rng.normal(size=(n, d))
    if kind == "heavy":
        return rng.standard_t(0.7, (n, d))
    if kind == "simplex":
        logits = rng.normal(size=(n, max(d, 2))) * rng.choice([0.1, 1.0, 5.0, 30.0])
        x = np.exp(logits - logits.max(axis=1, keepdims=True))
        x /= x.sum(axis=1, keepdims=True)
        x[np.arange(n), rng.integers(0, x.shape[1], n)] -= 1
        return x
    if kind == "line":
        return np.outer(rng.normal(size=n), rng.normal(size=d)) + rng.normal(size=d)
    if kind == "binary":
        return rng.integers(0, 2, (n, d)).astype(float)
    if kind == "identical":
        return np.repeat(rng.normal(size=(1, d)), n, axis=0)
    if kind == "duplicates":
        return rng.normal(size=(max(1, n // 4), d))[rng.integers(0, max(1, n // 4), n)]
    x = rng.normal(size=(n, d))
    if kind == "outlier":
        x[rng.integers(n)] *= 10.0 ** rng.integers(3, 30)
    return x


def draw_problem(number: int) -> RandomProblem:
    """Draw a problem: rows, and any combination of options."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(2, 12)) if rng.random() < 0.3 else int(rng.integers(2, 120))
    if rng.random() < 0.02:
        n = int(rng.integers(200, 700))
    d = int(rng.integers(1, 6)) if rng.random() < 0.8 else int(rng.integers(6, 40))
    kind = str(rng.choice(KINDS))
    x = draw_rows(rng, kind, n, d)
    options: dict[str, Any] = {}
    if rng.random() < 0.2:
        options["metric"] = "cosine"
        x[~x.any(axis=1)] = 1.0
    elif rng.random() < 0.1:
        x = x + 10.0 ** rng.integers(2, 9)
    if rng.random() < 0.2 and kind != "outlier":
        x = x * rng.choice([1e-30, 1e30, 1e-150, 1e150])
    if rng.random() < 0.3 and np.abs(x).max() < 1e38 and np.abs(x)[x != 0].min(initial=1) > 1e-37:
        x = x.astype(np.float32)
    clients = n
    if rng.random() < 0.15:
        options["clients"] = draw_rows(rng, "gaussian", int(rng.integers(1, 80)), x.shape[1]) * np.abs(x).max()
        clients = len(options["clients"])
    elif rng.random() < 0.2 and n >= 8:
        options["labels"] = rng.integers(0, 3, n)
    if rng.random() < 0.25:
        weights = rng.integers(0, 4, clients) + (rng.random(clients) if rng.random() < 0.5 else 0.0)
        weights = weights * rng.choice([1.0, 1.0, 1e-46, 1e39, 1e-200])
        if weights.any():
            options["weights"] = weights
    if rng.random() < 0.3:
        options["initial"] = rng.permutation(n)[: int(rng.integers(1, max(2, n // 3)))]
    if rng.random() < 0.3:
        options["candidates"] = np.flatnonzero(rng.random(n) < rng.uniform(0.3, 1.0))
    able = np.setdiff1d(options.get("candidates", np.arange(n)), options.get("initial", []))
    if able.size == 0:
        del options["candidates"]
        able = np.setdiff1d(np.arange(n), options.get("initial", []))
    if "labels" in options:
        labels = np.unique(options["labels"])
        available = np.array([(options["labels"][able] == label).sum() for label in labels])
        if not available.all():
            del options["labels"]
        elif rng.random() < 0.3:
            options["quotas"] = {
                int(label): int(rng.integers(1, most + 1)) for label, most in zip(labels, available, strict=True)
            }
        else:
            options["quotas"] = str(rng.choice(["proportional", "equal"]))
            options["budget"] = int(rng.integers(len(labels), able.size + 1))
    if "labels" not in options:
        options["budget"] = int(rng.integers(1, able.size + 1))
    return RandomProblem(kind, x, options)


def check_problem(problem: RandomProblem) -> str | None:
    """Run a problem; return what is wrong with the answer, if anything."""
    return check_selection(facility_location(problem.x, threads=1, **problem.options), problem.x, problem.options)


def check_selection(coreset: Coreset, x: NDArray[Any], options: dict[str, Any]) -> str | None:
    """Say what is wrong with an exact selection among rows, if anything."""
    served = options.get("clients", x)
    weights = np.asarray(options.get("weights", np.ones(len(served))), dtype=float)
    distances = distances_between(served, x, options.get("metric", "euclidean"))
    # What a distance may be off beside its own rounding, in units of the largest: unit rows are rounded themselves.
    noise = 2.0**-48 / (distances.max() or 1.0) if options.get("metric") == "cosine" else 0.0
    # In units of the largest, so that sums of products don't overflow.
    unit, heaviest = distances.max(), weights.max()
    distances, weights = distances / (unit or 1.0), weights / heaviest
    able = np.setdiff1d(options.get("candidates", np.arange(len(x))), options.get("initial", []))
    initial = np.asarray(options.get("initial", []), dtype=int)
    strata = [np.arange(len(x))]
    if "labels" in options:
        strata = [np.flatnonzero(options["labels"] == label) for label in np.unique(options["labels"])]
    budgets = _budgets(options, strata, able)
    start, objective, bound = 0, 0.0, 0.0
    for members, k in zip(strata, budgets, strict=True):
        inside = np.isin(coreset.indices, members)
        picks = coreset.indices[inside]
        if (coreset.indices[start : start + len(picks)] != picks).any():
            return "strata are not in ascending order"
        rows = members if "labels" in options else np.arange(len(served))
        mine, before = np.intersect1d(able, members), initial[np.isin(initial, members)]
        wrong = _check_stratum(distances[rows], weights[rows], picks, before, mine, int(k), noise)
        if wrong is not None:
            return wrong
        loss, lower = _loss_and_bound(distances[rows], weights[rows], picks, before, mine)
        start, objective, bound = start + len(picks), objective + loss, bound + lower
    return _check_measures(coreset, objective, bound, unit * heaviest, weights.sum() * heaviest, initial)


def _budgets(options: dict[str, Any], strata: list[NDArray[np.int64]], able: NDArray[np.int64]) -> NDArray[np.int64]:
    if "labels" not in options:
        return np.array([options["budget"]])
    if isinstance(options["quotas"], dict):
        return np.array(list(options["quotas"].values()))
    counts = np.array([len(members) for members in strata])
    available = np.array([np.isin(able, members).sum() for members in strata])
    counts = np.ones_like(counts) if options["quotas"] == "equal" else counts
    return split_budget(counts, options["budget"], available=available)


def _check_stratum(
    distances: NDArray[np.float64],
    weights: NDArray[np.float64],
    picks: NDArray[np.int64],
    initial: NDArray[np.int64],
    able: NDArray[np.int64],
    k: int,
    rounding: float,
) -> str | None:
    """Follow a selection with the oracle: a pick may differ from its own only where the two tie up to its rounding."""
    minima = distances[:, initial].min(axis=1) if initial.size else None
    # What the differences m - d lose to rounding, relative to the distances themselves.
    noise = max(rounding, 4e-16) * float(weights @ distances.max(axis=1, initial=0))
    for t in range(k):
        if minima is None:
            sums = weights @ distances[:, able]
            allowed = able[sums <= sums.min() * (1 + TIE)]
            near = able[sums <= sums.min() * (1 + TIE + ROUNDING) + noise]
        else:
            gains = weights @ np.maximum(0, minima[:, None] - distances[:, able])
            gains[np.isin(able, picks[:t])] = 0
            if gains.max(initial=0) <= 0:
                # Naive greedy that adds up squares in another order may see a last bit here, and pick it.
                seen = all(_may_serve(distances[:, pick], minima, weights, rounding) for pick in picks[t:])
                return None if seen else f"pick {t} gains nothing"
            allowed = able[gains >= gains.max() * (1 - TIE)]
            near = able[gains >= gains.max() * (1 - TIE - ROUNDING) - noise]
            if t == len(picks):
                return None if gains.max() <= noise else f"stopped at {t} of {k} with {gains.max()} to gain"
        if picks[t] != allowed[0] and picks[t] not in near:
            return f"pick {t} is {picks[t]}, not {allowed[0]}"
        mine = distances[:, picks[t]]
        minima = mine if minima is None else np.minimum(minima, mine)
    return None if len(picks) == k else f"{len(picks)} picks instead of {k}"


def _may_serve(
    distances: NDArray[np.float64], minima: NDArray[np.float64], weights: NDArray[np.float64], rounding: float
) -> bool:
    """Whether a client is as near to a row as to what is selected, or nearer, up to the rounding of both distances."""
    return bool(((distances <= minima * (1 + ROUNDING) + rounding) & (minima > 0) & (weights > 0)).any())


def _loss_and_bound(
    distances: NDArray[np.float64],
    weights: NDArray[np.float64],
    picks: NDArray[np.int64],
    initial: NDArray[np.int64],
    able: NDArray[np.int64],
) -> tuple[float, float]:
    """L(S), and the lower bound of submodularity, from exact gains."""
    minima = distances[:, np.concatenate([initial, picks])].min(axis=1)
    gains = weights @ np.maximum(0, minima[:, None] - distances[:, np.setdiff1d(able, picks)])
    loss = float(weights @ minima)
    return loss, max(0.0, loss - np.sort(gains)[::-1][: len(picks)].sum())


def _check_measures(
    coreset: Coreset, objective: float, bound: float, unit: float, total: float, initial: NDArray[np.int64]
) -> str | None:
    assert coreset.objective is not None
    assert coreset.lower_bound is not None
    before = np.zeros(0) if coreset.initial_weights is None else coreset.initial_weights
    if len(before) != len(initial):
        return f"{len(before)} initial weights for {len(initial)} rows"
    if abs(coreset.weights.sum() + before.sum() - total) > 1e-9 * total:
        return f"weights sum to {coreset.weights.sum() + before.sum()}, not {total}"
    if abs(coreset.objective - objective * unit) > 1e-9 * objective * unit + 1e-14 * unit * max(1.0, objective):
        return f"objective {coreset.objective}, not {objective * unit}"
    # Bounds in single precision may be a little lower, never higher, than those from exact gains.
    if not 0 <= coreset.lower_bound <= bound * unit * (1 + 1e-9) + 1e-13 * unit:
        return f"lower bound {coreset.lower_bound} above {bound * unit}"
    return None
