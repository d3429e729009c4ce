"""The report, on folders in the agreed format, looked at through a real browser where there is one."""

import base64
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.browser import Browser, assert_reads_well

from adacore.coreset import Coreset
from adacore.experiments.analysis import Examples
from adacore.experiments.report import write_report
from adacore.experiments.report.svg import COLOURS, assign_styles
from adacore.experiments.runs.recorded_runs import read_methods

N = 1437  # digits' training set

# final accuracy, speed of learning, seconds of a reselection
METHODS = {
    "adacore": (0.962, 0.30, 0.08),
    "craig": (0.951, 0.24, 0.06),
    "random": (0.949, 0.22, 0.0),
    "full": (0.973, 0.9, 0.0),
}


def write_run(
    folder: Path, method: str, seed: int, *, epochs: int = 20, every: int = 5, analysed: bool = True, **settings: object
) -> Path:
    """Write a run of digits that never happened, in the format of those that do."""
    generator = np.random.default_rng([seed, len(method)])
    base = method.partition("(")[0]
    top, rate, cost = METHODS.get(base, (0.94, 0.2, 0.05))
    size = N if base == "full" else N // 10
    (folder / "coresets").mkdir(parents=True)
    config = {
        "data": "digits",
        "model": "mlp",
        "fraction": 0.1,
        "every": every,
        "epochs": epochs,
        "batch_size": 32,
        "optimizer": "sgd",
        "method": method,
        "seed": seed,
        **settings,
    }
    made_with = "# Made with adacore 0.1.0, torch 2.13.0, Linux x86_64, cores 2\n"
    (folder / "config.yaml").write_text(made_with + yaml.safe_dump(config, sort_keys=False))
    favourites = generator.permutation(N)[: 3 * size]
    touched = np.zeros(N, bool)
    rows, probing = [], 0.0
    for epoch in range(1, epochs + 1):
        reselected = epoch == 1 if base == "full" else (epoch - 1) % every == 0
        if reselected:
            pool = np.arange(N) if base in {"random", "full"} else favourites
            coreset = Coreset(generator.choice(pool, size, replace=False), np.full(size, N / size), N)
            coreset.save(folder / "coresets" / f"epoch-{epoch:05d}.npz")
            touched[coreset.indices] = True
            probing += cost
        accuracy = top * (1 - math.exp(-rate * epoch)) + generator.normal(0, 0.004)
        row = {
            "epoch": epoch,
            "train_loss": 2.3 * math.exp(-rate * epoch),
            "train_accuracy": min(1.0, accuracy),
            "test_loss": 2.3 * math.exp(-rate * epoch) + 0.1,
            "test_accuracy": min(1.0, accuracy),
            "learning_rate": 0.1,
            "coreset_size": size,
            "reselected": reselected,
            "fraction_seen": float(touched.mean()),
            "gradient_evaluations": size * epoch,
            "probed_examples": N * ((epoch - 1) // every + 1) if cost else 0,
            "probing_seconds": probing,
            "selecting_seconds": probing / 10,
            "training_seconds": 2e-4 * size * epoch,
            "evaluating_seconds": 0.01 * epoch,
            "epoch_seconds": 0.05,
        }
        if analysed:
            age = (epoch - 1) % every
            row["gradient_error"] = 0.2 * (1 + age) * math.exp(generator.normal(0, 0.1))
            row["preconditioned_gradient_error"] = 0.1 * (1 + age) * math.exp(generator.normal(0, 0.1))
            row["batch_gradient_error"] = (0.7 if base == "adacore" else 1.0) * math.exp(generator.normal(0, 0.05))
            row["random_batch_gradient_error"] = 1.0
            row["worst_class_accuracy"] = accuracy - 0.1
        rows.append(row)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if analysed and base != "full":
        labels = np.arange(N) % 10
        ranks = np.empty(N, np.int64)
        for label in range(10):
            ranks[labels == label] = generator.permutation((labels == label).sum())
        uncertainty = np.exp(-ranks / 60) + generator.random(N) * 0.1
        Examples(labels, generator.poisson(3 * uncertainty), uncertainty, ranks).save(folder / "examples.npz")
    return folder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    for method in METHODS:
        for seed in range(3):
            write_run(folder / method / f"seed-{seed}", method, seed)
    write_report(folder)
    return folder


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("<body>")[1]))


