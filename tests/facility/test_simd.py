"""Vector instructions do what loops would do."""

import numba
import numpy as np
import pytest

from adacore.facility.simd import VECTOR, _append_below, append_below


def appending(intrinsic):
    @numba.njit
    def append_all(squares, limits, numbers, kept, before):
        count = before
        for first in range(0, squares.size, VECTOR):
            count = intrinsic(squares, first, limits, first, numbers, kept, count)
        return count

    return append_all


WAYS = {"this machine's": appending(append_below), "one by one": appending(_append_below(compresses=False))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_numbers_below_their_limits_are_appended_in_order(way, share):
    rng = np.random.default_rng(0)
    squares = rng.normal(size=40 * VECTOR).astype(np.float32)
    limits = np.where(rng.random(squares.size) < share, squares + 1, squares).astype(np.float32)
    squares[:3], limits[:3] = np.inf, [np.inf, 1, -1]  # what fills up a block, and a limit before anything is selected
    numbers, kept = np.full(squares.size + 5 + VECTOR, 9, np.uint16), np.full(squares.size + 5 + VECTOR, 9, np.float32)
    count = WAYS[way](squares, limits, numbers, kept, 5)
    below = np.flatnonzero(squares < limits)
    assert count == 5 + below.size
    assert (numbers[:5] == 9).all()
    assert (numbers[5:count] == below).all()
    assert (kept[5:count] == squares[below]).all()
