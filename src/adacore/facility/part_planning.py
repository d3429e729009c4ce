"""How rows are cut into parts and merges, and what a selection in parts will cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real

from adacore.errors import shown
from adacore.facility.costs import Plan, exact_cost

MEMORY = 2_000_000_000
"""Bytes that a worker may take, libraries included, unless ``memory=`` says otherwise: what a core has on most
machines. Parts, merges and pieces to serve are then bounded by their time, except beyond some 1,000 dimensions."""

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
are opened and decoded less often than in the small parts that choose; what a killed worker has to do again stays
small."""

SERVE_NANOSECONDS, SERVE_NANOSECONDS_PER_DIMENSION = 2.6, 0.05
"""Of one core for a row and a pick when rows are served: 3.1 ns at d = 10, 6.5 ns at d = 64 and 20 ns at d = 384 (one
core of an AMD EPYC; docs/records/scale.json)."""

READ_NANOSECONDS = 4.0
"""To read one number of a Parquet file: 0.04 s for 1,000,000 x 10, of which a part may need only some rows."""

WORKER_BYTES = 500_000_000
"""A process that has loaded torch, numba, pyarrow and Ray, before it reads anything: 480 to 500 MB resident, of which
200 MB are code that all processes of a machine share."""

READING_BYTES = 90_000_000
"""Beside the rows: what Arrow decodes at a time (some 30 MB, see ``labelling.parquet.COLUMNS_AT_ONCE``), and what the C
library keeps of freed memory between two parts."""

CHOOSING_COPIES, MERGING_COPIES, SERVING_COPIES = 2, 5, 1.3
"""How often the rows are held in float64, beside what ``exact_cost`` says of the engine: as they were read, and scaled
while the engine makes its own copy; when merging, also as the several files held them, and a file while it is read;
when serving, piece by piece, as they were read and a flag for each number, whether it is finite. A merge of 2,200 x
5,000 picks took 530 MB beside the libraries, six times the rows, the engine's copy included."""

SERVING_BYTES, SERVED_ROW_BYTES = 80_000_000, 200
"""Of the pieces in which rows are served (``partitioned.PIECE_BYTES``) with their products; and of a row, whatever its
width: its stratum as a text, its weight, its owner and its distance."""


