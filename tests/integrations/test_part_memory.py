"""A worker's memory follows what it may take, whatever the width of the rows; measured in a process of its own."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adacore.facility.part_planning import merge_groups, rows_of_part, rows_to_serve

RAY_BYTES = 57_000_000
"""What a process that imports torch holds as a worker of Ray, less what it holds otherwise."""

WORK = """
import sys
from pathlib import Path
import numpy as np
from adacore.integrations import ray_files
from adacore.integrations.ray_stages import _without_raising, peak_bytes
from adacore.facility.selection_in_parts import Task
from adacore.labelling.parts import Columns, Part

path, folder, k, rows, group, served = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
task, columns, picks = Task(k), Columns(), folder / "picks.npz"

def peak_of(function, *arguments):
    message, peak = _without_raising(function, *map(str, arguments[:1]), *arguments[1:])
    assert message is None, message
    return peak

chosen = peak_of(ray_files.choose, picks, Part(path, 0, rows, 0), task, columns, np.empty(0, np.int64), 0, None)
# The greatest merge that is made: of so many parts' picks.
merged = peak_of(ray_files.merge_files, folder / "m.npz", [(picks, i * rows) for i in range(group)], task, None)
rows = ray_files.load_picks(picks).rows
most = peak_of(ray_files.serve, folder / "s.npz", Part(path, 0, served, 0), (rows, None), "euclidean", columns, None)
print(chosen, merged, most)
"""


def peaks(tmp_path, path, d, k, memory):
    rows, group, served = (
        rows_of_part(d, k, memory),
        len(merge_groups(10**6, d, k, memory)[0]),
        rows_to_serve(d, k, memory),
    )
    words = [sys.executable, "-c", WORK, path, tmp_path, k, rows, group, served]
    ended = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return list(map(int, ended.stdout.split()))


def table(path, n, d, as_list):
    x = np.random.default_rng(0).normal(size=(n, d))
    columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), d)}
    pq.write_table(pa.table(columns if as_list else {f"f{j}": x[:, j] for j in range(d)}), path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the largest resident size")
@pytest.mark.parametrize(
    ("d", "k", "memory", "as_list"),
    [
        (400, 50, 680_000_000, True),
        pytest.param(64, 200, 900_000_000, False, marks=pytest.mark.slow),
        (3_000, 10, 680_000_000, False),
        pytest.param(3, 100, 700_000_000, False, marks=pytest.mark.slow),
        pytest.param(384, 800, 900_000_000, False, marks=pytest.mark.slow),
        pytest.param(384, 800, 1_500_000_000, True, marks=pytest.mark.slow),
        pytest.param(5_000, 50, 1_000_000_000, False, marks=pytest.mark.slow),
        pytest.param(5_000, 50, 2_000_000_000, True, marks=pytest.mark.slow),
    ],
)
def test_no_stage_takes_more_than_it_may(tmp_path, d, k, memory, as_list):
    n = max(rows_of_part(d, k, memory), rows_to_serve(d, k, memory))
    path = table(tmp_path / "t.parquet", n, d, as_list)
    found = peaks(tmp_path, path, d, k, memory)
    # Less what Ray's own part of a worker takes, which is not in these processes.
    assert max(found) <= memory - RAY_BYTES, found
