"""Gains from lists: once a candidate serves few points, what it could serve is written down with the distances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, borrowing_kernel, kernel
from adacore.facility.distance_gains import GROUP, center_distances, sum_lanes
from adacore.facility.distances import point, root_of, square_of
from adacore.facility.heap import pop, push
from adacore.facility.minima import Minima, mark_leaves, slack_of, sum_minima, write_limits
from adacore.facility.simd import lanes_below, lowest_lane, write_squares
from adacore.facility.tree import LEAF, LEAVES, TILE, Tree, coarse_point

TIE = 1e-12

RECENT = 4096
"""Rows that ``list_served`` keeps in double precision, for each thread: 360 kB at d = 11, a part of the second-level
cache."""


class Lists(NamedTuple):
    """For every candidate the points that it would serve: nearer to it than to what is selected.

    Attributes:
        starts: Where its list begins, int64, shape (n,).
        lengths: How long it is, int64, shape (n,).
        served: Positions of points, int32, shape (entries,).
        distances: Distances to them, float64, shape (entries,).
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    served: NDArray[np.int32]
    distances: NDArray[np.float64]


class RecentRows(NamedTuple):
    """Rows in double precision and in the engine's units, as one thread met them lately.

    Neighbours serve the same clients: a row of the caller's is converted and scaled once for several candidates that
    may serve it.

    Attributes:
        rows: float64, shape (4096, d); a position p has its place at p modulo 4096.
        positions: Whose row lies there, int64, shape (4096,); -1 for nobody's.
    """

    rows: NDArray[np.float64]
    positions: NDArray[np.int64]


class Goal(NamedTuple):
    """When to stop.

    Attributes:
        number: How much was selected before the first of these picks.
        floor: Before a gain of at most this.
        target: At a total of at most this.
        margin: How far a running total may be off.
    """

    number: int
    floor: float
    target: float
    margin: float


@kernel
def list_served(
    rows: Array,
    tree: Tree,
    state: Minima,
    positions: Array,
    first: int,
    last: int,
    begin: int,
    end: int,
    lists: Lists,
) -> Any:
    """List the clients that the candidates ``positions[first:last]`` would serve, in ``served[begin:end]``.

    Single precision only decides what is looked at. Returns where the lists end, or -1 if they do not fit, and the
    number of distances evaluated.
    """
    d, tiles = tree.tile_centers.shape
    # The loops are those of ``distance_gains.bound_gains``, with its tests and for its reasons; here the pairs are
    # kept. In two steps: single precision finds positions, double precision then goes through what was found, so that
    # neither loop holds the branches of the other.
    x = np.empty((GROUP, d), np.float32)
    exact = np.empty(d)
    centers = np.empty((GROUP, tiles), np.float32)
    squares, center_squares = np.empty((GROUP, LEAF), np.float32), np.empty((GROUP, LEAVES), np.float32)
    wanted = np.empty(LEAVES, np.bool_)
    # Four lists grow at once while leaves are loaded once, so that none can be written to its place yet.
    found, counts = np.empty((GROUP, tiles * TILE), np.int32), np.empty(GROUP, np.int64)
    recent = RecentRows(np.empty((RECENT, d)), np.full(RECENT, -1, np.int64))
    # One slack for all candidates of this call, neighbours in the tree, so that a tile's limits are written once.
    norm = 0.0
    for c in range(first, last):
        norm = max(norm, coarse_point(tree, positions[c], x, 0))
    limits, written = np.empty((tiles * LEAVES, LEAF), np.float32), np.zeros(tiles, np.bool_)
    # Taken out of their tuples here: in a loop, each time would be counted as a reference, see ``borrowing_kernel``.
    coarse, tile_centers, leaf_centers, tile_radii = tree.coarse, tree.tile_centers, tree.leaf_centers, tree.tile_radii
    coarse_minima, tile_reach, tile_floor, leaf_reach = (
        state.coarse,
        state.tile_reach,
        state.tile_floor,
        state.leaf_reach,
    )
    evaluated = 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        for a in range(GROUP):
            coarse_point(tree, positions[start + min(a, group - 1)], x, a)
            counts[a] = 0
        for a in range(group):
            center_distances(tile_centers, x, a, centers)
        for t in range(tiles):
            # See ``Minima``: no centroid within the tile's reach, nobody to serve; one well within, and no leaf can be
            # left out.
            near, whole = False, False
            for a in range(group):
                if centers[a, t] < tile_reach[t]:
                    near = True
                    if centers[a, t] + tile_radii[t] < tile_floor[t]:
                        whole = True
            if not near:
                continue
            wanted[:] = whole
            if not whole:
                for a in range(group):
                    if centers[a, t] < tile_reach[t]:
                        mark_leaves(leaf_centers, leaf_reach, t, x, a, center_squares, wanted)
            if not written[t]:
                slack = slack_of(tree, state, t, norm)
                for block in range(t * LEAVES, (t + 1) * LEAVES):
                    write_limits(coarse_minima, block, slack, limits, block)
                written[t] = True
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                evaluated += group * LEAF
                block = t * LEAVES + leaf
                # All dimensions at once: asked after half of them, as in ``bound_gains``, two answers are mispredicted
                # in place of one, which costs what it spares (10,000 x 10).
                write_squares(coarse, block, x, 0, 0, d, squares)
                for a in range(group):
                    hits = lanes_below(squares, a, limits, block)
                    # Copies that fill up the last tile have limit 0 and are never hit.
                    while hits != 0:
                        found[a, counts[a]] = block * LEAF + lowest_lane(hits)
                        hits &= hits - np.uint32(1)
                        counts[a] += 1
        for a in range(group):
            # Nothing is moved to make room: lists that do not fit where they were predicted to are given up altogether.
            if begin + counts[a] > end:
                return -1, evaluated
            position = positions[start + a]
            point(rows, tree, position, exact)
            length = keep_served(rows, tree, state, exact, found[a, : counts[a]], recent, lists, begin)
            lists.starts[position], lists.lengths[position] = begin, length
            begin += length
    return begin, evaluated


