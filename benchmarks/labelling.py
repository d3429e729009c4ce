"""Which rows to label: methods, budgets and seeds on data with known classes; writes docs/records/labelling-*.json.

    python benchmarks/labelling.py digits mnist packages
    python benchmarks/labelling.py tables              # of docs/labelling.md, from the records

Rows to choose from: digits 1,198 of 1,797; MNIST 6,000 of its training images (50 principal components); package
descriptions 6,000 embeddings of the 20 largest sections; imbalanced: MNIST with classes 0 to 4 ten times as rare. A
simulation that was stopped goes on where it was.
"""

import gzip
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

import adacore
from adacore.experiments.runs.simulated_labelling import LabelSettings, simulate_labelling

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))
FEATURES = (
    "random",
    "facility_location",
    "facility_location(weighted=true)",
    "facility_location(metric=cosine, weighted=true)",
    "k_center",
    "k_means",
    "typiclust",
)
IN_ROUNDS = ("margin", "entropy", "badge", "adacore(targets=predicted)", "craig(targets=predicted)")
BUDGETS = ("20", "50", "100", "200", "500")


def digits() -> tuple[Any, Any, int | None]:
    """1,797 images of 8 x 8, pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    held = load_digits()
    return held.data / 16, held.target, None


def mnist() -> tuple[Any, Any, int | None]:
    """12,000 training images, 50 principal components."""
    from sklearn.decomposition import PCA

    folder = DATA / "mnist"
    pixels, classes = (
        np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (("train-images-idx3-ubyte.gz", 16), ("train-labels-idx1-ubyte.gz", 8))
    )
    x = pixels.reshape(-1, 784)[:12_000] / 255
    return PCA(50, random_state=0).fit_transform(x).astype(np.float32), classes[:12_000].astype(int), 6000


def imbalanced() -> tuple[Any, Any, int | None]:
    """MNIST's classes 0 to 4 ten times as rare as 5 to 9."""
    x, y, pool = mnist()
    kept = (y >= 5) | (np.random.default_rng(0).random(len(y)) < 0.1)
    return x[kept], y[kept], pool


def packages() -> tuple[Any, Any, int | None]:
    """Embeddings of the descriptions in the 20 largest sections."""
    import pyarrow.parquet as pq

    folder = DATA / "debian-packages"
    x = np.load(folder / "packages-minilm.npy").astype(np.float32)
    sections = np.array(pq.read_table(folder / "packages.parquet")["section"].to_pylist())
    names, counts = np.unique(sections, return_counts=True)
    kept = np.isin(sections, names[np.argsort(-counts)[:20]])
    rows = np.random.default_rng(0).permutation(np.flatnonzero(kept))[:9000]
    return x[rows], np.unique(sections[rows], return_inverse=True)[1], 6000


def tables() -> str:
    """Write the tables of docs/labelling.md from the records."""
    lines = []
    for file in sorted((ROOT / "docs" / "records").glob("labelling-*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        for estimator in record["settings"]["estimators"]:
            rows = [row for row in record["rows"] if row["estimator"] == estimator]
            budgets = sorted({row["budget"] for row in rows})
            lines += ["", f"{file.stem.removeprefix('labelling-')}, {estimator}:", ""]
            lines += [f"| method | {' | '.join(map(str, budgets))} |", "| --- |" + " --- |" * len(budgets)]
            random = [f"{100 * record['random'][estimator][str(b)]['mean']:.1f} %" for b in budgets]
            lines.append(f"| random | {' | '.join(random)} |")
            for method in dict.fromkeys(row["method"] for row in rows):
                cells = {row["budget"]: _cell(row) for row in rows if row["method"] == method}
                lines.append(f"| {method} | {' | '.join(cells[b] for b in budgets)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    """Write a difference in points, bold where it is better than random, and the saving."""
    text = f"{100 * row['difference']:+.1f}"
    limit = "< " if row["saving"].get("below") else ""
    return f"{f'**{text}**' if row['verdict'] == 'better' else text}, {limit}{row['saving']['factor']:.1f} x"


def main() -> None:
    """Simulate on the data sets that are named, or print tables of what is recorded."""
    if sys.argv[1:] == ["tables"]:
        print(tables())
        return
    for name in sys.argv[1:] or ["digits", "mnist", "imbalanced", "packages"]:
        x, y, pool = {"digits": digits, "mnist": mnist, "imbalanced": imbalanced, "packages": packages}[name]()
        settings = LabelSettings(methods=(*FEATURES, *IN_ROUNDS), budgets=BUDGETS, seeds=10, pool=pool)
        record = simulate_labelling(
            x, y, settings, ROOT / "runs" / "labelling" / name, progress=lambda *part: print(*part, flush=True)
        )
        record["made_with"] = {
            "command": f"python benchmarks/labelling.py {name}",
            "adacore": adacore.__version__,
            "python": platform.python_version(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }
        file = ROOT / "docs" / "records" / f"labelling-{name}.json"
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
