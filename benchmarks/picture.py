"""Record the curves of a comparison as a small file, and draw a picture from such a record.

python benchmarks/picture.py record runs/demo docs/records/demo.json
python benchmarks/picture.py draw docs/records/demo.json docs/demo.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from adacore.experiments.runs.run_folder import RunFolder
from adacore.training.ledger import PARTS

COLOURS = {"adacore": "#0b6e99", "craig": "#d9730d", "random": "#448361", "full": "#787774"}


def record(folder: Path) -> dict[str, Any]:
    """Take from every run its accuracy, seconds and gradient evaluations after each evaluation."""
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    curves = {}
    for method in comparison["methods"]:
        runs = [RunFolder(path) for path in sorted((folder / method["folder"]).glob("seed-*"))]
        rows = [[row for row in run.rows() if row["test_accuracy"] is not None] for run in runs]
        curves[method["method"]] = {
            "test_accuracy": [[round(row["test_accuracy"], 5) for row in run] for run in rows],
            "seconds": [[round(sum(row[f"{part}_seconds"] for part in PARTS), 3) for row in run] for run in rows],
            "gradient_evaluations": [row["gradient_evaluations"] + row["probed_examples"] for row in rows[0]],
        }
    return {**comparison, "curves": curves}


def draw(recorded: dict[str, Any], path: Path) -> None:
    """Draw accuracy against gradient evaluations and against seconds: means over seeds, and lowest to highest."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    settings, methods = recorded["config"], recorded["methods"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for method in methods:
        name = method["method"]
        curves = recorded["curves"][name]
        accuracy = 100 * np.array(curves["test_accuracy"])
        for axis, x in zip(
            axes, (np.array(curves["gradient_evaluations"]), np.mean(curves["seconds"], axis=0)), strict=True
        ):
            colour = COLOURS.get(name)
            axis.plot(x, accuracy.mean(0), label=f"{name}: {accuracy[:, -1].mean():.1f} %", color=colour)
            axis.fill_between(x, accuracy.min(0), accuracy.max(0), color=colour, alpha=0.15, linewidth=0)
    axes[0].set(xlabel="gradient evaluations, probing included", ylabel="test accuracy, %", xscale="log")
    axes[1].set(xlabel="seconds, probing and selecting included", xscale="log")
    low = min(100 * np.array(recorded["curves"][m["method"]]["test_accuracy"])[:, -1].min() for m in methods)
    axes[0].set_ylim(low - 15, 100)
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(loc="lower right", title="after the last epoch")
    share = f"{100 * settings['fraction']:g} %" if settings["fraction"] else f"{settings['budget']} examples"
    figure.suptitle(
        f"{settings['data']}, {settings['model']}, coresets of {share}, R = {settings['every']}, "
        f"{settings['seeds']} seeds (bands: lowest to highest)"
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "draw"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    if arguments.action == "record":
        arguments.target.write_text(json.dumps(record(arguments.source)) + "\n", encoding="utf-8")
    else:
        draw(json.loads(arguments.source.read_text(encoding="utf-8")), arguments.target)


if __name__ == "__main__":
    main()
