"""What an installation brings: the core alone, or with extras; public names; both ways to start the program."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import adacore
from adacore.errors import EXTRAS, require_extra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
"""Packages whose module has another name."""

BARE = """
import sys
from importlib.machinery import PathFinder
class Bare:  # stands for a fresh environment with nothing but the core: the real one is made by .ci/run
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in BLOCKED else PathFinder.find_spec(name, path, target)
    def find_distributions(self, *context):  # torch and jsonargparse ask for versions
        return PathFinder.find_distributions(*context)
BLOCKED = set(sys.argv[1].split(","))
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare()
"""


def package_of(requirement):
    return requirement.split(">")[0].split("[")[0].strip()


def module_of(requirement):
    package = package_of(requirement)
    return MODULES.get(package, package.replace("-", "_"))


def run_bare(code):
    """Run code in a process that has the core's packages alone."""
    blocked = {module for modules in EXTRAS.values() for module in modules} | {"pandas", "threadpoolctl", "joblib"}
    words = [sys.executable, "-c", BARE + code, ",".join(blocked)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_extras_are_those_that_errors_name():
    listed = {
        extra: {module_of(requirement) for requirement in requirements}
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra not in {"all", "benchmarks", "dev", "docs"}
    }
    assert listed == {extra: set(modules) for extra, modules in EXTRAS.items()}


def test_all_is_every_extra():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert everything == f"adacore[{','.join(sorted(EXTRAS))}]"


def test_every_promised_package_is_pinned_for_the_tests():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    extras = PROJECT["optional-dependencies"]
    wanted = {
        package_of(r) for r in [*PROJECT["dependencies"], *extras["dev"], *extras["docs"], *extras["experiments"]]
    } - {"adacore"}
    assert wanted <= pinned


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(EXTRAS, "skorch", ("no_such_module",))
    with pytest.raises(
        ModuleNotFoundError, match=r"CoresetCallback needs no_such_module.*pip install 'adacore\[skorch\]'"
    ):
        require_extra("skorch", "CoresetCallback")


def test_the_core_selects_and_loads_without_any_extra():
    done = run_bare(
        """
import adacore, torch
from torch import nn
from torch.utils.data import TensorDataset
x, y = torch.randn(60, 4), torch.arange(60) % 3
assert len(adacore.facility_location(x, budget=6, labels=y)) == 6
model, data = nn.Linear(4, 3), TensorDataset(x, y)
for selector in (adacore.AdaCore(), adacore.CRAIG(), adacore.GradMatch(), adacore.KCenter()):
    assert 3 <= len(adacore.select(model, data, selector, fraction=0.2)) <= 12
assert sum(1 for _ in adacore.CoresetLoader(data, model, adacore.AdaCore(), fraction=0.2, batch_size=4)) == 3
"""
    )
    assert done.returncode == 0, done.stderr


def test_the_core_has_the_command_for_files(tmp_path):
    done = run_bare(
        f"""
import numpy as np
from adacore.cli import main
np.save(r"{tmp_path}/x.npy", np.random.default_rng(0).normal(size=(50, 3)))
open(r"{tmp_path}/mine.yaml", "w").write("budget: 5")
assert main(["select", r"{tmp_path}/x.npy", "--config", r"{tmp_path}/mine.yaml", "--out", r"{tmp_path}/c.parquet"]) == 0
assert main(["train"]) == 2
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().endswith("pip install 'adacore[experiments]'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "what", "extra"),
    [
        ("import adacore; adacore.sklearn", "adacore.sklearn", "sklearn"),
        ("import adacore.convex", "adacore.convex", "sklearn"),
        ("import adacore.experiments", "laboratory", "experiments"),
    ],
)
def test_what_needs_an_extra_says_so(code, what, extra):
    done = run_bare(code)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert what in last
    assert last.endswith(f"pip install 'adacore[{extra}]'")


def test_public_names_are_all_there_and_listed_once():
    assert len(set(adacore.__all__)) == len(adacore.__all__)
    assert {*adacore.__all__, "facility", "training"} <= {*dir(adacore)}
    for name in adacore.__all__:
        assert getattr(adacore, name) is not None
    assert adacore.facility.plan(1000, 10, 5).bytes > 0
    with pytest.raises(AttributeError, match="facility_locaton"):
        adacore.facility_locaton  # noqa: B018


def test_importing_the_library_loads_nothing_else():
    code = "import sys; old = set(sys.modules); import adacore; print(sorted(sys.modules.keys() - old))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in done.stdout
    assert "numpy" not in done.stdout


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "adacore", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"adacore {adacore.__version__}")


def test_the_version_stands_in_one_place_and_is_the_changelog_s_latest():
    assert "version" in PROJECT["dynamic"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.search(r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)", changelog, re.MULTILINE).groups()
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert version == adacore.__version__ == cited["version"]
    assert date == str(cited["date-released"])
