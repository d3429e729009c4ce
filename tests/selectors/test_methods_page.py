"""The page on methods: its code runs, and no method is left out."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from adacore.selectors import SELECTORS

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_code_on_the_page_runs(code, monkeypatch):
    page = ModuleType("page")  # where pickle finds the classes that the code makes
    monkeypatch.setitem(sys.modules, "page", page)
    exec(compile(code, "docs/methods.md", "exec"), page.__dict__)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_method_is_on_the_page(name):
    assert PAGE.count(f"`{name}`") >= 2 or f"\n## {name}\n" in PAGE or name in {"random", "full"}
