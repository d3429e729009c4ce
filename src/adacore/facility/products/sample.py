"""What a fixed sample of pairs tells: how long lists would be, and whether 8 bits tell enough."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from adacore.facility.products.eight_bits import EightBitRows
from adacore.facility.products.sides import Sides

CANDIDATES, CLIENTS = 256, 2048
"""Half a million pairs: where 1 % are served, the share is known within 2 % or so, and looking again takes 0.6 ms."""

FEW = 64
"""Candidates of the sample that are looked at in 8 bits as well: 2 ms at 384 dimensions, a hundredth of what selecting
from 5,000 rows takes."""

MARGIN = 1.1
"""What the sample may fall short by."""

MOST_SLACK = 0.1
"""Share of a squared distance that 8 bits may give away, at the distance to which picks will serve in the end, for
lists to be written from them. It is 0.02 to 0.04 on Gaussian rows, sentence embeddings and rectified features, where
lists then save 10 to 40 % of a selection, and 0.07 where they still save 12 %; at 0.18, 0.7 and 6 (clusters ever
tighter) selecting takes 1.2, 2.1 and 1.8 times as long with them: bounds no longer tell a cluster's rows apart."""

MOST_LONGER, MOST_LARGER = 1.5, 1.4
"""How many times as long 8 bits may make lists, and as large bounds on gains. On the data where they save time it is
1.15 to 1.46 and 1.1 to 1.3 (1.5 once); on rows with very heavy tails, where selecting takes six times as long with
them, 3 to 6 both."""


class Sample:
    """Lower bounds on the squared distances of a fixed sample of pairs.

    Args:
        sides: Clients and candidates.
        rounded: Candidates and clients in 8 bits, if there are such.
    """

    def __init__(self, sides: Sides, rounded: tuple[EightBitRows, EightBitRows] | None = None) -> None:
        device = sides.clients.single.device
        able = np.flatnonzero(sides.able)
        # Any fixed choice will do that no order of the rows favours; it decides nothing but how bounds are computed.
        draw = np.random.default_rng(0)
        some = np.sort(draw.choice(able, min(CANDIDATES, able.size), replace=False))
        others = np.sort(draw.choice(sides.clients.n, min(CLIENTS, sides.clients.n), replace=False))
        self._share = able.size / max(1, sides.candidates.n)
        i, self._j = torch.from_numpy(some).to(device), torch.from_numpy(others).to(device)
        # Lower bounds, as the lists have them: the sample counts what would be listed, not who would be served.
        self._squares = torch.mm(sides.candidates.single[i], sides.clients.single[self._j].T).mul_(-2)
        self._squares += sides.candidates.low[i, None] + sides.clients.low[self._j]
        self._squares_in_8_bits: Tensor | None = None
        if rounded is not None:
            rows, columns, i, j = *rounded, i[:FEW], self._j
            low_i, low_j = torch.from_numpy(rows.low)[i], torch.from_numpy(columns.low)[j]
            scales_i, scales_j = torch.from_numpy(rows.scales)[i], torch.from_numpy(columns.scales)[j]
            products = torch._int_mm(rows.codes[i], columns.codes[j].T) * scales_j
            self._squares_in_8_bits = (low_i[:, None] + low_j).sub_(products.mul_(2 * scales_i[:, None]))

    def share_served(self, limits: Tensor) -> float:
        """Predict which share of all pairs of candidate and client the lists would hold.

        Args:
            limits: Squared minima of all clients, float32.

        Returns:
            The share, with some margin.
        """
        hits = (self._squares < limits[self._j]).double().mean()
        return min(1.0, float(torch.nan_to_num(hits)) * MARGIN * self._share)

    def longer_in_8_bits(self, limits: Tensor, selected: int) -> float:
        """Predict how many times as long lists from 8 bits would be.

        Args:
            limits: Squared minima of all clients, float32.
            selected: How many will be selected.

        Returns:
            The factor; infinite where such lists would not tell candidates apart in the end.
        """
        rounded, single = self._squares_in_8_bits, self._squares[:FEW]
        if rounded is None:
            return math.inf
        # In the end a pick serves one client of ``selected``: so near are those that it must be told apart by. One
        # more, for a candidate of the sample may be among the clients.
        clients = single.shape[1]
        rank = min(clients, math.ceil(clients / max(1, selected)) + 1)
        near, bounds = (squares.kthvalue(rank, dim=1).values for squares in (single, rounded))
        # Where most are equal rows, 0 is not less than 0, and nothing can be told.
        if float((near - bounds < MOST_SLACK * near).double().mean()) < 0.5:
            return math.inf
        hits, hits_in_8_bits = (int((squares < limits[self._j]).sum()) for squares in (single, rounded))
        return hits_in_8_bits / max(1, hits)

    def gains_suit_8_bits(self, limits: Tensor) -> bool:
        """Whether bounds on gains from 8 bits are hardly larger.

        Args:
            limits: Squared minima of all clients, float32.
        """
        if self._squares_in_8_bits is None:
            return False
        minima = limits[self._j].sqrt()
        single, rounded = (
            float((minima - squares.clamp(min=0).sqrt_()).clamp_(min=0).sum(dtype=torch.float64))
            for squares in (self._squares[:FEW], self._squares_in_8_bits)
        )
        return rounded <= MOST_LARGER * single
