"""The picture on a card: test accuracy against what it cost, from the curves of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.evidence.sentences import display_name

Record = Mapping[str, Any]

_COLOURS = {"adacore": "#0b6e99", "craig": "#d9730d", "random": "#448361", "full": "#787774"}
"""Of the methods that stand in most pictures, the same in all of them."""

_OTHERS = ("#9065b0", "#c14c8a", "#9f6b53", "#cb912f")


def has_curves(record: Record) -> bool:
    """Tell whether a record has at least two evaluations to join by a line."""
    return any(len(curve["epoch"]) > 1 for method in record["methods"] for curve in method.get("curves", {}).values())


def average(curves: Sequence[Mapping[str, Sequence[float]]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring the curves of several seeds onto one axis.

    A seed that diverged has a shorter curve. It is continued at what it had reached, which is what it counts as, so
    that the mean beyond its end is not one of the seeds alone on which the method works.

    Args:
        curves: By seed, each with at least one evaluation, by ascending epoch.

    Returns:
        Gradients of the longest curves, shape (epochs,), and test accuracies in per cent, shape (seeds, epochs).

    Example:
        >>> whole = {"epoch": [1, 2], "test_accuracy": [0.2, 0.6], "gradient_evaluations": [10, 20]}
        >>> ended = {"epoch": [1], "test_accuracy": [0.1], "gradient_evaluations": [10]}
        >>> average([whole, ended])[1].mean(axis=0)
        array([15., 35.])
    """
    longest = max(curves, key=lambda curve: curve["epoch"][-1])
    epochs = longest["epoch"]
    # By epoch and not by index: seeds may have been evaluated at different epochs. ``interp`` holds the last value.
    y = [100 * np.interp(epochs, curve["epoch"], curve["test_accuracy"]) for curve in curves]
    whole = [curve for curve in curves if curve["epoch"][-1] == epochs[-1]]
    x = np.mean([np.interp(epochs, curve["epoch"], curve["gradient_evaluations"]) for curve in whole], axis=0)
    return np.asarray(x, dtype=np.float64), np.array(y)


def draw(record: Record, path: Path) -> Path:
    """Draw accuracy against gradients, probing included: means over seeds, bands from the lowest to the highest.

    Args:
        record: With curves.
        path: An SVG file to write.

    Returns:
        ``path``.
    """
    from matplotlib import rc_context  # here, since only pictures need it
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed salt, and no date below: the same record gives the same bytes, so that a check can compare files.
    with rc_context({"svg.hashsalt": "adacore", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for number, method in enumerate(record["methods"]):
            curves = [curve for curve in method.get("curves", {}).values() if curve["epoch"]]
            if not any(len(curve["epoch"]) > 1 for curve in curves):
                continue
            x, y = average(curves)
            colour = _COLOURS.get(method["method"], _OTHERS[number % len(_OTHERS)])
            axes.plot(x, y.mean(axis=0), color=colour, label=display_name(method["method"]), marker=".", markersize=4)
            axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        # Costs of selecting methods and of the full data differ tenfold: on a linear axis the former are squeezed to
        # the left.
        axes.set(xscale="log", xlabel="gradients, probing included", ylabel="test accuracy, %")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path