def test_one_file_that_needs_no_network_and_is_small(comparison: Path) -> None:
    report = comparison / "report.html"
    page = report.read_text()
    assert report.stat().st_size < 5e6
    assert not re.search(r"""(?:src|href)=["'](?!data:|\#)""", page)
    assert not re.search(r"url\((?!#)|@import|<script", page)
    assert page.count("<svg") > 10


def test_every_id_is_unique_and_every_reference_resolves(comparison: Path) -> None:
    page = (comparison / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert referred <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)


def test_colours_follow_the_page(comparison: Path) -> None:
    page = (comparison / "report.html").read_text()
    for svg in re.findall(r'<svg viewBox="[^"]+" role="img".*?</svg>', page, flags=re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b(?!\))", re.sub(r'(?:url\(|href=")#[^)"]+|id="[^"]+"', "", svg))
    used = set(re.findall(r"var\((--[\w-]+)\)", page))
    for theme in (":root", "prefers-color-scheme: dark", "@media print"):
        declared = set(re.findall(r"(--[\w-]+):", page[page.index(theme) :].split("}")[0]))
        assert used <= declared, theme


def test_tells_the_verdict_and_the_statistics_of_the_runs(comparison: Path) -> None:
    text = text_of((comparison / "report.html").read_text())
    finals = [
        json.loads((comparison / "adacore" / f"seed-{seed}" / "metrics.jsonl").read_text().splitlines()[-1])
        for seed in range(3)
    ]
    mean = 100 * np.mean([row["test_accuracy"] for row in finals])
    assert f"AdaCore reaches {mean:.1f} % test accuracy" in text
    assert re.search(r"(than|from|to) Random[^(]*\([\d.]+ % interval", text)
    for words in ("Accuracy against seconds", "Accuracy against gradient evaluations", "Accuracy against epochs"):
        assert words in text
    assert "torch 2.13.0" in text
    assert "adacore compare --config again.yaml" in text


def test_the_configuration_runs_it_again(comparison: Path) -> None:
    import html

    page = (comparison / "report.html").read_text()
    settings = yaml.safe_load(
        html.unescape(re.search(r"<summary>Configuration</summary><pre>(.*?)</pre>", page, re.S)[1])
    )
    assert settings["methods"] == list(METHODS)
    assert settings["seeds"] == 3
    assert settings["epochs"] == 20


def test_shows_images_with_their_labels(comparison: Path) -> None:
    page = (comparison / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2 * 2 * 24  # AdaCore's and CRAIG's, most and never
    assert re.search(r'alt="\d, example \d+"', page)


def test_a_single_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "adacore", 3, analysed=False)
    text = text_of(write_report(run, tmp_path / "single.html").read_text())
    assert "nothing stands beside it" in text
    assert "Gradient error" not in text
    assert "Error of mini-batch gradients" not in text


def test_the_error_of_mini_batches_is_drawn_where_it_was_measured(comparison: Path) -> None:
    assert "Error of mini-batch gradients" in text_of((comparison / "report.html").read_text())


def test_other_data_than_images_has_no_gallery(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "adacore", 0, data="mnist", data_root=str(tmp_path / "nowhere"))
    text = text_of(write_report(run).read_text())
    assert "Images are not shown" in text


def test_an_unfinished_comparison_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "adacore" / "seed-0", "adacore", 0)
    run = write_run(tmp_path / "random" / "seed-0", "random", 0)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:7]) + '\n{"epoch": 8, "train')
    assert "Random, seed 0: 7 of 20 epochs" in text_of(write_report(tmp_path).read_text())


def test_curves_go_on_after_the_shortest_run_of_their_method(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "adacore" / f"seed-{seed}", "adacore", seed, analysed=False)
    whole = write_report(tmp_path).read_text()
    rows = tmp_path / "adacore" / "seed-0" / "metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:7]))
    cut = write_report(tmp_path).read_text()
    caption = "Thin lines: single seeds, beyond the end of the shortest run of their method."
    assert caption not in text_of(whole)
    assert caption in text_of(cut)

    def last_tick(page: str) -> str:
        return re.findall(
            r">(\d+)</text>", page.split('aria-labelledby="progress-epochs-title"')[1].split("Epochs<")[0]
        )[-1]

    assert last_tick(cut) == last_tick(whole) == "20"


