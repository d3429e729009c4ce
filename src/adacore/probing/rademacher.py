"""Random signs that belong to an example: the same whichever batch or process it is measured in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, odd: its multiples modulo 2^64 are all different and far from one another."""


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit numbers: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), a bijection.

    Every bit of the input flips every bit of the output with a probability of about a half. Overflow is meant:
    products are modulo 2^64.
    """
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def streams_of(key: int, examples: NDArray[np.int64], places: NDArray[np.int64] | int = 0) -> NDArray[np.uint64]:
    """Name a stream of random bits for each row, by what the row is and not by when it is measured.

    Numbers from one generator, drawn row after row, would depend on how many rows came before: with tokens that do not
    count, or examples that another process measures, that is not known.

    Args:
        key: Tells one reselection from another, in [0, 2^64).
        examples: The example of each row, int64, shape (rows,).
        places: The place of each row within its example (of a token), int64, shape (rows,).

    Returns:
        uint64, shape (rows,).
    """
    first = _mix(np.uint64(key) + np.asarray(examples).astype(np.uint64) * _STEP)
    return _mix(first + np.asarray(places).astype(np.uint64) * _STEP)


def signs(streams: NDArray[np.uint64], samples: int, dimension: int) -> NDArray[np.int8]:
    """Draw Rademacher vectors: independent entries, 1 or -1 with a probability of a half each.

    Args:
        streams: One for each row, see ``streams_of``.
        samples: Vectors for each row.
        dimension: d, entries of a vector.

    Returns:
        int8, shape (samples, rows, d).

    Example:
        >>> vectors = signs(streams_of(0, np.arange(1000)), 2, 70)
        >>> vectors.shape, bool(abs(vectors.mean()) < 0.01)
        ((2, 1000, 70), True)
        >>> np.array_equal(vectors[:, 7:9], signs(streams_of(0, np.array([7, 8])), 2, 70))
        True
    """
    words = -(-dimension // 64)  # of 64 bits each, for one vector
    counters = np.arange(1, samples * words + 1, dtype=np.uint64).reshape(samples, 1, words) * _STEP
    # Little-endian, so that the bits come in the same order on every machine.
    bits = _mix(streams[:, None] + counters).astype("<u8").view(np.uint8)
    return np.asarray(2 * np.unpackbits(bits, axis=2, count=dimension).view(np.int8) - 1)
