"""Selection over many processes: near to exact greedy, the same whatever is killed; what is unreadable is named."""

import builtins
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import adacore
from adacore.cli import main
from adacore.facility import plan

ray = pytest.importorskip("ray", reason="ray is not installed")

from adacore.integrations import ray_stages  # noqa: E402
from adacore.integrations.ray import STORE_BYTES, _check_gpus, _running, facility_location  # noqa: E402
from adacore.integrations.ray_stages import Worker  # noqa: E402


@pytest.fixture(scope="module")
def cluster():
    """Start Ray once, for it takes seconds; the GPU is one that Ray counts and nobody has."""
    ray.init(
        "local", num_cpus=2, num_gpus=1, object_store_memory=STORE_BYTES, include_dashboard=False, log_to_driver=False
    )
    yield
    ray.shutdown()


def clusters(n, d, seed=0):
    generator = np.random.default_rng(seed)
    return (2 * generator.normal(size=(40, d))[generator.integers(40, size=n)] + generator.normal(size=(n, d))).astype(
        "f"
    )


def parquet(folder, x, count, **more):
    folder.mkdir(exist_ok=True)
    for i, rows in enumerate(np.array_split(np.arange(len(x)), count)):
        columns = {f"f{j}": x[rows, j] for j in range(x.shape[1])}
        table = pa.table(columns | {name: np.asarray(values)[rows] for name, values in more.items()})
        pq.write_table(table, folder / f"{i}.parquet")
    return folder


def assert_same(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert (found.objective, found.lower_bound) == (expected.objective, expected.lower_bound)


def quiet(*_):
    pass


def test_eight_parts_come_near_to_exact_greedy(tmp_path, cluster):
    x = clusters(20_000, 10)
    found = facility_location(parquet(tmp_path / "data", x, 8), budget=200, progress=quiet)
    exact = adacore.facility_location(x, budget=200)
    assert found.statistics["parts"] == 8
    assert exact.objective * 0.99 < found.objective <= 1.05 * exact.objective
    assert found.lower_bound <= exact.objective
    served = adacore.assign(x, found.indices)
    np.testing.assert_array_equal(found.weights, served.weights)
    assert found.objective == pytest.approx(served.distances.sum())


def test_far_fewer_rows_than_asked_for_are_warned_of(tmp_path, cluster):
    folder = parquet(tmp_path / "data", np.repeat(clusters(3, 2), 10, axis=0), 2)
    with pytest.warns(UserWarning, match="facility_location selected 3 examples where 8 were asked for"):
        assert len(facility_location(folder, budget=8, progress=quiet)) == 3


def test_one_part_is_exact_greedy_with_weights_strata_and_initial_rows(tmp_path, cluster):
    x, generator = clusters(300, 3), np.random.default_rng(0)
    labels, weights = generator.choice(["a", "b", "c"], 300), generator.integers(1, 5, 300)
    folder = parquet(tmp_path / "data", x, 1, y=labels, w=weights)
    settings = {"budget": 20, "initial": [7, 250, 3], "quotas": {"a": 10, "b": 4, "c": 6}, "metric": "cosine"}
    found = facility_location(folder, labels="y", weights="w", progress=quiet, **settings)
    expected = adacore.facility_location(x, labels=labels, weights=weights, **settings)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.weights, expected.weights)
    np.testing.assert_allclose(found.initial_weights, expected.initial_weights)
    assert found.objective == pytest.approx(expected.objective)
    assert found.lower_bound is None


def test_strata_and_initial_rows_span_parts(tmp_path, cluster):
    x, labels = clusters(600, 3), np.repeat(["a", "b"], 300)
    folder = parquet(tmp_path / "data", x, 4, y=labels)
    initial = [599, 0, 310]
    found = facility_location(folder, budget=20, labels="y", quotas="equal", initial=initial, progress=quiet)
    assert [(labels[found.indices] == name).sum() for name in "ab"] == [10, 10]
    assert not set(found.indices) & set(initial)
    exact = adacore.facility_location(x, budget=20, labels=labels, quotas="equal", initial=initial)
    assert found.objective <= 1.1 * exact.objective
    assert found.weights.sum() + found.initial_weights.sum() == 600


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_parts_are_served_as_assign_serves_all_rows(tmp_path, cluster, method):
    x, generator = clusters(900, 4), np.random.default_rng(0)
    weights = generator.integers(0, 4, 900).astype(float)
    folder = parquet(tmp_path / "data", x, 3, w=weights)
    initial = np.zeros(900, bool)
    initial[[5, 870]] = True
    settings = {"budget": 12, "weights": "w", "initial": initial, "metric": "cosine", "method": method, "seed": 1}
    found = facility_location(folder, part_rows=100, progress=quiet, **settings)
    assert found.statistics["parts"] == 9
    served = adacore.assign(x, [5, 870, *found.indices], metric="cosine", weights=weights)
    np.testing.assert_allclose([*found.initial_weights, *found.weights], served.weights)
    assert found.objective == pytest.approx(weights @ served.distances)
    assert found.statistics["radius"] == pytest.approx(served.distances[weights > 0].max())
    exact = adacore.facility_location(x, budget=12, weights=weights, initial=initial, metric="cosine")
    assert found.objective <= 1.1 * exact.objective
    with pytest.raises(ValueError, match=r"mask of shape \(3,\): expected \(900,\)"):
        facility_location(folder, budget=12, initial=[True, False, True])