def test_a_run_that_diverged_at_once_is_shown_as_such(tmp_path: Path) -> None:
    for method in ("adacore", "random"):
        for seed in range(3):
            write_run(tmp_path / method / f"seed-{seed}", method, seed)
    broken = tmp_path / "adacore" / "seed-0"
    (broken / "metrics.jsonl").unlink()
    for path in (broken / "coresets").iterdir():
        path.unlink()
    reason = "the loss became nan or infinite"
    (broken / "diverged.json").write_text(json.dumps({"epoch": 1, "reason": reason, "test_accuracy": 0.1}))
    text = text_of(write_report(tmp_path).read_text())
    assert f"AdaCore, seed 0: {reason} in epoch 1" in text
    assert "is not distinguishable from Random" in text
    assert "Diverged, and counted as what it had reached" in text


def test_epochs_that_were_not_evaluated_are_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "adacore", 0)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        if row["epoch"] % 4:
            row["test_accuracy"] = row["test_loss"] = None
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert f"{100 * rows[-1]['test_accuracy']:.1f} %" in text_of(write_report(run).read_text())


def test_names_are_escaped(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "adacore", 0, data="<b>my</b>:data&co", analysed=False)
    assert "<b>my</b>:data" not in write_report(run).read_text()


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no run"):
        write_report(tmp_path)


def test_two_set_ups_side_by_side_are_told_apart(tmp_path: Path) -> None:
    for part in ("r5", "r20"):
        write_run(tmp_path / part / "adacore" / "seed-0", "adacore", 0, analysed=False)
    assert {method.label for method in read_methods(tmp_path).methods} == {"adacore r5", "adacore r20"}


def test_every_run_is_shown_or_named_as_left_out(tmp_path: Path) -> None:
    """Two settings in one folder, one of them run twice, and a run beside them: one method and seed throughout."""
    written = {
        write_run(tmp_path / place / "craig" / "seed-0", "craig", 0, analysed=False, batch_size=size)
        for place, size in (("A/x", 32), ("A/y", 16), ("A/z", 16), ("B", 32))
    }
    recorded = read_methods(tmp_path)
    shown = {method.label: [run.folder for run in method.runs] for method in recorded.methods}
    assert shown.keys() == {"craig A [batch_size=32]", "craig A [batch_size=16]", "craig B"}
    (reason,) = recorded.left_out
    left = tmp_path / "A/z/craig/seed-0"
    assert str(left) in reason
    assert {folder for folders in shown.values() for folder in folders} == written - {left}


def test_a_copy_within_a_run_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "craig", 0, analysed=False)
    shutil.copytree(run, tmp_path / "copy")
    shutil.move(tmp_path / "copy", run / "backup")
    for folder in (run, tmp_path):
        recorded = read_methods(folder)
        assert [[run.folder for run in method.runs] for method in recorded.methods] == [[run]]
        assert recorded.left_out == (f"{run / 'backup'} lies within the run {run}, as a copy does",)


def test_a_method_has_one_colour_in_every_report() -> None:
    many = [("craig", "craig"), ("adacore(beta1=0)", "adacore"), ("adacore", "adacore"), ("margin", "margin")]
    styles = assign_styles(many)
    assert styles["craig"] == assign_styles([("craig", "craig")])["craig"]
    assert len({style.slot for style in styles.values()}) == len(many)
    crowd = assign_styles([(f"m{i}", f"m{i}") for i in range(25)])
    assert len(set(crowd.values())) == 25
    assert all(style.slot < COLOURS for style in crowd.values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_in_a_browser(comparison: Path, browser: Browser, width: int, scheme: str) -> None:
    assert_reads_well(browser, comparison / "report.html", width, scheme)


def test_prints(comparison: Path, browser: Browser) -> None:
    browser.open(comparison / "report.html", 1400, "dark")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 2 <= pages <= 10
    pictures = os.environ.get("ADACORE_TEST_PICTURES")
    if pictures:
        Path(pictures, "report.pdf").write_bytes(printed)
