"""Who evaluates candidates: compiled passes on a CPU, torch on any other device."""

from __future__ import annotations

from adacore.facility.products.compiled_evaluator import CompiledEvaluator
from adacore.facility.products.evaluators import Evaluator
from adacore.facility.products.sides import Sides
from adacore.facility.products.tensor_evaluator import TensorEvaluator
from adacore.facility.workers import Workers


def choose_evaluator(sides: Sides, workers: Workers, compiled: bool | None = None) -> Evaluator:
    """Choose who evaluates: compiled passes on a CPU, torch elsewhere.

    Args:
        sides: Clients and candidates.
        workers: Threads.
        compiled: Which; if None, as the device says.

    Returns:
        The evaluator.
    """
    if sides.clients.exact.device.type == "cpu" if compiled is None else compiled:
        return CompiledEvaluator(sides, workers)
    return TensorEvaluator(sides, workers)
