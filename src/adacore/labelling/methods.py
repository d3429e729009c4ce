"""Methods of choosing which rows to label, by name, over features and a simple model's predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unknown_name
from adacore.facility.metrics import check_metric
from adacore.labelling.first_round import refined_by_default
from adacore.probing.snapshot import LastLayer, Requirements, Snapshot
from adacore.selectors.naming import parse_name
from adacore.selectors.registry import SELECTORS, make_selector

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a linear model, trained on the labels so far, says of every row of a pool.

    Attributes:
        probabilities: Of the classes seen so far, float64, shape (n, classes).
        weight: The model's weights W, logits = features @ W.T + bias, shape (classes, d).
        features: What the model sees of each row, shape (n, d).
    """

    probabilities: NDArray[np.float64]
    weight: NDArray[np.float64]
    features: NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known when a round of labelling is chosen.

    Attributes:
        features: float, shape (n, d).
        labelled: Positions of the rows labelled so far, int64, in the order of labelling.
        predictions: The model's, trained on them; None in the first round.
    """

    features: NDArray[np.floating[Any]]
    labelled: Positions
    predictions: Predictions | None = None

    @property
    def unlabelled(self) -> Positions:
        """Positions of the rows without a label, ascending."""
        return np.setdiff1d(np.arange(len(self.features)), self.labelled).astype(np.int64)


Choose = Callable[[Pool, int, np.random.Generator], Positions]
"""``(pool, budget, generator) -> positions`` of rows to label next, in pick order."""


@dataclass(frozen=True)
class Method:
    """A method of choosing what to label.

    Attributes:
        name: As written by the user, with its settings.
        choose: Chooses a round's rows.
        needs_model: Whether it needs predictions, so that the first round is chosen by another method.
        nested: Whether the first b of its picks are its answer for a budget of b.
        weighted: Whether the labelled rows get the number of rows that they stand for as sample weights.
        metric: Of the distances, in choosing as well as in weighing.
    """

    name: str
    choose: Choose
    needs_model: bool = False
    nested: bool = False
    weighted: bool = False
    metric: str = "euclidean"


def parse_method(text: str) -> Method:
    """Make a method from its name.

    Args:
        text: ``random``, ``facility_location``, ``facility_location(metric=cosine, weighted=true)``, ``k_center``, or
            any selector that needs no labels, such as ``k_means``, ``typiclust``, ``margin``, ``badge`` or
            ``adacore(targets=predicted)``. Facility location's setting ``refine`` says whether its picks are improved
            by swaps; without it they are in a first round of at most 200 rows.

    Returns:
        The method.

    Raises:
        ValueError: If there is no such method or setting, or the selector needs labels.

    Example:
        >>> parse_method("facility_location(metric=cosine)").metric
        'cosine'
    """
    name, settings = parse_name(text)
    if name == "random":
        _check_settings(text, settings, ())
        return Method(text, _random, nested=True)
    if name in {"facility_location", "k_center"}:
        _check_settings(text, settings, ("metric", "weighted", *(("refine",) if name == "facility_location" else ())))
        refine = settings.get("refine")
        if refine is not None and not isinstance(refine, bool):
            raise ValueError(f"{text!r}: refine={refine} is neither true nor false")
        metric, weighted = str(settings.get("metric", "euclidean")), bool(settings.get("weighted", False))
        check_metric(metric)
        choose = partial(_facility_location, metric=metric, refine=refine)
        if name == "k_center":
            choose = partial(_k_center, metric=metric)
        # Swaps improve one selection as a whole: its first b picks are not the answer for a budget of b.
        nested = name == "k_center" or refine is False
        return Method(text, choose, nested=nested, weighted=weighted, metric=metric)
    if name not in SELECTORS:
        raise unknown_name("method", name, {"random", "facility_location", "k_center", *SELECTORS})
    # Made now and not at the first round: a wrong setting is to be told before anything is computed.
    selector = make_selector(name, **settings)
    needs = selector.requirements()
    if (
        # A loss or a gradient takes the label, which labelling is only about to buy. Gradients at predicted classes do
        # not.
        needs.losses
        or needs.forgetting
        or needs.validation
        or (needs.proxy and getattr(needs, "targets", None) != "predicted")
    ):
        hint = f"; write {name}(targets=predicted)" if hasattr(selector, "targets") else ""
        raise ValueError(f"{text!r} needs the labels that are still to be given{hint}")
    return Method(text, partial(_by_selector, selector=selector), needs_model=_needs_predictions(needs))


def _check_settings(text: str, settings: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in settings:
        if name not in known:
            expected = f"expected {' or '.join(known)}" if known else "it has no settings"
            raise ValueError(f"{text!r}: unknown setting {name!r}, {expected}")


def _random(pool: Pool, budget: int, generator: np.random.Generator) -> Positions:
    # A permutation and not a draw of ``budget`` rows: its first b rows are the draw of a budget of b, which nests
    # budgets.
    return generator.permutation(pool.unlabelled)[:budget]


def _facility_location(
    pool: Pool, budget: int, generator: np.random.Generator, *, metric: Any, refine: bool | None
) -> Positions:
    from adacore.facility import facility_location  # compiles kernels, which most greedy_variants do without

    if refine is None:
        refine = refined_by_default(budget, len(pool.labelled))
    initial = pool.labelled if len(pool.labelled) else None
    return facility_location(pool.features, budget=budget, initial=initial, metric=metric, refine=refine).indices


def _k_center(pool: Pool, budget: int, generator: np.random.Generator, *, metric: Any) -> Positions:
    # Late, as above.
    from adacore.facility import k_center

    initial = pool.labelled if len(pool.labelled) else None
    return k_center(pool.features, budget=budget, initial=initial, metric=metric).indices


def _by_selector(pool: Pool, budget: int, generator: np.random.Generator, *, selector: Any) -> Positions:
    """Let a selector choose among the unlabelled rows."""
    rest = pool.unlabelled
    # All rows are described and then cut down: blocks of the curvature and features have one order, that of the pool.
    snapshot = snapshot_of(pool, selector.requirements(), generator).take(rest)
    return np.asarray(rest[selector.select(snapshot, budget, generator=generator).indices])


def _needs_predictions(needs: Requirements) -> bool:
    return bool(needs.proxy or needs.curvature or needs.probabilities or needs.last_layer)


def snapshot_of(pool: Pool, needs: Requirements, generator: np.random.Generator) -> Snapshot:
    """Describe the rows of a pool as a selector requires, with the model's own predictions as targets.

    With p_i the predicted probabilities and y_i the one-hot predicted class, the cross-entropy's gradient with respect
    to the logits is ``p_i - y_i``, to the features ``W^T (p_i - y_i)``, to the weights the outer product of
    ``p_i - y_i`` and the features; the diagonal of its Hessian with respect to the logits is ``p_i (1 - p_i)``.

    Args:
        pool: Features, and predictions where the selector needs them.
        needs: What the selector requires.
        generator: Draws the random projection and the blocks of the curvature.

    Returns:
        A snapshot of all n rows.

    Raises:
        ValueError: If predictions are needed and there are none, or curvature other than of the logits is.
    """
    snapshot = Snapshot(len(pool.features))
    if needs.features:
        snapshot = replace(snapshot, features=np.asarray(pool.features, np.float32))
    if not _needs_predictions(needs):
        return snapshot
    if pool.predictions is None:
        raise ValueError("this method needs a model's predictions: choose the first round with another method")
    known = pool.predictions
    p = known.probabilities
    # The label is not known: the most probable class takes its place, as in BADGE. The gradient is then the shortest
    # one that any label could give.
    residual = p.copy()
    residual[np.arange(len(p)), p.argmax(1)] -= 1
    # float32 from here on: it is what a probe hands out, and selectors are to see no difference.
    if needs.probabilities:
        snapshot = replace(snapshot, probabilities=p.astype(np.float32))
    if needs.last_layer:
        weight = known.weight.astype(np.float32)
        # The bias is left out: no selector here reads it, since gradients and distances do not depend on it.
        snapshot = replace(snapshot, last_layer=LastLayer(weight, np.zeros(len(weight), np.float32)))
    if needs.proxy is not None:
        snapshot = replace(snapshot, proxies=_proxies(known, residual, needs, generator))
    if needs.curvature is not None:
        from adacore.probing.curvature import pool as pooled

        if needs.proxy not in {None, "logits"}:
            raise ValueError(f"curvature of {needs.proxy} gradients is not simulated: use proxy=logits")
        # In closed form: the Hessian of cross-entropy with respect to the logits is diag(p) - p p^T, whatever the
        # label.
        diagonals = (p * (1 - p)).astype(np.float32)
        snapshot = replace(
            snapshot, curvature=pooled(diagonals, needs.curvature.scope, needs.curvature.block_size, generator)
        )
    return snapshot


def _proxies(
    known: Predictions, residual: NDArray[np.float64], needs: Requirements, generator: np.random.Generator
) -> NDArray[np.float32]:
    if needs.proxy == "logits":
        return residual.astype(np.float32)
    if needs.proxy == "penultimate":
        return (residual @ known.weight).astype(np.float32)
    if needs.proxy != "last_layer":
        raise ValueError(f"proxy={needs.proxy!r} is not simulated: use logits, penultimate or last_layer")
    # (P r) * (Q h): for Gaussian P and Q its inner products estimate those of the outer products of r and h without
    # bias, and the outer products, of size classes x d for each row, are never formed.
    size = needs.projection
    left = generator.standard_normal((residual.shape[1], size))
    # Scaled on one side only: (P r) * (Q h) then has E ||.||^2 = ||r||^2 ||h||^2.
    right = generator.standard_normal((known.features.shape[1], size)) / np.sqrt(size)
    return np.asarray((residual @ left) * (known.features @ right), np.float32)