@dataclass(frozen=True)
class PartsPlan(Plan):
    """Predicted cost of a selection in parts.

    Attributes:
        seconds: Wall-clock seconds on all workers together, within a factor of about three, where nothing else uses
            their cores and reading keeps up.
        bytes: Memory of one worker at its peak, libraries included, at most; within ``memory`` where parts follow it.
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


def _greedy_bytes(copies: float, m: int, d: int, k: int) -> int:
    """Predict the memory of a worker that chooses k of m rows which it holds several times, libraries included."""
    engine = exact_cost(m, d, min(k, m)).bytes
    return int(WORKER_BYTES + READING_BYTES + copies * 8 * m * d + engine)


choosing_bytes = partial(_greedy_bytes, CHOOSING_COPIES)
"""Memory of a worker that chooses k of the m rows of a part, each of d features, at most."""

merging_bytes = partial(_greedy_bytes, MERGING_COPIES)
"""Memory of a worker that merges m picks into k, at most."""


def serving_bytes(m: int, d: int, k: int) -> int:
    """Predict the memory of a worker that serves rows, libraries included, at most.

    Args:
        m: Rows that are served.
        d: Number of features.
        k: How many serve.
    """
    # The picks: as they were sent, and beside each piece.
    picks = 3 * 8 * k * d
    return int(WORKER_BYTES + READING_BYTES + SERVING_BYTES + picks + m * (SERVING_COPIES * 8 * d + SERVED_ROW_BYTES))


def _most_rows(bytes_of: Callable[[int, int, int], int], d: int, k: int, memory: int, most: int) -> int:
    """Find the most rows whose work fits into the memory, in [0, most]; it grows with them."""
    low, high = 0, most + 1  # bytes_of(low) fits, bytes_of(high) need not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_of(middle, d, k) <= memory else (low, middle)
    return low


def least_memory(d: int, k: int) -> int:
    """Say what a worker needs at least: to merge two parts' picks, and to serve a row.

    Args:
        d: Number of features.
        k: How many are chosen.

    Returns:
        Bytes.

    Example:
        >>> least_memory(10, 1_000) < 700_000_000
        True
    """
    return max(merging_bytes(2 * k, d, k), serving_bytes(1, d, k))


def check_memory(memory: int | None, d: int, k: int) -> int:
    """Check what a worker may take.

    Args:
        memory: Bytes; None for ``MEMORY``, or more where the picks need it.
        d: Number of features.
        k: How many are chosen.

    Returns:
        The bytes.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is too little for the picks of two parts.
    """
    least = least_memory(d, k)
    if memory is None:
        return max(MEMORY, least)
    if isinstance(memory, bool) or not isinstance(memory, Real):
        raise TypeError(f"memory={shown(memory)} is no number: pass how many bytes a worker may take, such as 1e9")
    if memory < least:
        raise ValueError(
            f"memory={memory:,.0f} bytes are too few: beside {WORKER_BYTES / 1e6:,.0f} MB of libraries a worker holds "
            f"{k:,} picks of {d:,} features of two parts, to merge them; pass at least {least:,}, or a smaller budget"
        )
    return int(memory)


def rows_of_part(d: int, k: int, memory: int | None = None) -> int:
    """Say how many rows a part has at most.

    Args:
        d: Number of features.
        k: How many rows each part chooses.
        memory: Bytes that a worker may take; None for ``MEMORY``.

    Returns:
        ``PART_ROWS``, or ``ROWS_PER_PICK`` for each pick if that is more, within the memory.

    Example:
        >>> rows_of_part(10, 1_000), rows_of_part(384, 10_000), rows_of_part(384, 10_000, memory=1_100_000_000)
        (10000, 50000, 47221)
    """
    memory = check_memory(memory, d, k)
    return max(1, _most_rows(choosing_bytes, d, k, memory, max(PART_ROWS, ROWS_PER_PICK * k)))


def rows_to_serve(d: int, k: int, memory: int | None = None) -> int:
    """Say how many rows a part has at most when its rows are served by k picks.

    Args:
        d: Number of features.
        k: How many rows serve.
        memory: Bytes that a worker may take; None for ``MEMORY``.

    Returns:
        As many as make ``SERVED_PAIRS`` with the picks, within ``SERVED_BYTES`` and the memory.

    Example:
        >>> rows_to_serve(10, 1_000)
        419430
    """
    memory = max(MEMORY, serving_bytes(1, d, k)) if memory is None else memory
    most = max(1, min(SERVED_BYTES // (8 * max(1, d)), SERVED_PAIRS // max(1, k)))
    return max(1, _most_rows(serving_bytes, d, k, memory, most))


def merge_groups(parts: int, d: int, k: int, memory: int | None = None) -> list[list[int]]:
    """Say which parts are merged together: consecutive ones.

    Args:
        parts: How many there are.
        d: Number of features.
        k: Rows that each chose, at most.
        memory: Bytes that a worker may take; None for ``MEMORY``.

    Returns:
        Numbers of the parts of each group; several groups are merged again.

    Example:
        >>> merge_groups(7, d=10, k=20_000)
        [[0, 1, 2, 3, 4], [5, 6]]
    """
    memory = check_memory(memory, d, k)
    fitting = _most_rows(merging_bytes, d, k, memory, max(LEAST_MERGED * k, MERGED_ROWS))
    # Two at least, for the tree to end; consecutive ones, so that the answer depends on the files' order alone.
    size = max(2, min(fitting // k, max(LEAST_MERGED, MERGED_ROWS // k)))
    return [list(range(first, min(first + size, parts))) for first in range(0, parts, size)]


def plan_parts(
    n: int, d: int, k: int, parts: int | None = None, workers: int | None = None, memory: int | None = None
) -> PartsPlan:
    """Predict what a selection in parts costs.

    Args:
        n: Number of rows.
        d: Number of features.
        k: How many to select, in [1, n].
        parts: How many parts of equal size; None for parts of ``rows_of_part`` rows.
        workers: How many, of one core each; None for this machine's cores.
        memory: Bytes that each may take; None for ``MEMORY``.

    Returns:
        The prediction.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> found = plan_parts(10_000_000, 10, 1_000, workers=2)
        >>> found.parts, found.merges, found.bytes < 2e9
        (1000, (34, 2, 1), True)
    """
    size = rows_of_part(d, k, memory) if parts is None else -(-n // max(1, parts))
    if parts is not None and not 1 <= parts <= n:
        raise ValueError(f"parts={parts} is out of range: expected 1 to n={n}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} is below 1: pass how many processes there are")
    count = -(-n // size)
    one = exact_cost(size, d, min(k, size))
    # Greedy on one thread: each worker has one core. ``exact_cost`` divides by the threads of this process.
    choosing = count * (one.seconds * one.threads + 2 * READ_NANOSECONDS * 1e-9 * size * d)
    levels, merging, most = [], 0.0, choosing_bytes(size, d, k)
    left, picks = count, min(k, size)
    moved = 0
    # The first level merges what parts chose; where there is one part alone, nothing is merged.
    while left > 1:
        moved += left * picks * d * 8
        groups = merge_groups(left, d, k, memory)
        rows = min(left, len(groups[0])) * picks
        merge = exact_cost(rows, d, min(k, rows))
        merging += left / len(groups[0]) * merge.seconds * merge.threads
        most = max(most, merging_bytes(rows, d, k))
        levels.append(len(groups))
        left, picks = len(groups), min(k, rows)
    pair = (SERVE_NANOSECONDS + SERVE_NANOSECONDS_PER_DIMENSION * d) * 1e-9
    serving = n * (min(k, n) * pair + READ_NANOSECONDS * 1e-9 * d)
    hands = one.threads if workers is None else workers
    most = max(most, serving_bytes(min(n, rows_to_serve(d, k, memory)), d, k))
    return PartsPlan(
        # The last merge is one worker's: nobody can help it.
        seconds=(choosing + serving) / min(hands, count) + max(merging / hands, merging / max(1, sum(levels))),
        bytes=most,
        threads=hands,
        parts=count,
        part_rows=size,
        merges=tuple(levels),
        choosing_seconds=choosing,
        merging_seconds=merging,
        serving_seconds=serving,
        work_bytes=int(moved),
    )
