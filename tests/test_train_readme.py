import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs_and_learns(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    import torch

    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(code, str(README), "exec"), names)
    from adacore import data

    test = data.load("digits").test
    accuracy = (names["model"](test.inputs).argmax(1) == test.targets).float().mean()
    assert accuracy > 0.85
    assert "of the data was touched" in capsys.readouterr().out
