"""plan: what a selection will cost, before anyone waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from adacore.budget import resolve_budget
from adacore.facility.threads import thread_count

PASSES = 2.0
NANOSECONDS = 0.5
NANOSECONDS_PER_DIMENSION = 0.07
ENTRIES_PER_POINT = 200
LEAST_ENTRIES, MOST_ENTRIES = 12_000_000, 64_000_000
ENTRY_BYTES = 12

LEAST_DIMENSIONS = 12
"""From here on blocks of products win over the tree: at n = 30,000 by 1.6 to 2 x at d = 16 and by 2 to 3 x at d = 32 on
Gaussian rows, softmax gradients and projected text embeddings alike; at d = 10 each wins on some."""

PRODUCT_NANOSECONDS, PRODUCT_NANOSECONDS_PER_DIMENSION = 0.5, 0.022
"""A pair's root, comparison and sums, and two operations for each dimension at 90 GFLOP/s (one core of an AMD EPYC)."""


def list_capacity(clients: int, candidates: int) -> int:
    """Say how many entries the lists of who would be served by whom may have in all.

    Args:
        clients: How many clients.
        candidates: How many candidates.

    Returns:
        200 for each client, at least 12 million (144 MB) and at most 64 million (768 MB); but no more than a fortieth
        of all pairs, above which lists are hardly shorter than evaluating everything.
    """
    return min(max(ENTRIES_PER_POINT * clients, LEAST_ENTRIES), MOST_ENTRIES, clients * candidates // 40)


@dataclass(frozen=True)
class Plan:
    """Predicted cost of one exact selection.

    Attributes:
        seconds: Wall-clock seconds, within a factor of about three: data with clusters go faster, isotropic data of
            many dimensions slower.
        bytes: Peak memory beyond the input, at most.
        threads: On how many threads.
    """

    seconds: float
    bytes: int
    threads: int


def plan(n: int, d: int, k: int) -> Plan:
    """Predict what exact selection of k among n points in d dimensions costs on this machine's cores.

    Args:
        n: Number of points.
        d: Number of dimensions.
        k: How many to select, in [1, n].

    Returns:
        The prediction.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> plan(50_000, 10, 5_000).bytes < 200e6
        True
    """
    k = resolve_budget(n, budget=k)
    if d < 1:
        raise ValueError(f"d={d} is below 1: examples need at least one feature")
    threads = thread_count()
    if d >= LEAST_DIMENSIONS:
        from adacore.facility.products.memory import planned_bytes, planned_passes  # here, for it loads torch: 1 s

        product = (PRODUCT_NANOSECONDS + PRODUCT_NANOSECONDS_PER_DIMENSION * d) * 1e-9
        return Plan(planned_passes(n, d) * n * n * product / threads + 1e-5 * n, planned_bytes(n, d), threads)
    distance = (NANOSECONDS + NANOSECONDS_PER_DIMENSION * d) * 1e-9
    passes = PASSES if k > 1 else 0.1
    lists = min(max(ENTRIES_PER_POINT * n, LEAST_ENTRIES), MOST_ENTRIES, n * n) * ENTRY_BYTES
    return Plan(
        seconds=passes * n * n * distance / threads + 1e-6 * n + 2e-6 * k,
        bytes=int(n * d * 20 + n * 140 + lists),
        threads=threads,
    )
