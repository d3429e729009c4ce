"""The part of a block that one program of a GPU computes, for Triton: its compiler reads this source."""

import triton
import triton.language as tl


@triton.jit
def gains_of_tile(  # type: ignore[no-untyped-def]
    block, side_i, side_j, by_row, by_column, rows, columns,
    tile_rows: tl.constexpr, tile_columns: tl.constexpr, both: tl.constexpr,
):  # fmt: skip
    """Sum w max(0, m - d) of a tile by rows, and by columns if ``both``.

    A side is a matrix of three rows: squared norms less the bound on rounding, minima m, weights w.
    """
    down, across = tl.program_id(0), tl.program_id(1)
    i = down * tile_rows + tl.arange(0, tile_rows)
    j = across * tile_columns + tl.arange(0, tile_columns)
    inside_i, inside_j = i < rows, j < columns
    inside = inside_i[:, None] & inside_j[None, :]
    # 64 bits, so that no size of a block can overflow an index.
    at = i.to(tl.int64)[:, None] * columns + j[None, :]
    squares = tl.load(block + at, mask=inside, other=0.0)
    squares += tl.load(side_i + i, mask=inside_i, other=0.0)[:, None]
    squares += tl.load(side_j + j, mask=inside_j, other=0.0)[None, :]
    # Correctly rounded: ``rows`` allows a root one unit in the last place, which ``tl.sqrt``, an approximation, does
    # not promise.
    distances = tl.sqrt_rn(tl.maximum(squares, 0.0))
    # Outside, minima and weights are 0, and nothing is gained.
    minimum = tl.load(side_j + columns + j, mask=inside_j, other=0.0)[None, :]
    weight = tl.load(side_j + 2 * columns + j, mask=inside_j, other=0.0)[None, :]
    sums = tl.sum(tl.maximum(minimum - distances, 0.0) * weight, axis=1)
    tl.store(by_row + i.to(tl.int64) * tl.num_programs(1) + across, sums, mask=inside_i)
    if both:
        minimum = tl.load(side_i + rows + i, mask=inside_i, other=0.0)[:, None]
        weight = tl.load(side_i + 2 * rows + i, mask=inside_i, other=0.0)[:, None]
        sums = tl.sum(tl.maximum(minimum - distances, 0.0) * weight, axis=0)
        tl.store(by_column + down.to(tl.int64) * columns + j, sums, mask=inside_j)
