"""What a selection among sparse rows will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adacore.facility.costs import Plan
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


def plan_sparse(rows: Any, sizes: Sequence[int], threads: int) -> Plan:
    """Predict what exact selection costs among sparse rows.

    Args:
        rows: All rows, compressed.
        sizes: Clients or candidates of each stratum, whichever are more.
        threads: On how many threads.

    Returns:
        The seconds of all strata, the bytes of the largest.
    """
    assert isinstance(rows, CompressedRows)
    # Once for all strata: sum_k (c_k / n)^2 columns are shared by two rows on average, c_k being the rows that have an
    # entry in column k.
    common = float(np.square(np.bincount(rows.columns, minlength=1) / rows.shape[0]).sum())
    pair = PAIR_NANOSECONDS + COMMON_NANOSECONDS * common + ENTRY_NANOSECONDS * rows.mean_entries
    n = max(sizes, default=0)
    lists = max(LEAST_BYTES, int(COPIES * rows.nbytes * n / rows.shape[0]))
    return Plan(
        seconds=PASSES * sum(float(m) * m for m in sizes) * pair * 1e-9 / threads + 1e-5 * sum(sizes),
        bytes=int(ENTRY_BYTES * rows.values.size + 16 * rows.width + ROW_BYTES * n + lists + BLOCKS_BYTES),
        threads=threads,
    )
