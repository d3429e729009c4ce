"""ijcnn1 as the convex benchmarks use it, and what they note about the machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from sklearn.datasets import load_svmlight_file

import sklearn

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def data_root() -> Path:
    """Return ADACORE_DATA, or ../shared/data."""
    return Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))


def load(split: str = "train") -> tuple[Any, Any]:
    """Return features, float64, shape (n, 22), and labels in {-1, 1}, from ADACORE_DATA or ../shared/data."""
    path = data_root() / "ijcnn1" / ("ijcnn1.bz2" if split == "train" else "ijcnn1.t.bz2")
    if not path.exists():
        raise SystemExit(f"{path} is missing: set ADACORE_DATA to a folder with ijcnn1/ijcnn1.bz2 and ijcnn1.t.bz2")
    X, y = load_svmlight_file(str(path), n_features=22)
    return X.toarray(), y


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def write(name: str, record: dict[str, Any]) -> Path:
    """Write a record into docs/records/ and return its path."""
    path = DOCS / "records" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def read(name: str) -> dict[str, Any]:
    path = DOCS / "records" / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}
