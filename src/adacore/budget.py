"""How many examples to select, in all and in each class."""

import math
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray


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
    if budget is not None and fraction is not None:
        raise ValueError(f"two sizes given, budget={budget!r} and fraction={fraction!r}: pass one of them")
    if budget is not None:
        if isinstance(budget, bool) or not isinstance(budget, Integral):
            raise TypeError(f"budget={budget!r} is not a whole number: pass an int in [1, {n}], or fraction=")
        if not 1 <= budget <= n:
            raise ValueError(f"budget={budget} is outside [1, {n}], the number of examples: choose one within")
        return int(budget)
    if fraction is None:
        raise ValueError("no size given: pass budget= (a number of examples) or fraction= (a share in (0, 1])")
    if isinstance(fraction, bool) or not isinstance(fraction, Real):
        raise TypeError(f"fraction={fraction!r} is not a number: pass a float in (0, 1]")
    if not (math.isfinite(fraction) and 0 < fraction <= 1):
        raise ValueError(f"fraction={fraction} is outside (0, 1]: pass for example 0.1 for 10 %")
    return max(1, round(float(fraction) * n))


def split_budget(counts: NDArray[np.integer], budget: int) -> NDArray[np.int64]:
    """Share a budget among classes in proportion to their sizes.

    Largest remainders, ties to the lower class; at least one for every class that has examples, at most its size; none
    for a class without any.

    Args:
        counts: Examples in each class, shape (classes,).
        budget: How many to select in all.

    Returns:
        Budget of each class, int64, shape (classes,), summing to ``min(budget, sum(counts))``.

    Raises:
        ValueError: If the budget is below the number of classes that have examples.

    Example:
        >>> split_budget(np.array([90, 9, 0, 1]), 10)
        array([8, 1, 0, 1])
    """
    counts = np.asarray(counts, dtype=np.int64)
    filled = counts > 0
    if budget < filled.sum():
        raise ValueError(
            f"budget={budget} is below the number of classes that have examples, {int(filled.sum())}: "
            "every class needs at least one; raise the budget"
        )
    total = int(counts.sum())
    budget = min(int(budget), total)
    exact = [budget * int(count) for count in counts]  # in units of 1 / total, so that no rounding decides a tie
    shares = np.array([value // total for value in exact], dtype=np.int64)
    remainders = np.array([value % total for value in exact], dtype=np.int64)
    short = filled & (shares == 0)
    shares[short] = 1
    remainders[short] = -1
    surplus = budget - int(shares.sum())
    if surplus > 0:
        shares[np.argsort(-remainders, kind="stable")[:surplus]] += 1
    while surplus < 0:
        # Raising small classes to one overdrew the budget: take from where the share exceeds its due the most.
        due = np.array(
            [share * total - value for share, value in zip(shares.tolist(), exact, strict=True)], dtype=object
        )
        shares[max(np.flatnonzero(shares > 1), key=lambda c: (due[c], c))] -= 1
        surplus += 1
    return shares
