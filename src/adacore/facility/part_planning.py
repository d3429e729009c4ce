"""How rows are cut into parts and merges, and what a selection in parts will cost."""

from __future__ import annotations

from dataclasses import dataclass

from adacore.facility.costs import Plan, exact_cost

PART_BYTES = 128 << 20
"""Most bytes of a part's rows in float64. A worker holds a part up to four times (as read, the engine's copy and
state), beside 500 MB of libraries: about 1 GB, so that workers of 2 GB have room."""

PART_ROWS = 10_000
"""Rows of a part, unless its bytes allow fewer or the budget needs more.

Greedy takes time in proportion to the square of a part, so that all parts together take time in proportion to the size
of one. At d = 10 and k = 1,000 a part of 20,000 rows takes 1.15 s of one core, one of 10,000 rows 0.37 s and one of
5,000 rows 0.10 s. Below 10,000 rows, reading the part (0.04 s), Ray and the merges take what greedy saves."""

ROWS_PER_PICK = 5
"""A part has at least so many rows for each pick.

With fewer, merging would be dearer than choosing: where greedy among m rows costs c m^2, n / m parts cost c n m, and
merges of f k rows each, which n k / m picks fill, cost c n k^2 f / m; their sum is least at m = k sqrt(f), with f = 30.
The quality does not depend on it: among 60,000 x 10 rows with k = 500, parts of 40, 20, 10 and 5 rows for each pick
gave an L of 1.010, 1.011, 1.010 and 1.009 times that of exact greedy."""

MERGED_ROWS = 30_000
"""Rows that one merge takes, unless ``LEAST_MERGED`` parts have more. Wider merges lose less, for they see more of the
picks at once, and cost more, in proportion to their width. Of 300,000 x 10 rows in 30 parts, k = 1,000, merges of
20,000 rows gave an L of 744,263 for 1.5 s of one core, merges of 30,000 rows 742,722 for 2.4 s; letting the narrower
ones choose 4 k rows each for the last merge gave 744,591, so that it is the width that counts."""

LEAST_MERGED = 5
"""Parts that are merged together at least, where each has many picks: every level of the tree loses a little, and with
two parts a merge there would be twice as many levels. Of 60,000 x 10 rows in 24 parts, k = 500, two levels of width
five gave an L 0.7 % above that of a single merge."""

SERVED_PAIRS, SERVED_BYTES = 1_000_000_000, 32 << 20
"""Rows of a part times picks, and bytes of its rows in float64, when rows are served: 3 s of one core at d = 10. Files
are opened and decoded less often than in the small parts that choose; what a killed worker has to do again, and what a
worker holds, stays small."""

SERVE_NANOSECONDS, SERVE_NANOSECONDS_PER_DIMENSION = 2.6, 0.05
"""Of one core for a row and a pick when rows are served: 3.1 ns at d = 10, 6.5 ns at d = 64 and 20 ns at d = 384 (one
core of an AMD EPYC; docs/records/scale.json)."""

READ_NANOSECONDS = 4.0
"""To read one number of a Parquet file: 0.04 s for 1,000,000 x 10, of which a part may need only some rows."""

WORKER_BYTES = 500_000_000
"""A process that has loaded torch, numba, pyarrow and Ray, before it reads anything."""


@dataclass(frozen=True)
class PartsPlan(Plan):
    """Predicted cost of a selection in parts.

    Attributes:
        seconds: Wall-clock seconds on all workers together, within a factor of about three, where nothing else uses
            their cores and reading keeps up.
        bytes: Memory of one worker at its peak, libraries included.
        threads: Workers, of one core each.
        parts: How many.
        part_rows: Rows of each, at most.
        merges: How many on each level of the tree, the last being one.
        choosing_seconds: Of one core, for all parts.
        merging_seconds: Of one core, for all merges.
        serving_seconds: Of one core, for all rows.
        work_bytes: What is written to the work folder, and read again by the merges.
    """

    parts: int
    part_rows: int
    merges: tuple[int, ...]
    choosing_seconds: float
    merging_seconds: float
    serving_seconds: float
    work_bytes: int


