"""The recipes of docs/sklearn.md run as they stand."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"


def test_the_recipes_of_the_page_run() -> None:
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["found"].score(names["X"], names["y"]) > 0.97
    assert names["model"].score(names["X"], names["y"]) > 0.85
