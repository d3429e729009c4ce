"""The contract of selectors as code: promises that any selector, of this package or another, can be checked against."""

from __future__ import annotations

import inspect
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from adacore.coreset import Coreset
from adacore.probing.snapshot import Requirements, Snapshot
from adacore.selectors.base import HasObjective, HasStrata, Per, Selector, Traits
from adacore.selectors.ordered_strata import Strata
from adacore.selectors.partition import partitioned
from adacore.selectors.random import Random
from adacore.selectors.synthetic import synthetic_snapshot

_RANDOM_SUBSETS = 20
"""Random subsets whose mean objective a method must beat: enough for a mean that no lucky subset decides."""

_DRAWS = 300
"""Draws for tests of averages: a bias of a third of the spread of one draw is 5 standard errors of 300."""


class BrokenInvariantError(Exception):
    """A selector does not keep what it promises."""


@dataclass(frozen=True)
class Invariant:
    """A promise and how to check it.

    Attributes:
        promise: A sentence.
        check: Raises ``BrokenInvariantError`` if a selector breaks it; takes the selector and a seed.
        applies: Whether a selector with such traits makes the promise.
    """

    promise: str
    check: Callable[[Selector, int], None]
    applies: Callable[[Traits], bool] = lambda traits: True


def check_selector(selector: Selector, *, seed: int = 0) -> dict[str, str]:
    """Check a selector against every promise that its traits make.

    Args:
        selector: Any selector.
        seed: Of the examples that it is tried on.

    Returns:
        What is broken and how, by the name of the invariant; empty if all is well.

    Example:
        >>> from adacore.selectors import EL2N
        >>> check_selector(EL2N())
        {}
    """
    broken: dict[str, str] = {}
    for name, invariant in INVARIANTS.items():
        if name != "protocol" and not invariant.applies(selector.traits):
            continue
        try:
            invariant.check(selector, seed)
        except Exception as error:  # of another package, whatever it raises
            broken[name] = str(error) if isinstance(error, BrokenInvariantError) else f"{type(error).__name__}: {error}"
            if name == "protocol":  # what has the wrong shape would fail everywhere for the same reason
                break
    return broken


def _require(kept: object, message: str) -> None:
    if not kept:
        raise BrokenInvariantError(message)


