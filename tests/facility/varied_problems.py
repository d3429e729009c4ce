"""Random problems as people hand them over: every type of rows, each method, tolerance and refinement, any engine.

A varied problem is a random problem (``random_problems``) whose rows come in another form; it follows from its number
alone. What must hold is said in float64, from all distances.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from tests.facility.random_problems import check_selection, draw_problem
from tests.oracles import TIE, distances_between

from adacore.coreset import Coreset
from adacore.facility import assign, engines, facility_location, greedy_variants, k_center
from adacore.facility.products import greedy
from adacore.facility.products.choosing_evaluators import choose_evaluator
from adacore.facility.sparse import compressed

FORMS = (
    *("float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"),
    *("torch32", "torch64", "memory map", "columns first", "every other row", "list"),
    *("csr", "csc", "coo", "csr float32", "csr int8", "csr bool", "unsorted csr"),
)
WAYS = ("exact", "tolerance", "refine", "stochastic", "sampled")
ENGINES = ("usual", "tree", "products", "products-torch")


@dataclass(frozen=True)
class VariedProblem:
    """What is passed, and the same in float64.

    Attributes:
        form: How the rows are passed.
        way: What is asked for.
        engine: Which engine takes it.
        x: The rows as passed.
        options: As passed.
        rows: The rows in float64.
        plain: The options with clients in float64.
    """

    form: str
    way: str
    engine: str
    x: Any
    options: dict[str, Any]
    rows: NDArray[np.float64]
    plain: dict[str, Any]

    def __str__(self) -> str:
        options = {name: value for name, value in self.options.items() if isinstance(value, int | float | str | dict)}
        others = sorted(set(self.options) - set(options))
        return f"{self.form}, {self.way}, {self.engine}, {self.rows.shape}, {options}, {others}"


def draw_varied(number: int) -> VariedProblem:
    """Draw a problem, its form, what is asked for and which engine takes it."""
    base, rng = draw_problem(number), np.random.default_rng([number, 1])
    form, way = str(rng.choice(FORMS)), str(rng.choice(WAYS, p=[0.4, 0.2, 0.2, 0.1, 0.1]))
    options, scale = dict(base.options), np.abs(base.x).max() or 1.0
    cosine = options.get("metric") == "cosine"
    x, rows = hand_over(base.x, form, scale, cosine, rng)
    plain = dict(options)
    if "clients" in options:
        other = form if rng.random() < 0.7 else "float64"
        served = options["clients"] if other == form else _in_form(options["clients"], form, scale)
        options["clients"], plain["clients"] = hand_over(served, other, scale, cosine, rng)
    options["threads"] = int(rng.integers(1, 3))
    if way == "tolerance":
        options = {name: value for name, value in options.items() if name not in ("budget", "quotas")}
        options["tolerance"] = float(rng.choice([0.0, 0.01, 0.1, 0.3, 0.7, 1.0, 3.0])) * _first_loss(rows, plain)
    elif way == "refine":
        options["refine"] = True
    elif way != "exact":
        options |= {"method": way, "seed": number}
    # The last computes on the CPU what a GPU would, many times as slowly.
    engine = str(rng.choice(ENGINES, p=[0.3, 0.3, 0.3, 0.1]))
    return VariedProblem(form, way, engine, x, options, rows, plain)


def _in_form(values: NDArray[Any], form: str, scale: float) -> NDArray[np.float64]:
    """Round numbers to what a form can hold."""
    values = np.asarray(values, dtype=np.float64)
    kind = form.split()[-1]
    if kind in ("bool", "uint8", "int8", "int16", "int32", "int64"):
        low, high = (0, 1) if kind == "bool" else (0, 200) if kind == "uint8" else (-90, 90)
        return np.clip(np.round(values / scale * min(high, 90)), low, high)
    if kind in ("float16", "bfloat16"):
        values = np.clip(values / scale, -100, 100)
        return torch.from_numpy(values).to(getattr(torch, kind)).double().numpy()
    if kind in ("float32", "torch32"):
        # Not outside the range of float32, where it would be another problem.
        unit = 1.0 if 1e-30 < scale < 1e30 else scale
        return (values / unit).astype(np.float32).astype(np.float64)
    return values


def hand_over(
    values: NDArray[Any], form: str, scale: float, cosine: bool, rng: np.random.Generator
) -> tuple[Any, NDArray[np.float64]]:
    """Bring numbers to a form; return it, and what it holds in float64."""
    rows = _in_form(values, form, scale)
    if form.endswith("bool"):
        rows = (rows > 0).astype(float)
    if "cs" in form or "coo" in form:
        rows = rows * (rng.random(rows.shape) < rng.uniform(0.2, 1.0))
    if cosine:
        rows = rows.copy()
        rows[np.abs(rows).max(axis=1, initial=0) < 1e-200] = 1.0
    given: Any = rows
    if form in ("float32", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"):
        given = rows.astype(form)
    elif form == "bfloat16" or form.startswith("torch"):
        given = torch.from_numpy(rows).to(
            {"torch32": torch.float32, "torch64": torch.float64}.get(form, torch.bfloat16)
        )
    elif form == "memory map":
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, rows)
            file.flush()
            given = np.load(Path(file.name), mmap_mode="r")
    elif form == "columns first":
        given = np.asfortranarray(rows)
    elif form == "every other row":
        given = np.repeat(rows, 2, axis=0)[::2]
    elif form == "list":
        given = rows.tolist()
    elif form in ("csr", "csc", "coo"):
        given = getattr(scipy.sparse, f"{form}_matrix" if rng.random() < 0.5 else f"{form}_array")(rows)
    elif form == "unsorted csr":
        given = _unsorted(rows, rng)
    elif form.startswith("csr"):
        given = scipy.sparse.csr_array(rows.astype(form.split()[1]))
    return given, rows


def _unsorted(rows: NDArray[np.float64], rng: np.random.Generator) -> Any:
    """Compress rows with columns in any order, stored zeros, and entries in two halves."""
    row, column = (axis.reshape(-1) for axis in np.indices(rows.shape))
    values = rows[row, column]
    order = np.lexsort((rng.random(2 * row.size), np.tile(row, 2)))
    row, column, values = (np.concatenate([a, a])[order] for a in (row, column, values / 2))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
    return scipy.sparse.csr_matrix((values, column, starts), shape=rows.shape)


def _strata(problem: VariedProblem) -> list[NDArray[np.int64]]:
    if "labels" not in problem.plain:
        return [np.arange(len(problem.rows))]
    return [np.flatnonzero(problem.plain["labels"] == label) for label in np.unique(problem.plain["labels"])]


def _measured(rows: NDArray[np.float64], plain: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    served = plain.get("clients", rows)
    weights = np.asarray(plain.get("weights", np.ones(len(served))), dtype=float)
    return distances_between(served, rows, plain.get("metric", "euclidean")), weights


def _first_loss(rows: NDArray[np.float64], plain: dict[str, Any]) -> float:
    """L of the initial rows, or of the best single row: what a tolerance is a share of."""
    distances, weights = _measured(rows, plain)
    unit, heaviest = distances.max() or 1.0, weights.max()
    initial = list(plain.get("initial", []))
    sums = (weights / heaviest) @ (distances / unit)
    first = (weights / heaviest) @ (distances[:, initial] / unit).min(axis=1) if initial else sums.min()
    return float(first * unit * heaviest)


@contextmanager
def sent_through(engine: str) -> Iterator[None]:
    """Send every problem through one engine, sparse rows through theirs, and let samples be small."""
    with (
        mock.patch.object(engines, "MOST_PAIRS", engines.MOST_PAIRS if engine == "usual" else 0),
        mock.patch.object(
            engines,
            "LEAST_DIMENSIONS",
            {"usual": engines.LEAST_DIMENSIONS, "tree": sys.maxsize}.get(engine, 0),
        ),
        mock.patch.object(
            greedy,
            "choose_evaluator",
            lambda sides, workers, compiled: choose_evaluator(
                sides, workers, False if engine == "products-torch" else compiled
            ),
        ),
        mock.patch.object(greedy_variants, "LEAST_SAMPLE", 15),
        mock.patch.object(greedy_variants, "SAMPLE_PER_PICK", 3),
        mock.patch.object(compressed, "DENSE_SHARE", 0),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="tolerance=.* can't be reached")
        yield


def check_varied(problem: VariedProblem) -> str | None:
    """Run a problem; return what is wrong with the answer, if anything."""
    with sent_through(problem.engine):
        coreset = facility_location(problem.x, **problem.options)
        greedily = coreset
        if problem.way == "refine":
            greedily = facility_location(problem.x, **{**problem.options, "refine": False})
        wrong = {
            "exact": lambda: check_selection(coreset, problem.rows, problem.plain),
            "refine": lambda: _check_refined(problem, coreset, greedily),
            "tolerance": lambda: _check_cover(problem, coreset),
        }.get(problem.way, lambda: _check_other(problem, coreset))()
        if wrong is None and len(problem.rows) % 7 == 0:
            wrong = check_assignment(problem) or check_k_center(problem)
        return wrong


def _counts(problem: VariedProblem, coreset: Coreset) -> dict[str, Any]:
    """Ask for as many rows of each stratum as were selected."""
    if "labels" not in problem.plain:
        return {**problem.plain, "budget": len(coreset)}
    labels = problem.plain["labels"]
    found = {int(label): int((labels[coreset.indices] == label).sum()) for label in np.unique(labels)}
    return {**problem.plain, "quotas": found}


def _losses(problem: VariedProblem, coreset: Coreset) -> tuple[float, float, float]:
    """L of a selection, the largest gain that is left, and what rounding may be, all in float64."""
    distances, weights = _measured(problem.rows, problem.plain)
    unit, heaviest = distances.max() or 1.0, weights.max()
    cosine = problem.plain.get("metric") == "cosine"
    distances, weights = distances / unit, weights / heaviest
    loss, left = 0.0, 0.0
    initial = np.asarray(problem.plain.get("initial", []), dtype=int)
    able = np.setdiff1d(problem.plain.get("candidates", np.arange(len(problem.rows))), initial)
    for members in _strata(problem):
        rows = members if "labels" in problem.plain else np.arange(len(weights))
        chosen = np.intersect1d(np.concatenate([initial, coreset.indices]), members)
        minima = distances[np.ix_(rows, chosen)].min(axis=1)
        mine = np.intersect1d(able, members)
        gains = weights[rows] @ np.maximum(0, minima[:, None] - distances[np.ix_(rows, mine)])
        loss, left = loss + float(weights[rows] @ minima), max(left, float(gains.max(initial=0)))
    noise = (2.0**-48 / unit if cosine else 4e-16) * float(weights @ distances.max(axis=1))
    return loss * unit * heaviest, left * unit * heaviest, noise * unit * heaviest


def _check_measured(problem: VariedProblem, coreset: Coreset) -> str | None:
    """L, weights, and who may be selected."""
    loss, _, noise = _losses(problem, coreset)
    weights = _measured(problem.rows, problem.plain)[1]
    initial = problem.plain.get("initial", [])
    able = np.setdiff1d(problem.plain.get("candidates", np.arange(len(problem.rows))), initial)
    if not np.isin(coreset.indices, able).all() or np.unique(coreset.indices).size < len(coreset):
        return f"{coreset.indices} are not all candidates, or not distinct"
    assert coreset.objective is not None
    if abs(coreset.objective - loss) > 1e-9 * loss + 4 * noise:
        return f"objective {coreset.objective}, not {loss}"
    before = np.zeros(0) if coreset.initial_weights is None else coreset.initial_weights
    total = coreset.weights.sum() + before.sum()
    return None if abs(total - weights.sum()) <= 1e-9 * weights.sum() else f"weights sum to {total}"


def _check_refined(problem: VariedProblem, coreset: Coreset, greedily: Coreset) -> str | None:
    """L is at most that of greedy; no swap is left; as many of each stratum."""
    wrong = _check_measured(problem, coreset)
    if wrong is not None:
        return wrong
    if _counts(problem, coreset) != _counts(problem, greedily) and len(coreset) != len(greedily):
        return f"{len(coreset)} refined picks from {len(greedily)}"
    assert coreset.objective is not None
    assert greedily.objective is not None
    noise = _losses(problem, coreset)[2]
    if coreset.objective > greedily.objective:
        return f"refined to {coreset.objective} from {greedily.objective}"
    if coreset.lower_bound != greedily.lower_bound:
        return "the lower bound changed"
    distances, weights = _measured(problem.rows, problem.plain)
    if weights.max() * distances.max() > 1e300:
        return None
    initial = np.asarray(problem.plain.get("initial", []), dtype=int)
    able = np.setdiff1d(problem.plain.get("candidates", np.arange(len(problem.rows))), initial)
    for members in _strata(problem):
        rows = members if "labels" in problem.plain else np.arange(len(weights))
        picks = np.intersect1d(coreset.indices, members)
        mine = distances[np.ix_(rows, np.intersect1d(able, members))]
        now = weights[rows] @ distances[np.ix_(rows, np.intersect1d(np.append(initial, picks), members))].min(axis=1)
        for out in picks[:4]:
            stay = np.intersect1d(np.concatenate([initial, picks[picks != out]]), members)
            minima = distances[np.ix_(rows, stay)].min(axis=1, initial=np.inf)
            best = (weights[rows] @ np.minimum(np.minimum(minima, sys.float_info.max)[:, None], mine)).min()
            if best < now - 1.1e-9 * greedily.objective - 8 * noise:
                return f"a swap for {out} leads from {now} to {best}"
    return None


def _check_cover(problem: VariedProblem, coreset: Coreset) -> str | None:
    """Greedy picks, enough for the tolerance and not one too many."""
    wrong = check_selection(coreset, problem.rows, _counts(problem, coreset))
    if wrong is not None:
        return wrong
    tolerance = problem.options["tolerance"]
    loss, left, noise = _losses(problem, coreset)
    slack = 1e-9 * (loss + tolerance) + 4 * noise
    if loss > tolerance + slack and left > slack:
        return f"L is {loss}, not {tolerance}, with {left} to gain"
    assert coreset.gains is not None
    gains = coreset.gains[~np.isnan(coreset.gains)]
    if gains.size and loss + gains.min() < tolerance - slack:
        return f"one pick too many: without it L is {loss + gains.min()}, at most {tolerance}"
    return None


def _check_other(problem: VariedProblem, coreset: Coreset) -> str | None:
    """Methods that look at a sample: what they say of their picks is true."""
    wrong = _check_measured(problem, coreset)
    if wrong is not None:
        return wrong
    _, left, noise = _losses(problem, coreset)
    asked = problem.plain.get("budget") or sum(problem.plain["quotas"].values())
    # The sampled method may find that its sample has nothing left to gain.
    if len(coreset) > asked or (
        problem.way == "stochastic" and len(coreset) < asked and left > 4 * noise and "labels" not in problem.plain
    ):
        return f"{len(coreset)} picks of {asked}, with {left} to gain"
    return None


def check_assignment(problem: VariedProblem) -> str | None:
    """Say what is wrong with the nearest of some picks, if anything."""
    metric = problem.plain.get("metric", "euclidean")
    picks = np.arange(0, len(problem.rows), 3)
    found = assign(problem.x, picks, metric=metric)
    distances = distances_between(problem.rows, problem.rows[picks], metric)
    least = distances.min(axis=1)
    noise = 2.0**-48 if metric == "cosine" else 0.0
    if (np.abs(found.distances - least) > 1e-13 * least + noise).any():
        return "assign: a distance is wrong"
    mine = np.take_along_axis(distances, found.owner[:, None], axis=1)[:, 0]
    return None if (mine <= least * (1 + 1e-13) + noise).all() else "assign: not the nearest"


def check_k_center(problem: VariedProblem) -> str | None:
    """Say what is wrong with farthest-first picks, if anything."""
    metric, initial = problem.plain.get("metric", "euclidean"), problem.plain.get("initial", [])
    budget = min(6, len(problem.rows) - len(initial))
    found = k_center(problem.x, budget=budget, initial=initial if len(initial) else None, metric=metric)
    distances = distances_between(problem.rows, problem.rows, metric)
    noise = 2.0**-48 if metric == "cosine" else 0.0
    # Where nothing is selected before, the first pick is the row nearest to the mean.
    chosen = [*initial] if len(initial) else [int(found.indices[0])]
    for pick in found.indices[0 if len(initial) else 1 :]:
        minima = distances[:, chosen].min(axis=1)
        if minima[pick] < minima.max() * (1 - TIE - 1e-13) - noise:
            return f"k_center: {pick} is {minima[pick]} away, not {minima.max()}"
        chosen.append(int(pick))
    radius = distances[:, chosen].min(axis=1).max()
    if len(found) < budget and radius > noise:
        return f"k_center: {len(found)} picks of {budget}"
    return None if abs(found.statistics["radius"] - radius) <= 1e-12 * radius + noise else "k_center: wrong radius"
