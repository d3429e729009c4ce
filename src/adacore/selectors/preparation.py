"""Compiling what a selector runs before anything is timed."""

from __future__ import annotations

import time

import numpy as np

from adacore.selectors.base import HasStrata, Selector
from adacore.selectors.synthetic import synthetic_snapshot


def prepare_selector(selector: Selector) -> float:
    """Compile the kernels that a selector runs, or load them from disk where an earlier process has compiled them.

    Args:
        selector: Any selector; one that compiles nothing, ``traits.compiled``, costs nothing.

    Returns:
        Seconds that it took.

    Example:
        >>> from adacore.selectors import Random
        >>> prepare_selector(Random())
        0.0
    """
    if not selector.traits.compiled:
        return 0.0
    # Timed, so that whoever compares methods can book compiling apart from selecting.
    start = time.perf_counter()
    if isinstance(selector, HasStrata):
        prepare_strata(selector)
    else:
        from adacore.facility import prepare_kernels  # as lazily as the engine itself

        prepare_kernels()
    return time.perf_counter() - start


def prepare_strata(selector: Selector) -> None:
    """Compile the kernels of an order of examples and of its batches; for a coreset method, those of its clusters.

    Args:
        selector: One that orders examples, or chooses medoids whose clusters are to be ordered.
    """
    generator = np.random.default_rng(0)
    if isinstance(selector, HasStrata):
        # Kernels are compiled for the types of arrays that they meet: a small problem has the same.
        snapshot = synthetic_snapshot(selector.requirements(), np.repeat([0, 1], 100))
        selector.strata(snapshot, generator=generator).batches(64, 8, generator=generator)
        return
    from adacore.facility import assign
    from adacore.selectors.gradient_tree import gradient_tree

    points = generator.normal(size=(100, 4)).astype(np.float32)
    assign(points, gradient_tree(points, 1)[0][:10])
