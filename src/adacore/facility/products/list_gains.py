"""Gains from lists: once candidates serve few clients, whom each could serve is written down, and nothing else read.

A list holds lower bounds on distances, from single precision. A candidate that may be the best has its list made exact,
once, in double precision; whoever never may, never has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adacore.facility.compiling import Array, bounding_kernel, kernel
from adacore.facility.heap import pop, push
from adacore.facility.list_gains import TIE, Goal
from adacore.facility.products.kernels import SUM_ROUNDING, TERMS, ZERO, ExactRows, distance_to, scaled_row
from adacore.facility.products.list_writing import Part, add_lengths, copy_lists
from adacore.facility.products.rows import LEAST, SUMS, UNIT_ROUNDOFF

UPWARDS = 1 + 2 * UNIT_ROUNDOFF
"""A minimum is enlarged by this before it is rounded to float32."""

DROPPED = 0.5
"""Entries are dropped from a list once fewer than this share are left: moving one costs as much as summing three."""

ROUNDING = 1e-12
"""Sums over lists in double precision are off by less, relative: 2^-53 times the length of a list, at most 2^31."""

REACHED, FINISHED, NO_ROOM = 0, 1, 2
"""Why ``pick_from_lists`` returned: at the limit; nothing left to do; the exact lists need more room."""


STEPS = 65_535
"""Distances in lists are counted in steps of the largest minimum over this: uint16."""


def client_kind(m: int) -> type[np.integer]:
    """Return the smallest kind of number that tells so many clients apart."""
    return np.uint16 if m <= 1 << 16 else np.int32


def step_for(largest: float) -> float:
    """Return the step for minima up to the largest; its inverse is a float32, also where minima are next to nothing."""
    return max(largest * (1 + 1e-6) / STEPS, 2.0**-100)


class Written(NamedTuple):
    """The lists as kernels take them.

    Attributes:
        starts: Where each list begins, int64, shape (candidates,).
        lengths: How long it is, int64; shrinks as minima fall.
        clients: uint16 where that is enough, else int32, shape (entries,).
        lower: Lower bounds on distances, in steps, rounded down, uint16, shape (entries,).
        step: What a step is; 65,535 of them reach the largest minimum. It adds 1.5e-5 of that to what a bound is off,
            as much as the bound on rounding in 200 dimensions, and halves the lists.
        exact_starts: Where each exact list begins, int64; -1 where there is none yet.
        exact_lengths: How long it is.
        exact_clients: int32, shape (room,).
        exact_distances: float64, shape (room,).
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    clients: NDArray[Any]
    lower: NDArray[np.uint16]
    step: float
    exact_starts: NDArray[np.int64]
    exact_lengths: NDArray[np.int64]
    exact_clients: NDArray[np.int32]
    exact_distances: NDArray[np.float64]


class Lists:
    """For every candidate the clients that it may serve, and exact lists of those that were looked at.

    Args:
        n: Candidates.
        m: Clients.
        capacity: How many entries there may be; memory that is never written to is never taken.
        largest: The largest minimum.

    Attributes:
        written: The lists.
        entries: How many entries are written.
        used: How much of the room for exact lists is taken.
    """

    def __init__(self, n: int, m: int, capacity: int, largest: float) -> None:
        self.entries, self.used = 0, 0
        self.written = Written(
            starts=np.zeros(n, np.int64),
            lengths=np.zeros(n, np.int64),
            clients=np.empty(capacity, client_kind(m)),
            lower=np.empty(capacity, np.uint16),
            # Uniform steps: an entry is subtracted from a minimum, so that its absolute error is what counts.
            step=step_for(largest),
            exact_starts=np.full(n, -1),
            exact_lengths=np.zeros(n, np.int64),
            exact_clients=np.empty(0, np.int32),
            exact_distances=np.empty(0),
        )

    def take(self, block: slice, parts: list[Part]) -> bool:
        """Write the lists of a block of candidates.

        Args:
            block: Which candidates.
            parts: Pieces of their lists, in the order in which lists are to have them.

        Returns:
            Whether they fit.
        """
        written = self.written
        lengths = np.zeros(block.stop - block.start, np.int64)
        for part in parts:
            add_lengths(part, lengths)
        # Counted before anything is written.
        if self.entries + int(lengths.sum()) > written.clients.size:
            return False
        starts = self.entries + np.cumsum(lengths) - lengths
        written.starts[block], written.lengths[block] = starts, lengths
        for part in parts:
            copy_lists(part, starts, written.clients, written.lower)
        self.entries += int(lengths.sum())
        return True

    def grow(self) -> None:
        """Double the room for exact lists; at least the longest list fits."""
        written = self.written
        # Doubling: all copies together cost as much as the last one.
        more = max(written.exact_clients.size, int(written.lengths.max(initial=1)), 1 << 16)
        self.written = written._replace(
            exact_clients=np.concatenate([written.exact_clients, np.empty(more, np.int32)]),
            exact_distances=np.concatenate([written.exact_distances, np.empty(more)]),
        )


