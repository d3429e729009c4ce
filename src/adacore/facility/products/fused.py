"""Root, comparison and sums of a block on a GPU in one pass: what torch would do in ten, each as long as a copy.

The kernels are written for Triton, which comes with torch for CUDA. Where it is missing, or does not compute what torch
computes on a small block, torch's own operations do the work: slower, with the same picks.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import NamedTuple

import torch
from torch import Tensor

ROWS, COLUMNS = 64, 256
"""A program's part of a block: 64 numbers in each of 256 threads' registers."""

WARPS = 8
TERMS = 256
"""So many terms at most are summed in single precision, in any order, before sums are added in double."""


class Side(NamedTuple):
    """A range of rows or of columns of a block.

    Attributes:
        low: Squared norms less the bound on rounding, float32.
        minima: Distances to what is selected, rounded up, float32.
        weights: Rounded up, float32.
    """

    low: Tensor
    minima: Tensor
    weights: Tensor


def gains_of_block(block: Tensor, i: Side, j: Side, both: bool) -> tuple[Tensor, Tensor | None]:
    """Sum what rows gain from columns, and columns from rows.

    Args:
        block: -2 y_i . y_j, float32, shape (rows, columns), contiguous.
        i: The rows.
        j: The columns.
        both: Whether to sum by columns too.

    Returns:
        Gains of the rows, float64, and of the columns, if asked for.
    """
    rows, columns = block.shape
    down, across = -(-rows // ROWS), -(-columns // COLUMNS)
    # Partial sums of a tile each, and no atomic additions, whose order would vary from run to run.
    by_row = torch.empty((rows, across), dtype=torch.float32, device=block.device)
    by_column = torch.empty((down if both else 1, columns), dtype=torch.float32, device=block.device)
    from adacore.facility.products.tiles import gains_of_tile  # here, for it needs Triton

    gains_of_tile[(down, across)](
        block, torch.stack(i), torch.stack(j), by_row, by_column, rows, columns,
        tile_rows=ROWS, tile_columns=COLUMNS, both=both, num_warps=WARPS,
    )  # fmt: skip
    return by_row.sum(dim=1, dtype=torch.float64), by_column.sum(dim=0, dtype=torch.float64) if both else None


def gains_by_torch(block: Tensor, i: Side, j: Side, both: bool) -> tuple[Tensor, Tensor | None]:
    """Do the same with torch's operations, in memory for two blocks; the block is overwritten."""
    # In place, in the block: a temporary of its size would double what a batch takes.
    distances = block.add_(i.low[:, None]).add_(j.low).clamp_(min=0).sqrt_()
    of_columns = None
    if both:
        saved = torch.sub(i.minima[:, None], distances).clamp_(min=0).mul_(i.weights[:, None])
        of_columns = saved.sum(dim=0, dtype=torch.float64)
    saved = torch.sub(j.minima, distances, out=distances).clamp_(min=0).mul_(j.weights)
    return saved.sum(dim=1, dtype=torch.float64), of_columns


@functools.cache
def fused_works(device: torch.device) -> bool:
    """Try the kernels on a small block.

    Args:
        device: Where.

    Returns:
        Whether they compute what torch computes.
    """
    if importlib.util.find_spec("triton") is None or device.type != "cuda":
        return False
    draw = torch.Generator(device=device).manual_seed(0)
    # Neither a multiple of a tile: the masks at the edges are tried too.
    rows, columns = 3 * ROWS + 5, 2 * COLUMNS + 7
    i, j = (Side(*(torch.rand((3, n), generator=draw, device=device) + 1)) for n in (rows, columns))
    block = -2 * torch.rand((rows, columns), generator=draw, device=device)
    try:
        found = gains_of_block(block, i, j, True)
    except Exception:  # a compiler that fails may raise anything, and nothing depends on it but speed
        return False
    expected = gains_by_torch(block.clone(), i, j, True)
    return all(
        a is not None and b is not None and torch.allclose(a, b, rtol=1e-5)
        for a, b in zip(found, expected, strict=True)
    )
