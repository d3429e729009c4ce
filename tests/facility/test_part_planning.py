"""Plans of selections in parts: consistent with what the selection does, and refused where they make no sense."""

import pytest

from adacore.facility import plan
from adacore.facility.part_planning import (
    MEMORY,
    ROWS_PER_PICK,
    choosing_bytes,
    least_memory,
    merge_groups,
    merging_bytes,
    rows_of_part,
    rows_to_serve,
    serving_bytes,
)


@pytest.mark.parametrize(("n", "d", "k"), [(10_000_000, 10, 1_000), (10**9, 384, 10_000), (5_000, 3, 50), (7, 2, 7)])
def test_the_merges_of_a_plan_are_those_that_are_made(n, d, k):
    found = plan(n, d, k, parts="auto", workers=4)
    assert found.part_rows * (found.parts - 1) < n <= found.part_rows * found.parts
    left, levels = found.parts, []
    while left > 1:
        left = len(merge_groups(left, d, k))
        levels.append(left)
    assert found.merges == tuple(levels)
    assert found.work_bytes == 0 if found.parts == 1 else found.work_bytes >= found.parts * k * d * 8 / 2


def test_parts_hold_several_rows_for_each_pick_within_their_memory():
    assert rows_of_part(10, 100_000) == ROWS_PER_PICK * 100_000
    assert rows_of_part(10**6, 1) < 200
    assert rows_to_serve(10**9, 1) == 1
    assert rows_to_serve(2, 10**12) == 1


@pytest.mark.parametrize("memory", [680_000_000, 900_000_000, MEMORY, 5_000_000_000])
@pytest.mark.parametrize(("d", "k"), [(2, 10), (10, 1_000), (64, 200), (384, 1_000), (2_000, 300), (384, 10_000)])
def test_all_that_a_worker_holds_follows_the_memory(memory, d, k):
    if memory < least_memory(d, k):
        with pytest.raises(ValueError, match=f"memory={memory:,} bytes are too few.*at least {least_memory(d, k):,}"):
            plan(10**7, d, k, parts="auto", memory=memory)
        return
    rows, group = rows_of_part(d, k, memory), len(merge_groups(10**6, d, k, memory)[0])
    assert choosing_bytes(rows, d, k) <= memory
    assert serving_bytes(rows_to_serve(d, k, memory), d, k) <= memory
    assert group >= 2
    assert merging_bytes(group * k, d, k) <= memory
    assert plan(10**7, d, k, parts="auto", memory=memory).bytes <= memory
    # More memory is used where it helps.
    assert rows <= rows_of_part(d, k, 2 * memory)
    assert group <= len(merge_groups(10**6, d, k, 2 * memory)[0])


def test_twice_the_workers_take_about_half_the_time():
    two, four = (plan(10_000_000, 10, 1_000, parts="auto", workers=w) for w in (2, 4))
    assert 0.5 <= four.seconds / two.seconds < 0.6
    assert two.choosing_seconds == four.choosing_seconds
    assert plan(10_000_000, 10, 1_000, parts=1_000, workers=2) == two


def test_a_plan_that_makes_no_sense_is_refused():
    for parts in (0, 11):
        with pytest.raises(ValueError, match=f"parts={parts} is out of range: expected 1 to n=10"):
            plan(10, 2, 3, parts=parts)
    with pytest.raises(ValueError, match="workers=0 is below 1"):
        plan(10, 2, 3, parts="auto", workers=0)
    for setting in ({"workers": 2}, {"memory": 10**9}):
        with pytest.raises(ValueError, match=r"=\d+ without parts"):
            plan(10, 2, 3, **setting)
    with pytest.raises(TypeError, match="memory='1GB' is no number"):
        plan(10, 2, 3, parts="auto", memory="1GB")