class Queue(NamedTuple):
    """The queue of candidates as kernels take it.

    Attributes:
        bounds: float64.
        positions: int64.
        order: What the position's row is numbered, int64; ties go to the lowest.
        seen: How much was selected when a position was bounded last, int64.
    """

    bounds: NDArray[np.float64]
    positions: NDArray[np.int64]
    order: NDArray[np.int64]
    seen: NDArray[np.int64]


class State(NamedTuple):
    """How the clients are served.

    Attributes:
        minima: Distances to what is selected, float64.
        owner: Number of what serves them, int64.
        weights: float64.
        coarse: ``minima`` rounded up, float32.
        coarse_weights: ``weights`` rounded up, float32.
    """

    minima: NDArray[np.float64]
    owner: NDArray[np.int64]
    weights: NDArray[np.float64]
    coarse: NDArray[np.float32]
    coarse_weights: NDArray[np.float32]


@bounding_kernel
def sum_list(begin: int, end: int, lists: Written, minima: Array, weights: Array) -> Any:
    """Sum what the clients of a list would save at most, and count those that would save anything.

    Four sums of single precision side by side and no store between them: 0.7 ns an entry. One sum waits for each of its
    additions, 2.3 ns; left to the compiler, minima would be gathered, which takes AMD's cores 1.6 ns.
    """
    clients, lower, step = lists.clients, lists.lower, np.float32(lists.step)
    gain, left = 0.0, 0
    for first in range(begin, end, TERMS):
        last = min(first + TERMS, end)
        whole = first + (last - first) // 4 * 4
        a, b, c, d = ZERO, ZERO, ZERO, ZERO
        for at in range(first, whole, 4):
            i, j, k, m = clients[at], clients[at + 1], clients[at + 2], clients[at + 3]
            saved_i = max(minima[i] - step * np.float32(lower[at]), ZERO)
            saved_j = max(minima[j] - step * np.float32(lower[at + 1]), ZERO)
            saved_k = max(minima[k] - step * np.float32(lower[at + 2]), ZERO)
            saved_m = max(minima[m] - step * np.float32(lower[at + 3]), ZERO)
            a += weights[i] * saved_i
            b += weights[j] * saved_j
            c += weights[k] * saved_k
            d += weights[m] * saved_m
            left += (saved_i > ZERO) + (saved_j > ZERO) + (saved_k > ZERO) + (saved_m > ZERO)
        for at in range(whole, last):
            saved_i = max(minima[clients[at]] - step * np.float32(lower[at]), ZERO)
            a += weights[clients[at]] * saved_i
            left += saved_i > ZERO
        gain += np.float64((a + b) + (c + d))
    return gain, left


@kernel
def bound_from_list(position: int, lists: Written, state: State) -> Any:
    """Bound a candidate's gain from above; drop from its list whom it can no longer serve, once they are many."""
    begin, length = lists.starts[position], lists.lengths[position]
    gain, left = sum_list(begin, begin + length, lists, state.coarse, state.coarse_weights)
    if left < DROPPED * length:
        # Whom the bound says can't be served never can: the lower bound on the distance stays, and the minimum only
        # falls.
        kept, step = 0, np.float32(lists.step)
        clients, lower = lists.clients, lists.lower
        for c in range(begin, begin + length):
            i, steps = clients[c], lower[c]
            clients[begin + kept], lower[begin + kept] = i, steps
            # Without a branch, which would be mispredicted every other time.
            kept += state.coarse[i] > step * np.float32(steps)
        lists.lengths[position] = kept
    return gain * SUM_ROUNDING


@kernel
def exact_gain_from_list(position: int, lists: Written, minima: Array, weights: Array) -> Any:
    """Sum a candidate's gain over its exact list, and drop whom it can no longer serve."""
    # In the order of the list, which dropping entries does not change, and what is dropped would add 0: sums of the
    # same terms only fall, so that an old gain bounds a new one without a margin.
    begin, kept, gain = lists.exact_starts[position], 0, 0.0
    clients, distances = lists.exact_clients, lists.exact_distances
    for c in range(begin, begin + lists.exact_lengths[position]):
        i, distance = clients[c], distances[c]
        saved = max(0.0, minima[i] - distance)
        gain += weights[i] * saved
        clients[begin + kept], distances[begin + kept] = i, distance
        kept += saved > 0.0
    lists.exact_lengths[position] = kept
    return gain


