"""What a selector compiles is compiled before anything is timed."""

import pytest

from adacore.selectors import Random, Stratified
from adacore.selectors.preparation import prepare_selector


def test_what_compiles_nothing_costs_nothing():
    assert prepare_selector(Random()) == 0
    assert prepare_selector(Stratified(order="classes")) == 0


@pytest.mark.parametrize("settings", [{}, {"curvature": "exact"}])
def test_an_order_and_its_batches_are_compiled_for_good(settings):
    from adacore.selectors import balancing, gradient_tree

    prepare_selector(Stratified(**settings))
    compiled = [kernel.signatures for kernel in (balancing._deal, gradient_tree._halve)]
    prepare_selector(Stratified(**settings))
    assert all(compiled)
    assert compiled == [kernel.signatures for kernel in (balancing._deal, gradient_tree._halve)]
