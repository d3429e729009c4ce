"""Selecting by a score of each example: the top k, or at random with a probability that grows with the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.facility.strata import Combine
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import Per, Traits, needed
from adacore.selectors.settings import check_choice, check_number
from adacore.selectors.weighting import equally_weighted

Mode = Literal["top", "sample"]


def highest(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Return the positions of the k highest scores, best first, ties to the lower index.

    Args:
        scores: Shape (n,).
        k: How many, in [1, n].

    Returns:
        int64, shape (k,).

    Example:
        >>> highest(np.array([1.0, 3.0, 3.0, 0.0]), 3)
        array([1, 2, 0])
    """
    return np.argsort(-scores, kind="stable")[:k]  # stable: equal scores in the order of their positions


def importance_sample(probabilities: NDArray[np.float64], draws: int, generator: np.random.Generator) -> Coreset:
    """Draw examples with replacement; each draw of i adds ``1 / (draws q_i)`` to its weight.

    ``sum_j w_j f_j`` is then an unbiased estimate of ``sum_i f_i`` over all i with q_i > 0.

    Args:
        probabilities: q, float64, shape (n,), summing to 1.
        draws: How many; examples that are drawn twice make the coreset smaller than this.
        generator: Draws.

    Returns:
        The distinct examples, most likely first, and how many draws fell on an earlier one (``repeated``).

    Example:
        >>> importance_sample(np.array([0.5, 0.5]), 4, np.random.default_rng(0)).weights
        array([1.5, 0.5])
    """
    n = len(probabilities)
    # With replacement: only then is each draw's probability q_i, and 1 / (k q_i) the weight that makes it unbiased.
    counts = np.bincount(generator.choice(n, size=draws, p=probabilities), minlength=n)
    chosen = np.flatnonzero(counts)
    chosen = chosen[np.argsort(-probabilities[chosen], kind="stable")]
    # An example drawn m times adds up to m / (draws q_i), whose expectation is 1 whatever q_i.
    weights = counts[chosen] / (draws * probabilities[chosen])
    return Coreset(chosen, weights, n, statistics={"repeated": draws - len(chosen)})


def smoothed(scores: NDArray[np.floating], smoothing: float) -> NDArray[np.float64]:
    """Turn scores into probabilities: ``q_i = (1 - smoothing) s_i / sum s + smoothing / n``.

    Args:
        scores: At least 0, shape (n,).
        smoothing: Share of the uniform distribution, in [0, 1]; it bounds weights by n / (k smoothing).

    Returns:
        q, float64, shape (n,); uniform where all scores are 0.

    Example:
        >>> smoothed(np.array([0.0, 3.0]), 0.5)
        array([0.25, 0.75])
    """
    n, scores = len(scores), np.asarray(scores, np.float64)
    largest = scores.max()
    if not largest > 0:  # no example tells itself apart
        return np.full(n, 1 / n)
    shares = scores / largest  # so that the sum does not overflow
    mixed: NDArray[np.float64] = (1 - smoothing) * (shares / shares.sum()) + smoothing / n
    mixed /= mixed.sum()  # to 1 but for rounding, which numpy's choice() checks
    return mixed


def predicted(snapshot: Snapshot) -> NDArray[np.float32]:
    """Return the predicted probabilities of two or more classes.

    Args:
        snapshot: Of n examples.

    Returns:
        float32, shape (n, classes).

    Raises:
        ValueError: If there are none, or of a single output.
    """
    p = needed(snapshot.probabilities, "probabilities")
    if p.shape[1] < 2:
        raise ValueError("the model has a single output: uncertainty needs the probabilities of two or more classes")
    return p


_STATISTICS: dict[str, Combine] = {"repeated": "sum"}


