"""plan: what a selection will cost, before anyone waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Literal, overload

from adacore.errors import shown
from adacore.facility.costs import Plan, exact_cost
from adacore.facility.part_planning import PartsPlan, plan_parts
from adacore.facility.problem import Problem
from adacore.facility.threads import thread_count


@overload
def plan(n: int, d: int, k: int, *, parts: None = None, workers: None = None, memory: None = None) -> Plan: ...
@overload
def plan(
    n: int, d: int, k: int, *, parts: int | Literal["auto"], workers: int | None = None, memory: int | None = None
) -> PartsPlan: ...
def plan(
    n: int,
    d: int,
    k: int,
    *,
    parts: int | Literal["auto"] | None = None,
    workers: int | None = None,
    memory: int | None = None,
) -> Plan | PartsPlan:
    """Predict what selection of k among n points in d dimensions costs.

    Without ``parts``: exact selection on this machine's cores. With it: the selection in parts of
    ``adacore.integrations.ray``, whose plan names parts, merges and the seconds of each stage as well.

    Args:
        n: Number of points.
        d: Number of dimensions.
        k: How many to select, in [1, n].
        parts: How many parts, or ``"auto"`` for the number that ``adacore.integrations.ray`` would make.
        workers: With ``parts``, how many processes of one core each; None for this machine's cores.
        memory: With ``parts``, bytes that each of them may take, libraries included, as
            ``adacore.integrations.ray.facility_location`` takes it; None for 2 GB.

    Returns:
        The prediction.

    Raises:
        ValueError: If a number is out of range, or ``workers`` or ``memory`` is given without ``parts``.
        TypeError: If one is not whole.

    Example:
        >>> plan(50_000, 10, 5_000).bytes < 200e6
        True
        >>> plan(10_000_000, 10, 1_000, parts="auto", workers=2).parts
        1000
    """
    for name, value in (("n", n), ("d", d), ("k", k)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}={shown(value)} is not a whole number: pass an int >= 1")
        if value < 1:
            raise ValueError(f"{name}={shown(value)} is below 1: pass an int >= 1")
    if k > n:
        raise ValueError(f"k={k} exceeds n={n}: choose at most as many as there are rows")
    n, d, k = int(n), int(d), int(k)
    if parts is not None:
        return plan_parts(n, d, k, None if parts == "auto" else parts, workers, memory)
    if workers is not None or memory is not None:
        given = f"memory={memory}" if workers is None else f"workers={workers}"
        raise ValueError(f"{given} without parts: pass parts='auto', or a number of them")
    return exact_cost(n, d, k)


def plan_strata(parts: Sequence[Problem], budgets: Sequence[int]) -> Plan:
    """Predict what exact selection costs in several strata of the same rows, or in one.

    Args:
        parts: The problem of each stratum.
        budgets: How many to select in each.

    Returns:
        The seconds of all, the bytes of the largest: of dense rows as ``exact_cost`` gives them, of sparse ones
        from the columns that two rows share.
    """
    sizes = [max(part.clients.size, part.candidates.size) for part in parts]
    if parts[0].sparse:
        from adacore.facility.sparse.planning import plan_sparse  # here, for it loads torch: 1 s

        return plan_sparse(parts[0].rows, [n for n, k in zip(sizes, budgets, strict=True) if k], thread_count())
    plans = [exact_cost(n, parts[0].d, min(int(k), n)) for n, k in zip(sizes, budgets, strict=True) if k]
    seconds, most = sum(p.seconds for p in plans), max((p.bytes for p in plans), default=0)
    return Plan(seconds, most, thread_count())