@kernel
def bounds_from_lists(positions: Array, first: int, last: int, lists: Written, state: State, bounds: Array) -> Any:
    """Bound the gains of candidates; returns 0, for no distance is evaluated."""
    for c in range(first, last):
        position = positions[c]
        if lists.exact_starts[position] >= 0:
            bounds[c] = exact_gain_from_list(position, lists, state.minima, state.weights)
        else:
            bounds[c] = bound_from_list(position, lists, state)
    return 0


@kernel
def make_exact(position: int, lists: Written, used: int, x: Array, rows: ExactRows, minima: Array) -> Any:
    """Write the exact list of a candidate x from its list; return how much room is taken."""
    begin, sums = lists.starts[position], np.empty(SUMS)
    lists.exact_starts[position] = used
    for c in range(begin, begin + lists.lengths[position]):
        i = lists.clients[c]
        # The lower bound again, for minima have fallen since the list was looked at: a distance costs d numbers from
        # memory.
        if lists.step * np.float64(lists.lower[c]) < minima[i]:
            distance = distance_to(x, rows, i, sums)
            if distance < minima[i]:
                lists.exact_clients[used], lists.exact_distances[used] = i, distance
                used += 1
    lists.exact_lengths[position] = used - lists.exact_starts[position]
    # The exact list takes its place.
    lists.lengths[position] = 0
    return used


@kernel
def pick_from_lists(
    queue: Queue, size: int, lists: Written, used: int, candidates: ExactRows, clients: ExactRows, state: State,
    picks: Array, gains: Array, count: int, total: float, goal: Goal,
) -> Any:  # fmt: skip
    """Select by lazy evaluation until ``picks`` are full, or as the goal says.

    The candidate with the largest bound is bounded anew from its list; if its bound stays the largest, its gain is
    evaluated in double precision. A pick is decided once no bound left reaches the largest gain.

    Returns:
        The number of picks, the size of the heap, the room taken, the total (running, but exact where it is within the
        margin of the target), and why it returned.
    """
    bounds, positions, order, seen = queue
    minima, owner, weights = state.minima, state.owner, state.weights
    tried, tried_gains = np.empty(max(1, size), np.int64), np.empty(max(1, size))
    x = np.empty(candidates.exact.shape[1])
    while count < picks.size:
        best, tries, full = 0.0, 0, False
        while size > 0 and bounds[0] > goal.floor and bounds[0] >= best * (1.0 - TIE):
            position = positions[0]
            if lists.exact_starts[position] < 0:
                # A bound of this pick is not computed twice: on top again, it is the largest of all, and the gain
                # itself is asked for.
                if seen[position] != goal.number + count:
                    size = pop(bounds, positions, order, size)
                    bound = bound_from_list(position, lists, state)
                    seen[position] = goal.number + count
                    if bound > 0.0:
                        size = push(bounds, positions, order, size, bound, position)
                    continue
                # An upper bound on what ``make_exact`` writes: it can't write behind the end.
                if used + lists.lengths[position] > lists.exact_clients.size:
                    full = True
                    break
                scaled_row(candidates, position, x)
                used = make_exact(position, lists, used, x, clients, minima)
            size = pop(bounds, positions, order, size)
            gain = exact_gain_from_list(position, lists, minima, weights)
            if gain > 0.0:
                tried[tries], tried_gains[tries] = position, gain
                tries += 1
                best = max(best, gain)
        pick, gained = -1, 0.0
        for c in range(tries):
            # Interrupted for room, the search is not over: what was tried goes back with its gain, and the pick is made
            # next time.
            wins = not full and best > goal.floor and tried_gains[c] >= best * (1.0 - TIE)
            if wins and (pick < 0 or order[tried[c]] < order[pick]):
                pick, gained = tried[c], tried_gains[c]
        for c in range(tries):
            if tried[c] != pick:
                size = push(bounds, positions, order, size, tried_gains[c], tried[c])
        if pick < 0:
            return count, size, used, total, NO_ROOM if full else FINISHED
        for c in range(lists.exact_starts[pick], lists.exact_starts[pick] + lists.exact_lengths[pick]):
            i = lists.exact_clients[c]
            if lists.exact_distances[c] < minima[i]:
                minima[i] = lists.exact_distances[c]
                state.coarse[i] = np.float32(max(minima[i] * UPWARDS, LEAST)) if minima[i] > 0 else ZERO
                owner[i] = goal.number + count
        picks[count], gains[count] = pick, gained
        count += 1
        total -= gained
        if total <= goal.target + goal.margin:
            total = 0.0
            for i in range(minima.size):
                total += weights[i] * minima[i]
            if total <= goal.target:
                return count, size, used, total, FINISHED
    return count, size, used, total, REACHED
