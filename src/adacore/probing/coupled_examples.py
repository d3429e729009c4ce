"""Whether a model's output for an example depends on the other examples of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from adacore.probing.reading import Batch


def check_rows_apart(run: Callable[[Any], Tensor], batch: Batch, outputs: Tensor) -> None:
    """Check that the first examples of a batch come out the same when the others are left out.

    Models that compare the examples of a batch (contrastive models that give similarities, BatchNorm without running
    statistics) have no output, and so no gradient, of a single example.

    Args:
        run: Runs the model on inputs.
        batch: What the outputs were computed from.
        outputs: Shape (batch, outputs).

    Raises:
        ValueError: If they differ, though the same inputs give the same outputs twice.
    """
    rows, half = len(outputs), len(outputs) // 2
    if not half:
        return
    with torch.no_grad():
        try:
            # Twice, to tell neighbours from chance.
            fewer = first_rows(batch.inputs, rows, half)
            apart, again = run(fewer).float(), run(fewer).float()
        except Exception:  # inputs that cannot be cut so; nothing is known then, and nothing claimed
            return
    if not torch.equal(apart, again):
        return  # chance plays a part in this model, and would be mistaken for the neighbours
    together = outputs[:half].float()
    # Rounding differs with the size of a batch: by 2^-8 in half precision, much less in single.
    if apart.shape == together.shape and (apart - together).abs().max() <= 0.05 * together.abs().max() + 1e-6:
        return
    # What is nan or infinite has an error of its own, which names the example.
    if apart.shape == together.shape and not (apart.isfinite() & together.isfinite()).all():
        return
    raise ValueError(
        "the model's output for an example depends on the others in its batch (similarities between examples, or "
        "BatchNorm with track_running_stats=False), so that no example has a gradient of its own: pass "
        "Probe(forward=...) that gives each example its own logits"
    )


def first_rows(nested: Any, rows: int, count: int) -> Any:
    """Keep the first examples in a nested structure of tensors, lists, tuples and mappings.

    Args:
        nested: Holds something for each of ``rows`` examples; what is not of that length is left as it is.
        rows: Number of examples.
        count: How many to keep.

    Returns:
        The same structure.
    """
    if isinstance(nested, Tensor):
        return nested[:count] if nested.ndim and len(nested) == rows else nested
    if isinstance(nested, Mapping):
        return {name: first_rows(value, rows, count) for name, value in nested.items()}
    if isinstance(nested, tuple) and hasattr(nested, "_fields"):
        return type(nested)(*(first_rows(value, rows, count) for value in nested))
    if isinstance(nested, list) and len(nested) == rows and not any(isinstance(v, Tensor) for v in nested):
        return nested[:count]
    if isinstance(nested, tuple | list):
        return type(nested)(first_rows(value, rows, count) for value in nested)
    return nested
