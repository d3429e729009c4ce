"""Figures 1, 2 and 6 of the paper on ijcnn1, each from its YAML in adacore/experiments/paper/configurations.

    python benchmarks/convex_figures.py figure1             # or figure2, figure6
    python benchmarks/convex_figures.py figure1 --recorded  # draw what was run before

writes docs/records/convex-figure1.json and docs/convex-figure1.png. Claims are judged where docs/results.md is made, in
adacore/experiments/paper/convex.py. With ADACORE_CACHE=folder, selections are kept.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml

from convex_data import DOCS, machine, read, write
from convex_experiment import (
    Setting,
    coresets,
    gradient_difference,
    run_newton,
    run_sgd,
    search,
    selecting_evaluations,
    setting,
)

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"adacore": "tab:blue", "craig": "tab:orange", "random": "tab:green", "full": "tab:red"}
NAMES = {
    "adacore": "AdaCore",
    "craig": "CRAIG",
    "random": "Random",
    "full": "everything",
    "sgd": "SGD",
    "newton": "Newton",
}


def runs(s: Setting) -> dict[str, Any]:
    """Train on every coreset: {solver: {method: {fraction: [a record a seed]}}}; the first seed searches rates."""
    found: dict[str, Any] = {solver: {method: {} for method in s.methods} for solver in s.solvers}
    for method in s.methods:
        rates: dict[float, tuple[float, float]] = {}
        for seed in range(s.seeds):
            chosen, seconds = coresets(s, method, seed)
            for fraction, coreset in chosen.items():
                for solver in s.solvers:
                    if solver == "sgd" and fraction not in rates:
                        rates[fraction] = search(s, coreset)[0]
                    trace = run_sgd(s, coreset, *rates[fraction], seed) if solver == "sgd" else run_newton(s, coreset)
                    found[solver][method].setdefault(str(fraction), []).append(
                        {
                            "selecting_seconds": seconds,
                            "selecting_evaluations": selecting_evaluations(s, method, seed),
                            "rate": rates[fraction] if solver == "sgd" else None,
                            "residuals": _short(trace.residuals(s.lowest)),
                            "evaluations": _short(trace.gradient_evaluations),
                            "seconds": _short(trace.seconds),
                            "gradient_difference": None
                            if coreset is None
                            else gradient_difference(s, coreset, trace.w),
                        }
                    )
            print(method, seed, f"{seconds:.1f} s of selecting", flush=True)
    return found


def _short(values: Any, length: int = 60) -> list[float]:
    """Thin a curve out to about ``length`` points, its ends kept, so that records stay small."""
    keep = np.unique(np.linspace(0, len(values) - 1, length).round().astype(int))
    return [float(f"{float(values[i]):.5g}") for i in keep]


def keep_ends(found: dict[str, Any]) -> None:
    """Drop the curves of figures that show only what they end with."""
    for by_method in found.values():
        for by_fraction in by_method.values():
            for rows in by_fraction.values():
                for row in rows:
                    row.update({name: row[name][-1:] for name in ("residuals", "evaluations", "seconds")})


def band(axes: Any, x: Any, curves: Any, method: str) -> None:
    """Draw the geometric mean over seeds, and the range of seeds as a shade."""
    curves = np.maximum(np.asarray(curves), 1e-12)
    axes.plot(x, np.exp(np.log(curves).mean(axis=0)), color=COLOURS[method], label=NAMES[method])
    axes.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=COLOURS[method], alpha=0.2, lw=0)


def curves_of(rows: list[dict[str, Any]], axis: str) -> tuple[Any, Any]:
    """Bring the seeds' residuals onto one axis."""
    axes = [with_selection(row) if axis == "evaluations" else row[axis] for row in rows]
    x = np.geomspace(max(values[1] for values in axes), min(values[-1] for values in axes), 80)
    logs = [np.log(np.maximum(row["residuals"], 1e-12)) for row in rows]
    return x, [np.exp(np.interp(x, values, log)) for values, log in zip(axes, logs, strict=True)]


def draw_residuals(s: Setting, found: dict[str, Any]) -> Any:
    figure, panels = plt.subplots(len(s.solvers), 2, figsize=(10, 4 * len(s.solvers)), squeeze=False, sharey="row")
    for solver, row in zip(s.solvers, panels, strict=True):
        for axis, axes in zip(("evaluations", "seconds"), row, strict=True):
            for method in s.methods:
                band(axes, *curves_of(found[solver][method][str(s.fractions[0])], axis), method)
            axes.set(xscale="log", yscale="log", title=NAMES[solver])
            axes.set_xlabel(
                "gradients of single examples, selecting included" if axis == "evaluations" else "seconds of training"
            )
        row[0].set_ylabel("L(w) - L*")
    panels[0, 0].legend()
    return figure


def draw_sizes(s: Setting, found: dict[str, Any], what: str, label: str) -> Any:
    figure, panels = plt.subplots(1, len(s.solvers), figsize=(5 * len(s.solvers), 4), squeeze=False)
    for solver, axes in zip(s.solvers, panels[0], strict=True):
        for method in s.methods:
            rows = [found[solver][method][str(f)] for f in s.fractions]
            values = [[row["residuals"][-1] if what == "residuals" else row[what] for row in seeds] for seeds in rows]
            band(axes, [100 * f for f in s.fractions], np.array(values).T, method)
        axes.set(yscale="log", xlabel="% of the data", ylabel=label, title=NAMES[solver])
    panels[0, 0].legend()
    return figure


def with_selection(row: dict[str, Any]) -> list[float]:
    """Return a run's numbers of gradients, those of selecting included."""
    return [row["selecting_evaluations"] + evaluations for evaluations in row["evaluations"]]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in {"figure1", "figure2", "figure6"}:
        raise SystemExit("say which: figure1, figure2 or figure6")
    config = yaml.safe_load((files("adacore.experiments.paper") / "configurations" / f"{name}.yaml").read_text())
    s = setting(config)
    record = read(f"convex-{name}") if "--recorded" in sys.argv else {}
    if not record:
        record = {"command": f"python benchmarks/convex_figures.py {name}", "machine": machine(), "config": config}
        record["runs"] = runs(s)
    found = record["runs"]
    for by_method in found.values():
        for method, by_fraction in by_method.items():
            for rows in by_fraction.values():
                for seed, row in enumerate(rows):
                    # Runs that were recorded before selecting was counted: the count does not depend on the run.
                    if "selecting_evaluations" not in row:
                        row["selecting_evaluations"] = selecting_evaluations(s, method, seed)
    if name == "figure1":
        figure = draw_residuals(s, found)
    elif name == "figure2":
        figure = draw_sizes(s, found, "gradient_difference", "||g - g_S|| / ||g(0)|| after training")
    else:
        figure = draw_sizes(s, found, "residuals", "L(w) - L* after training")
    if name != "figure1":
        keep_ends(found)
    write(f"convex-{name}", record)
    figure.tight_layout()
    figure.savefig(DOCS / f"convex-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
