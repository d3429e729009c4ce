"""Gradient norm: unbiased importance sampling (Katharopoulos and Fleuret, ICML 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.probing.snapshot import Proxy, Requirements, Snapshot, Targets
from adacore.selectors.base import needed
from adacore.selectors.scores import Mode, Score
from adacore.selectors.settings import check_choice


@dataclass(frozen=True)
class GradientNorm(Score, name="gradient_norm"):
    """Draws examples in proportion to the norm of their gradient, ``q_i ~ ||g_i||``, or takes the largest norms.

    Among all q this makes the variance of ``sum_j w_j g_j`` smallest: it is (1/k) (sum_i ||g_i||^2 / q_i - ||sum_i
    g_i||^2), and by Cauchy and Schwarz sum_i ||g_i||^2 / q_i >= (sum_i ||g_i||)^2, with equality for q_i ~ ||g_i||. An
    example without gradient is never drawn: it adds nothing to the sum.

    The method is that of Katharopoulos and Fleuret (ICML 2018).

    Args:
        mode: ``"top"`` or ``"sample"``; see ``Score``.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].
        proxy: Space of the gradient proxies, ``"logits"``, ``"penultimate"`` or ``"last_layer"``.
        targets: Gradients at the targets ``"given"``, or at the model's own ``"predicted"`` classes.

    Raises:
        ValueError: If the mode or proxy is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> snapshot = Snapshot(2, proxies=np.array([[0.0], [2.0]], np.float32))
        >>> GradientNorm().select(snapshot, 1, generator=np.random.default_rng(0)).indices
        array([1])
    """

    reaches_all: ClassVar[bool] = True

    mode: Mode = "sample"
    # None is needed for being unbiased: who is never drawn, ||g_i|| = 0, adds nothing to the sum that is estimated.
    smoothing: float = 0.0
    proxy: Proxy = "logits"
    targets: Targets = "given"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("proxy", self.proxy, get_args(Proxy))
        check_choice("targets", self.targets, get_args(Targets))

    def requirements(self) -> Requirements:
        """Gradient proxies."""
        return Requirements(proxy=self.proxy, targets=self.targets)

    def scores(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Norms of the proxies; see ``Score.scores``."""
        proxies = needed(snapshot.proxies, "proxies")
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", proxies, proxies, dtype=np.float64)))
