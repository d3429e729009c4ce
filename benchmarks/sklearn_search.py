"""A search over 12 candidates x 3 folds of an RBF SVC on ijcnn1: on all rows, and by CoresetSearch at 10 %.

    python benchmarks/sklearn_search.py                  # all arms; on all rows it takes long
    python benchmarks/sklearn_search.py coresets random  # some arms; the record keeps the others' figures
    python benchmarks/sklearn_search.py --rows 15000     # on so many rows, drawn at random, recorded apart

What is timed is ``fit``: selecting, fitting and scoring every candidate on every fold, refitting the best on all rows.
Seconds of the processor are what to compare where others use the machine too.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from adacore.facility import prepare_kernels
from adacore.sklearn import CoresetSearch
from convex_data import load, machine, read, write

GRID = {"C": [1.0, 4.0, 16.0], "gamma": [0.5, 1.0, 2.0, 4.0]}
ARMS: dict[str, dict[str, Any] | None] = {
    "coresets": {"fraction": 0.1},
    "random": {"fraction": 0.1, "method": "random"},
    "all rows": None,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("arms", nargs="*", help=f"of {list(ARMS)}; all of them if none is named")
    parser.add_argument("--rows", type=int, help="search on so many rows only")
    given = parser.parse_args()
    X, y = load()
    if given.rows is not None:
        drawn = np.random.default_rng(0).permutation(len(y))[: given.rows]
        X, y = X[drawn], y[drawn]
    X_test, y_test = load("test")
    prepare_kernels()
    for arm in given.arms or ARMS:
        search = GridSearchCV(SVC(), GRID, cv=StratifiedKFold(3, shuffle=True, random_state=0))
        settings = ARMS[arm]
        found = search if settings is None else CoresetSearch(search, **settings)
        begin, processor = time.perf_counter(), time.process_time()
        found.fit(X, y)
        seconds, processor = time.perf_counter() - begin, time.process_time() - processor
        record = read("sklearn-search")
        record.setdefault(f"{len(y)} rows", {})[arm] = {
            "seconds": seconds,
            "processor_seconds": processor,
            "selecting_seconds": getattr(found, "selecting_seconds_", 0.0),
            "refit_seconds": float(found.refit_time_),
            "cross_validated_accuracy": float(found.best_score_),
            "test_accuracy": float(found.score(X_test, y_test)),
            "best": found.best_params_,
            "candidates": {
                f"C={p['C']:g} gamma={p['gamma']:g}": float(m)
                for p, m in zip(found.cv_results_["params"], found.cv_results_["mean_test_score"], strict=True)
            },
            "machine": machine(),
        }
        write("sklearn-search", record)
        print(arm, record[f"{len(y)} rows"][arm], flush=True)


if __name__ == "__main__":
    main()