@borrowing_kernel
def keep_served(
    rows: Array, tree: Tree, state: Minima, x: Array, found: Array, recent: RecentRows, lists: Lists, begin: int
) -> Any:
    """Write those of the clients found whom a candidate x serves from ``begin`` on; return how many."""
    served, distances, minima = lists.served, lists.distances, state.minima
    order, factors = tree.order, tree.factors
    ready, whose = recent
    for c in range(found.size):
        i = int(found[c])
        slot = i & (RECENT - 1)
        if whose[slot] != i:
            row, factor = order[i], factors[i]
            for k in range(x.size):
                ready[slot, k] = rows[row, k] * factor
            whose[slot] = i
        distances[begin + c] = square_of(ready, slot, 1.0, x)
    length = 0
    for c in range(found.size):
        i = int(found[c])
        distance = root_of(distances[begin + c], rows, order[i], factors[i], x)
        # Written always, counted if nearer: a branch here would be mispredicted often, for the slack lets some through.
        served[begin + length], distances[begin + length] = i, distance
        length += distance < minima[i // TILE, i % TILE]
    return length


@kernel
def list_gain(position: int, lists: Lists, minima: Array, weights: Array, lanes: Array) -> Any:
    """Sum a candidate's gain and drop from its list what it can no longer serve.

    In the partial sums and the order of ``gains.exact_gains``, so that both give the same number to the last bit.
    """
    # Lists ascend, as the loops of ``list_served`` do, and point i goes to partial sum i mod 32, its lane in the leaf.
    # What is missing from a list would have added 0. So these are the additions of ``gains.exact_gains`` in their
    # order.
    served, distances = lists.served, lists.distances
    # Lists only shrink: minima fall, and whoever is served no better now never will be. What is kept moves to the
    # front.
    begin, kept = lists.starts[position], 0
    lanes[:] = 0.0
    for c in range(begin, begin + lists.lengths[position]):
        i, distance = served[c], distances[c]
        saved = max(0.0, minima[i] - distance)
        # Without a branch, which would be mispredicted every other time.
        lanes[i % LEAF] += weights[i] * saved
        served[begin + kept], distances[begin + kept] = i, distance
        kept += saved > 0.0
    lists.lengths[position] = kept
    return sum_lanes(lanes)


@kernel
def list_gains(
    positions: Array, first: int, last: int, lists: Lists, minima: Array, weights: Array, gains: Array
) -> Any:
    """Evaluate candidates from their lists; returns 0, for no distance is evaluated."""
    lanes = np.empty(LEAF)
    for c in range(first, last):
        gains[c] = list_gain(positions[c], lists, minima, weights, lanes)
    return 0


@kernel
def pick_from_lists(
    bounds: Array,
    positions: Array,
    rows: Array,
    size: int,
    lists: Lists,
    minima: Array,
    owner: Array,
    weights: Array,
    picks: Array,
    gains: Array,
    total: float,
    goal: Goal,
) -> Any:
    """Select by lazy evaluation until ``picks`` is full, or as the goal says.

    The pick is the lowest row among those whose gain is within TIE of the largest: all whose bound reaches that are
    evaluated. Picks are numbered from ``goal.number`` on. Returns how many there were, the size of the heap, the total
    (running, but exact where it is within the margin of the target), and whether there is nothing more to do.
    """
    number, floor, target, margin = goal
    # A candidate is tried at most once for a pick: the heap's size is room enough.
    tried, tried_gains, lanes = np.empty(size, np.int64), np.empty(size), np.empty(LEAF)
    count = 0
    while count < picks.size:
        best, tries = 0.0, 0
        # Lazy evaluation (Minoux 1978): bounds are gains of earlier picks, which by submodularity only fall. Once the
        # largest is below best (1 - TIE), nobody left can win or tie.
        while size > 0 and bounds[0] > floor and bounds[0] >= best * (1.0 - TIE):
            position = positions[0]
            size = pop(bounds, positions, rows, size)
            gain = list_gain(position, lists, minima, weights, lanes)
            # Dropped otherwise: a gain of 0 stays 0.
            if gain > 0.0:
                tried[tries], tried_gains[tries] = position, gain
                tries += 1
                best = max(best, gain)
        # In a second pass, when the largest gain is known: ties are relative to it, not to whoever came first.
        pick, gained = -1, 0.0
        for c in range(tries):
            if best > floor and tried_gains[c] >= best * (1.0 - TIE) and (pick < 0 or rows[tried[c]] < rows[pick]):
                pick, gained = tried[c], tried_gains[c]
        for c in range(tries):
            # With their exact gains as new bounds.
            if tried[c] != pick:
                size = push(bounds, positions, rows, size, tried_gains[c], tried[c])
        if pick < 0:
            return count, size, total, True
        for c in range(lists.starts[pick], lists.starts[pick] + lists.lengths[pick]):
            i = lists.served[c]
            # Strictly, so that the earlier pick keeps a client at equal distance.
            if lists.distances[c] < minima[i]:
                minima[i] = lists.distances[c]
                owner[i] = number + count
        picks[count], gains[count] = pick, gained
        count += 1
        total -= gained
        # The running total has gathered the rounding of all gains so far; ``margin`` bounds it. Near the target it is
        # summed anew.
        if total <= target + margin:
            total = sum_minima(weights, minima)
            if total <= target:
                return count, size, total, True
    return count, size, total, False
