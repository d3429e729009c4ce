"""docs/labelling.png: twenty digits that facility location picks, and what labels chosen so are worth; from the record.

python benchmarks/labelling_picture.py
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import adacore

ROOT = Path(__file__).resolve().parent.parent
RANDOM, CHOSEN, INK = "#8a94a0", "#0b6e99", "#1b2026"
BUDGET = 50


def main() -> None:
    """Draw the picture."""
    record = json.loads((ROOT / "docs" / "records" / "labelling-digits.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    images = load_digits().images
    coreset = adacore.facility_location(images.reshape(len(images), -1), budget=20)
    left.suptitle("20 of 1,797 digits, and how many each stands for", fontsize=10.5, color=INK)
    for axes, row, weight in zip(left.subplots(4, 5).flat, coreset.indices, coreset.weights, strict=True):
        axes.imshow(images[row], cmap="gray_r")
        axes.set_title(f"{weight:.0f}", fontsize=8, pad=2, color=INK)
        axes.axis("off")
    draw_curves(right.subplots(), record)
    figure.savefig(ROOT / "docs" / "labelling.png", dpi=150)


def draw_curves(axes, record) -> None:
    """Draw accuracy against labels, with the saving at one budget."""
    curve = record["random"]["logistic"]
    budgets = np.array(sorted(map(int, curve)))
    rows = [
        r for r in record["rows"] if r["estimator"] == "logistic" and r["method"] == "facility_location(refine=false)"
    ]
    axes.plot(budgets, [100 * curve[str(b)]["mean"] for b in budgets], color=RANDOM, label="random labels")
    chosen = [100 * r["accuracy"] for r in rows]
    axes.plot([r["budget"] for r in rows], chosen, "o-", color=CHOSEN, markersize=4, label="labels chosen by adacore")
    at = next(r for r in rows if r["budget"] == BUDGET)
    level, worth = 100 * at["accuracy"], BUDGET * at["saving"]["factor"]
    axes.annotate("", (worth, level), (BUDGET, level), arrowprops={"arrowstyle": "->", "color": INK, "lw": 1.2})
    text = f"{BUDGET} chosen labels do\nwhat {worth:.0f} random ones do"
    axes.annotate(text, (1.15 * worth, level - 4), fontsize=9.5, color=INK, va="top")
    axes.set_xscale("log")
    axes.set_xticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_xlim(18, 1300)
    axes.set_xlabel("labelled digits")
    axes.set_ylabel("test accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=9.5)


if __name__ == "__main__":
    main()
