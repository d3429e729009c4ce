"""docs/facility.png: how facility location goes on, in four steps on 240 rows of two columns.

python benchmarks/facility_picture.py
"""

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import adacore

ROOT = Path(__file__).resolve().parent.parent
ROWS, CHOSEN, SERVED, INK = "#b4bcc6", "#0b6e99", "#d1495b", "#1b2026"
BUDGET = 12


def main() -> None:
    """Draw the picture."""
    rng = np.random.default_rng(4)
    centres = rng.uniform(-4, 4, (7, 2))
    x = centres[rng.integers(0, 7, 240)] + rng.normal(size=(240, 2)) * rng.uniform(0.3, 1.1, (240, 1))
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
    coreset = adacore.facility_location(x, budget=BUDGET)
    picks = coreset.indices
    figure = Figure(figsize=(12, 3.3), layout="constrained")
    panels = figure.subplots(1, 4)
    medoid, second, lists, end = panels
    for axes in panels:
        axes.scatter(*x.T, s=7, color=ROWS, linewidths=0)
        axes.set_aspect("equal")
        axes.axis("off")
    title(medoid, "1  The medoid", f"least sum of distances: L = {distances[picks[0]].sum():.0f}")
    spokes(medoid, x, picks[:1], distances, ROWS)
    minima = distances[:, picks[0]]
    served = distances[:, picks[1]] < minima
    title(second, "2  The largest gain", f"{served.sum()} rows move: L falls by {coreset.gains[1]:.0f}")
    second.scatter(*x[served].T, s=9, color=SERVED, linewidths=0)
    mark(second, x, picks[:1], CHOSEN)
    mark(second, x, picks[1:2], SERVED)
    minima = distances[:, picks[:6]].min(axis=1)
    others = np.setdiff1d(np.arange(240), picks[:6])
    candidate = others[np.argmax(np.maximum(0, minima[:, None] - distances[:, others]).sum(axis=0))]
    served = distances[:, candidate] < minima
    title(lists, "3  Lists", f"after 6 picks this row would serve {served.sum()} of 240")
    mark(lists, x, picks[:6], CHOSEN)
    spokes(lists, x, np.array([candidate]), np.where(served[:, None], distances, np.inf), SERVED)
    title(end, f"4  {BUDGET} picks", f"certificate {coreset.certificate:.2f}; size is weight")
    spokes(end, x, picks, distances, ROWS)
    end.scatter(*x[picks].T, s=4 * coreset.weights, color=CHOSEN, zorder=3)
    figure.savefig(ROOT / "docs" / "facility.png", dpi=150)


def title(axes, name: str, what: str) -> None:
    """Name a step, and say what happens in it."""
    axes.set_title(name, fontsize=11, color=INK, loc="left", pad=20, fontweight="bold")
    axes.text(0, 1.02, what, transform=axes.transAxes, fontsize=9, color=INK)


def mark(axes, x, rows, color: str) -> None:
    """Draw chosen rows."""
    axes.scatter(*x[rows].T, s=70, color=color, zorder=3, edgecolors="white", linewidths=1)


def spokes(axes, x, picks, distances, color: str) -> None:
    """Draw a line from every row to the nearest pick, as far as that is finite."""
    nearest = picks[np.argmin(distances[:, picks], axis=1)]
    near = np.isfinite(distances[np.arange(len(x)), nearest])
    lines = np.stack([x[near], x[nearest[near]]], axis=1)
    axes.add_collection(LineCollection(lines, colors=color, linewidths=0.6, zorder=1))
    mark(axes, x, picks, CHOSEN if color == ROWS else color)


if __name__ == "__main__":
    main()
