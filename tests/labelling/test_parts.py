"""Parts of files: together they are the table that one reader would read."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adacore.labelling.parts import Columns, files_of, join_parts, parts_of, read_labels, read_part
from adacore.labelling.tables import read_features

X = np.random.default_rng(0).normal(size=(25, 3))


def parquet(path, rows=X, groups=4, **more):
    columns = {f"f{j}": rows[:, j] for j in range(rows.shape[1])} | more
    pq.write_table(pa.table(columns), path, row_group_size=groups)
    return str(path)


@pytest.mark.parametrize("part_rows", [1, 3, 7, 100])
def test_parts_are_the_table_in_order(tmp_path, part_rows):
    np.save(tmp_path / "b.npy", X)
    parquet(tmp_path / "a.parquet")
    for file in ("a.parquet", "b.npy"):
        parts = parts_of([str(tmp_path / file)], part_rows=part_rows)
        assert max(map(len, parts)) <= part_rows
        assert [part.offset for part in parts] == [part.start for part in parts]
        np.testing.assert_array_equal(np.concatenate([read_part(part).x for part in parts]), X)


def test_positions_go_on_from_file_to_file(tmp_path):
    files = files_of([parquet(tmp_path / f"{i}.parquet", X[5 * i : 5 * i + 5]) for i in range(5)])
    assert files == files_of(tmp_path) == files_of(str(tmp_path / "*.parquet"))
    parts = parts_of(files, part_rows=3)
    np.testing.assert_array_equal(np.concatenate([read_part(part).x for part in parts]), X)
    for part in parts:
        np.testing.assert_array_equal(read_part(part).x, X[part.offset : part.offset + len(part)])


@pytest.mark.parametrize("rows", [1, 4, 9, 100])
def test_joined_parts_are_the_same_rows_and_stay_within_files(tmp_path, rows):
    files = files_of([parquet(tmp_path / f"{i}.parquet", X[5 * i : 5 * i + 5]) for i in range(5)])
    parts = parts_of(files, part_rows=2)
    joined = join_parts(parts, rows)
    np.testing.assert_array_equal(np.concatenate([read_part(part).x for part in joined]), X)
    assert all(len(part) <= max(2, rows) for part in joined)
    assert len(joined) == (len(parts) if rows == 1 else 5 if rows > 4 else 10)
    for part in joined:
        np.testing.assert_array_equal(read_part(part).x, X[part.offset : part.offset + len(part)])


def test_strata_are_read_without_the_features(tmp_path):
    y = np.arange(25) % 3
    path = parquet(tmp_path / "t.parquet", y=y)
    for part in parts_of([path], Columns("y"), part_rows=7):
        np.testing.assert_array_equal(read_labels(part, "y"), read_part(part, Columns("y")).labels)


def test_a_file_that_changed_since_it_was_divided_is_refused(tmp_path):
    (part,) = parts_of([parquet(tmp_path / "a.parquet")])
    parquet(tmp_path / "a.parquet", X + 1, groups=5)
    with pytest.raises(ValueError, match=r"a.parquet has changed since the selection began"):
        read_part(part)


def test_columns_are_read_by_the_rules_of_tables(tmp_path):
    frame = pd.DataFrame(
        {"a": X[:, 0].astype(np.float32), "v": list(X[:, 1:].astype(np.float32)), "y": ["p", "q"] * 12 + ["p"]}
    )
    frame = frame[frame.index != 3]  # which leaves an index that pandas writes as a column
    frame.to_parquet(tmp_path / "t.parquet")
    whole = read_features(tmp_path / "t.parquet", labels="y")
    parts = [
        read_part(part, Columns("y")) for part in parts_of([str(tmp_path / "t.parquet")], Columns("y"), part_rows=7)
    ]
    joined = np.concatenate([part.x for part in parts])
    np.testing.assert_array_equal(joined, whole.x)
    assert joined.dtype == whole.x.dtype
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), whole.labels)


def test_weights_are_a_column_and_no_feature(tmp_path):
    path = parquet(tmp_path / "t.parquet", w=np.arange(25), y=["a"] * 25)
    (part,) = parts_of([path], Columns("y", "w"))
    read = read_part(part, Columns("y", "w"))
    np.testing.assert_array_equal(read.weights, np.arange(25))
    np.testing.assert_array_equal(read.x, X)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"t": [datetime.datetime(2020, 1, 1)] * 25}, "'t' is timestamp.*a time"),
        ({"t": ["1"] * 25}, "'t' is string.*write numbers"),
        ({"t": X[:, 0]}, "has 4 features .f0, f1, f2, t., where .*a.parquet has 3 features"),
    ],
)
def test_files_that_do_not_fit_are_named_before_anything_is_read(tmp_path, more, match):
    parquet(tmp_path / "a.parquet")
    parquet(tmp_path / "b.parquet", **more)
    with pytest.raises(ValueError, match=f"(?s)1 of 2 files.*b.parquet.*{match}"):
        parts_of(files_of(tmp_path))


def test_broken_files_are_named(tmp_path):
    path = parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:300])
    (tmp_path / "c.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"(?s)2 of 3 files.*b.parquet.*c.npy") as caught:
        parts_of(files_of(tmp_path))
    assert "a.parquet:" not in str(caught.value)
    for columns, match in ((Columns("z"), "no column 'z'"), (Columns(weights="z"), "no column 'z'")):
        with pytest.raises(ValueError, match=match):
            parts_of([path], columns)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        files_of(tmp_path / "*.csv")
    with pytest.raises(ValueError, match="part_rows=0"):
        parts_of([path], part_rows=0)
    with pytest.raises(ValueError, match="named twice"):
        files_of([path, path])


def test_what_is_no_finite_number_is_named_by_its_row_in_the_file(tmp_path):
    wrong = X.copy()
    wrong[13, 1] = np.nan
    parts = parts_of([parquet(tmp_path / "a.parquet", wrong)], part_rows=10)
    read_part(parts[0])
    with pytest.raises(ValueError, match=r"a.parquet: row 13, column 'f1', is nan"):
        read_part(parts[1])
    (part,) = parts_of([parquet(tmp_path / "b.parquet", y=[*["a"] * 13, None, *["a"] * 11])], Columns("y"))
    with pytest.raises(ValueError, match="row 13 has no label"):
        read_part(part, Columns("y"))
    weighed = Columns(weights="w")
    (part,) = parts_of([parquet(tmp_path / "c.parquet", w=[*range(13), -1, *range(11)])], weighed)
    with pytest.raises(ValueError, match="row 13 has the weight -1"):
        read_part(part, weighed)
