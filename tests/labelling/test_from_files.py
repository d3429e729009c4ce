import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from adacore.cli import main
from adacore.coreset import Coreset
from adacore.labelling.items import read_items
from adacore.labelling.tables import read_features

PAGE = Path(__file__).parents[2] / "docs" / "labelling.md"
ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", ROWS)
    Path("texts.txt").write_text("\n".join(f"text <{i}>" for i in range(60)))
    return tmp_path


def test_two_rounds_from_files_choose_what_one_selection_with_initial_rows_does(folder, capsys):
    words = "select rows.npy --budget 5 --items texts.txt --sheet label.csv --out a.npz"
    assert main(words.split(" ")) == 0
    lines = Path("label.csv").read_text().splitlines()
    first = Coreset.load("a.npz")
    assert lines[0] == "position,item,weight,label"
    assert [int(line.split(",")[0]) for line in lines[1:]] == first.indices.tolist()
    assert main(["select", "rows.npy", "--budget", "5", "--initial", "label.csv", "--out", "b.npz"]) == 0
    assert "label.csv: 5 of 5 rows have no label yet; all of them count as chosen" in capsys.readouterr().err
    assert main(["select", "rows.npy", "--budget", "10", "--out", "both.npz"]) == 0
    second = Coreset.load("b.npz").indices.tolist()
    assert [*first.indices.tolist(), *second] == Coreset.load("both.npz").indices.tolist()


def test_the_page_shows_every_pick_and_escapes_what_it_shows(folder):
    assert main(["select", "rows.npy", "--budget", "7", "--items", "texts.txt", "--report", "out/picks.html"]) == 0
    page = Path("out/picks.html").read_text()
    picks = Coreset.load("coreset.npz")
    assert "7 rows stand for 60" in page
    for row in picks.indices:
        assert f"text &lt;{row}&gt;" in page
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", page)
    assert "Served worst" in page
    assert "<svg" in page


