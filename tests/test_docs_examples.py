"""examples/: each script runs as it stands and prints what the site shows."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {"lightning_module": "lightning", "hugging_face": "transformers"}
SLOW = {"train_in_pytorch", "lightning_module", "hugging_face"}
PER_CENT = re.compile(r"\d+(?:\.\d+)?(?= ?%)")


def same(printed, shown):
    """Whether two outputs agree: word for word, but that another processor may train to three points more or less."""
    pairs = list(zip(PER_CENT.findall(printed), PER_CENT.findall(shown), strict=False))
    return PER_CENT.sub("N", printed) == PER_CENT.sub("N", shown) and all(
        abs(float(one) - float(other)) <= 3 for one, other in pairs
    )


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, marks=[pytest.mark.slow] if script.stem in SLOW else []) for script in SCRIPTS],
    ids=lambda script: script.stem,
)
def test_an_example_prints_what_the_site_shows(script, tmp_path):
    if package := NEEDS.get(script.stem):
        pytest.importorskip(package, reason=f"{script.name} needs {package}: pip install 'adacore[all]'")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(script)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    shown = (ROOT / "examples" / "output" / f"{script.stem}.txt").read_text(encoding="utf-8")
    assert same(done.stdout, shown), f"make examples writes what it prints now:\n{done.stdout}"


def test_outputs_agree_to_three_points():
    assert same("90.1% of 5 rows", "88% of 5 rows")
    assert not same("90.1% of 5 rows", "80.1% of 5 rows")
    assert not same("90.1% of 5 rows", "90.1% of 6 rows")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_is_short_says_what_it_needs_and_is_on_the_site(script):
    source = script.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
    assert "Needs: pip install" in ast.get_docstring(ast.parse(source))
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f'--8<-- "examples/{script.name}"' in page
    assert f'--8<-- "examples/output/{script.stem}.txt"' in page
