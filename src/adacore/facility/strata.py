"""Strata: the groups within which a method selects. One partition, one schedule over the cores, one join."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget, split_budget
from adacore.coreset import Coreset
from adacore.errors import shown, unknown_name
from adacore.facility.arrays import as_array
from adacore.facility.problem import Problem
from adacore.facility.workers import Workers

Result = TypeVar("Result")
Combine = Literal["sum", "maximum", "norm", "same"]
"""How a statistic of several strata becomes one: the sum, the maximum, the norm of the sum of vectors (what each
stratum leaves over), or a text that should be the same in all of them."""

QUOTAS = ("proportional", "equal")


@dataclass(frozen=True, eq=False)
class Strata:
    """A partition of n rows.

    Attributes:
        names: Label of each stratum, ascending, shape (strata,).
        rows: Rows of each stratum, int64, ascending, none empty.
    """

    names: NDArray[Any]
    rows: list[NDArray[np.int64]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of rows in each stratum, int64, shape (strata,)."""
        return np.array([len(members) for members in self.rows], dtype=np.int64)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Which stratum each row is in, a position in ``names``, int64, shape (n,)."""
        numbers = np.empty(int(self.counts.sum()), np.int64)
        for number, members in enumerate(self.rows):
            numbers[members] = number
        return numbers


def partition(labels: Any, n: int) -> Strata:
    """Split rows by their labels.

    Args:
        labels: Whole numbers, truth values, floats or texts, shape (n,) or (n, 1); None for one stratum of all rows.
        n: Number of rows.

    Returns:
        The strata.

    Raises:
        ValueError: If the shape is wrong or a label is missing (nan, None, NA, NaT or masked).
        TypeError: If labels can't be compared with one another.

    Example:
        >>> partition(["b", "a", "b"], 3).rows
        [array([1]), array([0, 2])]
    """
    # One stratum of all rows takes the same path as many.
    if labels is None:
        return Strata(np.zeros(1, np.int64), [np.arange(n)])
    values = as_array(labels, "labels")
    if values.dtype.kind in "US" and isinstance(labels, list | tuple):
        values = _unlike_texts(labels, values)
    # A column of a data frame or of a database; nothing else of shape (n, 1) could be meant.
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.shape != (n,):
        raise ValueError(f"labels have shape {values.shape}: expected ({n},), one for each row of x")
    missing = _missing(values)
    if missing.any():
        row = int(np.argmax(missing))
        found = shown(values[row])
        raise ValueError(f"labels hold {found} at row {row}: every row needs one; name that group, or drop it")
    try:
        names, members = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"labels can't be put in order ({error}): pass numbers, or texts, not both") from error
    # Stable, so that each stratum's rows ascend, and one sort for all instead of one scan for each.
    return Strata(
        names, np.split(np.argsort(members, kind="stable").astype(np.int64), np.cumsum(np.bincount(members))[:-1])
    )


def _unlike_texts(labels: list[Any] | tuple[Any, ...], texts: NDArray[Any]) -> NDArray[Any]:
    """Keep what is no text as it is: where one label is a text, numpy writes all as texts."""
    # As texts nan is a class "nan" (pandas' ``tolist`` makes nan of what a table lacks), and 1 the same class as "1".
    held = np.array(labels, object)
    alike = any(all(isinstance(value, kind) for value in held.flat) for kind in (str, bytes))
    return texts if alike or held.shape != texts.shape else held


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        finite: NDArray[np.bool_] = np.isfinite(values)
        return ~finite
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values), np.bool_)
    if values.dtype.kind == "O":
        # None; nan and NaT differ from themselves; pandas' NA says neither, and has no truth value.
        return np.array(
            [value is None or type(value).__name__ in {"NAType", "NaTType"} or value != value for value in values]
        )
    return np.zeros(values.shape, np.bool_)


def share_budget(
    strata: Strata,
    available: NDArray[np.int64],
    quotas: Any,
    budget: int | None,
    fraction: float | None,
    labelled: bool = True,
) -> NDArray[np.int64]:
    """Say how many to select in each stratum.

    Args:
        strata: The strata.
        available: How many may be selected in each, int64, shape (strata,).
        quotas: ``"proportional"`` to the strata's sizes, ``"equal"``, or a number for each label.
        budget: How many to select in all; with numbers for labels, None or their sum.
        fraction: Share of the rows to select; see ``adacore.budget.resolve_budget``.
        labelled: Whether labels were given.

    Returns:
        int64, shape (strata,).

    Raises:
        ValueError: If a size is out of range, or quotas name other labels than the strata's.
        TypeError: If something is not of the right kind.
    """
    if isinstance(quotas, Mapping):
        return _given_quotas(strata, available, quotas, budget, fraction, labelled)
    if not isinstance(quotas, str):
        raise TypeError(f"quotas={shown(quotas)}: expected 'proportional', 'equal', or a mapping of labels to numbers")
    if quotas not in QUOTAS:
        raise unknown_name("quotas", quotas, QUOTAS)
    counts = strata.counts
    size, able = resolve_budget(int(counts.sum()), budget=budget, fraction=fraction), int(available.sum())
    if size > able:
        given = f"budget={budget}" if budget is not None else f"fraction={fraction} (that is {size})"
        raise ValueError(f"{given} exceeds the {able} candidates that are left to select: choose at most that many")
    # The largest remainders, no more than there is in each stratum, at least one each.
    return split_budget(np.ones_like(counts) if quotas == "equal" else counts, size, available=available)


def _given_quotas(
    strata: Strata,
    available: NDArray[np.int64],
    quotas: Mapping[Any, Any],
    budget: int | None,
    fraction: float | None,
    labelled: bool,
) -> NDArray[np.int64]:
    names = strata.names.tolist()
    if not labelled:
        raise ValueError(
            f"quotas={shown(dict(quotas))} name labels, and labels= is not given: pass the label of each row"
        )
    # Both are refused: a misspelt label would otherwise silently get nothing, or its budget go to nobody.
    unknown, missing = [key for key in quotas if key not in names], [name for name in names if name not in quotas]
    if unknown or missing:
        what = f"no label is {unknown[0]!r}" if unknown else f"label {missing[0]!r} has none"
        raise ValueError(f"quotas do not fit the labels: {what}; give a number for each of the {len(names)} labels")
    shares = np.zeros(len(names), np.int64)
    for c, name in enumerate(names):
        value = quotas[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"quotas[{name!r}]={shown(value)} is not a whole number: pass an int >= 0")
        if not 0 <= value <= available[c]:
            raise ValueError(
                f"quotas[{name!r}]={shown(value)} is outside [0, {available[c]}], the rows that may be selected there: "
                "choose one within"
            )
        shares[c] = value
    total = int(shares.sum())
    if fraction is not None or (budget is not None and budget != total):
        given = f"fraction={fraction}" if fraction is not None else f"budget={budget}"
        raise ValueError(f"quotas sum to {total}, and {given} is given too: leave it out, or make both the same")
    if total == 0:
        raise ValueError("quotas are all 0: ask for at least one example")
    return shares


def split_problem(problem: Problem, strata: Strata) -> list[Problem]:
    """Restrict a problem to each stratum, in units that fit it.

    Args:
        problem: The problem; with more than one stratum, its clients are its rows.
        strata: The strata.

    Returns:
        A problem for each stratum.
    """
    if len(strata.rows) == 1:
        return [problem.in_own_units()]
    able = np.zeros(problem.rows.shape[0], np.bool_)
    able[problem.candidates] = True
    # One pass for all strata; ``np.isin`` for each of them would be quadratic in their number.
    stratum_of = np.empty(problem.rows.shape[0], np.int64)
    for c, members in enumerate(strata.rows):
        stratum_of[members] = c
    initial_of = stratum_of[problem.initial]
    return [
        replace(
            problem,
            clients=members,
            weights=problem.weights[members],
            candidates=members if able[members].all() else members[able[members]],
            initial=problem.initial[initial_of == c] if problem.initial.size else problem.initial,
        ).in_own_units()
        for c, members in enumerate(strata.rows)
    ]


def run_strata(
    select: Callable[[int, Workers], Result], work: NDArray[np.float64], workers: Workers, *, least: float = 0.0
) -> list[Result]:
    """Call ``select`` for every stratum.

    A stratum with more work than a thread's share of all runs by itself on all threads; the rest run side by side on
    one thread each, those with the most work first. That keeps all cores busy to the end, whatever the sizes.

    Args:
        select: What to do with a stratum, by number and with the workers that it may use.
        work: How much there is to do in each, in any unit, shape (strata,).
        workers: All threads.
        least: Work below which starting threads takes longer than it saves.

    Returns:
        The results, stratum by stratum.
    """
    # Longest first (Graham 1969): the last to be started are the shortest, so that threads end at about the same time.
    largest_first = [int(c) for c in np.argsort(-work, kind="stable")]
    # On one thread such a stratum would take longer than all of them together on all threads.
    heavy = (work * workers.threads > work.sum()) | (work.sum() < least)
    together = [c for c in largest_first if not heavy[c]]
    done: dict[int, Result] = {}
    for c in largest_first:
        if heavy[c]:
            workers.check()
            # Before the others, while no thread of theirs runs: it has all the cores.
            done[c] = select(c, workers)
    with _one_blas_thread() if len(together) > 1 and workers.threads > 1 else nullcontext():
        done.update(zip(together, workers.side_by_side(select, together), strict=True))
    return [done[c] for c in range(work.size)]


def _one_blas_thread() -> AbstractContextManager[object]:
    """Keep BLAS from starting threads of its own in every thread, where its waiting threads would fight for cores."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:  # it comes with scikit-learn; without it the result is the same, only slower
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def join(
    parts: Sequence[Coreset],
    rows: Sequence[NDArray[np.int64]],
    population: int,
    combine: Mapping[str, Combine],
    vectors: Sequence[NDArray[np.float64]] = (),
) -> Coreset:
    """Join the coresets of disjoint strata into one.

    L(S) is a sum over examples, so that objectives and lower bounds add up. Other statistics need not: the radius of
    two strata is the larger one, the norm of an error is that of the sum of the strata's errors, which may cancel.

    Args:
        parts: A coreset of each stratum.
        rows: Positions of each stratum's examples.
        population: Number of examples in all.
        combine: How each statistic combines, by name. One that is not named is kept only where
            all strata agree on it, for nothing else is known to be right.
        vectors: What each stratum leaves over, where a statistic is the norm of it.

    Returns:
        Indices, weights and gains, one stratum after the other; objectives and bounds summed.

    Example:
        >>> parts = [Coreset([0], [1.0], 1, statistics={"radius": r}) for r in (2.0, 3.0)]
        >>> join(parts, [np.array([0]), np.array([1])], 2, {"radius": "maximum"}).statistics
        {'radius': 3.0}
    """
    objectives = [part.objective for part in parts if part.objective is not None]
    bounds = [part.lower_bound for part in parts if part.lower_bound is not None]
    gains = [part.gains for part in parts if part.gains is not None]
    return Coreset(
        indices=np.concatenate([row[part.indices] for row, part in zip(rows, parts, strict=True)]),
        weights=np.concatenate([part.weights for part in parts]),
        population=population,
        objective=float(sum(objectives)) if len(objectives) == len(parts) else None,
        lower_bound=float(sum(bounds)) if len(bounds) == len(parts) else None,
        gains=np.concatenate(gains) if len(gains) == len(parts) else None,
        statistics=_combined([part.statistics for part in parts], combine, vectors),
    )


def _combined(
    parts: Sequence[Mapping[str, Any]], combine: Mapping[str, Combine], vectors: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    combined: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        how = combine.get(name)
        if how == "sum":
            combined[name] = sum(values)
        elif how == "maximum":
            combined[name] = max(values)
        elif how == "norm":
            # Errors of strata may cancel: |a + b| and not |a| + |b|, nor the larger one.
            if vectors:
                combined[name] = float(np.linalg.norm(np.sum(vectors, axis=0)))
        elif len(values) == len(parts) and all(value == values[0] for value in values):
            combined[name] = values[0]
        elif how == "same":  # what should be alike and is not is told in full: "exact and sampled"
            combined[name] = " and ".join(sorted({str(value) for value in values}))
    return combined