def test_images_of_a_folder_are_shown(folder):
    image = pytest.importorskip("PIL.Image")
    Path("images").mkdir()
    for i in range(60):
        image.new("RGB", (90, 60), (i, 0, 0)).save(f"images/{i:03}.png")
    assert main(["select", "rows.npy", "--budget", "3", "--items", "images", "--report", "picks.html"]) == 0
    assert Path("picks.html").read_text().count("data:image/webp;base64,") >= 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--budget 5 --initial missing.txt", "no file"),
        ("--budget 5 --initial outside.txt", "60 rows"),
        ("--budget 5 --initial twice.txt", "twice"),
        ("--budget 5 --initial words.txt", "no position"),
        ("--budget 5 --initial huge.txt", "no position"),
        ("--budget 5 --initial short.csv", "no position"),
        ("--budget 61", "60"),
        ("--budget 59 --exclude two.txt", "58"),
        ("--budget 5 --items short.txt --report p.html", "3 items, the table 60 rows"),
        ("--budget 5 --items texts.txt", "--report"),
        ("--budget 5 --report p.pdf", ".html"),
        ("--budget 5 --quotas equal", "--labels"),
        ("--budget 5 --labels y.npy --quotas a=3,b=4", "quotas"),
        ("--budget 5 --labels y.npy --quotas a=3,z=2", "unknown class"),
        ("--budget 5 --labels y.npy --quotas a3", "class=number"),
    ],
)
def test_every_mistake_is_one_line(folder, capsys, words, message):
    for name, text in (("outside", "60"), ("twice", "1\n1"), ("words", "one"), ("two", "0\n1"), ("short", "a\nb\nc")):
        Path(f"{name}.txt").write_text(text)
    Path("huge.txt").write_text("9" * 30)
    Path("short.csv").write_text("item,position\na,1\nb\n")
    np.save("y.npy", np.array(["a", "b"])[np.arange(60) % 2])
    assert main(["select", "rows.npy", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_quotas_by_name(folder):
    np.save("y.npy", np.array(["a", "b"])[np.arange(60) % 2])
    assert main(["select", "rows.npy", "--budget", "9", "--labels", "y.npy", "--quotas", "a=6,b=3"]) == 0
    assert (Coreset.load("coreset.npz").indices % 2 == 0).sum() == 6


def test_a_row_of_zeros_under_cosine_and_nan_are_one_line(folder, capsys):
    for value, message in ((0.0, "no direction"), (np.nan, "nan")):
        rows = ROWS.copy()
        rows[3] = value
        np.save("bad.npy", rows)
        assert main(["select", "bad.npy", "--budget", "5", "--metric", "cosine"]) == 2
        error = capsys.readouterr().err
        assert message in error.lower()
        assert len(error.splitlines()) == 1


def test_labelling_is_simulated_and_goes_on_where_it_stopped(folder, capsys):
    words = ["label", "digits", "--budgets", "10,20", "--seeds", "3", "--methods", "random,facility_location"]
    words += ["--estimators", "nearest", "--out", "sim"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "better" in told
    assert Path("sim/report.html").read_text().count("<svg") >= 2
    outcomes = Path("sim/outcomes.jsonl").read_text()
    Path("sim/outcomes.jsonl").write_text(outcomes[: outcomes.rindex("[") + 20])  # killed in the middle of a line
    assert main(words) == 0
    strip = lambda text: re.sub(r'"choosing_seconds": [\d.e-]+', "", text)  # noqa: E731
    assert strip(Path("sim/outcomes.jsonl").read_text()) == strip(outcomes)
    assert main([*words[:2], "--budgets", "10,30", *words[4:]]) == 2
    assert "other budgets" in capsys.readouterr().err


def snippets():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_page_runs(folder):
    names: dict = {}
    exec(compile(snippets()[1], str(PAGE), "exec"), names)
    assert not set(names["first"]) & set(names["second"])
    assert names["weights"].sum() == 200


def commands(heading):
    """The commands of a part of the page, as they stand."""
    part = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    part = re.sub(r"```.*?```", "", part, flags=re.DOTALL)
    return [line.strip() for line in re.findall(r"^    (.+)$", part, re.MULTILINE)]


def type_commands(lines):
    """Type them; whoever labels has done so before the second round. Installing and opening are left out."""
    for line in lines:
        words = shlex.split(line)
        if "--initial" in words:
            sheet = Path(words[words.index("--initial") + 1])
            head, *rows = sheet.read_text().splitlines()
            sheet.write_text("\n".join([head, *(row + "lynx" for row in rows)]))
        if words[0] == "adacore":
            assert main(words[1:]) == 0, line
        elif words[:2] == ["python", "embed.py"]:
            runpy.run_path("embed.py")
        elif words[:3] == ["python", "-m", "webbrowser"]:
            assert "<svg" in Path(words[3]).read_text()
        else:
            assert words[:2] == ["pip", "install"]


def test_the_commands_from_texts_to_a_page_can_be_typed(folder):
    np.save("embeddings.npy", ROWS)
    Path("texts.csv").write_text("text\n" + "\n".join(f"text {i}" for i in range(60)))
    lines = commands("From texts to a page of picks")
    assert len(lines) == 5
    type_commands(lines)
    assert "20 rows and 20 selected before" in Path("more.html").read_text()
    np.save("known.npy", np.arange(60) % 3)
    (simulation,) = commands("What the page shows, and further flags")
    assert main([*shlex.split(simulation)[1:], "--seeds", "1", "--test", "0.1"]) == 0


def test_the_commands_from_images_to_a_page_can_be_typed(folder, monkeypatch):
    make_images("images")
    Path("my_model.py").write_text(
        "from torch import nn\n"
        "model = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(512, 6), nn.Linear(6, 3))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    Path("embed.py").write_text(snippets()[0])
    lines = commands("From images and a model of your own")
    assert len(lines) == 5
    type_commands(lines)
    assert np.load("features.npy").shape == (60, 6)
    assert "20 rows and 20 selected before" in Path("more.html").read_text()


def make_images(folder, count=60):
    image = pytest.importorskip("PIL.Image")
    Path(folder).mkdir()
    for i in range(count):
        image.new("RGB", (90, 60), (i, 0, 0)).save(f"{folder}/{i:03}.png")


@pytest.fixture
def files(folder):
    """Files that hold mistakes, each of another kind."""
    Path("empty").mkdir()
    make_images("broken")
    Path("broken/030.png").write_text("no image")
    Path("latin.txt").write_bytes("caf\xe9\n".encode("latin-1") * 60)
    Path("latin.csv").write_bytes(b"text\n" + "caf\xe9\n".encode("latin-1") * 60)
    Path("head.csv").write_bytes("t\xe9xt\n".encode("latin-1") + b"a\n" * 60)
    Path("ragged.csv").write_text("a,b\n1,2\n3\n")
    Path("positions.csv").write_bytes("position,item\n1,caf\xe9\n".encode("latin-1"))
    Path("texts.csv").write_text("text,other\n" + "a,b\n" * 60)
    Path("done.csv").write_text("position,item,weight,label\n3,a,1,cat\n4,b,1,\n")
    Path("short.csv").write_text("text\n" + "a\n" * 59)
    np.save("y59.npy", np.arange(59))
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--items empty --report p.html", "holds no images"),
        ("--items broken --report p.html", "row 30"),
        ("--items latin.txt --report p.html", "line 1: byte 0xe9 is not UTF-8"),
        ("--items latin.csv --report p.html", "is not UTF-8"),
        ("--items head.csv --report p.html", "is not UTF-8"),
        ("--items ragged.csv --report p.html", "is no table"),
        ("--items short.csv --report p.html", "59 items, the table 60 rows"),
        ("--items texts.csv:txt --report p.html", "did you mean 'text'"),
        ("--items texts.csv --report p.html", "name one"),
        ("--initial positions.csv", "is not UTF-8"),
        ("--initial empty", "is a folder"),
        ("--labels y59.npy", "(59,)"),
        ("--out rows.npy/c.npz", "cannot write rows.npy/c.npz"),
        ("--report rows.npy/p.html", "cannot write rows.npy/p.html"),
        ("--sheet rows.npy/p.csv", "cannot write rows.npy/p.csv"),
        ("--sheet done.csv", "holds 1 labels"),
    ],
)
def test_mistakes_in_files_are_one_line_before_anything_is_selected(files, capsys, monkeypatch, words, message):
    def too_late(*arguments, **settings):
        raise AssertionError("work has begun")

    monkeypatch.setattr("adacore.facility.facility_location", too_late)
    assert main(["select", "rows.npy", "--budget", "5", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("coreset.npz").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("caf\xe9,b\n1,2\n3,4\n", "is not UTF-8"),
        ("a,b\n1,caf\xe9\n3,x\n", "is not UTF-8"),
    ],
)
def test_a_table_of_another_encoding_is_told_from_a_damaged_one(folder, capsys, table, message):
    Path("t.csv").write_bytes(table.encode("latin-1"))
    assert main(["select", "t.csv", "--labels", "b", "--budget", "1"]) == 2
    assert message in capsys.readouterr().err


def test_an_image_that_is_cut_short_costs_its_picture_and_not_the_page(folder, capsys):
    make_images("images")
    for path in Path("images").iterdir():
        path.write_bytes(path.read_bytes()[:-30])
    assert main(["select", "rows.npy", "--budget", "3", "--items", "images", "--report", "picks.html"]) == 0
    assert "cannot be read" in Path("picks.html").read_text()
    assert "cannot read the image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--budgets 20,41", "exceeds the pool of 40"),
        ("--methods random,facility_location(metric=cosine)", "all zeros"),
        ("--methods random,k_mean", "did you mean 'k_means'"),
        ("--estimators nearst", "unknown estimator"),
        ("--out rows.npy", "rows.npy"),
        ("--labels y59.npy", "(59,)"),
        ("--labels gaps.npy", "labels hold nan at row 4"),
    ],
)
def test_mistakes_of_a_simulation_are_one_line_before_anything_is_simulated(files, capsys, monkeypatch, words, message):
    rows = ROWS.copy()
    rows[7] = 0
    np.save("zero.npy", rows)
    np.save("y.npy", np.arange(60) % 3)
    np.save("gaps.npy", np.where(np.arange(60) % 5 == 4, np.nan, np.arange(60) % 2))
    monkeypatch.setattr("adacore.labelling.simulation.Simulation.run", lambda *_: pytest.fail("work has begun"))
    words = words if "--labels" in words else f"{words} --labels y.npy"
    assert main(["label", "zero.npy", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_nan_in_a_simulation_is_one_line(folder, capsys):
    rows = ROWS.copy()
    rows[9, 1] = np.nan
    np.save("nan.npy", rows)
    np.save("y.npy", np.arange(60) % 3)
    assert main(["label", "nan.npy", "--labels", "y.npy", "--budgets", "5"]) == 2
    assert "row 9" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_texts_may_stand_in_the_table_of_their_embeddings(folder, kind):
    import pyarrow as pa
    from pyarrow import csv, parquet

    texts = Path("texts.txt").read_text().splitlines()
    table = pa.table({"text": texts, **{f"e{k}": ROWS[:, k] for k in range(ROWS.shape[1])}})
    csv.write_csv(table, "t.csv")
    parquet.write_table(table, "t.parquet")
    words = ["select", f"t.{kind}", "--budget", "5", "--items", f"t.{kind}:text", "--sheet", "label.csv"]
    assert main(words) == 0
    assert main(["select", "rows.npy", "--budget", "5", "--out", "same.npz"]) == 0
    assert Coreset.load("coreset.npz").indices.tolist() == Coreset.load("same.npz").indices.tolist()
    assert "text <" in Path("label.csv").read_text()


def test_labels_written_into_a_sheet_are_shown_in_the_next_round(folder):
    assert main(["select", "rows.npy", "--budget", "5", "--items", "texts.txt", "--sheet", "label.csv"]) == 0
    lines = Path("label.csv").read_text().splitlines()
    Path("label.csv").write_text("\n".join([lines[0], *(line + "lynx" for line in lines[1:4]), *lines[4:]]))
    assert main(["select", "rows.npy", "--budget", "5", "--initial", "label.csv", "--report", "more.html"]) == 0
    page = Path("more.html").read_text()
    assert page.count('<span class="tag">lynx</span>') == 3
    assert "5 rows and 5 selected before stand for 60" in page


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_sheet_is_taken_back_as_a_spreadsheet_saves_it(folder, capsys, delimiter):
    assert main(["select", "rows.npy", "--budget", "3", "--sheet", "sheet.csv", "--out", "a.npz"]) == 0
    lines = [line.split(",") for line in Path("sheet.csv").read_text().splitlines()]
    named = [[name.title() for name in lines[0]], *([*line[:3], "cat"] for line in lines[1:])]
    Path("labelled.csv").write_text("".join(delimiter.join(line) + "\r\n" for line in named))
    assert main(["select", "rows.npy", "--budget", "2", "--initial", "labelled.csv", "--out", "b.npz"]) == 0
    assert main(["select", "rows.npy", "--budget", "2", "--initial", "a.npz", "--out", "c.npz"]) == 0
    assert Coreset.load("b.npz").indices.tolist() == Coreset.load("c.npz").indices.tolist()
    # What a person has written must not be lost, whatever separates it.
    assert main(["select", "rows.npy", "--budget", "2", "--sheet", "labelled.csv"]) == 2
    assert "holds 3 labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("id,text\n" + "".join(f'{i},"two\nlines {i}"\n' for i in range(60)), "two\nlines 7"),
        ("id;text\n" + "".join(f"{i};a, b {i}\n" for i in range(60)), "a, b 7"),
        ("id,text\n" + "".join(f"{i},00{i}\n" for i in range(60)), "007"),
        ("id,text\n" + "".join(f"{i},{'NA' if i == 7 else i}\n" for i in range(60)), "NA"),
        ("id,text\n" + "".join(f"{i},{i % 10}.50\n" for i in range(60)), "7.50"),
    ],
)
def test_texts_of_a_table_are_shown_as_they_are_written(tmp_path, text, shown):
    (tmp_path / "texts.csv").write_text(text)
    assert read_items(f"{tmp_path}/texts.csv:text", 60).values[7] == shown


def test_long_texts_of_several_lines_are_read_from_a_large_table(tmp_path):
    # More than Arrow reads at once, so that a text is cut in two wherever line ends are not expected in it.
    row = "words " * 100 + "\nand more"
    (tmp_path / "texts.csv").write_text("text,n\n" + "".join(f'"{row}",{i}\n' for i in range(4_000)))
    assert set(read_items(f"{tmp_path}/texts.csv:text", 4_000).values) == {row}
    assert read_features(tmp_path / "texts.csv", without="text").x[:, 0].tolist() == list(range(4_000))
