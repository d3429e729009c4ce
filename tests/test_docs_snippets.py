"""README.md and docs/: every snippet of Python runs, and every command can be typed as it stands."""

import importlib.util
import re
import shlex
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from adacore.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
CODE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}(?! *[-*] ).*\n)+", re.MULTILINE)

ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "labelling.md": "tests/labelling/test_from_files.py",
    "sklearn.md": "tests/sklearn/test_page.py",
    "tutorial.md": "tests/test_docs_tutorial.py, which compares what is printed",
    "trainers.md": "tests/integrations/test_page.py",
    "examples.md": "tests/test_docs_examples.py",
}
"""Pages whose Python is run by another test."""

NOT_RUN = {"torch.distributed.init_process_group": "several processes: tests/training/test_processes.py"}
"""Snippets with these words are compiled and not run."""


def given():
    """What the snippets take for granted: some rows, a data set and a model."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=generator)
    model = nn.Linear(6, 3)
    return {
        "np": np,
        "torch": torch,
        "x": x.numpy(),
        "X": x.numpy(),
        "y": (np.arange(120) % 2),
        "train": x.numpy(),
        "test": x.numpy()[:20],
        "labelled": np.arange(5),
        "model": model,
        "dataset": TensorDataset(x, torch.arange(120) % 3),
        "criterion": nn.CrossEntropyLoss(reduction="none"),
    }


def snippets(page):
    return [text for language, text in CODE.findall(PAGES[page]) if language == "python"]


SMALLER = {  # where a page's sizes are more than a test should compute, or its model is another
    "facility.md": lambda text: text.replace("budget=500", "budget=50").replace("budget=100", "budget=10"),
    "probe.md": lambda text: text.replace("torch.nn.HuberLoss()", "None").replace('{"num_workers": 4}', "{}"),
    "training.md": lambda text: text.replace("range(200)", "range(2)"),
}


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page) and page not in ELSEWHERE])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page == "scale.md":
        pytest.importorskip("ray", reason="the page on scale needs ray: pip install 'adacore[ray]'")
        pytest.skip("starting Ray takes longer than a snippet: tests/integrations/test_ray.py runs it")
    module = ModuleType("page")  # where pickle finds the classes that the snippets make
    monkeypatch.setitem(sys.modules, "page", module)
    module.__dict__.update(given())
    with torch.random.fork_rng():
        for text in snippets(page):
            code = compile(SMALLER.get(page, str)(text), page, "exec")
            if not any(words in text for words in NOT_RUN):
                exec(code, module.__dict__)


def command_lines():
    """Lines of code, in fences or indented, and commands within sentences, that begin with a program's name."""
    for page, text in PAGES.items():
        fenced = [code for language, code in CODE.findall(text) if language in {"bash", "console"}]
        for code in [*fenced, *INDENTED.findall(CODE.sub("", text))]:
            for line in code.replace("\\\n", " ").splitlines():
                yield page, line.strip()
        for line in re.findall(r"(?<!`)`(adacore [a-z][^`\n]*)`", text):
            yield page, line


LINES = sorted(set(command_lines()))
OURS = [(page, line) for page, line in LINES if line.startswith("adacore ")]


@pytest.mark.parametrize("page", sorted({page for page, _ in OURS}))
def test_the_commands_of_a_page_are_understood(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "select.yaml").write_text("metric: cosine\nbudget: 100\nout: picks.parquet\n")  # that of docs/files.md
    ran = []
    for name, command in COMMANDS.items():  # understood, and not run
        monkeypatch.setitem(COMMANDS, name, replace(command, run=lambda values, name=name: ran.append(name) or 0))
    for line in [line for other, line in OURS if other == page]:
        words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
        if words[1:] in ([], ["--help"]):  # a command's name in a sentence
            assert words[0] in COMMANDS
            continue
        assert main(words) == 0, line
        assert ran.pop() == words[0]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_what_else_a_page_has_one_type_is_there(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in [line for other, line in LINES if other == page and re.match(r"(python|make|pip|bash) ", line)]:
        program, *words = shlex.split(line, comments=True)
        if program == "pip":
            assert {extra for word in words for extra in re.findall(r"\[(.*)\]", word)} <= set(extras), line
        elif program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), line
        elif words[0] == "-m":
            assert importlib.util.find_spec(words[1]) is not None, line
        elif f"`{words[0]}`" not in PAGES[page]:  # which the reader is told to write, and another test does
            source = (ROOT / words[0]).read_text(encoding="utf-8")
            wrong = [word for word in words[1:] if word.startswith("--") and word not in source]
            assert not wrong, f"{line}: {words[0]} has no {wrong}"


def test_the_pages_hold_what_these_tests_look_for():
    assert len(OURS) > 40
    assert {page for page in PAGES if snippets(page)} >= {"README.md", "facility.md", "probe.md", "training.md"}
    assert not set(ELSEWHERE) - set(PAGES)
