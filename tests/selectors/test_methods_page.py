"""The page on methods leaves no method out (its code is run by tests/test_docs_snippets.py)."""

from pathlib import Path

import pytest

from adacore.selectors import SELECTORS

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SELECTORS)
def test_every_method_is_on_the_page(name):
    assert PAGE.count(f"`{name}`") >= 2 or f"\n## {name}\n" in PAGE or name in {"random", "full"}
