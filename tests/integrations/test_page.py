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
    return re.search(rf"^{heading}\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE).group(1)


@pytest.mark.parametrize(
    ("heading", "package"),
    [("## PyTorch", "torch"), ("## Accelerate", "accelerate"), ("## Lightning", "lightning")],
)
def test_a_snippet_runs_and_learns(names, heading, package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    torch = names["torch"]
    found = dict(names)
    torch.manual_seed(0)
    exec(snippet(heading), found)
    model = found["module"].model if "module" in found else found["model"]
    features, targets = names["dataset"].tensors
    assert (model(features).argmax(1) == targets).float().mean() > 0.6
    assert found["loader"].reselector.reselections == 3


def test_the_snippet_of_hugging_face_runs(names, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    found = dict(names)
    exec(snippet("## Hugging Face"), found)
    assert found["trainer"].state.global_step == 20
    assert found["trainer"].coreset_loader.reselector.reselections == 2


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("lightning", "lightning", "lightning"), ("huggingface", "transformers", "huggingface")],
)
def test_without_the_library_the_core_imports_and_the_integration_says_what_to_install(module, package, extra):
    code = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)
sys.modules[{package!r}] = None
import adacore
adacore.AdaCore, adacore.CoresetLoader, adacore.Probe
assert "transformers" not in sys.modules or sys.modules["transformers"] is None
try:
    import adacore.integrations.{module}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.endswith(f"needs {package}, which is not installed: pip install 'adacore[{extra}]'")
