"""Gradient proxies, preconditioned by curvature if so set: the points that AdaCore and Stratified compare."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from adacore.probing.curvature import precondition
from adacore.probing.snapshot import Curvature, CurvatureKind, Proxy, Requirements, Scope, Snapshot, Targets
from adacore.selectors.base import needed
from adacore.selectors.settings import check_choice, check_flag, check_number, check_whole


class Preconditioned:
    """What methods have in common that compare x_i = g_i / (|H_i| + damping), eq. (10).

    A frozen dataclass that inherits from this class declares the settings below as fields.

    Attributes:
        proxy: Space of the gradients g and of the curvature H.
        curvature: How H, the diagonal of the Hessian, is computed: ``"exact"``, ``"hutchinson"``, or None for x_i =
            g_i.
        scope: What shares one diagonal: a random ``"block"``, all examples (``"global"``), or nothing (``"example"``).
        block_size: b_H, examples in a block.
        beta1: Decay of the average of gradients over reselections, eq. (7), in [0, 1).
        beta2: Decay of the average of squared curvature over reselections, eq. (9), in [0, 1).
        average_gradient: Whether gradients are averaged.
        average_curvature: Whether curvature is averaged.
        damping: Added to |H|, above 0.
        samples: Rademacher vectors for each example (Hutchinson).
        targets: Where the loss is taken: at the targets ``"given"``, or at the model's own ``"predicted"`` classes.
    """

    proxy: Proxy
    curvature: CurvatureKind | None
    scope: Scope
    block_size: int
    beta1: float
    beta2: float
    average_gradient: bool
    average_curvature: bool
    damping: float
    samples: int
    targets: Targets

    def _check_preconditioning(self) -> None:
        check_choice("proxy", self.proxy, get_args(Proxy))
        if self.curvature is not None:
            check_choice("curvature", self.curvature, get_args(CurvatureKind))
            if self.proxy == "all_layers":
                raise ValueError('proxy="all_layers" has gradients only: pass curvature=None, or proxy="last_layer"')
        check_choice("scope", self.scope, get_args(Scope))
        check_choice("targets", self.targets, get_args(Targets))
        check_whole("block_size", self.block_size)
        check_whole("samples", self.samples)
        check_number("beta1", self.beta1, below=1.0, example=0.9)
        check_number("beta2", self.beta2, below=1.0, example=0.999)
        check_number("damping", self.damping, above=0.0, example=1e-6)
        for flag in ("average_gradient", "average_curvature"):
            check_flag(flag, getattr(self, flag))

    def requirements(self) -> Requirements:
        """Gradient proxies and curvature, each averaged over reselections if so set."""
        kind = self.curvature
        return Requirements(
            proxy=self.proxy,
            curvature=None if kind is None else Curvature(kind, self.scope, self.block_size, self.samples),
            beta1=self.beta1 if self.average_gradient else None,
            # None means that nothing is averaged, and nothing kept: n d numbers less in memory and in every checkpoint.
            beta2=self.beta2 if self.average_curvature and kind is not None else None,
            targets=self.targets,
        )

    def coordinates(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Return x, shape (n, d).

        Args:
            snapshot: What was required, of n examples.

        Raises:
            ValueError: If the snapshot lacks proxies or curvature, or x is not finite.
        """
        proxies = needed(snapshot.proxies, "proxies")
        if self.curvature is None:
            return proxies
        return precondition(proxies, needed(snapshot.curvature, "curvature"), self.damping)
