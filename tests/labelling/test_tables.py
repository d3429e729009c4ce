"""Tables of features from files: what is read, and what is said of what can't be."""

import bz2
import datetime
import gzip
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

from adacore.facility import facility_location
from adacore.labelling.tables import read_features

X = np.array([[0.5, 1.0], [2.0, -3.0], [4.25, 0.0], [1.0, 1.0]])


def dense(features):
    return features.x.toarray() if sparse.issparse(features.x) else np.asarray(features.x)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


CSV = "0.5,1\n2,-3\n4.25,0\n1,1\n"
SVM = "1 1:0.5 2:1\n0 1:2 2:-3\n1 1:4.25\n0 1:1 2:1\n"
TEXTS = {
    "x.csv": CSV,
    "X.CSV": CSV,
    "names.csv": "a,b\n" + CSV,
    "numbered.csv": "0,1\n" + CSV,
    "commented.csv": "# made by hand\n" + CSV,
    "byte-order-mark.csv": "\ufeffa,b\n" + CSV,
    "semicolons.csv": CSV.replace(",", ";"),
    "x.tsv": CSV.replace(",", "\t"),
    "x.svm": SVM,
    "x.libsvm": "# comment\n" + SVM,
    "x.csv.gz": gzip.compress(CSV.encode()),
    "x.csv.bz2": bz2.compress(CSV.encode()),
    "x.csv.xz": lzma.compress(CSV.encode()),
    "x.bz2": bz2.compress(SVM.encode()),
    "x.svm.xz": lzma.compress(SVM.encode()),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_read_whatever_its_dress(tmp_path, name):
    np.testing.assert_array_equal(dense(read_features(write(tmp_path / name, TEXTS[name]))), X)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("name", ["x.npy", "X.NPY"])
def test_arrays_are_mapped_and_not_read(tmp_path, dtype, name):
    with (tmp_path / name).open("wb") as file:
        np.save(file, X.astype(dtype))
    features = read_features(tmp_path / name)
    assert isinstance(features.x, np.memmap)
    np.testing.assert_array_equal(features.x, X.astype(dtype))


@pytest.mark.parametrize(
    ("columns", "dtype"),
    [
        ({"a": X[:, 0].astype("f4"), "b": X[:, 1].astype("i1")}, np.float32),
        ({"a": X[:, 0], "b": X[:, 1].astype("i8")}, np.float64),
        ({"embedding": pa.array(X.tolist(), pa.list_(pa.float32()))}, np.float32),
        ({"embedding": pa.array(X.tolist(), pa.list_(pa.float64(), 2))}, np.float64),
        ({"grid": pa.array([[[a], [b]] for a, b in X.tolist()])}, np.float64),
        ({"a": pa.array([str(v) for v in X[:, 0]]).cast(pa.decimal128(6, 2)), "b": X[:, 1]}, np.float64),
    ],
)
def test_parquet_columns_of_numbers_and_lists_are_features(tmp_path, columns, dtype):
    x = read_features(parquet(tmp_path / "x.parquet", **columns)).x
    np.testing.assert_array_equal(x, X)
    assert x.dtype == dtype


def test_parquet_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("adacore.labelling.parquet.BLOCK", 7)
    x, kind = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 4
    pq.write_table(pa.table({"x": list(x), "kind": kind}), tmp_path / "x.parquet", row_group_size=20)
    features = read_features(tmp_path / "x.parquet", labels="kind")
    np.testing.assert_array_equal(features.x, x)
    np.testing.assert_array_equal(features.labels, kind)


@pytest.mark.parametrize(
    "frame",
    [
        lambda frame: frame[frame.a > -1],  # keeps the numbers of the rows that are left
        lambda frame: frame.set_index(pd.Index([30, 10, 20, 40], name="id")),
        lambda frame: frame.set_index(pd.date_range("2020", periods=4)),
        lambda frame: frame.set_index([[1, 2, 3, 4], list("abcd")]),
        lambda frame: frame,
    ],
)
def test_an_index_of_pandas_is_no_feature(tmp_path, frame):
    made = frame(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}))
    made.to_parquet(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read_features(tmp_path / "x.parquet").x, made.to_numpy())


