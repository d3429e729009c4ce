"""Pictures for docs/theory.md: what Section 4.5 promises, beside what happens.

python benchmarks/convex_theory.py     # writes docs/convex-theory.png and docs/records/convex-theory.json
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np

from adacore.convex import logistic, measured_error, optimum, ridge, select
from convex_data import DOCS, machine, write

mpl.use("Agg")
import matplotlib.pyplot as plt

STEPS = 2_000


def strongly_convex() -> dict[str, Any]:
    """Newton and gradient descent on a coreset of a logistic regression, and the radius beta eps / alpha."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 4))
    problem = logistic(X, X @ rng.standard_normal(4) + rng.logistic(size=1000) > 0, l2=0.1, intercept=False)
    best, _ = optimum(problem)
    coreset = select(problem, fraction=0.1)
    subset = problem.take(coreset.indices)
    beta = 0.25 * float(np.linalg.eigvalsh(X.T @ X / len(X))[-1]) + problem.l2
    alphas, paths = [], {}
    for name in ("Newton", "gradient descent"):
        w, path = problem.zero(), []
        alpha = float(np.linalg.eigvalsh(problem.hessian(best))[0])
        for _ in range(STEPS):
            path.append((np.linalg.norm(w - best), measured_error(problem, w, coreset.indices, coreset.weights)))
            alphas.append(float(np.linalg.eigvalsh(problem.hessian(w))[0]))
            g = subset.gradient(w, coreset.weights)
            if name == "Newton":
                w = w - alpha / beta * np.linalg.solve(subset.hessian(w, coreset.weights), g)
            else:
                w = w - g / beta
        paths[name] = np.array(path)
    alpha = min(alphas)
    return {"alpha": alpha, "beta": beta, "paths": paths}


def consistent_least_squares(budget: int) -> dict[str, Any]:
    """Gradient descent on a coreset of a consistent least-squares problem: Theorem 4.3 as written, and repaired."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    problem = ridge(X, X @ rng.standard_normal(5), l2=0.0, intercept=False)
    coreset = select(problem, budget=budget, at="zero", bins=None)
    subset, w = problem.take(coreset.indices), problem.zero()
    alpha, beta = np.linalg.eigvalsh(problem.hessian(w))[[0, -1]]
    eta = 1 / max(beta, np.linalg.eigvalsh(subset.hessian(w, coreset.weights))[-1])
    losses, epsilons, norms = [], [], []
    for _ in range(STEPS):
        losses.append(problem.value(w))
        epsilons.append(measured_error(problem, w, coreset.indices, coreset.weights))
        norms.append(float(np.linalg.norm(problem.gradient(w))))
        w = w - eta * subset.gradient(w, coreset.weights)
    t, epsilon, largest = np.arange(STEPS), max(epsilons), max(norms)
    written = (1 - eta * alpha**3 / beta**2) ** t * losses[0] - eta * alpha**2 / (2 * beta**2) * (
        beta**2 * epsilon**2 - 2 * beta * epsilon * largest
    )
    repaired = (1 - eta * alpha) ** t * losses[0] + beta**2 * epsilon**2 / (2 * alpha)
    return {
        "alpha": alpha, "beta": beta, "epsilon": epsilon, "largest": largest,
        "losses": np.array(losses), "written": written, "repaired": repaired,
    }  # fmt: skip


def draw_theorem_4_1(axes: Any, first: dict[str, Any]) -> None:
    for name, colour in (("Newton", "tab:blue"), ("gradient descent", "tab:orange")):
        distance, epsilon = first["paths"][name].T
        axes.plot(distance, color=colour, label=f"{name}: ||w - w*||")
        axes.plot(first["beta"] * epsilon / first["alpha"], color=colour, ls="--", label=r"$\beta\epsilon_t/\alpha$")
    axes.set(xscale="symlog", yscale="log", xlabel="step", title="Theorem 4.1: logistic regression, 10 %")
    axes.legend()


def draw_theorem_4_3(axes: Any, found: dict[str, Any], budget: int) -> None:
    axes.plot(np.maximum(found["losses"], 1e-16), label="L(w), gradient descent on the coreset")
    axes.plot(found["repaired"], ls="--", label="repaired bound")
    axes.plot(found["written"], ls=":", label="(16) as written")
    axes.set(
        xscale="symlog", yscale="log", ylim=(1e-8, 100), xlabel="step", title=f"Theorem 4.3: {budget} of 60 examples"
    )
    axes.legend()


def main() -> None:
    first = strongly_convex()
    figure, panels = plt.subplots(1, 3, figsize=(16, 4))
    record: dict[str, Any] = {"command": "python benchmarks/convex_theory.py", "machine": machine()}
    draw_theorem_4_1(panels[0], first)
    for name, path in first["paths"].items():
        distance, epsilon = path[-1]
        radius = first["beta"] * epsilon / first["alpha"]
        record[name] = {"alpha": first["alpha"], "beta": first["beta"], "epsilon": epsilon, "radius": radius}
        record[name]["distance"] = distance
    for budget, axes in zip((15, 2), panels[1:], strict=True):
        found = consistent_least_squares(budget)
        draw_theorem_4_3(axes, found, budget)
        row: dict[str, Any] = {name: float(found[name]) for name in ("alpha", "beta", "epsilon", "largest")}
        row |= {name: [float(found[name][i]) for i in (0, -1)] for name in ("losses", "written", "repaired")}
        record[f"least squares, {budget} of 60"] = row
    write("convex-theory", record)
    figure.tight_layout()
    figure.savefig(DOCS / "convex-theory.png", dpi=110)
    print(record)


if __name__ == "__main__":
    main()
