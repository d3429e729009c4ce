"""Run in a bare environment into which the wheel was installed without extras: what the core promises, and no more.

Outside of the checkout, so that the files of the wheel are tried and not those of the source.
"""

import re
import subprocess
import sys
import tempfile
from importlib.metadata import files, requires, version
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

import adacore

assert Path(adacore.__file__).is_relative_to(sys.prefix), adacore.__file__
for extra in ("sklearn", "scipy", "matplotlib", "lightning_fabric", "pandas"):
    try:
        __import__(extra)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{extra} is installed: this is no bare environment, or the core needs what it does not say")

# The package and what pip writes about it, and nothing else: no tests, no stray files of the checkout.
outside = [
    str(path)
    for path in files("adacore") or []
    if not re.match(r"adacore(-[\d.]+\.dist-info)?/|.*bin/adacore$", str(path))
]
assert not outside, f"the wheel holds {outside}"

x, y = torch.randn(90, 6), torch.arange(90) % 3
coreset = adacore.facility_location(x, fraction=0.1, labels=y)
assert len(coreset) == 9
assert coreset.weights.sum() == 90
model, data = torch.nn.Linear(6, 3), TensorDataset(x, y)
assert len(adacore.select(model, data, adacore.AdaCore(), fraction=0.2)) == 18
loader = adacore.CoresetLoader(data, model, adacore.AdaCore(), fraction=0.2, batch_size=6)
assert sum(len(weights) for *_, weights in loader) == 18

with tempfile.TemporaryDirectory() as folder:
    np.save(Path(folder) / "x.npy", x.numpy())
    command = [sys.executable, "-m", "adacore"]
    subprocess.run([*command, "select", "x.npy", "--budget", "5", "--out", "c.parquet"], cwd=folder, check=True)
    assert len(adacore.Coreset.load(Path(folder) / "c.parquet")) == 5
    told = subprocess.run([*command, "train"], cwd=folder, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.strip().endswith("pip install 'adacore[experiments]'"), told.stderr

core = [line for line in requires("adacore") or [] if "extra" not in line]
print(f"the core works on {len(core)} packages alone: torch {version('torch')}, numpy {version('numpy')}")
