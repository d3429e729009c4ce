"""How long all lists would be, from a fixed sample of pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adacore.facility.products.sides import Sides

CANDIDATES, CLIENTS = 256, 2048
"""Half a million pairs: where 1 % are served, the share is known within 2 % or so, and looking again takes 0.1 ms."""

MARGIN = 1.1
"""What the sample may fall short by."""


class Sample:
    """Lower bounds on the squared distances of a fixed sample of pairs.

    Args:
        sides: Clients and candidates.
    """

    def __init__(self, sides: Sides) -> None:
        device = sides.clients.single.device
        able = np.flatnonzero(sides.able)
        # Any fixed choice will do that no order of the rows favours; it decides nothing but when lists are written.
        draw = np.random.default_rng(0)
        some = np.sort(draw.choice(able, min(CANDIDATES, able.size), replace=False))
        others = np.sort(draw.choice(sides.clients.n, min(CLIENTS, sides.clients.n), replace=False))
        self._share = able.size / max(1, sides.candidates.n)
        i, self._j = torch.from_numpy(some).to(device), torch.from_numpy(others).to(device)
        # Lower bounds, as the lists have them: the sample counts what would be listed, not who would be served.
        self._squares = torch.mm(sides.candidates.single[i], sides.clients.single[self._j].T).mul_(-2)
        self._squares += sides.candidates.low[i, None] + sides.clients.low[self._j]

    def share_served(self, limits: Tensor) -> float:
        """Predict which share of all pairs of candidate and client the lists would hold.

        Args:
            limits: Squared minima of all clients, float32.

        Returns:
            The share, with some margin.
        """
        hits = (self._squares < limits[self._j]).double().mean()
        return min(1.0, float(torch.nan_to_num(hits)) * MARGIN * self._share)
