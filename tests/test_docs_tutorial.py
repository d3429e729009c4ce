"""docs/tutorial.md: typed as it stands, it prints what it shows."""

import re
import shlex
from pathlib import Path

import pytest

from adacore.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|bash|text)\n(.*?)```", PAGE, re.DOTALL)
NUMBER = re.compile(r"\d+\.\d+|\d+(?=%)")
"""Decimals and percentages, which another processor may round in another way; whole numbers have to agree."""


def words_of(line):
    """A line without what depends on the width of a terminal, or on the machine: spaces, rules, decimals."""
    return re.sub(r"\s+", " ", NUMBER.sub("N", line)).strip()


def agree(printed, shown):
    """Whether a printed line is a shown one: figures within three, but for rows of tables, which hold seconds."""
    if words_of(printed) != words_of(shown):
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True)
    return "  " in shown.strip() or all(abs(float(one) - float(other)) <= 3 for one, other in pairs)


def missing(printed, shown):
    """The first shown line that was not printed, in order; lines may have been left out where ``...`` stands."""
    lines = iter(printed.splitlines())
    for line in shown.splitlines():
        if line.strip() != "..." and not any(agree(other, line) for other in lines):
            return line
    return None


@pytest.fixture
def commands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")

    def run(text):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "adacore":
                assert main(words[1:]) == 0, line
            else:  # the first block, which installs
                assert words[0] in {"python3", "pip"}, line

    return run


def test_the_tutorial_prints_what_it_shows(commands, capsys):
    names: dict = {}
    for (kind, text), (after, shown) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(text, "docs/tutorial.md", "exec"), names)
        elif kind == "bash":
            commands(text)
        printed = capsys.readouterr().out
        if kind != "text" and after == "text":
            assert missing(printed, shown) is None, f"after\n{text}\nit printed\n{printed}"


def test_a_line_that_was_not_printed_is_found():
    assert missing("a 90.1%\nb\nc", "a 89%\n...\nc") is None
    assert missing("a 90.1%\nb", "a 80%") == "a 80%"
    assert missing("b\na", "a\nb") == "b"
