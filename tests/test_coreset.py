"""Coreset: it validates itself, and is the same after it was saved and loaded."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from adacore import Coreset


def make(**changed):
    values = {
        "indices": np.array([4, 1, 2]),
        "weights": np.array([2.0, 2.5, 0.5]),
        "population": 5,
        "objective": 3.25,
        "gains": np.array([np.nan, 2.0, 1e-300]),
        "lower_bound": 1.5,
        "statistics": {"short": 2, "method": "a", "nested": [1, None, 0.5], "flag": True},
    }
    return Coreset(**{**values, **changed})


def assert_equal(one, other):
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.weights, other.weights)
    assert (one.gains is None) == (other.gains is None)
    if one.gains is not None:
        np.testing.assert_array_equal(one.gains, other.gains)
    for name in ("population", "objective", "lower_bound"):
        assert getattr(one, name) == getattr(other, name)
    assert dict(one.statistics) == dict(other.statistics)
    assert (other.indices.dtype, other.weights.dtype) == (np.int64, np.float64)


BARE = {"objective": None, "gains": None, "lower_bound": None, "statistics": {}}


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("changed", [{}, BARE, {"indices": np.empty(0, int), "weights": np.empty(0), **BARE}])
def test_saved_and_loaded_it_is_the_same(tmp_path, suffix, changed):
    coreset = make(**changed)
    assert_equal(coreset, Coreset.load(coreset.save(tmp_path / f"c{suffix}")))


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_any_coreset_survives_the_round_trip(tmp_path, data):
    population = data.draw(st.integers(1, 50))
    indices = np.array(data.draw(st.lists(st.integers(0, population - 1), unique=True)), dtype=np.int64)
    weights = np.array([data.draw(st.floats(0, 1e300)) for _ in indices], dtype=np.float64)
    coreset = Coreset(indices, weights, population)
    for suffix in (".npz", ".parquet"):
        assert_equal(coreset, Coreset.load(coreset.save(tmp_path / f"c{suffix}")))


def test_its_state_is_what_torch_loads_safely(tmp_path):
    coreset = make()
    torch.save(coreset.state_dict(), tmp_path / "state.pt")
    assert_equal(coreset, Coreset.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)))
    assert_equal(make(**BARE), Coreset.from_state_dict(make(**BARE).state_dict()))


def test_its_state_is_a_copy():
    coreset = make()
    coreset.state_dict()["weights"][0] = -1
    assert coreset.weights[0] == 2.0


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("keep", [0, 1, 10, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, keep):
    path = make().save(tmp_path / f"c{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match="not a readable coreset"):
        Coreset.load(path)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_corrupt_file_is_refused_or_read_as_it_was(tmp_path, suffix):
    path = make().save(tmp_path / f"c{suffix}")
    content, refused = path.read_bytes(), 0
    for position in range(0, len(content), 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            loaded = Coreset.load(path)
        except ValueError:
            refused += 1
        else:
            assert_equal(make(), loaded)
    assert refused > len(content) / 25


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_other_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    path.write_bytes(b"hello, world\n" * 50)
    with pytest.raises(ValueError, match="not a readable coreset"):
        Coreset.load(path)


def test_other_tables_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    np.savez(tmp_path / "b.npz", metadata=np.array("[]"), indices=np.arange(3), weights=np.ones(3))
    np.savez(
        tmp_path / "c.npz", metadata=np.array(json.dumps({"population": 2})), indices=np.arange(3), weights=[1] * 3
    )
    for name in ("a.parquet", "a.npz", "b.npz", "c.npz"):
        with pytest.raises(ValueError, match="not a readable coreset"):
            Coreset.load(tmp_path / name)


def test_paths_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no coreset at"):
        Coreset.load(tmp_path / "none.npz")
    for action in (make().save, Coreset.load):
        with pytest.raises(ValueError, match=r"saved as \.npz or \.parquet"):
            action(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"indices": np.array([0, 0, 1])}, ValueError, "index 0 occurs twice"),
        ({"indices": np.array([0, 1, 5])}, ValueError, r"indices hold 5: expected positions in \[0, 5\)"),
        ({"indices": np.array([-1, 1, 2])}, ValueError, "indices hold -1"),
        ({"indices": np.array([0.0, 1.0, 2.0])}, TypeError, "expected whole numbers"),
        ({"indices": np.array([[0, 1, 2]])}, ValueError, "vectors of one length"),
        ({"weights": np.ones(2)}, ValueError, "vectors of one length"),
        ({"weights": np.array([1.0, -0.1, 1.0])}, ValueError, r"weights\[1\] is -0\.1"),
        ({"weights": np.array([1.0, np.nan, 1.0])}, ValueError, r"weights\[1\] is nan"),
        ({"weights": np.array([1.0, np.inf, 1.0])}, ValueError, r"weights\[1\] is inf"),
        ({"gains": np.ones(2)}, ValueError, "gains have shape"),
    ],
)
def test_contradictions_are_refused(changed, error, message):
    with pytest.raises(error, match=message):
        make(**changed)


def test_certificate_is_the_bound_over_the_objective():
    assert make().certificate == pytest.approx(1.5 / 3.25)
    assert make(objective=0.0, lower_bound=0.0).certificate == 1.0
    assert make(objective=None).certificate is None
    assert make(lower_bound=None).certificate is None


def test_as_tensors():
    indices, weights = make().to_torch()
    assert (indices.dtype, weights.dtype) == (torch.int64, torch.float32)
    assert indices.tolist() == [4, 1, 2]
    weights[0] = 9
    assert make().weights[0] == 2.0


def test_a_view_of_the_data_set_in_pick_order():
    dataset = TensorDataset(torch.arange(5))
    assert [int(example) for (example,) in make().subset(dataset)] == [4, 1, 2]
    with pytest.raises(ValueError, match="the data set has 4 examples, the coreset is of one of 5"):
        make().subset(TensorDataset(torch.arange(4)))


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_numpy_numbers_in_statistics_are_saved_as_plain_ones(name, tmp_path):
    statistics = {
        "k": np.int64(3),
        "r": np.float32(0.5),
        "flag": np.bool_(True),
        "list": np.arange(2),
        "in": {"a": np.int8(1)},
    }
    coreset = make(statistics=statistics, initial_weights=np.array([0.1, 3.0]))
    assert dict(coreset.statistics) == {"k": 3, "r": 0.5, "flag": True, "list": [0, 1], "in": {"a": 1}}
    loaded = Coreset.load(coreset.save(tmp_path / name))
    assert_equal(loaded, coreset)
    assert loaded.initial_weights.tolist() == [0.1, 3.0]


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_saving_that_fails_leaves_what_was_there(name, tmp_path, monkeypatch):
    path = make().save(tmp_path / name)
    before = path.read_bytes()

    def full_disk(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        make(objective=1.0).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_statistic_that_is_no_plain_value_is_refused_before_anything_is_written():
    with pytest.raises(TypeError, match="expected numbers"):
        make(statistics={"model": object()})