@dataclass(frozen=True)
class Score:
    """Base of methods that score each example by itself: the highest scores are taken, or drawn in proportion.

    A subclass names itself, what it requires, and the function that scores a snapshot: see the example.

    Args:
        mode: ``"top"``: the k highest scores, each with weight n / k. ``"sample"``: k draws with probability q_i, each
            adding 1 / (k q_i) to its example's weight.
        smoothing: Share of the uniform distribution in the probabilities q of ``"sample"``, in [0, 1].

    Raises:
        ValueError: If the mode is unknown or the smoothing out of range.
        TypeError: If the smoothing is no number.

    Example:
        >>> needs = Requirements(losses=True)
        >>> class Hardest(Score, name="hardest", requirements=needs, function=lambda s: s.losses): ...
        >>> snapshot = Snapshot(3, losses=np.array([0.1, 2.0, 0.5], np.float32))
        >>> Hardest().select(snapshot, 2, generator=np.random.default_rng(0)).indices
        array([1, 2])
    """

    name: ClassVar[str] = "score"
    per: ClassVar[Per] = "class"
    needs: ClassVar[Requirements] = Requirements()
    function: ClassVar[staticmethod[[Snapshot], NDArray[np.floating]] | None] = None
    reaches_all: ClassVar[bool] = False
    """Whether every example that matters may be drawn even without smoothing."""

    mode: Mode = "top"
    # Bounds the weights by n / (k 0.1), ten times those of a uniform sample; without it a score near 0 would, when it
    # is drawn, outweigh all others.
    smoothing: float = 0.1

    def __init_subclass__(
        cls,
        *,
        name: str = "score",
        requirements: Requirements | None = None,
        function: Callable[[Snapshot], NDArray[np.floating]] | None = None,
        **others: Any,
    ) -> None:
        """Take the three things that a subclass declares; one with settings of its own overrides methods instead."""
        super().__init_subclass__(**others)
        cls.name = name
        if requirements is not None:
            cls.needs = requirements
        if function is not None:
            cls.function = staticmethod(function)

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, get_args(Mode))
        check_number("smoothing", self.smoothing, most=1.0, example=0.1)

    @property
    def traits(self) -> Traits:
        """Top-k is a function of the scores; sampling is unbiased and draws some examples twice."""
        if self.mode == "top":
            return Traits(statistics=_STATISTICS)
        return Traits(
            sums_to_population=False,
            unbiased=self.reaches_all or self.smoothing > 0,
            equivariant=False,
            randomised=True,
            fills_budget=False,
            objective=False,
            statistics=_STATISTICS,
        )

    def requirements(self) -> Requirements:
        """What the scores are made of."""
        return self.needs

    def scores(self, snapshot: Snapshot) -> NDArray[np.floating]:
        """Score every example.

        Args:
            snapshot: What was required, of n examples.

        Returns:
            The higher, the sooner chosen; at least 0; shape (n,).

        Raises:
            ValueError: If the snapshot lacks what was required.
        """
        if self.function is None:
            raise TypeError(f"{type(self).__name__} does not say how it scores: pass function= where it is defined")
        return self.function(snapshot)

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Turn scores into the probabilities q of a draw.

        Args:
            scores: Shape (n,).

        Returns:
            q, float64, shape (n,).
        """
        return smoothed(scores, self.smoothing)

    def select(self, snapshot: Snapshot, budget: int, *, generator: np.random.Generator) -> Coreset:
        """Choose by score; see ``Selector.select``."""
        budget = resolve_budget(snapshot.n, budget=budget)
        # Before sampling or sorting: numpy sorts nan last, and a diverged model would be sampled from without a word.
        scores = self.scores(snapshot)
        if not np.isfinite(scores).all():
            raise ValueError(f"a score of {self.name} is nan or infinite: has the training diverged?")
        if self.mode == "sample":
            return importance_sample(self.probabilities(scores), budget, generator)
        return equally_weighted(highest(scores, budget), snapshot.n)

    def objective(self, snapshot: Snapshot, coreset: Coreset) -> float:
        """Mean score of the chosen, negated."""
        return -float(self.scores(snapshot)[coreset.indices].mean(dtype=np.float64))
