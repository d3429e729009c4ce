"""docs/trainers.md: its snippets run as they stand, one after the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trainers.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names():
    """What the snippets of PyTorch share."""
    found: dict = {}
    exec(snippet("# In the trainers people use"), found)
    return found


def snippet(heading):
    """All the code of a section."""
    section = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.mark.parametrize(
    ("heading", "package"),
    [
        ("## PyTorch", "torch"),
        ("## Accelerate", "accelerate"),
        ("## Fabric", "lightning"),
        ("## Lightning", "lightning"),
        ("## skorch", "skorch"),
        ("## Streams", "torch"),
    ],
)
def test_a_snippet_runs_and_learns(names, heading, package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    torch = names["torch"]
    found = dict(names)
    torch.manual_seed(0)
    exec(snippet(heading), found)
    if heading == "## skorch":
        found |= {"model": found["net"].module_, "loader": found["net"].coreset_loader_}
    model = found["module"].model if heading == "## Lightning" else found["model"]
    features, targets = names["dataset"].tensors
    assert (model(features).argmax(1) == targets).float().mean() > 0.6
    if heading == "## Streams":
        assert found["loader"].pools == 3
    else:
        # Accelerate's goes on with a seventh epoch.
        assert found["loader"].reselector.reselections == (4 if heading == "## Accelerate" else 3)


def test_the_snippet_of_hugging_face_runs(names, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    found = dict(names)
    exec(snippet("## Hugging Face"), found)
    assert found["trainer"].state.global_step == 20
    assert found["trainer"].coreset_loader.reselector.reselections == 2


def test_without_the_libraries_the_core_imports_and_an_integration_says_what_to_install():
    missing = {"accelerate": "accelerate", "lightning": "lightning", "huggingface": "transformers", "skorch": "skorch"}
    # One process for all: most of its time goes into importing torch.
    code = f"""
import importlib, importlib.util, sys
missing, find = {missing!r}, importlib.util.find_spec
import adacore
adacore.AdaCore, adacore.CoresetLoader, adacore.StreamLoader, adacore.Probe
assert not any(package in sys.modules for package in missing.values())
for module, package in missing.items():
    importlib.util.find_spec = lambda name, *rest: None if name == package else find(name, *rest)
    try:
        importlib.import_module("adacore.integrations." + module)
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line, (extra, package) in zip(done.stdout.splitlines(), missing.items(), strict=True):
        assert line.endswith(f"needs {package}, which is not installed: pip install 'adacore[{extra}]'")