def test_a_fraction_is_the_budget_that_it_makes(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(ray_stages, "IN_FLIGHT", 2)  # far fewer than there are parts
    folder = parquet(tmp_path / "data", clusters(2_500, 3), 5)
    by_fraction = facility_location(folder, fraction=0.02, part_rows=130, progress=quiet)
    assert_same(by_fraction, facility_location(folder, budget=50, part_rows=130, progress=quiet))
    whole = facility_location(folder, fraction=0.02, progress=quiet)
    assert whole.statistics["parts"] == plan(2_500, 3, 50, parts="auto").parts + 4  # files are not joined


def test_urls_are_read_by_fsspec(tmp_path, cluster):
    x = clusters(300, 3)
    local = facility_location(parquet(tmp_path / "data", x, 3), budget=9, progress=quiet)
    assert_same(facility_location(f"file://{tmp_path}/data/*.parquet", budget=9, progress=quiet), local)
    (tmp_path / "arrays").mkdir()
    for i, rows in enumerate(np.split(x, 3)):
        np.save(tmp_path / "arrays" / f"{i}.npy", rows)
    assert_same(facility_location(f"file://{tmp_path}/arrays/*.npy", budget=9, progress=quiet), local)


@pytest.mark.slow
def test_workers_get_the_gpus_that_are_asked_for(tmp_path, cluster):
    import torch

    folder = parquet(tmp_path / "data", clusters(400, 3), 2)
    settings = {"budget": 9, "progress": quiet}
    on_cpu = facility_location(folder, **settings)
    assert_same(facility_location(folder, num_gpus=0.5, device="cpu", **settings), on_cpu)
    if not torch.cuda.is_available():
        with pytest.raises(
            ValueError, match=r"2 of 2 parts failed: .*0.parquet.*device='cuda': torch finds no such GPU"
        ):
            facility_location(folder, num_gpus=0.5, **settings)
    with pytest.warns(UserWarning, match="num_gpus=2, and no machine of this Ray has more than 1"):
        _check_gpus(ray, Worker(2.0))
    with pytest.raises(ValueError, match="num_gpus=-1 is below 0"):
        facility_location(folder, num_gpus=-1, **settings)


class HalfWritten:
    """A data set whose first writing left a file behind when it was killed."""

    def __init__(self, x, leftover):
        self.x, self.leftover = x, leftover

    def write_parquet(self, folder):
        assert not (Path(folder) / self.leftover).exists()
        parquet(Path(folder), self.x, 2)


def test_what_a_killed_writer_of_a_data_set_left_is_not_counted_twice(tmp_path, cluster):
    x, work = clusters(200, 3), tmp_path / "work"
    work.mkdir()
    parquet(work / "rows", x, 1)
    (work / "rows" / "0.parquet").rename(work / "rows" / "left.parquet")
    found = facility_location(HalfWritten(x, "left.parquet"), budget=5, work=work, progress=quiet)
    assert found.population == 200


def descendants(pid):
    """Processes below one, by /proc: their ids and command lines."""
    parents, words = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
    below = {pid}
    for _ in range(8):
        below |= {child for child, parent in parents.items() if parent in below}
    return {child: words[child] for child in below if child in words}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc")
def test_a_killed_worker_changes_nothing(tmp_path, cluster):
    folder = parquet(tmp_path / "data", clusters(20_000, 5), 8)
    killed = []

    def kill_workers(stage, done, total):
        # Between two parts a worker is idle for a moment: looked for until one is at work on those that are left.
        until = time.monotonic() + 5
        while stage == "choose" and not killed and done < total and time.monotonic() < until:
            for pid, words in descendants(os.getpid()).items():
                if words.startswith("ray::_without_raising"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    found = facility_location(folder, budget=500, progress=kill_workers)
    assert killed
    assert_same(found, facility_location(folder, budget=500, progress=quiet))


DRIVER = """
import os, signal, sys
from adacore.integrations.ray import facility_location

def die(stage, done, total):
    if (stage, done) == ("choose", 3):
        os.kill(os.getpid(), signal.SIGKILL)

facility_location(sys.argv[1], budget=50, work=sys.argv[2], workers=1, progress=die)
"""


def test_a_killed_driver_goes_on_from_the_parts_that_are_done(tmp_path, cluster):
    folder, work = parquet(tmp_path / "data", clusters(2000, 3), 6), tmp_path / "work"
    ended = subprocess.run([sys.executable, "-c", DRIVER, str(folder), str(work)], capture_output=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list(work.glob("*.npz"))) >= 3
    seen = []
    found = facility_location(folder, budget=50, work=work, progress=lambda *told: seen.append(told))
    assert 1 <= sum(stage == "choose" for stage, _, _ in seen) <= 3
    assert_same(found, facility_location(folder, budget=50, progress=quiet))
    with pytest.raises(ValueError, match="belongs to another selection, which differs in budget"):
        facility_location(folder, budget=49, work=work)
    other = parquet(tmp_path / "other", clusters(50, 3), 1)
    with pytest.raises(ValueError, match="belongs to another selection, which differs in files"):
        facility_location(other, budget=50, work=work)


def test_a_bad_part_is_named_and_the_others_are_kept(tmp_path, cluster):
    x, work = clusters(400, 3), tmp_path / "work"
    bad = x.copy()
    bad[250, 1] = np.nan
    folder = parquet(tmp_path / "data", bad, 4)
    with pytest.raises(ValueError, match=r"1 of 4 parts failed: .*2.parquet: row 50, column 'f1', is nan"):
        facility_location(folder, budget=10, work=work, progress=quiet)
    good = sorted(work.glob("*.npz"))
    assert len(good) == 3
    written = {file: file.stat().st_mtime_ns for file in good}
    pq.write_table(pa.table({f"f{j}": x[200:300, j] for j in range(3)}), folder / "2.parquet")
    seen = []
    found = facility_location(folder, budget=10, work=work, progress=lambda *told: seen.append(told))
    assert sum(stage == "choose" for stage, _, _ in seen) == 1
    assert {file: file.stat().st_mtime_ns for file in good} == written
    assert_same(found, facility_location(parquet(tmp_path / "data", x, 4), budget=10, progress=quiet))


@pytest.mark.slow
def test_a_ray_data_set_is_a_source(tmp_path, cluster):
    data = pytest.importorskip("ray.data")
    x = clusters(200, 3)
    found = facility_location(data.from_numpy(x), budget=5, work=tmp_path / "work", progress=quiet)
    assert found.objective == pytest.approx(adacore.facility_location(x, budget=5).objective)


def test_the_command_line_selects_from_a_pattern(tmp_path, cluster, capsys):
    folder = parquet(tmp_path / "data", clusters(400, 3), 2, y=np.arange(400) % 2)
    words = ["select", str(folder / "*.parquet"), "--engine", "ray", "--out", str(tmp_path / "picks.parquet")]
    assert main([*words, "--labels", "y", "--quotas", "0=4,1=8"]) == 0
    assert "12 of 400 examples" in capsys.readouterr().out
    picks = adacore.Coreset.load(tmp_path / "picks.parquet")
    assert (picks.indices % 2 == 1).sum() == 8
    for more, match in (
        (["--refine"], "--refine is not supported with --engine ray"),
        (["--metric", "l1"], "metric"),
        (["--labels", "z"], "no column 'z'"),
    ):
        assert main([*words, "--budget", "3", *more]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1
        assert match in error[0]


@pytest.mark.parametrize("words", [["--work", "w"], ["--memory", "1"], ["--address", "auto"]])
def test_work_memory_and_address_are_of_ray_alone(words, capsys):
    assert main(["select", "x.npy", "--budget", "3", *words]) == 2
    assert f"{words[0]} is of Ray alone: pass --engine ray too" in capsys.readouterr().err


def test_what_workers_take_is_told_and_what_does_not_fit_is_refused(tmp_path, cluster):
    folder = parquet(tmp_path / "data", clusters(400, 3), 2)
    found = facility_location(folder, budget=9, memory=700_000_000, progress=quiet)
    assert_same(found, facility_location(folder, budget=9, progress=quiet))
    assert 10**8 < found.statistics["worker_bytes"] < 10**9
    with pytest.raises(ValueError, match=r"memory=300,000,000 bytes are too few: .* at least \d+"):
        facility_location(folder, budget=9, memory=300_000_000)
    with pytest.raises(ValueError, match=r"part_rows=10,000,000 and memory=700,000,000: .* leave part_rows out"):
        facility_location(folder, budget=9, memory=700_000_000, part_rows=10_000_000)


class PrintReplacing:
    """Of Ray, what starting and ending it does to ``print`` once a progress bar was shown."""

    def is_initialized(self):
        return False

    def init(self, **settings):
        builtins.print = quiet

    def shutdown(self):
        pass


def test_a_selection_leaves_print_as_it_was(monkeypatch):
    before = builtins.print
    monkeypatch.setattr(builtins, "print", before)  # restored also if this fails
    with _running(PrintReplacing(), "local", 1):
        assert builtins.print is quiet
    assert builtins.print is before


def test_without_ray_one_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["select", str(tmp_path), "--engine", "ray", "--budget", "3"]) == 2
    assert capsys.readouterr().err == (
        "adacore: error: selection in many processes needs ray: pip install 'adacore[ray]'\n"
    )
