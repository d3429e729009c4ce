"""Plans of selections in parts: consistent with what the selection does, and refused where they make no sense."""

import pytest

from adacore.facility import plan
from adacore.facility.part_planning import PART_BYTES, ROWS_PER_PICK, merge_groups, rows_of_part, rows_to_serve


@pytest.mark.parametrize(("n", "d", "k"), [(10_000_000, 10, 1_000), (10**9, 384, 10_000), (5_000, 3, 50), (7, 2, 7)])
def test_the_merges_of_a_plan_are_those_that_are_made(n, d, k):
    found = plan(n, d, k, parts="auto", workers=4)
    assert found.part_rows * (found.parts - 1) < n <= found.part_rows * found.parts
    left, levels = found.parts, []
    while left > 1:
        left = len(merge_groups(left, k))
        levels.append(left)
    assert found.merges == tuple(levels)
    assert found.work_bytes == 0 if found.parts == 1 else found.work_bytes >= found.parts * k * d * 8 / 2


def test_parts_hold_several_rows_for_each_pick_within_their_bytes():
    assert rows_of_part(10, 100_000) == ROWS_PER_PICK * 100_000
    assert rows_of_part(10_000, 100_000) * 10_000 * 8 <= PART_BYTES
    assert rows_of_part(10**9, 1) == rows_to_serve(10**9, 1) == 1
    assert rows_to_serve(2, 10**12) == 1


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
    with pytest.raises(ValueError, match="workers=2 without parts"):
        plan(10, 2, 3, workers=2)
