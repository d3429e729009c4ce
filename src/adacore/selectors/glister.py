"""GLISTER: the subset after one step on which a held-out set is likeliest (Killamsetty et al., AAAI 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.interruption import check_interrupted
from adacore.selectors.scores import highest
from adacore.selectors.settings import check_number, check_whole
from adacore.selectors.weighting import equally_weighted


@dataclass(frozen=True)
class GLISTER:
    """GLISTER: chooses the examples on which a training step lowers the loss of a held-out set most.

    The step is one of the last layer, ``theta_S = theta - step sum_S grad_j``, and examples are chosen greedily.
    To first order, adding e to S gains ``step grad_e . grad L_V(theta_S)``, with L_V the held-out loss and gradients
    those of the last layer, (p - y) h^T, in factored form. The held-out gradient is recomputed every r picks; between,
    the gains do not change, so that the r best are taken at once. All weights are n / k.

    The method is that of Killamsetty et al. (AAAI 2021).

    Args:
        r: Picks between two held-out gradients; None for 3 % of the budget, at least 1.
        step: Learning rate of the step, above 0.

    Raises:
        ValueError: If a number is out of range; by ``select``, if there is no validation set, or no classes.
        TypeError: If a number is none.

    Example:
        >>> from adacore.probing.snapshot import LastLayer
        >>> held_out = Snapshot(1, targets=np.array([1]), features=np.array([[1.0]], np.float32))
        >>> snapshot = Snapshot(
        ...     2,
        ...     proxies=np.array([[-0.5, 0.5], [0.5, -0.5]], np.float32),
        ...     features=np.ones((2, 1), np.float32),
        ...     last_layer=LastLayer(np.zeros((2, 1), np.float32), np.zeros(2, np.float32)),
        ...     validation=held_out,
        ... )
        >>> GLISTER().select(snapshot, 1, generator=np.random.default_rng(0)).indices  # of the same class
        array([1])
    """

    name: ClassVar[str] = "glister"
    traits: ClassVar[Traits] = Traits()
    per: ClassVar[Per] = "class"

    r: int | None = None
    step: float = 0.01

    def __post_init__(self) -> None:
        check_whole("r", self.r, optional=True)
        check_number("step", self.step, above=0.0, example=0.01)

    def requirements(self) -> Requirements:
        """Gradients with respect to the logits, the last layer and its inputs, of a validation set too."""
        return Requirements(proxy="logits", features=True, last_layer=True, validation=True)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose greedily; see ``Selector.select``."""
        budget = resolve_budget(snapshot.n, budget=budget)
        r = max(1, round(0.03 * budget)) if self.r is None else self.r  # 3 %: what the paper's authors use
        # In float64: theta collects up to k small steps.
        errors, inputs = _last_layer_gradients(snapshot)
        held_out, theta = _HeldOut.of(snapshot), _last_layer(snapshot)
        available = np.ones(snapshot.n, dtype=np.bool_)
        picks: list[int] = []
        while len(picks) < budget:
            check_interrupted()
            direction = held_out.gradient(theta)
            # <e h^T, D> = e . (D h) for every example, without forming the n matrices e h^T.
            gains = np.einsum("ic,ic->i", errors, inputs @ direction.T)
            best = highest(np.where(available, gains, -np.inf), min(r, budget - len(picks)))
            available[best] = False
            picks += best.tolist()
            # The step on those just chosen: a sum of r outer products is one product of matrices.
            theta = theta - self.step * errors[best].T @ inputs[best]
        return equally_weighted(np.array(picks), snapshot.n)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Mean held-out loss after the step on the whole coreset."""
        errors, inputs = _last_layer_gradients(snapshot)
        chosen = coreset.indices
        theta = _last_layer(snapshot) - self.step * errors[chosen].T @ inputs[chosen]
        return _HeldOut.of(snapshot).loss(theta)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """A validation set as seen by the last layer: inputs with a 1 appended, (m, h + 1), and one-hot classes, (m, C)."""

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @classmethod
    def of(cls, snapshot: Snapshot) -> _HeldOut:
        if snapshot.validation is None:
            raise ValueError("GLISTER needs validation data: pass validation=, a data set held out from training")
        held_out = snapshot.validation
        labels = needed(held_out.targets, "validation.targets (GLISTER is for classification)")
        outputs = len(needed(snapshot.last_layer, "last_layer").weight)
        classes = max(outputs, 2)  # a single output is the logit of class 1 of two
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(
                f"validation labels run from {labels.min()} to {labels.max()}: expected [0, {classes}), the classes "
                "that the model predicts"
            )
        # A single logit z has the gradient sigmoid(z) - y with y the label itself, 0 or 1.
        targets = labels[:, None] if outputs == 1 else labels[:, None] == np.arange(outputs)
        return cls(_with_ones(needed(held_out.features, "validation.features")), targets.astype(np.float64))

    def loss(self, theta: NDArray[np.float64]) -> float:
        """Return the mean negative log-likelihood; a single output is the logit of class 1."""
        logits = self.inputs @ theta.T
        if logits.shape[1] == 1:
            return float(np.mean(np.logaddexp(0.0, logits) - self.targets * logits))
        return float(np.mean(np.logaddexp.reduce(logits, axis=1) - (self.targets * logits).sum(1)))

    def gradient(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of ``loss``, float64, shape (outputs, h + 1)."""
        logits = self.inputs @ theta.T
        # log(1 + e^z), or log sum_c e^{z_c}: what exp alone would overflow at, from z = 710 on.
        total = np.logaddexp(0.0, logits) if logits.shape[1] == 1 else np.logaddexp.reduce(logits, 1, keepdims=True)
        predicted = np.exp(logits - total)
        return np.asarray((predicted - self.targets).T @ self.inputs / len(self.inputs))


def _last_layer_gradients(snapshot: Snapshot) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors of every example's last-layer gradient: (n, outputs), and (n, h + 1)."""
    errors = np.asarray(needed(snapshot.proxies, "proxies"), np.float64)
    return errors, _with_ones(needed(snapshot.features, "features"))


def _last_layer(snapshot: Snapshot) -> NDArray[np.float64]:
    layer = needed(snapshot.last_layer, "last_layer")
    return np.concatenate([layer.weight, layer.bias[:, None]], axis=1, dtype=np.float64)


def _with_ones(features: NDArray[np.float32]) -> NDArray[np.float64]:
    # The bias is the weight of an input that is always 1: one product stands for both gradients.
    return np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=np.float64)
