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


def consistent_least_squares() -> dict[str, Any]:
    """Gradient descent on a coreset of a consistent least-squares problem: Theorem 4.3 as written, and repaired."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)) * np.logspace(0, 1.0, 5)
    problem = ridge(X, X @ rng.standard_normal(5), l2=0.0, intercept=False)
    coreset = select(problem, budget=15, at="zero", bins=None)
    subset, w = problem.take(coreset.indices), problem.zero()
    alpha, beta = np.linalg.eigvalsh(problem.hessian(w))[[0, -1]]
    losses, epsilons, norms = [], [], []
    for _ in range(STEPS):
        losses.append(problem.value(w))
        epsilons.append(measured_error(problem, w, coreset.indices, coreset.weights))
        norms.append(float(np.linalg.norm(problem.gradient(w))))
        w = w - subset.gradient(w, coreset.weights) / beta
    t, epsilon, largest, eta = np.arange(STEPS), max(epsilons), max(norms), 1 / beta
    written = (1 - eta * alpha**3 / beta**2) ** t * losses[0] - eta * alpha**2 / (2 * beta**2) * (
        beta**2 * epsilon**2 - 2 * beta * epsilon * largest
    )
    repaired = (1 - eta * alpha) ** t * losses[0] + beta**2 * epsilon**2 / (2 * alpha)
    return {
        "alpha": alpha, "beta": beta, "epsilon": epsilon, "largest": largest,
        "losses": np.array(losses), "written": written, "repaired": repaired,
    }  # fmt: skip


def main() -> None:
    first, second = strongly_convex(), consistent_least_squares()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    record: dict[str, Any] = {"command": "python benchmarks/convex_theory.py", "machine": machine()}
    for name, colour in (("Newton", "tab:blue"), ("gradient descent", "tab:orange")):
        distance, epsilon = first["paths"][name].T
        left.plot(distance, color=colour, label=f"{name}: ||w - w*||")
        left.plot(first["beta"] * epsilon / first["alpha"], color=colour, ls="--", label=r"$\beta\epsilon_t/\alpha$")
        record[name] = {
            "alpha": first["alpha"], "beta": first["beta"], "epsilon": float(epsilon[-1]),
            "distance": float(distance[-1]), "radius": float(first["beta"] * epsilon[-1] / first["alpha"]),
        }  # fmt: skip
    left.set(xscale="symlog", yscale="log", xlabel="step", title="Theorem 4.1: logistic regression, 10 %")
    left.legend()
    right.plot(second["losses"], label="L(w), gradient descent on the coreset")
    right.plot(second["repaired"], ls="--", label="repaired bound")
    right.plot(second["written"], ls=":", label="(16) as written")
    right.set(xscale="symlog", yscale="symlog", xlabel="step", title="Theorem 4.3: consistent least squares")
    right.axhline(0, color="grey", lw=0.5)
    right.legend()
    record["least squares"] = {name: float(second[name]) for name in ("alpha", "beta", "epsilon", "largest")}
    record["least squares"] |= {
        name: [float(second[name][i]) for i in (0, -1)] for name in ("losses", "written", "repaired")
    }
    write("convex-theory", record)
    figure.tight_layout()
    figure.savefig(DOCS / "convex-theory.png", dpi=110)
    print(record)


if __name__ == "__main__":
    main()
