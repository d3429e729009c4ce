"""Every engine, whatever the size of a problem."""

import sys

import pytest

from adacore.facility import engines
from adacore.facility.products import greedy
from adacore.facility.products.choosing_evaluators import choose_evaluator


@pytest.fixture(params=["matrix", "tree", "products", "products-torch"])
def every_engine(request, monkeypatch):
    """Send all problems through one engine; the last computes on the CPU what a GPU would."""
    monkeypatch.setattr(engines, "MOST_PAIRS", sys.maxsize if request.param == "matrix" else 0)
    monkeypatch.setattr(engines, "LEAST_DIMENSIONS", sys.maxsize if request.param == "tree" else 0)
    if request.param == "products-torch":
        monkeypatch.setattr(
            greedy, "choose_evaluator", lambda sides, workers, compiled: choose_evaluator(sides, workers, False)
        )
    return request.param
