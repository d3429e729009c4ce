"""Gains from lists: once a candidate serves few points, what it could serve is written down with the distances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiled import Array, kernel
from adacore.facility.distance_gains import GROUP, center_distances, mark_leaves, sum_lanes
from adacore.facility.distances import distance_to, point
from adacore.facility.heap import pop, push
from adacore.facility.minima import Minima, slack_of, sum_minima, write_limits
from adacore.facility.simd import add_squares, lanes_below, lowest_lane, write_squares
from adacore.facility.tree import HALVED, LEAF, LEAVES, TILE, Tree, coarse_point

TIE = 1e-12


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
    n = tree.order.size
    # The loops are those of ``gains.bound_gains``, with its tests and for its reasons; here the pairs are kept.
    x = np.empty((GROUP, d), np.float32)
    # Rows of the candidates in float64, gathered and scaled once for all their distances.
    exact = np.empty((GROUP, d))
    centers = np.empty((GROUP, tiles), np.float32)
    squares = np.empty((GROUP, LEAF), np.float32)
    limits = np.empty(LEAF, np.float32)
    wanted = np.empty(LEAVES, np.bool_)
    # Four lists grow at once while leaves are loaded once, so that none can be written to its place yet; one entry more
    # than there are points, for the entry behind the last is written before it is known whether it counts.
    found, found_distances = np.empty((GROUP, n + 1), np.int32), np.empty((GROUP, n + 1))
    counts = np.empty(GROUP, np.int64)
    half = d // 2 if d >= HALVED else d
    evaluated = 0
    for start in range(first, last, GROUP):
        group = min(GROUP, last - start)
        norm = 0.0
        for a in range(GROUP):
            position = positions[start + min(a, group - 1)]
            point(rows, tree, position, exact[a])
            norm = max(norm, coarse_point(tree, position, x, a))
            counts[a] = 0
        for a in range(group):
            center_distances(tree, x, a, centers)
        for t in range(tiles):
            # See ``Minima``: no centroid within the tile's reach, nobody to serve; one well within, and no leaf can be
            # left out.
            near, whole = False, False
            for a in range(group):
                if centers[a, t] < state.tile_reach[t]:
                    near = True
                    if centers[a, t] + tree.tile_radii[t] < state.tile_floor[t]:
                        whole = True
            if not near:
                continue
            wanted[:] = whole
            if not whole:
                for a in range(group):
                    if centers[a, t] < state.tile_reach[t]:
                        mark_leaves(tree, state, t, x, a, squares, wanted)
            slack = slack_of(tree, state, t, norm)
            for leaf in range(LEAVES):
                if not wanted[leaf]:
                    continue
                evaluated += group * LEAF
                write_limits(state, t * LEAVES + leaf, slack, limits)
                base = t * TILE + leaf * LEAF
                # A sum of some of the squares is a lower bound on the sum of all, in float32 too, where rounding is
                # monotone.
                write_squares(tree.coarse, t * LEAVES + leaf, x, 0, 0, half, squares)
                for a in range(group):
                    hits = lanes_below(squares, a, limits)
                    if hits == 0:
                        continue
                    # In few dimensions the first half was the whole.
                    if half < d:
                        add_squares(tree.coarse, t * LEAVES + leaf, x, a, half, d, squares)
                        hits = lanes_below(squares, a, limits)
                    count = counts[a]
                    while hits != 0:
                        p = lowest_lane(hits)
                        hits &= hits - np.uint32(1)
                        # Copies that fill up the last tile are no rows.
                        if base + p < n:
                            distance = distance_to(rows, tree, exact[a], base + p)
                            # Written always, counted if nearer: a branch here would be mispredicted often, for the
                            # slack lets some through.
                            found[a, count], found_distances[a, count] = base + p, distance
                            count += distance < state.minima[t, leaf * LEAF + p]
                    counts[a] = count
        for a in range(group):
            # Nothing is moved to make room: lists that do not fit where they were predicted to are given up altogether.
            if begin + counts[a] > end:
                return -1, evaluated
            position = positions[start + a]
            lists.starts[position], lists.lengths[position] = begin, counts[a]
            for c in range(counts[a]):
                lists.served[begin + c], lists.distances[begin + c] = found[a, c], found_distances[a, c]
            begin += counts[a]
    return begin, evaluated


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
