"""What a selection among sparse rows will cost."""

from __future__ import annotations

import numpy as np

from adacore.facility.planning import Plan
from adacore.facility.problem import Problem
from adacore.facility.products.memory import BLOCKS_BYTES, COPIES, LEAST_BYTES, ROW_BYTES
from adacore.facility.sparse.compressed import CompressedRows

PASSES = 4.0
"""Over all pairs: sums for the medoid, first gains, lists, and as much again for what is bounded anew in between."""

PAIR_NANOSECONDS, COMMON_NANOSECONDS, ENTRY_NANOSECONDS = 0.8, 1.2, 0.002
"""Of one core: a pair's root, comparison and sums; each column that the two share; and each entry of the candidate,
which is looked up once for every 16,384 clients."""

ENTRY_BYTES = 48
"""Of each entry, at most: the copy with renumbered columns, that in single precision, and the one column by column,
with what renumbering and taking rows need for a while."""


def plan_sparse(problem: Problem, n: int, threads: int) -> Plan:
    """Predict what exact selection costs on a problem with sparse rows.

    Args:
        problem: The problem.
        n: Clients or candidates, whichever are more.
        threads: On how many threads.

    Returns:
        The prediction.
    """
    assert isinstance(problem.rows, CompressedRows)
    rows, share = problem.rows, n / problem.rows.shape[0]
    # sum_k (c_k / n)^2 columns are shared by two rows on average, c_k being the rows that have an entry in column k.
    common = float(np.square(np.bincount(rows.columns) / rows.shape[0]).sum())
    pair = PAIR_NANOSECONDS + COMMON_NANOSECONDS * common + ENTRY_NANOSECONDS * rows.mean_entries
    allowed = max(LEAST_BYTES, COPIES * rows.nbytes * share)
    return Plan(
        seconds=PASSES * n * n * pair * 1e-9 / threads + 1e-5 * n,
        bytes=int(ENTRY_BYTES * rows.values.size + 16 * rows.width + ROW_BYTES * n + allowed + BLOCKS_BYTES),
        threads=threads,
    )
