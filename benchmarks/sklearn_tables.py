"""Test scores of estimators on coresets, against random rows of the same number, on some twenty tables.

    python benchmarks/sklearn_tables.py            # runs what is missing, then writes the record and prints the table
    python benchmarks/sklearn_tables.py --report   # the record and the table of what there is

Every (set, seed) has its own split: at most 2,500 rows to train on, 1,500 to test. Each estimator is a pipeline that
imputes, scales and one-hot encodes, and is scored (accuracy, R2) after fitting on 5 and 10 % of the rows. Arms are
methods and what weights mean; "random/none" are plain random rows, stratified. Each row of
docs/records/sklearn-tables.jsonl is one (set, seed), so that a run that is stopped goes on where it was.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from adacore.sklearn import CoresetClassifier, CoresetRegressor
from adacore.sklearn.defaults import weights_for
from convex_data import DOCS, machine, write
from sklearn_sets import CLASSES, NUMBERS

SEEDS, FRACTIONS = 5, (0.05, 0.1)
TRAIN, TEST = 2_500, 1_500
ROWS = DOCS / "records" / "sklearn-tables.jsonl"
ARMS = [("craig", w) for w in ("sum_to_n", "mean_one", "none")] + [("random", w) for w in ("sum_to_n", "none")]
ARMS += [("adacore", "auto"), ("adacore-zero", "auto")]
BASELINE = "random/none"


def encoded(estimator: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", missing_values=None),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include=np.number)),
            (texts, make_column_selector(dtype_exclude=np.number)),
        ),
        estimator,
    )


ESTIMATORS = {
    True: {
        "LogisticRegression": LogisticRegression(max_iter=300),
        "LinearSVC": LinearSVC(),
        "SVC": SVC(),
        "RandomForest": RandomForestClassifier(40, random_state=0),
    },
    False: {"Ridge": Ridge(), "SVR": SVR(), "RandomForest": RandomForestRegressor(40, random_state=0)},
}


def split(name: str, seed: int) -> tuple[Any, Any, Any, Any]:
    X, y = {**CLASSES, **NUMBERS}[name]()
    y = np.unique(y.astype(str), return_inverse=True)[1] if name in CLASSES else (y - y.mean()) / y.std()
    order = np.random.default_rng([100, seed]).permutation(len(y))
    n = min(TRAIN, int(0.7 * len(y)))
    train, test = order[:n], order[n : n + TEST]
    return X.iloc[train], y[train], X.iloc[test], y[test]


def measure(name: str, seed: int) -> dict[str, Any]:
    X, y, X_test, y_test = split(name, seed)
    classes = name in CLASSES
    scores: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for estimator, model in ESTIMATORS[classes].items():
        begin = time.process_time()
        whole = encoded(clone(model)).fit(X, y)
        seconds[f"full fit/{estimator}"] = time.process_time() - begin
        scores[estimator] = {"full": whole.score(X_test, y_test)}
    # Estimators and weights share a selection, which the folder keeps.
    with tempfile.TemporaryDirectory() as folder:
        for fraction in FRACTIONS:
            for method, weights in ARMS:
                settings: dict[str, Any] = {
                    "method": method.partition("-")[0],
                    "weights": weights,
                    "random_state": seed,
                }
                settings |= {"at": "zero"} if method.endswith("zero") else {}
                for estimator, model in ESTIMATORS[classes].items():
                    wrap = CoresetClassifier if classes else CoresetRegressor
                    fitted = wrap(encoded(clone(model)), fraction=fraction, memory=folder, **settings).fit(X, y)
                    scores[estimator][f"{fraction}/{method}/{weights}"] = fitted.score(X_test, y_test)
                    seconds[f"{fraction}/{method}"] = fitted.ledger_.selecting_seconds
    return {"set": name, "seed": seed, "n": len(y), "classes": classes, "scores": scores, "seconds": seconds}


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def run() -> None:
    done = {(row["set"], row["seed"]) for row in rows()}
    for seed in range(SEEDS):
        for name in [*CLASSES, *NUMBERS]:
            if (name, seed) not in done:
                row = measure(name, seed)
                with ROWS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(name, seed, flush=True)


def default_arm(estimator: str, classes: bool) -> str:
    return f"craig/{weights_for(ESTIMATORS[classes][estimator])}"


def differences(found: list[dict[str, Any]], estimator: str, fraction: float, arm: str) -> Any:
    """Return points above plain random rows, one number a seed."""
    scores = [row["scores"][estimator] for row in found]
    return np.array([100 * (s[f"{fraction}/{arm}"] - s[f"{fraction}/{BASELINE}"]) for s in scores])


def cells(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the default with random rows: an interval for each cell, corrected for all of them (Bonferroni)."""
    told = []
    groups = [(name, [row for row in found if row["set"] == name]) for name in [*CLASSES, *NUMBERS]]
    groups = [(name, mine) for name, mine in groups if len(mine) >= 3]
    count = sum(len(ESTIMATORS[mine[0]["classes"]]) * len(FRACTIONS) for _, mine in groups)
    for name, mine in groups:
        for estimator in ESTIMATORS[mine[0]["classes"]]:
            for fraction in FRACTIONS:
                d = differences(mine, estimator, fraction, default_arm(estimator, mine[0]["classes"]))
                half = stats.t.ppf(1 - 0.025 / count, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
                told.append(
                    {
                        "set": name,
                        "classes": mine[0]["classes"],
                        "estimator": estimator,
                        "fraction": fraction,
                        "seeds": len(d),
                        "mean": float(d.mean()),
                        "error": float(d.std(ddof=1) / np.sqrt(len(d))),
                        "low": float(d.mean() - half),
                        "high": float(d.mean() + half),
                        "full": float(100 * np.mean([row["scores"][estimator]["full"] for row in mine])),
                        "random": float(
                            100 * np.mean([row["scores"][estimator][f"{fraction}/{BASELINE}"] for row in mine])
                        ),
                    }
                )
    return told


def arms_table(found: list[dict[str, Any]], classes: bool) -> list[dict[str, Any]]:
    """Return, for each estimator and fraction, every arm's mean over sets and seeds above random rows."""
    mine = [row for row in found if row["classes"] == classes]
    return [
        {
            "estimator": estimator,
            "fraction": fraction,
            **{
                f"{m}/{w}": float(np.mean(differences(mine, estimator, fraction, f"{m}/{w}").clip(-30, 30)))
                for m, w in ARMS
                if f"{m}/{w}" != BASELINE
            },
        }
        for estimator in ESTIMATORS[classes]
        for fraction in FRACTIONS
    ]


def over_sets(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the default with random rows by estimator, a set's mean being one observation; intervals for all rows."""
    pairs = sorted({(c["classes"], c["estimator"], c["fraction"]) for c in told}, key=str, reverse=True)
    found = []
    for classes, estimator, fraction in pairs:
        kept = [c for c in told if (c["classes"], c["estimator"], c["fraction"]) == (classes, estimator, fraction)]
        means = np.array([c["mean"] for c in kept])
        half = stats.t.ppf(1 - 0.025 / len(pairs), len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
        clear = [abs(c["mean"]) > 2 * c["error"] for c in kept]
        found.append(
            {
                "classes": classes,
                "estimator": estimator,
                "fraction": fraction,
                "sets": len(means),
                "mean": float(means.mean()),
                "low": float(means.mean() - half),
                "high": float(means.mean() + half),
                "full": float(np.mean([c["full"] for c in kept])),
                "random": float(np.mean([c["random"] for c in kept])),
                "better_by_two_errors": int(sum(c["mean"] > 0 and far for c, far in zip(kept, clear, strict=True))),
                "worse_by_two_errors": [c["set"] for c, far in zip(kept, clear, strict=True) if c["mean"] < 0 and far],
            }
        )
    return found


def report() -> None:
    found = rows()
    told = cells(found)
    record = {
        "command": "python benchmarks/sklearn_tables.py",
        "machine": machine(),
        "baseline": BASELINE,
        "weights of adacore": "sum_to_n for SVC and SVR, none for forests, mean_one for the rest",
        "over sets": over_sets(told),
        "cells": told,
        "classification": arms_table(found, True),
        "regression": arms_table(found, False),
    }
    for classes in (True, False):
        for fraction in FRACTIONS:
            mine = [c for c in told if c["classes"] == classes and c["fraction"] == fraction]
            if mine:
                worse = [f"{c['set']}, {c['estimator']}" for c in mine if c["high"] < 0]
                better = sum(c["low"] > 0 for c in mine)
                mean = np.mean([np.clip(c["mean"], -30, 30) for c in mine])
                print(
                    f"{'classification' if classes else 'regression'} at {fraction:.0%}: {mean:+.1f} points over "
                    f"{len(mine)} cells, better in {better}, worse in {len(worse)} {worse}"
                )
        for row in record["classification" if classes else "regression"]:
            print(", ".join(f"{k} {v:+.1f}" if isinstance(v, float) else str(v) for k, v in row.items()))
    for row in record["over sets"]:
        print({k: round(v, 1) if isinstance(v, float) and k != "fraction" else v for k, v in row.items()})
    write("sklearn-tables", record)


def main() -> None:
    warnings.filterwarnings("ignore")
    if "--report" not in sys.argv:
        run()
    report()


if __name__ == "__main__":
    main()
