"""What exact selection costs on one machine: seconds and bytes as functions of n, d and k."""

from __future__ import annotations

from dataclasses import dataclass

from adacore.facility.problem import Problem
from adacore.facility.threads import thread_count

PASSES = 2.0
"""Distances of an exact selection over n^2: 1.7 to 2.1 on softmax gradients of 5,000 to 80,000 rows (the curve in
docs/benchmarks.md); up to 6 with heavy tails, less than 1 in clusters."""

NANOSECONDS, NANOSECONDS_PER_DIMENSION = 0.5, 0.07
"""Of one core for a float32 distance, its root and its share of bounds: 1.2 ns at d = 10, 5 ns at d = 64, fitted on 2
cores of an AMD EPYC with AVX-512."""

ENTRIES_PER_POINT = 200
LEAST_ENTRIES, MOST_ENTRIES = 12_000_000, 64_000_000
"""Lists hold n^2 / picks entries or so: 200 for each client fit from n / 200 picks on. Small problems may take 144 MB,
so that lists come early; beyond 768 MB they would no longer be a small part of a machine's memory."""

ENTRY_BYTES = 12
"""A position (int32) and a distance (float64)."""

BYTES_PER_POINT = 200
"""Order, factor, weight, owner, minima, bounds and reaches of a row, and the queue of candidates."""

LEAST_DIMENSIONS = 12
"""From here on blocks of products win over the tree: at n = 30,000 by 1.6 to 2 x at d = 16 and by 2 to 3 x at d = 32 on
Gaussian rows, softmax gradients and projected text embeddings alike; at d = 10 each wins on some."""

PRODUCT_NANOSECONDS, PRODUCT_NANOSECONDS_PER_DIMENSION = 0.5, 0.022
"""A pair's root, comparison and sums, and two operations for each dimension at 90 GFLOP/s (one core of an AMD EPYC)."""

CODE_NANOSECONDS_PER_DIMENSION = 0.009
"""The same in 8 bits where the processor has them, and some products in single precision after all: 30,000 x 384 took
9.5 CPU seconds for 19."""


def list_entries(clients: int, candidates: int) -> int:
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
        bytes: Peak memory beyond the input, at most: a float32 copy of the rows (two where the input is neither float32
            nor float64 and C-contiguous, which is copied once), lists, and O(n).
        threads: On how many threads.
    """

    seconds: float
    bytes: int
    threads: int


def exact_cost(n: int, d: int, k: int) -> Plan:
    """Predict what exact selection costs on this machine's cores.

    Args:
        n: Number of rows.
        d: Number of dimensions.
        k: How many to select, in [1, n].

    Returns:
        The prediction.
    """
    threads = thread_count()
    # The question that ``engines.start_greedy`` asks first. It also looks at how many rows of 12 to 32 dimensions lie,
    # which nobody knows from n, d and k: what goes to the tree then is faster than said here.
    if d >= LEAST_DIMENSIONS:
        # Here, for they load torch: 1 s.
        from adacore.facility.products.eight_bits import eight_bits_suit
        from adacore.facility.products.memory import planned_bytes, planned_passes

        dimension = CODE_NANOSECONDS_PER_DIMENSION if eight_bits_suit(d) else PRODUCT_NANOSECONDS_PER_DIMENSION
        product = (PRODUCT_NANOSECONDS + dimension * d) * 1e-9
        return Plan(planned_passes(n, d) * n * n * product / threads + 1e-5 * n, planned_bytes(n, d), threads)
    distance = (NANOSECONDS + NANOSECONDS_PER_DIMENSION * d) * 1e-9
    # The medoid alone: bounds from moments leave few candidates to look at.
    passes = PASSES if k > 1 else 0.1
    lists = min(max(ENTRIES_PER_POINT * n, LEAST_ENTRIES), MOST_ENTRIES, n * n) * ENTRY_BYTES
    return Plan(
        seconds=passes * n * n * distance / threads + 1e-6 * n + 2e-6 * k,
        bytes=int(2 * n * d * 4 + n * BYTES_PER_POINT + lists),
        threads=threads,
    )


def nearest_cost(problem: Problem, others: int, threads: int) -> float:
    """Predict the seconds that distances from all clients to some rows take, as ``assign`` and ``k_center`` need them.

    Args:
        problem: The problem.
        others: How many rows.
        threads: On how many threads.
    """
    # Of sparse rows the entries are multiplied, of dense ones all columns.
    columns = problem.rows.mean_entries if problem.sparse else problem.d  # type: ignore[union-attr]
    pair = (PRODUCT_NANOSECONDS + PRODUCT_NANOSECONDS_PER_DIMENSION * columns) * 1e-9
    return problem.clients.size * others * pair / threads
