"""GradMatch: a weighted subset whose gradient matches that of all (Killamsetty et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Proxy, Requirements, Snapshot
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.settings import check_choice, check_number

Target = Literal["train", "validation"]


@dataclass(frozen=True)
class GradMatch:
    """GradMatch: chooses examples and weights whose summed gradient is that of all examples.

    Orthogonal matching pursuit makes ``||sum_j w_j g_j - b||^2 + lam ||w||^2`` small over w >= 0 and |S| <= k.
    b is the sum of the training gradients, or the mean validation gradient times n. Where fewer examples already
    match b, fewer are chosen, and ``short`` in the statistics says how many are missing; ``residual`` is the
    remaining norm.

    The method is that of Killamsetty et al. (ICML 2021).

    Args:
        proxy: Space of g, ``"penultimate"`` (default), ``"logits"`` or ``"last_layer"``.
        lam: Weight of the regularisation, at least 0; large weights become rarer, and their sum smaller.
        eps: Tolerance: stops when the residual's norm is at most ``eps ||b||``.
        target: Match the gradient of the ``"train"`` or the ``"validation"`` set.
        fill: None, or ``"random"``: what is missing is drawn at random, each with weight 1.

    Raises:
        ValueError: If a name is unknown or a number out of range.
        TypeError: If a number is none.

    Example:
        >>> snapshot = Snapshot(3, proxies=np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], np.float32))
        >>> coreset = GradMatch(lam=0.0).select(snapshot, 2, generator=np.random.default_rng(0))
        >>> coreset.indices, coreset.weights, coreset.statistics["short"]
        (array([0, 1]), array([1.5, 1.5]), 0)
    """

    name: ClassVar[str] = "gradmatch"
    per: ClassVar[Per] = "class"

    proxy: Proxy = "penultimate"
    lam: float = 0.5
    eps: float = 1e-4
    target: Target = "train"
    fill: Literal["random"] | None = None

    def __post_init__(self) -> None:
        check_choice("proxy", self.proxy, get_args(Proxy))
        check_choice("target", self.target, get_args(Target))
        check_number("lam", self.lam, example=0.5)
        check_number("eps", self.eps, example=1e-4)
        if self.fill is not None:
            check_choice("fill", self.fill, ["random"])

    @property
    def traits(self) -> Traits:
        """Weights are as fitted; without filling up, fewer examples may be chosen than asked for."""
        random = self.fill == "random"
        return Traits(
            sums_to_population=False,  # the fit decides
            equivariant=not random,
            randomised=random,
            fills_budget=random,
            objective=not random,  # random examples of weight 1 are no part of what was minimised
            statistics={"short": "sum", "filled": "sum", "residual": "norm"},
        )

    def requirements(self) -> Requirements:
        """Gradient proxies, of a validation set too if that is matched."""
        return Requirements(proxy=self.proxy, validation=self.target == "validation")

    def _problem(self, snapshot: Snapshot) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # The residual is a difference of sums that nearly agree once the fit is good.
        proxies = np.asarray(needed(snapshot.proxies, "proxies"), np.float64)
        if self.target == "train":
            target = proxies.sum(0)
        else:
            # The mean validation gradient on the scale of a sum over n examples, so that weights sum to about n again.
            target = snapshot.n * needed(needed(snapshot.validation, "validation").proxies, "validation.proxies").mean(
                0, dtype=np.float64
            )
        if not (np.isfinite(proxies).all() and np.isfinite(target).all()):
            raise ValueError("a proxy is nan or infinite: has the training diverged?")
        return proxies, target

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Pursue the gradient; see ``Selector.select``."""
        from adacore.selectors.omp import pursue  # imports torch, which choosing by arrays does not need otherwise

        budget = resolve_budget(snapshot.n, budget=budget)
        found = pursue(*self._problem(snapshot), budget, lam=self.lam, eps=self.eps)
        indices, weights, short = found.indices, found.weights, budget - len(found.indices)
        filled = short if self.fill == "random" else 0
        if filled:
            # Ascending, so that what the generator draws does not hang on the order in which the pursuit chose.
            rest = np.setdiff1d(np.arange(snapshot.n), indices)
            indices = np.concatenate([indices, generator.choice(rest, size=filled, replace=False)])
            weights = np.concatenate([weights, np.ones(filled)])  # as the paper's authors fill up
        statistics = {"short": short - filled, "filled": filled, "residual": found.residual}
        return Coreset(indices, weights, snapshot.n, statistics=statistics)

    def residual(self, snapshot: Snapshot, coreset: Coreset) -> NDArray[np.float64]:
        """``sum_j w_j g_j - b``, shape (d,); the targets b of classes add up to that of all examples."""
        proxies, target = self._problem(snapshot)
        return np.asarray(coreset.weights @ proxies[coreset.indices] - target)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """``||sum_j w_j g_j - b||^2 + lam ||w||^2``."""
        error = self.residual(snapshot, coreset)
        return float(error @ error + self.lam * coreset.weights @ coreset.weights)
