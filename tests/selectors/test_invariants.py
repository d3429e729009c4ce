"""Every selector in the table, and what its settings and wrappers make of it, keeps the promises of its traits."""

from dataclasses import replace

import numpy as np
import pytest

from adacore.selectors import SELECTORS, PerBatch, Traits, Whole, make_selector, parse_selector
from adacore.selectors.invariants import INVARIANTS, BrokenInvariantError, check_selector
from adacore.selectors.ordered_strata import Strata
from adacore.selectors.random import Random
from adacore.selectors.weighting import equally_weighted

VARIANTS = [
    *SELECTORS,
    "adacore(weighting=uniform, curvature=hutchinson, scope=example, average_gradient=false)",
    "adacore(curvature=none)",
    "adacore(engine=stochastic)",
    "craig(engine=sampled, refine=true)",
    "craig(targets=predicted)",
    "facility_location(points=gradients, proxy=penultimate)",
    "k_center(points=features)",
    "k_means(points=gradients)",
    "badge(targets=given)",
    "typiclust(neighbours=3)",
    "stratified(order=classes)",
    "stratified(order=facility, leaf_size=8)",
    "stratified(curvature=exact, leaf_size=4)",
    "adacore(proxy=penultimate, weighting=sqrt)",
    "craig(proxy=last_layer, weighting=sqrt)",
    "craig(per=data)",
    "gradmatch(lam=0, eps=0)",
    "gradmatch(proxy=logits, fill=random)",
    "gradmatch(target=validation)",
    "glister(r=1)",
    "glister(r=1000, step=1)",
    "gradient_norm(mode=top)",
    *(f"{name}(mode=sample)" for name in ("loss", "entropy", "margin", "least_confidence", "forgetting", "el2n")),
    "random(per=data)",
    "adacore(per=batch, batch_size=4)",
    "gradmatch(per=batch, batch_size=4)",
    "random(per=batch, batch_size=4)",
    "glister(per=batch, batch_size=3)",
    "loss(per=batch, batch_size=1)",
]


PROMISED = [
    (text, name)
    for text in VARIANTS
    for name, invariant in INVARIANTS.items()
    if invariant.applies(parse_selector(text).traits)
]


@pytest.mark.parametrize(("text", "name"), PROMISED)
def test_selector_keeps_its_promises(text, name):
    INVARIANTS[name].check(parse_selector(text), 1)


def test_wrappers_promise_what_they_can_keep():
    inner = make_selector("craig")
    assert Whole(inner).traits == inner.traits
    assert not PerBatch(inner).traits.equivariant


class Broken(Random):
    """A selector that breaks one promise at a time."""

    name = "broken"

    def __init__(self, how):
        object.__setattr__(self, "how", how)

    traits = Traits(randomised=True, equivariant=False, objective=False, unbiased=True)
    per = "data"

    def select(self, snapshot, budget, *, generator):
        if self.how == "budget":
            budget += 1
        if self.how == "untouched":
            np.random.random()  # noqa: NPY002
        if self.how == "repeatable":
            generator = np.random.default_rng()
        if self.how == "unbiased" and budget < snapshot.n:
            return equally_weighted(np.arange(budget), snapshot.n)
        if self.how == "refusals":
            budget = min(max(budget, 1), snapshot.n)
            return equally_weighted(generator.choice(max(snapshot.n, 1), size=budget, replace=False), snapshot.n)
        allowed = min(budget, snapshot.n) if self.how == "budget" else budget
        coreset = super().select(snapshot, allowed, generator=generator)
        if self.how == "weights":
            coreset.weights[:] *= 1.1
        return coreset


@pytest.mark.parametrize("how", ["budget", "untouched", "repeatable", "unbiased", "refusals", "weights"])
def test_a_broken_promise_is_found(how):
    assert how in check_selector(Broken(how))


def test_an_intact_selector_passes():
    assert check_selector(Broken("not")) == {}


def test_breaking_the_order_the_objective_or_the_traits_is_found():
    class Contradictory(Broken):
        traits = Traits(equivariant=True, randomised=False, objective=True)

    broken = check_selector(Contradictory("not"))
    assert {"permutation", "repeatable", "objective"} <= broken.keys()


def test_errors_of_a_selector_are_told_by_name():
    class Raising(Broken):
        def select(self, snapshot, budget, *, generator):
            raise KeyError("oops")

    (told,) = check_selector(Raising("not")).items()  # once, not under every invariant
    assert told == ("protocol", "select raised KeyError ('oops') when asked for 24 of 120 examples")
    with pytest.raises(BrokenInvariantError):
        INVARIANTS["objective"].check(Broken("not"), 0)


class Complete(Broken):
    def __init__(self):
        super().__init__("not")


def without(name):
    return type("Incomplete", (), {key: value for key, value in vars(Random).items() if key != name})()


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (Random, "Random is a class: pass an instance, Random()"),
        (object(), "it has no 'name'"),
        *((without(name), f"it has no '{name}'") for name in ("name", "traits", "per", "requirements", "select")),
        (type("Odd", (Complete,), {"traits": {}})(), "its 'traits' is a dict, not a Traits"),
        (type("Odd", (Complete,), {"per": "grain"})(), "its per is 'grain'"),
        (type("Odd", (Complete,), {"requirements": lambda self: {"proxy"}})(), "requirements() gave a set"),
        (
            type("Odd", (Complete,), {"select": lambda self, x, k: x})(),
            "select does not take (snapshot, budget, *, gen",
        ),
        (
            type("Odd", (Complete,), {"select": lambda self, x, k, *, generator: [0]})(),
            "select gave a list, not a Coreset",
        ),
    ],
)
def test_a_selector_of_the_wrong_shape_is_told_so_once(selector, message):
    (told,) = check_selector(selector).items()
    assert told[0] == "protocol"
    assert message in told[1]


def test_statistics_must_say_how_they_combine():
    class Undeclared(Complete):
        def select(self, snapshot, budget, *, generator):
            coreset = super().select(snapshot, budget, generator=generator)
            return replace(coreset, statistics={"radius": 1.0})

    assert "does not say how ['radius'] combine" in check_selector(Undeclared())["protocol"]


class Ordering(Complete):
    traits = Traits(randomised=True, equivariant=False, objective=False, unbiased=True, orders=True)

    def strata(self, snapshot, *, generator):
        return Strata(np.arange(snapshot.n), np.array([0, snapshot.n]))


def test_an_order_is_checked_too():
    assert check_selector(Ordering()) == {}

    class Favouring(Strata):
        def sample(self, size, *, generator):
            return self.order[:size]

    class Unfair(Ordering):
        def strata(self, snapshot, *, generator):
            return Favouring(np.arange(snapshot.n), np.array([0, snapshot.n]))

    assert "as often" in check_selector(Unfair())["strata"]
    assert (
        "add a method strata" in check_selector(type("Promising", (Complete,), {"traits": Ordering.traits})())["strata"]
    )
