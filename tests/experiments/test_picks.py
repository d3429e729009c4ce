"""The page of picks, of texts and of images, looked at through a real browser where there is one."""

from pathlib import Path

import numpy as np
import pytest
from tests.browser import Browser, assert_reads_well

from adacore.cli import main
from adacore.experiments.report.map_of_rows import FEW, LARGE_NUMBER, NUMBERED, SMALL_NUMBER, _place_numbers, draw_map
from adacore.facility import facility_location
from adacore.labelling.coverage import coverage_of, reached

ROWS = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
COUNT = """(() => ({
  picks: document.querySelectorAll(".map .pick").length,
  before: document.querySelectorAll(".map .before").length,
  rows: (document.querySelector(".map .rows").getAttribute("d").match(/M/g) || []).length,
  curve: document.querySelectorAll("[aria-labelledby=curve-title] path").length,
  cards: document.querySelectorAll(".cards > li").length,
  images: document.querySelectorAll(".cards img").length,
  text: document.body.innerText,
}))()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A second round on texts, whose first is labelled, and a selection of images within classes."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("picks")
    np.save(folder / "rows.npy", ROWS)
    np.save(folder / "classes.npy", np.array(["cat", "dog"])[np.arange(400) % 2])
    # A text as long as any, one without a place to break it, and one that would be markup.
    texts = [f"text {i} " + ("word " * 80, "x" * 300, "<script>alert(1)</script>")[i % 3] for i in range(400)]
    (folder / "texts.txt").write_text("\n".join(texts))
    (folder / "images").mkdir()
    for i in range(400):
        image.new("RGB", (90, 30 + i % 90), (i % 256, 80, 160)).save(folder / "images" / f"{i:04}.png")
    select = ["select", str(folder / "rows.npy"), "--out", str(folder / "c.npz")]
    sheet, texts_file = str(folder / "first.csv"), str(folder / "texts.txt")
    assert main([*select, "--budget", "12", "--sheet", sheet]) == 0
    lines = Path(sheet).read_text().splitlines()
    Path(sheet).write_text("\n".join([lines[0], *(line + "tiger" for line in lines[1:])]))
    second, images = str(folder / "texts.html"), str(folder / "images.html")
    assert main([*select, "--budget", "25", "--initial", sheet, "--items", texts_file, "--report", second]) == 0
    within = ["--labels", str(folder / "classes.npy"), "--items", str(folder / "images")]
    assert main([*select, "--budget", "20", *within, "--report", images]) == 0
    return {"texts": Path(second), "images": Path(images)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("page", ["texts", "images"])
def test_in_a_browser(pages: dict[str, Path], browser: Browser, page: str, width: int, scheme: str) -> None:
    assert_reads_well(browser, pages[page], width, scheme)


def test_a_second_round_shows_what_was_labelled_before(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["texts"], 1280, "light")
    seen = browser.evaluate(COUNT)
    assert (seen["picks"], seen["before"], seen["rows"]) == (25, 12, 400)
    assert seen["cards"] >= 25 + 12
    assert seen["curve"] > 0
    assert "25 rows and 12 selected before stand for 400" in seen["text"]
    assert "tiger" in seen["text"]
    assert "<script>alert(1)</script>" in seen["text"]
    assert "nine tenths" in seen["text"]


def test_images_are_seen_and_classes_counted(pages: dict[str, Path], browser: Browser) -> None:
    browser.open(pages["images"], 1280, "light")
    seen = browser.evaluate(COUNT)
    assert seen["picks"] == 20
    assert seen["images"] >= 3 * 20
    assert all(name in seen["text"] for name in ("cat", "dog"))


def test_where_labels_stop_helping_is_told_apart_from_where_they_still_do() -> None:
    blobs = np.repeat(np.arange(5.0) * 100, 40)[:, None] + np.random.default_rng(1).normal(size=(200, 1)) / 100
    spread = np.random.default_rng(1).normal(size=(200, 60))
    flat = reached(coverage_of(blobs, facility_location(blobs, budget=40)))
    falling = reached(coverage_of(spread, facility_location(spread, budget=40)))
    assert flat is not None
    assert falling is not None
    # Five groups: after a pick in each nothing is left to gain, and from the first pick on that is four picks.
    assert flat.most <= 5
    assert "change little" in flat.sentence
    assert "still falling" in falling.sentence


@pytest.mark.parametrize(("count", "size"), [(NUMBERED, SMALL_NUMBER), (FEW, LARGE_NUMBER)])
def test_numbers_on_the_map_do_not_cover_each_other(count: int, size: tuple[int, int]) -> None:
    crowd = [(number, 500 + 9.0 * number, 300 + 40.0 * (number % 5)) for number in range(1, 31)]
    placed = _place_numbers(crowd, count, size)
    assert len(placed) > count // 3
    assert max(number for number, *_ in placed) <= count
    for position, (_, x, y) in enumerate(placed):
        assert all(abs(x - a) > size[0] or abs(y - b) > size[1] for _, a, b in placed[:position])


def test_a_few_outliers_do_not_squeeze_the_map() -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(size=(500, 2)), [[1e6, 1e6]]])
    drawn = draw_map(rows, coverage_of(rows, facility_location(rows, budget=3)))
    places = np.array([list(map(float, place.split())) for place in drawn.path.removesuffix("h0")[1:].split("h0M")])
    assert np.ptp(places[:500, 0]) > 400
    assert len({number for number, *_ in drawn.picks}) == 3
