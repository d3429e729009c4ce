"""How often each example is chosen over a training run, by each method (Fig. 3b of the paper).

    python benchmarks/selection_counts.py runs/cmp --out selection_counts.png     # run folders, or a comparison's
    python benchmarks/selection_counts.py --methods adacore,craig,gradmatch,random --epochs 20 --fraction 0.01

Without folders, short runs are trained first, selecting in every epoch. Prints, for each method, how many distinct
examples were chosen, how often the most chosen one was, and the largest weight relative to the mean; draws histograms
of the number of times that an example was chosen.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adacore.coreset import Coreset
from adacore.experiments.analysis import selection_counts


@dataclass(frozen=True)
class Chosen:
    """What a method's runs chose.

    Attributes:
        method: Its label.
        counts: How often each example was chosen, shape (n,), one for each run.
        reselections: Coresets in a run.
        size: Mean number of examples in a coreset.
        largest_weight: Largest weight in any coreset, relative to that coreset's mean.
    """

    method: str
    counts: list[np.ndarray]
    reselections: int
    size: float
    largest_weight: float


def find_runs(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Find run folders, those with coresets/, by method: a run's parent folder, or its own name."""
    runs: dict[str, list[Path]] = {}
    for folder in folders:
        for coresets in sorted(folder.rglob("coresets")):
            run = coresets.parent
            runs.setdefault(run.parent.name if run.name.startswith("seed-") else run.name, []).append(run)
    if not runs:
        raise SystemExit(f"no run with coresets/ in {', '.join(map(str, folders))}: pass folders of runs")
    return runs


def summarise(method: str, runs: Sequence[Path]) -> Chosen:
    counts, sizes, largest, reselections = [], [], 0.0, 0
    for run in runs:
        coresets = [Coreset.load(path) for path in sorted((run / "coresets").glob("*.npz"))]
        if not coresets:
            raise SystemExit(f"{run}/coresets holds no coreset: has the run begun?")
        counts.append(selection_counts(coresets))
        sizes += [len(coreset) for coreset in coresets]
        largest = max(largest, *(c.weights.max() / c.weights.mean() for c in coresets))
        reselections = max(reselections, len(coresets))
    return Chosen(method, counts, reselections, float(np.mean(sizes)), float(largest))


def expected_distinct(n: int, size: float, reselections: int) -> float:
    """Share of distinct examples that independent uniform subsets would touch."""
    return 1 - (1 - size / n) ** reselections


def print_table(all_chosen: Sequence[Chosen]) -> None:
    print(f"{'method':32}{'coresets':>9}{'size':>8}{'distinct':>10}{'share':>8}{'uniform':>9}{'most':>6}{'weight':>8}")
    for chosen in all_chosen:
        distinct = float(np.mean([(counts > 0).sum() for counts in chosen.counts]))
        n, most = len(chosen.counts[0]), max(int(counts.max()) for counts in chosen.counts)
        uniform = expected_distinct(n, chosen.size, chosen.reselections)
        print(
            f"{chosen.method:32}{chosen.reselections:9}{chosen.size:8.0f}{distinct:10.0f}{distinct / n:8.1%}"
            f"{uniform:9.1%}{most:6}{chosen.largest_weight:8.1f}"
        )
    print("uniform: share that independent uniform subsets would touch; weight: the largest over the mean")


def draw(all_chosen: Sequence[Chosen], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    most = max(int(counts.max()) for chosen in all_chosen for counts in chosen.counts)
    edges = np.arange(most + 2) - 0.5
    figure, axes = pyplot.subplots(
        1, len(all_chosen), figsize=(3 * len(all_chosen), 3), sharex=True, sharey=True, squeeze=False
    )
    for axis, chosen in zip(axes[0], all_chosen, strict=True):
        axis.hist(np.concatenate(chosen.counts), edges, color="#33658a")
        axis.set(title=chosen.method, xlabel="times chosen", yscale="log")
    axes[0][0].set_ylabel("examples" + (" (all seeds)" if max(len(c.counts) for c in all_chosen) > 1 else ""))
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    print(f"drawn: {path}")


def train_runs(options: argparse.Namespace, out: Path) -> None:
    from adacore.experiments.runs.comparison import compare
    from adacore.experiments.runs.settings import CompareConfig, from_mapping

    values = {
        "data": options.data,
        "model": options.model,
        "methods": _split(options.methods),
        "seeds": options.seeds,
        "epochs": options.epochs,
        "fraction": options.fraction,
        "every": 1,
        "validation": 0.1,
    }
    compare(from_mapping(CompareConfig, values), out)


def _split(methods: str) -> list[str]:
    """Split at commas outside of parentheses."""
    parts, depth = [""], 0
    for character in methods:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs or comparisons; none: train short runs")
    parser.add_argument("--out", type=Path, default=Path("selection_counts.png"))
    parser.add_argument("--methods", default="adacore,craig,gradmatch,glister,random")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--fraction", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = options.runs
        if not folders:
            train_runs(options, Path(scratch) / "runs")
            folders = [Path(scratch) / "runs"]
        all_chosen = [summarise(method, runs) for method, runs in find_runs(folders).items()]
    print_table(all_chosen)
    draw(all_chosen, options.out)


if __name__ == "__main__":
    main()
