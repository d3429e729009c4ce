"""How many examples to select, in all and in each class."""

import heapq
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from adacore.errors import shown

_counted_by_caller: ContextVar[bool] = ContextVar("counted_by_caller", default=False)


@contextmanager
def counted_by_caller() -> Iterator[None]:
    """Let selections in this block, on this thread, not warn of few examples: the caller counts what they add up to.

    One class of many copies is no cause for alarm where all classes together hold what was asked for; and who warns of
    all of them must not be one of two.
    """
    token = _counted_by_caller.set(True)
    try:
        yield
    finally:
        _counted_by_caller.reset(token)


def warn_of_few(name: str, selected: int, asked: int, why: str, *, stacklevel: int) -> None:
    """Warn of a selection that holds fewer than half of the examples asked for.

    Args:
        name: Who selected.
        selected: How many.
        asked: How many were asked for.
        why: Why there are no more, and what to do.
        stacklevel: Of the warning, counted from the caller.
    """
    # Below half only: a few duplicates are common, and no cause for alarm.
    if 2 * selected < asked and not _counted_by_caller.get():
        message = f"{name} selected {selected} examples where {asked} were asked for: {why}"
        warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)


def resolve_budget(n: int, *, budget: int | None = None, fraction: float | None = None) -> int:
    """Turn a budget or a fraction into a number of examples.

    ``budget = max(1, round(fraction * n))``.

    Args:
        n: Number of examples to choose from, at least 1.
        budget: How many to select, in [1, n].
        fraction: Share of the examples to select, in (0, 1].

    Returns:
        The budget, in [1, n].

    Raises:
        ValueError: If n is 0, if both or neither are given, or if one is out of range.
        TypeError: If one is not a number.

    Example:
        >>> resolve_budget(1000, fraction=0.1)
        100
    """
    if n < 1:
        raise ValueError("there are no examples to select from: the data is empty; pass at least one row")
    # Which of two contradicting sizes was meant is not for a library to guess.
    if budget is not None and fraction is not None:
        raise ValueError(f"two sizes given, budget={budget!r} and fraction={fraction!r}: pass one of them")
    if budget is not None:
        if isinstance(budget, bool) or not isinstance(budget, Integral):
            raise TypeError(f"budget={shown(budget)} is not a whole number: pass an int in [1, {n}], or fraction=")
        if not 1 <= budget <= n:
            raise ValueError(f"budget={shown(budget)} is outside [1, {n}], the number of examples: choose one within")
        return int(budget)
    if fraction is None:
        raise ValueError("no size given: pass budget= (a number of examples) or fraction= (a share in (0, 1])")
    if isinstance(fraction, bool) or not isinstance(fraction, Real):
        raise TypeError(f"fraction={shown(fraction)} is not a number: pass a float in (0, 1]")
    if not 0 < fraction <= 1:  # nan, infinite and huge numbers too
        raise ValueError(f"fraction={shown(fraction)} is outside (0, 1]: pass for example 0.1 for 10 %")
    # At least one: a coreset of nothing cannot be trained on, and 0.1 of 3 rows is 0.
    return max(1, round(float(fraction) * n))


def split_budget(
    counts: NDArray[np.integer], budget: int, *, available: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Share a budget among strata (classes) in proportion to their sizes.

    Largest remainders, ties to the lower stratum; at least one for every stratum that has examples, at most as many as
    may be selected there; none for a stratum without any.

    Args:
        counts: Examples in each stratum, shape (strata,).
        budget: How many to select in all.
        available: How many may be selected in each stratum, shape (strata,); ``counts`` if None.

    Returns:
        Budget of each stratum, int64, shape (strata,), summing to ``min(budget, sum(available))``.

    Raises:
        ValueError: If the budget is below the number of strata in which something may be selected.

    Example:
        >>> split_budget(np.array([90, 9, 0, 1]), 10)
        array([8, 1, 0, 1])
        >>> split_budget(np.array([90, 10]), 10, available=np.array([5, 10]))
        array([5, 5])
    """
    counts = np.asarray(counts, dtype=np.int64)
    most = counts if available is None else np.asarray(available, dtype=np.int64)
    # Open strata take part in the division; one that is full, or has nothing to select, is closed.
    open_ = (counts > 0) & (most > 0)
    if budget < open_.sum():
        raise ValueError(
            f"budget={budget} is below the number of classes that have examples, {int(open_.sum())}: "
            "every class needs at least one; raise the budget"
        )
    shares = np.zeros(counts.size, dtype=np.int64)
    left = min(int(budget), int(most[open_].sum()))
    # Each round closes a stratum at least, or ends: as many rounds as there are strata at most.
    while open_.any():
        some = np.flatnonzero(open_)
        # As Python's integers, which do not overflow: budget * count is compared exactly.
        found = _in_proportion(counts[some].tolist(), left)
        full = found > most[some]
        shares[some] = np.minimum(found, most[some])
        if not full.any():
            break
        # What a stratum can't take goes to the others, in proportion again.
        left -= int(most[some[full]].sum())
        open_[some[full]] = False
    return shares


def _in_proportion(counts: list[int], budget: int) -> NDArray[np.int64]:
    """Share by largest remainders, at least one each, ``budget`` being at least the number of counts."""
    total = sum(counts)
    due = [budget * count for count in counts]  # in units of 1 / total, so that no rounding decides a tie
    shares = [max(1, value // total) for value in due]
    raised = [value < total for value in due]
    surplus = budget - sum(shares)
    if surplus > 0:
        # Those that were raised to one have more than their due already.
        by_remainder = sorted((c for c in range(len(due)) if not raised[c]), key=lambda c: (-(due[c] % total), c))
        for c in by_remainder[:surplus]:
            shares[c] += 1
    elif surplus < 0:
        # Raising small strata to one overdrew the budget: take from where the share exceeds its due the most. The heap
        # is ordered by due - share and then by -c: of equals the higher stratum gives, as ties go to the lower.
        over = [(due[c] - share * total, -c) for c, share in enumerate(shares) if share > 1]
        heapq.heapify(over)
        for _ in range(-surplus):
            missing, c = heapq.heappop(over)
            shares[-c] -= 1
            if shares[-c] > 1:
                heapq.heappush(over, (missing + total, c))
    return np.array(shares, dtype=np.int64)