def test_an_index_of_pandas_in_text_is_no_feature_and_that_is_said(tmp_path):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}, index=[5, 6, 7, 8]).to_csv(tmp_path / "x.csv")
    with pytest.warns(UserWarning, match="first column has no name"):
        np.testing.assert_array_equal(read_features(tmp_path / "x.csv").x, X)


BAD_COLUMNS = {
    "timestamp": (pd.date_range("2020", periods=2), "a time"),
    "timestamp with a null": ([datetime.datetime(2020, 1, 1), None], "a time"),
    "date": ([datetime.date(2020, 1, 1)] * 2, "a time"),
    "duration": (pd.to_timedelta([1, 2], "D"), "a time"),
    "digits": (["1", "2"], "text"),
    "texts": (["a", "b"], "pass --labels"),
    "category": (pd.Categorical(["a", "b"]), "text"),
    "images": ([b"\x89PNG", b"\x89PNG"], "embed"),
    "images in a struct": ([{"bytes": b"\x89PNG", "path": None}] * 2, "embed"),
    "struct": ([{"u": 1.0}] * 2, "not supported"),
    "list of text": ([["1"], ["2"]], "text"),
    "ragged": ([[1.0], [1.0, 2.0]], "lists of 1 to 2"),
    "null": ([1.0, None], "no value in row 1"),
    "null in a list": ([[1.0, 2.0], [3.0, None]], "no value in row 1"),
    "only nulls": ([None, None], "without any value"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_a_column_that_is_no_feature_is_refused_by_name(tmp_path, name):
    values, match = BAD_COLUMNS[name]
    column = pa.array(values, from_pandas=False) if isinstance(values, list) else pa.array(values)
    with pytest.raises(ValueError, match=match) as refused:
        read_features(parquet(tmp_path / "x.parquet", good=[1.0, 2.0], odd=column))
    assert "'odd'" in str(refused.value)


def without_end(content, cut=20):
    return content[:-cut]


def saved(array, **settings):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, **settings)
    return buffer.getvalue()


MISSING, FOREIGN, DAMAGED = FileNotFoundError, "fetch it again", "truncated or corrupt"
BAD_FILES = {
    # wrong format
    "text.npy": (b"1,2\n", "no .npy file"),
    "text.parquet": (b"1,2\n", "no Parquet file"),
    "binary.svm": (b"\x00\x01\x02", "no text"),
    "binary.csv": (b"\x00\xff\xfe", "no table|text|not"),
    "table.txt": ("0.1 0.2\n", "line 1: '0.2' is not index:value"),
    "ragged.csv": ("1,2\n1,2,3\n", "no table"),
    "words.csv": ("a,b\n1,x\n", "column 'b' is string"),
    "dates.csv": ("a,b\n1,2020-01-01\n", "a time"),
    "spaces.csv": ("1 2\n3 4\n", "text"),
    "gap.csv": ("a,b\n1,2\n1,\n", "no value in row 1"),
    "names.csv": ("a,b\n", "only a line of names"),
    "empty.csv": ("", "empty"),
    "comments.csv": ("# a\n# b\n", "comment"),
    "empty.svm": ("", "empty"),
    "comments.svm": ("# a\n# b\n", "comment"),
    "labels.svm": ("1\n0\n1\n", "no features"),
    "numbers.txt": ("0.5\n0.25\n", "no features"),
    "nan.svm": ("1 1:2\n1 1:nan\n", "line 2: '1:nan'"),
    "vector.npy": (saved(np.zeros(5)), r"shape \(5,\)"),
    "cube.npy": (saved(np.zeros((2, 2, 2))), "shape"),
    "texts.npy": (saved(np.array([["a"]])), "expected numbers"),
    "times.npy": (saved(np.array([["2020"]], "M8[D]")), "expected numbers"),
    "complex.npy": (saved(np.zeros((2, 2), complex)), "expected numbers"),
    "records.npy": (saved(np.zeros(2, [("a", "f4")])), "expected numbers"),
    # not supported
    "objects.npy": (saved(np.array([[None, 1]], object), allow_pickle=True), "Python objects"),
    "unsorted.svm": ("1 2:1 1:3\n", "line 1: index 1 comes after 2"),
    "twice.svm": ("1 1:1\n1 2:1 2:3\n", "line 2: index 2 comes after 2"),
    "multilabel.svm": ("1 1:1\n1,3 1:2\n", "line 2: 1,3 are several labels"),
    "far.svm": ("1 1:1\n1 99999999999999999999:1\n", "line 2: index 99999999999999999999 exceeds"),
    "packed.npy.gz": (gzip.compress(saved(X)), "is compressed.*unpack it first"),
    "packed.parquet.bz2": (b"BZh", "is compressed.*unpack it first"),
    "archive.npz": (b"PK", "an archive"),
    "pickle.pkl": (b"\x80", "could run code"),
    "sheet.XLSX": (b"PK", "a spreadsheet"),
    # damaged
    "cut.npy": (without_end(saved(X)), DAMAGED),
    "head.npy": (saved(X)[:9], DAMAGED),
    "cut.parquet": (b"PAR1 and then nothing", DAMAGED),
    "cut.csv.gz": (without_end(gzip.compress(CSV.encode())), f"{DAMAGED}|no table"),
    "cut.csv.xz": (without_end(lzma.compress(CSV.encode())), DAMAGED),
    "text.csv.xz": (CSV, DAMAGED),
    "cut.bz2": (without_end(bz2.compress(SVM.encode())), DAMAGED),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_wrong_unsupported_and_damaged_files_are_told_apart(tmp_path, name):
    content, match = BAD_FILES[name]
    with pytest.raises(ValueError, match=match) as refused:
        read_features(write(tmp_path / name, content))
    assert name in str(refused.value)
    assert (DAMAGED in str(refused.value)) == (DAMAGED in match)


def test_what_is_not_there_and_folders_are_told_apart_too(tmp_path):
    good = write(tmp_path / "x.csv", CSV)
    with pytest.raises(FileNotFoundError, match=r"no file .*y.npy"):
        read_features(tmp_path / "y.npy")
    with pytest.raises(FileNotFoundError, match=r"no file .*y.npy.*labels"):
        read_features(good, labels=str(tmp_path / "y.npy"))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_features(tmp_path)
    (tmp_path / "y.npy").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_features(good, labels=str(tmp_path / "y.npy"))
    with pytest.raises(ValueError, match=r"'kind'.*name of a column"):
        read_features(good, labels="kind")


def test_a_column_of_one_number_a_line_is_one_feature(tmp_path):
    assert read_features(write(tmp_path / "x.csv", "0.5\n2\n4\n")).x.tolist() == [[0.5], [2], [4]]
    assert read_features(write(tmp_path / "y.csv", "a\n0.5\n2\n")).x.tolist() == [[0.5], [2]]


def test_libsvm_stays_sparse(tmp_path):
    x = sparse.random(300, 200_000, density=2e-5, random_state=0, format="csr")
    dump_svmlight_file(x, np.ones(300), str(tmp_path / "x.svm"))
    features = read_features(tmp_path / "x.svm")
    assert sparse.issparse(features.x)
    assert features.x.nnz == x.nnz
    assert len(facility_location(features.x, budget=5)) == 5


LABELS = {
    "uint8": np.array([0, 1, 0, 1], np.uint8),
    "int16": np.array([-1, 1, -1, 1], np.int16),
    "int64": np.array([7, 9, 7, 9]),
    "bool": np.array([False, True, False, True]),
    "float": np.array([0.5, 1.5, 0.5, 1.5]),
    "text": np.array(["ape", "bee", "ape", "bee"]),
    "bytes": np.array([b"ape", b"bee", b"ape", b"bee"]),
    "column": np.array([[0], [1], [0], [1]]),
    "dates": np.array(["2020", "2021", "2020", "2021"], "M8[Y]"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_are_classes(tmp_path, kind):
    np.save(tmp_path / "y.npy", LABELS[kind])
    features = read_features(write(tmp_path / "x.csv", CSV), labels=str(tmp_path / "y.npy"))
    picked = facility_location(features.x, budget=2, labels=features.labels)
    assert sorted(np.arange(4)[picked.indices] % 2) == [0, 1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["ape", "bee", "ape", "bee"]),
        pa.array(["ape", "bee", "ape", "bee"]).dictionary_encode(),
        pa.array([3, 4, 3, 4], pa.uint8()),
        pa.array([False, True, False, True]),
        pa.array([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 2),
    ],
)
def test_a_column_of_labels_is_classes_and_no_feature(tmp_path, column):
    path = parquet(tmp_path / "x.parquet", a=X[:, 0], kind=column, b=X[:, 1])
    features = read_features(path, labels="kind")
    np.testing.assert_array_equal(features.x, X)
    picked = facility_location(features.x, budget=2, labels=features.labels)
    assert sorted(picked.indices % 2) == [0, 1]


@pytest.mark.parametrize(
    "column",
    [["ape", None, "ape", "bee"], [1, None, 1, 2], [0.5, float("nan"), 0.5, 1.0], [True, None, True, False]],
)
def test_a_missing_label_is_an_error_and_no_class(tmp_path, column):
    path = parquet(tmp_path / "x.parquet", a=X[:, 0], b=X[:, 1], kind=column)
    cells = zip(X[:, 0], X[:, 1], column, strict=True)
    text = "a,b,kind\n" + "".join(f"{a},{b},{'' if kind is None else kind}\n" for a, b, kind in cells)
    for table in (path, write(tmp_path / "x.csv", text)):
        features = read_features(table, labels="kind")
        with pytest.raises(ValueError, match=r"labels hold \w+ at row 1"):
            facility_location(features.x, budget=3, labels=features.labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n0\n1\n2\n", [1, 0, 1, 2]),
        ("\ufeffcat\r\ndog\r\nbig cat \r\n007", ["cat", "dog", "big cat", "007"]),
        ("01\n-1\n+3\n4\n\n\n", [1, -1, 3, 4]),
        ("1\nnan\n2.5\n3", ["1", "nan", "2.5", "3"]),
    ],
)
@pytest.mark.parametrize("table", ["x.npy", "x.csv"])
def test_labels_a_line_are_whole_numbers_or_texts(tmp_path, table, text, expected):
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    write(tmp_path / "x.csv", "a,b\n1,2\n3,4\n5,6\n7,8\n")
    (tmp_path / "y.txt").write_bytes(text.encode())
    assert read_features(tmp_path / table, labels=str(tmp_path / "y.txt")).labels.tolist() == expected


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("y.txt", "1\n2\n", "holds 2 labels: expected 4, one a line"),
        ("y.txt", "1\n\n2\n3\n4", "line 2, is empty: give every row a label"),
        ("y.txt", "", "holds 0 labels"),
        ("y.csv", "1\n2\n3\n4\n", "pass a .txt file with a label a line, an .npy file$"),
    ],
)
def test_lines_that_label_not_every_row_are_refused(tmp_path, name, text, match):
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=match):
        read_features(tmp_path / "x.npy", labels=str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"no file .*z.txt.*labels"):
        read_features(tmp_path / "x.npy", labels=str(tmp_path / "z.txt"))


def test_labels_in_text_and_libsvm(tmp_path):
    assert list(read_features(write(tmp_path / "x.svm", SVM), labels="target").labels) == [1, 0, 1, 0]
    path = write(tmp_path / "x.csv", "a,kind,b\n1,ape,2\n3,bee,4\n")
    features = read_features(path, labels="kind")
    assert (list(features.labels), features.x.tolist()) == (["ape", "bee"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((4, 2)), r"shape \(4, 2\)"),
        (np.array(["a", None, "b", "b"], object), "Python objects"),
    ],
)
def test_labels_that_fit_no_rows_are_refused(tmp_path, labels, match):
    np.save(tmp_path / "y.npy", labels, allow_pickle=True)
    with pytest.raises(ValueError, match=match):
        read_features(write(tmp_path / "x.csv", CSV), labels=str(tmp_path / "y.npy"))
