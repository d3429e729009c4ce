import re
from pathlib import Path

import torch
from sklearn.datasets import make_moons

from adacore.experiments import data

README = Path(__file__).parents[1] / "README.md"


def block(word):
    """The one example of the README that holds a word."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [code for code in blocks if word in code]
    return compile(found, str(README), "exec")


def test_the_example_of_labelling_chooses_two_rounds(capsys):
    names: dict = {}
    exec(block("Rounds"), names)
    first, more = names["rounds"].labelled, names["more"]
    assert len(first) == len(more) == 20
    assert not set(first) & set(more)
    assert "label these:" in capsys.readouterr().out


def test_the_example_of_training_runs_and_learns(capsys):
    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(block("CoresetLoader"), names)
    test = data.load("digits").test
    accuracy = (names["model"](test.inputs).argmax(1) == test.targets).float().mean()
    assert accuracy > 0.85
    assert "of the data was seen" in capsys.readouterr().out


def test_the_search_in_the_readme_finds_a_model():
    names: dict = {}
    exec(block("CoresetSearch"), names)
    search = names["search"].fit(*make_moons(600, noise=0.1, random_state=0))
    assert search.best_score_ > 0.95
