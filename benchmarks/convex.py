"""The bars of convex selection, measured on ijcnn1 at 10 % per class.

    python benchmarks/convex.py               # all but the SVC search, whose record sklearn_search.py writes
    python benchmarks/convex.py --recorded    # what was measured before

Gradients of single examples are counted with those that selecting takes.
"""

from __future__ import annotations

import math
import sys
import time
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from sklearn.linear_model import LogisticRegression

from convex_data import machine, read, write
from convex_experiment import (
    Setting,
    coresets,
    evaluations_to,
    geometric_mean,
    run_newton,
    run_sgd,
    search,
    seconds_to,
    selecting_evaluations,
    setting,
)

FRACTION, LEVEL = 0.1, 1e-3
SMALL = ("adacore", "adacore-10000", "adacore-zero", "craig", "random")


def measure(s: Setting, method: str) -> dict[str, Any]:
    """Select, search rates on the first seed, and run SGD and Newton on every seed."""
    rows: dict[str, Any] = {
        name: []
        for name in (
            "selecting_seconds",
            "selecting_evaluations",
            "optimum_residual",
            "sgd_residual",
            "sgd_evaluations",
            "sgd_early_evaluations",
        )
    }
    rows |= {name: [] for name in ("newton_evaluations", "sgd_seconds", "newton_seconds", "fit_seconds")}
    seeds = range(s.seeds)
    best: Any = None
    for seed in seeds:
        found, seconds = coresets(s, method, seed)
        coreset = found[FRACTION]
        best = best or search(s, coreset)
        (rate, decay), early = best
        sgd, quick, newton = (
            run_sgd(s, coreset, rate, decay, seed),
            run_sgd(s, coreset, *early, seed),
            run_newton(s, coreset),
        )
        selecting = selecting_evaluations(s, method, seed)
        rows["selecting_seconds"].append(seconds)
        rows["selecting_evaluations"].append(selecting)
        rows["optimum_residual"].append(float(newton.residuals(s.lowest)[-1]))
        rows["sgd_residual"].append(float(sgd.residuals(s.lowest)[-1]))
        rows["sgd_evaluations"].append(evaluations_to(sgd, s.lowest, LEVEL, selecting))
        rows["sgd_early_evaluations"].append(evaluations_to(quick, s.lowest, LEVEL, selecting))
        rows["newton_evaluations"].append(evaluations_to(newton, s.lowest, LEVEL, selecting))
        rows["sgd_seconds"].append(seconds_to(sgd, s.lowest, LEVEL))
        rows["newton_seconds"].append(seconds_to(newton, s.lowest, LEVEL))
        rows["fit_seconds"].append(_fit_seconds(s, coreset))
    return {**rows, "rate": best[0], "early_rate": best[1]}


def _fit_seconds(s: Setting, coreset: Any) -> float:
    X, y = s.problem.design, s.problem.targets
    rows = np.arange(s.problem.n) if coreset is None else coreset.indices
    weights = np.ones(s.problem.n) if coreset is None else coreset.weights
    begin = time.perf_counter()
    LogisticRegression(C=1e5 / s.problem.n, max_iter=1000).fit(X[rows], y[rows], sample_weight=weights)
    return time.perf_counter() - begin


def middle(values: list[Any]) -> float:
    """Return the median, unreached counted as infinitely late."""
    return float(np.median([math.inf if value is None else value for value in values]))


def report(record: dict[str, Any]) -> None:
    found = record["methods"]
    for name, key in (("coreset's own optimum", "optimum_residual"), ("SGD's final residual", "sgd_residual")):
        means = {m: geometric_mean(found[m][key]) for m in SMALL}
        print(f"{name}: " + ", ".join(f"{m} {mean:.2e}" for m, mean in means.items()))
        for m in SMALL[:3]:
            print(
                f"    {m}: CRAIG {means['craig'] / means[m]:.1f} x, Random {means['random'] / means[m]:.1f} x as high"
            )
    for key in ("sgd_evaluations", "sgd_early_evaluations", "newton_evaluations"):
        full = middle(found["full"][key])
        for m in SMALL:
            small = middle(found[m][key])
            print(f"{key} to {LEVEL:g}: everything {full:,.0f}, {m} {small:,.0f}: {full / small:.2f} x fewer")
    for m in SMALL:
        print(f"selecting, {m}: {np.median(found[m]['selecting_seconds']):.1f} s")
    for key in ("sgd_seconds", "newton_seconds", "fit_seconds"):
        selecting = float(np.median(found["adacore"]["selecting_seconds"]))
        full, small = middle(found["full"][key]), middle(found["adacore"][key])
        table = ", ".join(f"{m} fits: {m * full:.2f} s against {selecting + m * small:.2f} s" for m in (1, 10, 100))
        pays = math.ceil(selecting / (full - small)) if full > small else "never"
        print(f"{key}: {table}; pays after {pays} fits")
    for rows, by_arm in read("sklearn-search").items():
        for arm, row in by_arm.items():
            print(f"SVC search on {rows}, {arm}: {row['seconds']:.0f} s, test accuracy {row['test_accuracy']:.4f}")


def main() -> None:
    config = yaml.safe_load((files("adacore.experiments.paper") / "configurations" / "figure1.yaml").read_text())
    if "--recorded" in sys.argv:
        report(read("convex-bars"))
        return
    s = setting(config)
    record = {"command": "python benchmarks/convex.py", "machine": machine(), "lowest": s.lowest, "methods": {}}
    for method in (*SMALL, "full"):
        record["methods"][method] = measure(s, method)
        write("convex-bars", record)
    report(record)


if __name__ == "__main__":
    main()