def _labels(seed: int, n: int = 120) -> NDArray[np.int64]:
    """Make three unequal classes, one number between them unused."""
    return np.random.default_rng([seed, 1]).permutation(np.repeat([0, 1, 3], [n // 2, n // 3, n - n // 2 - n // 3]))


def _select(selector: Selector, snapshot: Snapshot, budget: int, seed: int = 0) -> Coreset:
    run = partitioned(selector, labelled=snapshot.strata is not None)
    return run.select(snapshot, budget, generator=np.random.default_rng([seed, 2]))


def _case(selector: Selector, seed: int, n: int = 120) -> tuple[Snapshot, int]:
    return synthetic_snapshot(selector.requirements(), _labels(seed, n), seed=seed), n // 5


def _same(one: Coreset, other: Coreset) -> bool:
    return np.array_equal(one.indices, other.indices) and np.array_equal(one.weights, other.weights)


def _check_shape(selector: Selector, coreset: Coreset, snapshot: Snapshot, budget: int, what: str) -> None:
    """Check what must hold of every answer; uniqueness, range and weights >= 0 are checked by ``Coreset`` itself."""
    _require(
        coreset.population == snapshot.n, f"{what}: the coreset is of {coreset.population} examples, not {snapshot.n}"
    )
    if selector.traits.ignores_budget:
        _require(len(coreset) == snapshot.n, f"{what}: {len(coreset)} of {snapshot.n} examples were chosen, not all")
        return
    _require(len(coreset) <= budget, f"{what}: {len(coreset)} examples were chosen, {budget} allowed")
    _require(len(coreset) > 0, f"{what}: nothing was chosen")


def _check_budget(selector: Selector, seed: int) -> None:
    snapshot, _ = _case(selector, seed)
    for budget in (12, 24, 77, snapshot.n):  # 77: divisible by neither classes nor batches; n: everything
        coreset = _select(selector, snapshot, budget, seed)
        _check_shape(selector, coreset, snapshot, budget, f"budget {budget}")
        if selector.traits.fills_budget and not selector.traits.ignores_budget:
            _require(len(coreset) == budget, f"{len(coreset)} examples were chosen, {budget} asked for")


def _check_edges(selector: Selector, seed: int) -> None:
    needs = selector.requirements()
    cases = {
        "one example": (np.zeros(1, np.int64), 1),
        "one class": (np.full(30, 2), 8),
        "a class of one": (np.array([0] * 25 + [1]), 8),
        "classes without examples": (np.array([0] * 12 + [5] * 12), 8),
        "as many examples as classes": (np.arange(4), 4),
    }
    for what, (labels, budget) in cases.items():
        snapshot = synthetic_snapshot(needs, labels, seed=seed)
        coreset = _select(selector, snapshot, budget, seed)
        _check_shape(selector, coreset, snapshot, budget, what)
        if selector.traits.fills_budget and not selector.traits.ignores_budget:
            _require(
                set(labels[coreset.indices]) == set(labels) or partitioned(selector, labelled=True).per != "class",
                f"{what}: a class with examples got none",
            )


def _check_duplicates(selector: Selector, seed: int) -> None:
    labels = np.repeat([0, 1], 6)
    distinct = synthetic_snapshot(selector.requirements(), labels, seed=seed)
    for copies, budget in ((5, 10), (5, 40), (2, 24)):  # fewer than the distinct ones, more, and all copies
        snapshot = distinct.take(np.tile(np.arange(distinct.n), copies))
        coreset = _select(selector, snapshot, budget, seed)
        _check_shape(selector, coreset, snapshot, budget, f"every example {copies} times, budget {budget}")
        if selector.traits.sums_to_population:
            _check_sum(selector, coreset, snapshot, f"every example {copies} times")


def _check_weights(selector: Selector, seed: int) -> None:
    snapshot, budget = _case(selector, seed)
    for size in (12, budget, snapshot.n):
        _check_sum(selector, _select(selector, snapshot, size, seed), snapshot, f"budget {size}")


def _check_sum(selector: Selector, coreset: Coreset, snapshot: Snapshot, what: str) -> None:
    total = coreset.weights.sum()
    _require(np.isclose(total, snapshot.n), f"{what}: weights sum to {total}, not to the {snapshot.n} examples")
    if partitioned(selector, labelled=True).per != "class" or snapshot.strata is None:
        return
    for label, size in zip(*np.unique(snapshot.strata, return_counts=True), strict=True):
        total = coreset.weights[snapshot.strata[coreset.indices] == label].sum()
        _require(
            np.isclose(total, size), f"{what}: weights of class {label} sum to {total}, not to its {size} examples"
        )


def _check_unbiased(selector: Selector, seed: int) -> None:
    snapshot, budget = _case(selector, seed, 60)
    values = np.random.default_rng([seed, 3]).normal(size=(snapshot.n, 4))
    estimates = np.empty((_DRAWS, values.shape[1]))
    for draw in range(_DRAWS):
        coreset = _select(selector, snapshot, budget, seed * _DRAWS + draw)
        estimates[draw] = coreset.weights @ values[coreset.indices]
    error = np.abs(estimates.mean(0) - values.sum(0))
    # 5 standard errors: of 4 sums over all seeds and selectors that anyone tries, hardly one is beyond by chance.
    allowed = 5 * estimates.std(0, ddof=1) / np.sqrt(_DRAWS) + 1e-9
    _require(
        (error <= allowed).all(), f"estimates of a sum are off by {error.max():.3g} on average over {_DRAWS} draws"
    )


def _check_permutation(selector: Selector, seed: int) -> None:
    # Few examples are chosen of many: where a cluster has two members, either stands for it equally well, a tie.
    snapshot = synthetic_snapshot(selector.requirements(), _labels(seed, 240), seed=seed)
    order = np.random.default_rng([seed, 4]).permutation(snapshot.n)
    plain, permuted = _select(selector, snapshot, 12, seed), _select(selector, snapshot.take(order), 12, seed)
    weights = np.zeros((2, snapshot.n))
    weights[0, plain.indices], weights[1, order[permuted.indices]] = plain.weights, permuted.weights
    _require(
        set(plain.indices) == set(order[permuted.indices]), "other examples were chosen when their order was changed"
    )
    _require(np.allclose(weights[0], weights[1], rtol=1e-6), "weights changed with the order of the examples")


def _check_repeatable(selector: Selector, seed: int) -> None:
    snapshot, budget = _case(selector, seed)
    first = _select(selector, snapshot, budget, seed)
    other = _select(selector, snapshot, budget, seed + 1)
    _require(_same(first, _select(selector, snapshot, budget, seed)), "the same seed gave another answer")
    if not selector.traits.randomised:
        _require(_same(first, other), "the answer depends on the seed, but the traits say it does not")
    try:
        # It was written a moment ago in this process: nothing foreign is unpickled.
        restored = pickle.loads(pickle.dumps(selector))  # as spawned workers and checkpoints do
    except Exception as error:
        raise BrokenInvariantError(f"it cannot be pickled ({error})") from error
    _require(_same(first, _select(restored, snapshot, budget, seed)), "a restored copy gave another answer")


def _check_threads(selector: Selector, seed: int) -> None:
    # Above the size from which classes are selected in threads.
    snapshot = synthetic_snapshot(selector.requirements(), _labels(seed, 1500), seed=seed)  # enough to start threads
    answers = []
    for threads in (1, 2, 4):
        with _torch_threads(threads):
            answers.append(_select(selector, snapshot, 60, seed))
    for answer in answers[1:]:
        _require(np.array_equal(answers[0].indices, answer.indices), "the number of threads changed what was chosen")
        _require(np.allclose(answers[0].weights, answer.weights), "the number of threads changed the weights")


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_untouched(selector: Selector, seed: int) -> None:
    snapshot, budget = _case(selector, seed)
    parts = [part for part in (snapshot, snapshot.validation) if part is not None]
    arrays = [array for part in parts for array in part.per_example().values()]
    if snapshot.last_layer is not None:
        arrays += [snapshot.last_layer.weight, snapshot.last_layer.bias]
    before = [array.copy() for array in arrays]
    streams = _global_streams()  # of Python, numpy and torch
    _select(selector, snapshot, budget, seed)
    _require(all(map(np.array_equal, before, arrays)), "the snapshot was written to")
    _require(streams == _global_streams(), "a global random stream was used: draw from the generator alone")


def _global_streams() -> tuple[object, ...]:
    import torch

    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return random.getstate(), name, np.asarray(keys).tolist(), rest, torch.get_rng_state().tolist()


def _check_objective(selector: Selector, seed: int) -> None:
    snapshot, budget = _case(selector, seed)
    run = partitioned(selector, labelled=True)
    if not isinstance(run, HasObjective) or not isinstance(selector, HasObjective):
        raise BrokenInvariantError("the traits promise an objective: add a method objective(snapshot, coreset)")
    own = run.objective(snapshot, _select(selector, snapshot, budget, seed))
    others = [_select(Random(), snapshot, budget, seed * _RANDOM_SUBSETS + s) for s in range(_RANDOM_SUBSETS)]
    mean = float(np.mean([run.objective(snapshot, other) for other in others]))
    _require(own < mean, f"objective {own:.6g}, the mean of {_RANDOM_SUBSETS} random subsets is {mean:.6g}")


def _check_refusals(selector: Selector, seed: int) -> None:
    snapshot, _ = _case(selector, seed)
    cases: dict[str, tuple[Snapshot, int]] = {}
    if not selector.traits.ignores_budget:
        cases = {f"a budget of {budget}": (snapshot, budget) for budget in (0, -1, snapshot.n + 1)}
        cases["no examples"] = (snapshot.take(np.empty(0, np.int64)), 1)
    if selector.requirements() != Requirements():
        cases["a snapshot without what it requires"] = (Snapshot(snapshot.n, snapshot.strata), 12)
    for what, (given, budget) in cases.items():
        try:
            _select(selector, given, budget, seed)
        except ValueError:
            continue
        except Exception as error:
            raise BrokenInvariantError(f"{what} raised {type(error).__name__} ({error}), not ValueError") from error
        raise BrokenInvariantError(f"{what} was accepted: raise ValueError")


def _check_strata(selector: Selector, seed: int) -> None:
    """Check that an order holds every example once, and its batches every example equally often."""
    if not isinstance(selector, HasStrata):
        raise BrokenInvariantError("the traits promise an order: add a method strata(snapshot, *, generator)")
    snapshot, _ = _case(selector, seed, 50)
    strata = selector.strata(snapshot, generator=np.random.default_rng([seed, 2]))
    _require(isinstance(strata, Strata), f"strata() gave a {type(strata).__name__}, not Strata")
    _require(strata.population == snapshot.n, f"the order is of {strata.population} examples, not {snapshot.n}")
    size, batch_size, generator = 23, 5, np.random.default_rng([seed, 5])
    counts = np.zeros(snapshot.n)
    for _ in range(_DRAWS):
        batches = strata.batches(size, batch_size, generator=generator)
        drawn = np.concatenate(batches)
        _require([len(batch) for batch in batches] == [5, 5, 5, 5, 3], "batches are not of the size asked for")
        _require(len(np.unique(drawn)) == size, "an example came twice in an epoch")
        counts[drawn] += 1
    p = size / snapshot.n
    # Each example's count is binomial: sqrt(p (1 - p) / draws) is the standard error of its share.
    error = np.abs(counts / _DRAWS - p) / np.sqrt(p * (1 - p) / _DRAWS)
    _require(
        (error < 5).all(), f"example {error.argmax()} is drawn {counts[error.argmax()] / _DRAWS / p:.2f} x as often"
    )


def _check_protocol(selector: Selector, seed: int) -> None:
    """Check the shape of a selector: what it is made of, what it takes and what it returns on an easy problem."""
    if isinstance(selector, type):
        raise BrokenInvariantError(f"{selector.__name__} is a class: pass an instance, {selector.__name__}()")
    wanted: dict[str, Any] = {"name": str, "traits": Traits, "per": str, "requirements": Callable, "select": Callable}
    for name, kind in wanted.items():
        _require(hasattr(selector, name), f"it has no {name!r}: see adacore.selectors.base.Selector")
        value = getattr(selector, name)
        _require(isinstance(value, kind), f"its {name!r} is a {type(value).__name__}, not a {kind.__name__}")
    _require(selector.per in get_args(Per), f"its per is {selector.per!r}: expected one of {get_args(Per)}")
    needs = selector.requirements()
    _require(isinstance(needs, Requirements), f"requirements() gave a {type(needs).__name__}, not Requirements")
    _require(needs == selector.requirements(), "requirements() changed from call to call")
    snapshot, budget = _case(selector, seed)
    try:
        inspect.signature(selector.select).bind(snapshot, budget, generator=np.random.default_rng(0))
    except TypeError as error:
        raise BrokenInvariantError(f"select does not take (snapshot, budget, *, generator): {error}") from error
    try:
        chosen = selector.select(snapshot, budget, generator=np.random.default_rng(0))
    except Exception as error:
        raise BrokenInvariantError(
            f"select raised {type(error).__name__} ({error}) when asked for {budget} of {snapshot.n} examples"
        ) from error
    _require(isinstance(chosen, Coreset), f"select gave a {type(chosen).__name__}, not a Coreset")
    declared = set(selector.traits.statistics)
    undeclared = [name for name in chosen.statistics if name not in declared]
    _require(not undeclared, f"traits.statistics does not say how {undeclared} combine over classes")


INVARIANTS: dict[str, Invariant] = {
    "protocol": Invariant("has the attributes and methods of a selector, and its statistics combine", _check_protocol),
    "budget": Invariant("distinct examples in range, at most the budget, as many if so promised", _check_budget),
    "weights": Invariant(
        "weights sum to the number of examples, per class if so chosen",
        _check_weights,
        lambda traits: traits.sums_to_population,
    ),
    "unbiased": Invariant(
        "weighted sums are right on average over draws", _check_unbiased, lambda traits: traits.unbiased
    ),
    "edges": Invariant("copes with one example, one class, a class of one, unused classes", _check_edges),
    "duplicates": Invariant("copes with duplicates", _check_duplicates),
    "permutation": Invariant(
        "the order of the examples does not matter", _check_permutation, lambda traits: traits.equivariant
    ),
    "repeatable": Invariant("the same seed gives the same answer, whatever was selected before", _check_repeatable),
    "threads": Invariant("the number of threads does not matter", _check_threads),
    "untouched": Invariant("snapshot and global random streams stay as they were", _check_untouched),
    "objective": Invariant(
        "better than random subsets in its own objective", _check_objective, lambda traits: traits.objective
    ),
    "strata": Invariant(
        "its batches hold every example equally often, none twice in an epoch",
        _check_strata,
        lambda traits: traits.orders,
    ),
    "refusals": Invariant("refuses bad budgets and missing data with a ValueError", _check_refusals),
}
"""All promises, by name."""
