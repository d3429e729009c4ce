"""Draws docs/variance.png from the records that benchmarks/variance.py wrote.

python benchmarks/variance_picture.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
MOMENTS = {
    "MNIST, 1 epoch": "mnist-1-epochs",
    "MNIST, 10": "mnist-10-epochs",
    "MNIST, 100": "mnist",
    "CIFAR-10, 100": "cifar10",
}
ARMS = {
    "stratified by class": ("classes alone", "#9aa5b1"),
    "stratified, tree, last_layer": ("and gradient tree", "#5b8fb9"),
    "stratified, tree, last_layer, balanced": ("and balanced", "#1f4e79"),
    "craig, 200 medoids: weighted batches": ("200 medoids, weighted", "#d1793b"),
}


def main() -> None:
    records = {
        name: json.loads((DOCS / "records" / f"variance-{file}.json").read_text()) for name, file in MOMENTS.items()
    }
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.0), width_ratios=(3, 2))
    for place, (method, (label, colour)) in enumerate(ARMS.items()):
        ratios = [next(e["ratio"] for e in record["errors"] if e["method"] == method) for record in records.values()]
        left.bar([x + 0.2 * (place - 1.5) for x in range(len(records))], ratios, 0.19, color=colour, label=label)
    left.axhline(1, color="#444444", linewidth=1)
    left.text(-0.45, 1.015, "random batches", fontsize=8, color="#444444")
    left.set(xticks=range(len(records)), ylabel="error of a batch of 64, random = 1", ylim=(0, 1.1))
    left.set_xticklabels(list(records), fontsize=9)
    left.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False)
    for run in records["MNIST, 100"]["training"]:
        label, colour = {"random": ("random batches", "#444444"), **ARMS}.get(run["method"], ("", ""))
        if label:
            right.plot(run["steps"], run["losses"], marker="o", markersize=3, color=colour, label=label)
    right.set(xlabel="steps on the batches of one selection", ylabel="loss over all examples (MNIST)")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(DOCS / "variance.png", dpi=130)


if __name__ == "__main__":
    main()
