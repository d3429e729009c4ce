"""facility_location: choose the examples that stand for all."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.budget import warn_of_few
from adacore.coreset import Coreset
from adacore.errors import shown, unknown_name
from adacore.facility.devices import check_device
from adacore.facility.planning import plan_strata
from adacore.facility.problem import Problem, check_problem
from adacore.facility.progress import Report, show_progress
from adacore.facility.strata import Combine, Strata, join, partition, run_strata, share_budget, split_problem
from adacore.facility.threads import check_threads
from adacore.facility.workers import Workers, open_workers

METHODS = ("exact", "sampled", "stochastic")

HOURS = 3600.0
"""Predicted seconds from which on exact selection is warned of."""

REFINING = 3.0
"""Seconds of refinement for each of selection, or so: it runs on one thread, over two to five passes."""

FEW = "every other row equals one that is selected, or serves nobody better; ask for fewer, or remove copies of rows"
"""Why fewer rows are selected than were asked for, and what to do."""

STATISTICS: dict[str, Combine] = {"distances": "sum", "method": "same"}
"""How what a stratum measured combines with the others'."""


def facility_location(
    x: Any,
    *,
    budget: int | None = None,
    fraction: float | None = None,
    tolerance: float | None = None,
    labels: Any = None,
    quotas: str | Mapping[Any, int] = "proportional",
    weights: Any = None,
    initial: Any = None,
    candidates: Any = None,
    clients: Any = None,
    metric: str = "euclidean",
    method: str = "exact",
    refine: bool = False,
    epsilon: float = 0.1,
    seed: int | np.random.Generator | None = None,
    device: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Coreset:
    """Choose the examples that stand for all: greedy facility location.

    Makes L(S) = sum_i w_i min_{j in S} d(x_i, x_j) small, eq. (12): the sum of all rows' distances to the nearest
    chosen row. The first pick is the medoid, the row with the least sum of distances to all; each further one is the
    row that lowers L most. Let C1 be the L of a place that is as far from every row as any two rows are apart. Then
    F(S) = C1 - L(S) is at least 1 - 1/e of the best F of the same size (eq. (13); Nemhauser, Wolsey and Fisher 1978).
    No n x n matrix is made: memory is O(n d).

    Args:
        x: Rows, shape (n, d): numpy (float16 to float64, integers, memory maps), torch, or scipy sparse. C-contiguous
            float32 and float64 arrays are read where they lie.
        budget: How many to select, in [1, n].
        fraction: Share of the rows to select, in (0, 1].
        tolerance: Select until L(S) is at most this, the cover problem (13), in the units of the distances, at least
            0. Greedy needs at most 1 + ln(max_j F({j}) / smallest gain) times as many as the smallest such S (Wolsey
            1982).
        labels: Stratum (class) of each row, shape (n,): selection within each stratum, one tolerance for all together.
        quotas: How strata share the budget: ``"proportional"`` to their sizes (at least one each), ``"equal"``, or a
            number for each label.
        weights: How much each client counts, shape (n,) (with ``clients``, (m,)), at least 0; one each if None.
        initial: Rows that are selected already (labelled, say), as positions or a mask: they serve clients and are not
            returned.
        candidates: Rows that may be selected, as positions or a mask; all if None.
        clients: Rows that are to be served in place of those of ``x``, shape (m, d).
        metric: ``"euclidean"``, or ``"cosine"``: rows are scaled to length one, so that d = sqrt(2 - 2 cos).
        method: ``"exact"`` selects what naive greedy in float64 selects; gains within 1e-12 relative are a tie, which
            the lower index wins. ``"stochastic"`` looks at (n / k) ln(1 / epsilon) random candidates for each pick: in
            expectation 1 - 1/e - epsilon of the best F. ``"sampled"`` is exact greedy on a uniform sample of
            m = max(50,000, 20 k) rows, evaluated on all; for any S fixed beforehand, L and its estimate differ by at
            most n D sqrt(ln(2 / delta) / (2 m)) with probability 1 - delta, D being the diameter.
        refine: Afterwards swap selected examples for others as long as that lowers L (FasterPAM's rule).
        epsilon: See ``"stochastic"``.
        seed: Seed or generator of what is random: ``"stochastic"`` and ``"sampled"``.
        device: Where to compute, ``"cpu"`` or ``"cuda"``; where ``x`` is if None. Picks are the same. Swaps of
            ``refine`` are made on the CPU, wherever the rest is computed.
        threads: How many threads; those that torch would use if None.
        progress: Whether to show progress on stderr; if None, a bar on a terminal where over 5 s are predicted, and
            elsewhere a line every 30 s where over a minute is.

    Returns:
        The coreset: ``indices`` in the order of selection (stratum by stratum), ``weights`` the clients' weight that
        each serves (what initial rows serve is in ``initial_weights``), ``objective``, ``gains`` and ``lower_bound``;
        ``statistics`` say which ``method`` ran, how many ``distances`` were evaluated, and in how many ``seconds``.
        Fewer than asked for are selected where nothing more is to be gained; of fewer than half a warning tells.

    Raises:
        ValueError: If a value, shape, size or name is not as described.
        TypeError: If a type is not.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
        >>> coreset = facility_location(x, budget=2)
        >>> coreset.indices, coreset.weights, coreset.objective
        (array([2, 3]), array([3., 2.]), 4.0)
        >>> more = facility_location(x, budget=1, initial=[2])
        >>> more.indices, more.weights, more.initial_weights
        (array([3]), array([2.]), array([3.]))
    """
    from adacore.facility.greedy_variants import Request  # here, for it loads the compiler

    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if isinstance(epsilon, bool) or not (isinstance(epsilon, Real) and 0 < epsilon < 1):
        raise ValueError(f"epsilon={shown(epsilon)} is outside (0, 1): pass for example 0.1")
    for name, flag in (("refine", refine), ("progress", False if progress is None else progress)):
        if not isinstance(flag, bool | np.bool_):  # "no" is true to Python
            raise TypeError(f"{name}={shown(flag)} is neither True nor False: pass one of them")
    start = time.perf_counter()
    threads, place = check_threads(threads), check_device(device, x)
    generator = check_seed(seed)
    if clients is not None and labels is not None:
        raise ValueError("labels= are of the rows of x, and clients= are others: call once for each stratum, with both")
    problem = check_problem(x, weights=weights, initial=initial, candidates=candidates, clients=clients, metric=metric)
    n = problem.rows.shape[0] - (0 if clients is None else problem.clients.size)
    strata = partition(labels, n)
    target = check_tolerance(tolerance, budget, fraction, quotas, method)
    parts = split_problem(problem, strata)
    available = np.array([part.candidates.size for part in parts])
    budgets = (
        available
        if target is not None
        else share_budget(strata, available, quotas, budget, fraction, labels is not None)
    )
    _check_served(parts, budgets, strata)
    seconds = plan_strata(parts, budgets.tolist()).seconds
    if method == "exact" and target is None and place is None and seconds > HOURS:
        _warn_of_hours(seconds)
    with open_workers(threads, place) as workers:
        with show_progress("selecting", int(budgets.sum()), seconds, progress) as report:
            request = Request(method, float(epsilon))
            outcomes = _select(parts, budgets, target, request, generator, workers, _summed(report, len(parts)))
        if refine:
            outcomes = _refine(parts, outcomes, workers, seconds, progress)
        coresets = [
            outcome.coreset(part, members) for outcome, part, members in zip(outcomes, parts, strata.rows, strict=True)
        ]
    joined = join(coresets, strata.rows, n, STATISTICS)
    if target is not None and joined.objective is not None and joined.objective > target:
        warnings.warn(
            f"tolerance={tolerance} can't be reached: with every candidate selected that helps, L(S) is "
            f"{joined.objective:.6g}; allow more candidates, or a larger tolerance",
            stacklevel=2,
        )
    if target is None:  # whoever named a tolerance asked for no number
        warn_of_few("facility_location", len(joined), int(budgets.sum()), FEW, stacklevel=2)
    return replace(
        joined,
        initial_weights=_initial(problem, parts, coresets) if problem.initial.size else None,
        statistics={**joined.statistics, "seconds": time.perf_counter() - start},
    )


def _select(
    parts: Sequence[Problem],
    budgets: NDArray[np.int64],
    target: float | None,
    request: Any,
    generator: np.random.Generator,
    workers: Workers,
    report: Any,
) -> list[Any]:
    from adacore.facility.cover_problem import select_within_tolerance
    from adacore.facility.greedy_variants import select

    if target is not None:
        return select_within_tolerance(parts, target, workers, report)
    generators = generator.spawn(len(parts))

    def select_stratum(c: int, mine: Workers) -> Any:
        return select(parts[c], int(budgets[c]), request, generators[c], mine, lambda picks: report(c, picks))

    return run_strata(select_stratum, _work(parts), workers)


def _refine(
    parts: Sequence[Problem], outcomes: Sequence[Any], workers: Workers, seconds: float, progress: bool | None
) -> list[Any]:
    """Swap selected examples for others, stratum by stratum."""
    from adacore.facility.refinement import refined

    # A pass over all candidates for each that is needed, of which nobody knows how many: the bar begins anew with each.
    total = sum(part.candidates.size for part in parts)
    with show_progress("refining", total, REFINING * seconds, progress) as report:
        tried = _summed(report, len(parts))
        return run_strata(
            lambda c, mine: refined(parts[c], outcomes[c], mine, lambda done: tried(c, done)), _work(parts), workers
        )


def _work(parts: Sequence[Problem]) -> NDArray[np.float64]:
    # Work grows with the pairs of candidates and clients.
    return np.array([float(part.candidates.size) * part.clients.size for part in parts])


def _summed(report: Report, strata: int) -> Callable[[int, int], None]:
    """Turn what is done in each stratum into what is done in all."""
    done = np.zeros(strata, np.int64)

    def add(c: int, picks: int) -> None:
        done[c] = picks
        report(int(done.sum()))

    return add


def check_seed(seed: Any) -> np.random.Generator:
    """Check a seed, and make a generator of it.

    Args:
        seed: What was passed: a whole number, a generator, or None for one that nobody knows.

    Returns:
        The generator.

    Raises:
        ValueError: If it is negative.
        TypeError: If it is neither.
    """
    try:
        return np.random.default_rng(seed)
    except (ValueError, TypeError) as error:
        # numpy's own words are about its SeedSequence.
        raise type(error)(f"seed={shown(seed)}: pass a whole number >= 0, a numpy Generator, or None") from error


def check_tolerance(
    tolerance: float | None, budget: int | None, fraction: float | None, quotas: Any, method: str
) -> float | None:
    """Check the tolerance against the other sizes.

    Args:
        tolerance: What was passed.
        budget: What was passed.
        fraction: What was passed.
        quotas: What was passed.
        method: What was passed.

    Returns:
        The tolerance.

    Raises:
        ValueError: If another size is given too, if it is out of range, or if the method can't keep it.
        TypeError: If it is not a number.
    """
    if tolerance is None:
        return None
    if budget is not None or fraction is not None:
        other = f"budget={budget!r}" if budget is not None else f"fraction={fraction!r}"
        raise ValueError(f"two sizes given, tolerance={tolerance!r} and {other}: pass one of them")
    if quotas != "proportional":
        raise ValueError(f"quotas={quotas!r} share out a budget, and tolerance= has none: pass budget= or fraction=")
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real):
        raise TypeError(f"tolerance={shown(tolerance)} is not a number: pass a float >= 0")
    if not 0 <= tolerance <= sys.float_info.max:  # nan is not >= 0
        raise ValueError(f"tolerance={shown(tolerance)} is no finite number >= 0: pass one, in the units of distances")
    if method != "exact":
        raise ValueError(f"tolerance= needs method='exact', not {method!r}: pass budget= or fraction= with that")
    return float(tolerance)