def rows_of_part(d: int, k: int) -> int:
    """Say how many rows a part has at most.

    Args:
        d: Number of features.
        k: How many rows each part chooses.

    Returns:
        ``PART_ROWS``, or ``ROWS_PER_PICK`` for each pick if that is more, within ``PART_BYTES``.

    Example:
        >>> rows_of_part(10, 1_000), rows_of_part(384, 10_000)
        (10000, 43690)
    """
    return max(1, min(PART_BYTES // (8 * max(1, d)), max(PART_ROWS, ROWS_PER_PICK * k)))


def rows_to_serve(d: int, k: int) -> int:
    """Say how many rows a part has at most when its rows are served by k picks.

    Args:
        d: Number of features.
        k: How many rows serve.

    Returns:
        As many as make ``SERVED_PAIRS`` with the picks, within ``SERVED_BYTES``.

    Example:
        >>> rows_to_serve(10, 1_000)
        419430
    """
    return max(1, min(SERVED_BYTES // (8 * max(1, d)), SERVED_PAIRS // max(1, k)))


def merge_groups(parts: int, budget: int) -> list[list[int]]:
    """Say which parts are merged together: consecutive ones.

    Args:
        parts: How many there are.
        budget: Rows that each chose, at most.

    Returns:
        Numbers of the parts of each group; several groups are merged again.

    Example:
        >>> merge_groups(7, budget=20_000)
        [[0, 1, 2, 3, 4], [5, 6]]
    """
    # Consecutive parts, so that the answer depends on the files' order and on nothing else.
    size = max(LEAST_MERGED, MERGED_ROWS // budget)
    return [list(range(first, min(first + size, parts))) for first in range(0, parts, size)]


def plan_parts(n: int, d: int, k: int, parts: int | None = None, workers: int | None = None) -> PartsPlan:
    """Predict what a selection in parts costs.

    Args:
        n: Number of rows.
        d: Number of features.
        k: How many to select, in [1, n].
        parts: How many parts of equal size; None for parts of ``rows_of_part`` rows.
        workers: How many, of one core each; None for this machine's cores.

    Returns:
        The prediction.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> found = plan_parts(10_000_000, 10, 1_000, workers=2)
        >>> found.parts, found.merges, found.bytes < 2e9
        (1000, (34, 2, 1), True)
    """
    size = rows_of_part(d, k) if parts is None else -(-n // max(1, parts))
    if parts is not None and not 1 <= parts <= n:
        raise ValueError(f"parts={parts} is out of range: expected 1 to n={n}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} is below 1: pass how many processes there are")
    count = -(-n // size)
    one = exact_cost(size, d, min(k, size))
    # Greedy on one thread: each worker has one core. ``exact_cost`` divides by the threads of this process.
    choosing = count * (one.seconds * one.threads + 2 * READ_NANOSECONDS * 1e-9 * size * d)
    levels, merging, bytes_each = [], 0.0, one.bytes
    left, picks = count, min(k, size)
    moved = 0
    # The first level merges what parts chose; where there is one part alone, nothing is merged.
    while left > 1:
        moved += left * picks * d * 8
        groups = merge_groups(left, k)
        rows = min(left, len(groups[0])) * picks
        merge = exact_cost(rows, d, min(k, rows))
        merging += left / len(groups[0]) * merge.seconds * merge.threads
        bytes_each = max(bytes_each, merge.bytes + 2 * rows * d * 8)
        levels.append(len(groups))
        left, picks = len(groups), min(k, rows)
    pair = (SERVE_NANOSECONDS + SERVE_NANOSECONDS_PER_DIMENSION * d) * 1e-9
    serving = n * (min(k, n) * pair + READ_NANOSECONDS * 1e-9 * d)
    hands = one.threads if workers is None else workers
    served = rows_to_serve(d, k) * d * 8
    return PartsPlan(
        # The last merge is one worker's: nobody can help it.
        seconds=(choosing + serving) / min(hands, count) + max(merging / hands, merging / max(1, sum(levels))),
        bytes=int(WORKER_BYTES + max(bytes_each + 2 * size * d * 8, 3 * served)),
        threads=hands,
        parts=count,
        part_rows=size,
        merges=tuple(levels),
        choosing_seconds=choosing,
        merging_seconds=merging,
        serving_seconds=serving,
        work_bytes=int(moved),
    )
