"""k-center: the examples that cover all within the smallest radius (Gonzalez, 1985; Sener and Savarese, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Proxy, Requirements, Snapshot
from adacore.selectors.base import Grain, Traits, needed
from adacore.selectors.farthest_first import farthest_first, largest_distance
from adacore.selectors.settings import check_choice


@dataclass(frozen=True)
class KCenter:
    """Farthest-first greedy for ``max_i min_{j in S} ||g_i - g_j||``, at most twice the smallest; cluster sizes weigh.

    Args:
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.

    Raises:
        ValueError: If the proxy is unknown.

    Example:
        >>> snapshot = Snapshot(3, proxies=np.array([[0.0], [1.0], [5.0]], np.float32))
        >>> KCenter().select(snapshot, 2, generator=np.random.default_rng(0)).indices
        array([1, 2])
    """

    name: ClassVar[str] = "k_center"
    traits: ClassVar[Traits] = Traits()
    grain: ClassVar[Grain] = "class"

    proxy: Proxy = "logits"

    def __post_init__(self) -> None:
        check_choice("proxy", self.proxy, get_args(Proxy))

    def requirements(self) -> Requirements:
        """Gradient proxies."""
        return Requirements(proxy=self.proxy)

    def _points(self, snapshot: Snapshot) -> NDArray[np.float64]:
        points = np.asarray(needed(snapshot.proxies, "proxies"), np.float64)
        if not np.isfinite(points).all():
            raise ValueError("a proxy is nan or infinite: has the training diverged?")
        return points

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Cover the examples; see ``Selector.select``. ``radius`` in the statistics is the largest distance."""
        budget = resolve_budget(snapshot.n, budget=budget)
        picks, sizes, radius = farthest_first(self._points(snapshot), budget)
        return Coreset(picks, sizes.astype(np.float64), snapshot.n, statistics={"radius": radius})

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Largest distance of an example to the nearest chosen one."""
        return largest_distance(self._points(snapshot), coreset.indices)
