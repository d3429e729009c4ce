"""A search over 12 candidates x 3 folds of an RBF SVC on ijcnn1: on everything, and through CoresetClassifier at 10 %.

    python benchmarks/convex_search.py                      # all arms; on everything it takes long
    python benchmarks/convex_search.py adacore-zero random  # some arms; the record keeps the others' figures

What is timed is GridSearchCV.fit: selecting, fitting and scoring every candidate on every fold, and refitting the best.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from convex_data import load, machine, read, write

GRID = {"C": [1.0, 4.0, 16.0], "gamma": [0.5, 1.0, 2.0, 4.0]}
ARMS: dict[str, dict[str, Any]] = {
    "adacore-zero": {"method": "adacore", "at": "zero"},
    "adacore-pilot": {"method": "adacore", "at": "pilot"},
    "craig": {"method": "craig"},
    "random": {"method": "random"},
    "everything": {},
}


def search(arm: str, X: Any, y: Any, memory: str) -> GridSearchCV:
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    if arm == "everything":
        return GridSearchCV(SVC(), GRID, cv=folds).fit(X, y)
    from adacore.sklearn import CoresetClassifier

    model = CoresetClassifier(SVC(), fraction=0.1, memory=memory, **ARMS[arm])
    return GridSearchCV(model, {f"estimator__{name}": values for name, values in GRID.items()}, cv=folds).fit(X, y)


def main() -> None:
    arms = sys.argv[1:] or list(ARMS)
    X, y = load()
    X_test, y_test = load("test")
    for arm in arms:
        with tempfile.TemporaryDirectory() as memory:
            begin = time.perf_counter()
            found = search(arm, X, y, memory)
            seconds = time.perf_counter() - begin
        record = read("convex-search")
        record[arm] = {
            "seconds": seconds,
            "cross_validated_accuracy": float(found.best_score_),
            "test_accuracy": float(found.score(X_test, y_test)),
            "best": found.best_params_,
            "machine": machine(),
        }
        write("convex-search", record)
        print(arm, record[arm], flush=True)


if __name__ == "__main__":
    main()