def _warn_of_hours(seconds: float) -> None:
    """Say beforehand that an exact selection will take long, and what does not."""
    warnings.warn(
        f"exact selection is predicted to take about {seconds / 3600:.0f} hours (adacore.facility.plan): "
        "method='sampled' takes minutes, for an L(S) that was 1.4 % larger at n = 100,000",
        stacklevel=3,
    )


def _check_served(parts: Sequence[Problem], budgets: NDArray[np.int64], strata: Strata) -> None:
    """Refuse strata in which nothing is selected, before or now: their L would be infinite."""
    for part, budget, name in zip(parts, budgets, strata.names.tolist(), strict=True):
        if budget == 0 and not part.initial.size:
            why = "has no candidate" if not part.candidates.size else "gets none"
            raise ValueError(
                f"label {name!r} {why}, and nothing in initial=: nobody would serve it; give it at least one"
            )


def _initial(problem: Problem, parts: Sequence[Problem], coresets: Sequence[Coreset]) -> NDArray[np.float64]:
    """Put the weights of the initial rows of all strata into the caller's order."""
    weight_of = np.zeros(problem.rows.shape[0])
    for part, coreset in zip(parts, coresets, strict=True):
        if coreset.initial_weights is not None:
            weight_of[part.initial] = coreset.initial_weights
    return weight_of[problem.initial]
