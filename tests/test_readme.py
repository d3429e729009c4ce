import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_search_in_the_readme_finds_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(blocks()[1], str(README), "exec"), names)
    from sklearn.datasets import make_moons

    search = names["search"].fit(*make_moons(600, noise=0.1, random_state=0))
    assert search.best_score_ > 0.95
    assert len(search.best_estimator_.sample_indices_) == 60


def test_the_example_in_the_readme_runs_and_learns(capsys):
    code = blocks()[0]
    import torch

    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(code, str(README), "exec"), names)
    from adacore.experiments import data

    test = data.load("digits").test
    accuracy = (names["model"](test.inputs).argmax(1) == test.targets).float().mean()
    assert accuracy > 0.85
    assert "of the data was seen" in capsys.readouterr().out
