"""How much memory a selection takes: blocks that fit caches, lists that fit what is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from adacore.facility.products.eight_bits import eight_bits_suit

BLOCK = 512
"""Rows and columns of a block of products on a CPU: 1 MiB of float32, which stays in a core's cache between the product
and the pass over it; at 256 the product is 5 % slower, at 1,024 the pass waits for memory."""

ENTRY_BYTES, LONG_ENTRY_BYTES = 4, 6
"""A client (uint16, or int32 where there are over 65,536) and a lower bound on its distance (uint16)."""

PENDING = 1.4
"""While lists are written, at most a quarter of all entries wait for their candidate's turn: of candidates after block
f and clients before it there are f (1 - f) of all. Beside its entries a list that waits has 4 bytes, its candidate and
its length: as much again where it has a single entry, a twelfth of it on 20,000 x 64 Gaussian rows."""

LEAST_BYTES = 128 << 20
"""Up to this much is taken whatever the size of the rows: other libraries' matrices would take more from n = 4,000
on."""

COPIES = 2.8
"""Beyond that, in all, so many times the rows in float32: copies that are multiplied, lists and what is O(n)."""

SHARE_OF_FREE = 0.5
"""Of what is free, at most this share is taken."""

BLOCKS_BYTES = 16 << 20
"""Blocks of products, what is found in them, and exact lists."""

SHARE_AFTER_ONE = 0.15
"""Share of all pairs in the lists after the first pick: 13 to 15 % on text embeddings. Where it fits, one pass over
half of the pairs is all. Where less does, some 2 % of all pairs over the share that fits are multiplied besides:
30,000 text embeddings, of whose pairs 1.6 % fit, took 2.2 passes."""

ROW_BYTES = 96
"""Minima, owners, bounds, norms and the heap, for each row."""


def free_bytes(device: torch.device) -> int:
    """Look how much memory is free.

    Args:
        device: Where.

    Returns:
        Bytes; on a CPU those of the machine, or of the control group where that allows less.
    """
    # What torch keeps in its cache and nobody uses is free as well.
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + int(
            torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        )
    free = 8 << 30
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        # In a container the machine's free memory is not this process's: going beyond would get it killed.
        free = min(free, int(limit) - used) if limit != "max" else free
    except (OSError, KeyError, ValueError):  # no Linux, or no such control group
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free = min(free, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(free, 0)


def list_capacity(n: int, d: int, free: int) -> int:
    """Decide how many entries all lists may have.

    Args:
        n: Rows.
        d: Dimensions.
        free: Bytes that are free.

    Returns:
        The number.

    Example:
        >>> list_capacity(30_000, 384, 16 << 30) * 4 < 2 * 30_000 * 384 * 4
        True
    """
    # The copies are taken first; lists get what remains of the allowance.
    most = min(_most_bytes(n, d) - _copies_bytes(n, d) - ROW_BYTES * n, SHARE_OF_FREE * free)
    return max(0, int(most / (PENDING * (ENTRY_BYTES if n <= 1 << 16 else LONG_ENTRY_BYTES))))


def planned_bytes(n: int, d: int) -> int:
    """Predict the peak memory of a selection beyond its input, at most.

    Args:
        n: Rows.
        d: Dimensions.

    Returns:
        Bytes: the copies in single precision and in 8 bits, lists as long as allowed or as all pairs, O(n), and the
        threads' blocks.

    Example:
        >>> planned_bytes(30_000, 384) < 3 * 4 * 30_000 * 384 + 20_000_000
        True
    """
    every_pair = _copies_bytes(n, d) + ROW_BYTES * n + int(PENDING * LONG_ENTRY_BYTES * n * n)
    return min(_most_bytes(n, d), every_pair) + BLOCKS_BYTES


def _copies_bytes(n: int, d: int) -> int:
    """Count the bytes of the rows in single precision, and in 8 bits where those are used."""
    return (5 if eight_bits_suit(d) else 4) * n * d


def _most_bytes(n: int, d: int) -> int:
    """Say how much a selection may take beyond its input, blocks aside."""
    return max(LEAST_BYTES, int(COPIES * 4 * n * d))


def planned_passes(n: int, d: int) -> float:
    """Predict how often all pairs are multiplied: half of them once where lists fit at once, else several times.

    Args:
        n: Rows.
        d: Dimensions.
    """
    share = list_capacity(n, d, free_bytes(torch.device("cpu"))) / n**2
    return 0.5 if share > SHARE_AFTER_ONE else min(5.0, 1.0 + 0.02 / share)
