"""Lists hold whom a candidate may serve, all of them, in order, with distances rounded down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacore.facility.products.list_gains import Lists
from adacore.facility.products.list_writing import (
    Part,
    Reach,
    find_served,
    lists_of_columns,
    lists_of_rows,
    make_room,
)
from adacore.facility.simd import VECTOR

STEPS = np.float32(7.5)


def read(part, candidates):
    """The clients and lower bounds of every candidate, as lists."""
    found = {int(c): ([], []) for c in range(candidates)}
    ends = np.cumsum(part.lengths.astype(int))
    for c, length, end in zip(part.candidates, part.lengths, ends, strict=True):
        some = slice(end - length, end)
        found[int(c)] = part.clients[some].tolist(), part.lower[some].tolist()
    assert part.clients.size == part.lower.size == part.lengths.sum()
    assert (part.lengths > 0).all()
    return found


def expected(squares, limits, able):
    """The definition: of candidates in rows, in clients in columns."""
    steps = np.floor(STEPS * np.sqrt(np.maximum(squares, 0)))
    served = [np.flatnonzero(row < limits) if may else [] for row, may in zip(squares, able, strict=True)]
    return {i: (list(some), steps[i][some].tolist()) for i, some in enumerate(served)}


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.floats(0, 30), st.integers(0, 99))
def test_all_pairs_of_a_block_below_their_limits_are_found(kind, rows, columns, both, reach, seed):
    rng = np.random.default_rng(seed)
    # Whole numbers, whose sums float32 holds exactly: squares here and in the kernel are the same.
    block = rng.integers(-20, 20, (rows, columns)).astype(kind)
    low_i, low_j = (rng.integers(0, 20, n).astype(np.float32) for n in (rows, columns))
    scales_i, scales_j = (rng.choice(np.float32([-2, -1, 0.5, 1]), n) for n in (rows, columns))
    limits_i, limits_j = (rng.uniform(-1, 1 + reach, n).astype(np.float32) for n in (rows, columns))
    able_i, able_j = (rng.random(n) < 0.8 for n in (rows, columns))
    beyond = np.full(-columns % VECTOR, np.float32(np.inf))  # what comes after the last column is never found
    found, found_for_columns = make_room(rows, columns), make_room(rows, columns)
    find_served(
        block,
        Reach(low_i, scales_i, limits_i, able_i),
        Reach(low_j, scales_j, np.concatenate([limits_j, beyond]), able_j),
        both,
        found,
        found_for_columns,
    )
    squares = block * (scales_i[:, None] * scales_j) + (low_i[:, None] + low_j)
    assert read(Part(0, *lists_of_rows(found, rows, STEPS)), rows) == expected(squares, limits_j, able_i)
    if both:
        lists = Part(0, *lists_of_columns(found_for_columns, rows, able_j, STEPS))
        assert read(lists, columns) == expected(squares.T, limits_i, able_j)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.floats(0, 1), st.sampled_from([500, 70_000]), st.integers(0, 99))
def test_lists_are_joined_in_the_order_of_their_parts(candidates, parts, share, m, seed):
    rng = np.random.default_rng(seed)
    together = {c: ([], []) for c in range(candidates)}
    pieces = []
    for first in range(0, 100 * parts, 100):
        hits = rng.random((candidates, 100)) < share
        clients, lower = np.nonzero(hits)[1].astype(np.uint16), rng.integers(0, 65_536, hits.sum()).astype(np.uint16)
        which = np.flatnonzero(hits.any(axis=1)).astype(np.uint16)
        pieces.append(Part(m - 500 + first, which, hits.sum(axis=1)[which].astype(np.uint16), clients, lower))
        for c, (some, bounds) in read(pieces[-1], candidates).items():
            together[c][0].extend(m - 500 + first + i for i in some)
            together[c][1].extend(bounds)
    entries = sum(piece.clients.size for piece in pieces)
    assert entries == 0 or not Lists(candidates, m, entries - 1, 1.0).take(slice(0, candidates), pieces)
    lists = Lists(candidates + 2, m, entries, 1.0)
    assert lists.take(slice(2, candidates + 2), pieces)
    written = lists.written
    for c, (clients, lower) in together.items():
        some = slice(written.starts[c + 2], written.starts[c + 2] + written.lengths[c + 2])
        assert written.clients[some].tolist() == clients
        assert written.lower[some].tolist() == lower
