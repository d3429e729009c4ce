"""Many rows of some dimensions go to the engine that suits how they lie."""

import numpy as np
import pytest

from adacore.facility.engines import _suits_tree
from adacore.facility.problem import check_problem

LIE = {
    "on a plane": (lambda rng: rng.normal(size=(20_000, 3)) @ rng.normal(size=(3, 20)), True),
    "in groups": (
        lambda rng: np.repeat(rng.normal(size=(100, 20)), 200, axis=0) + 0.01 * rng.random((20_000, 20)),
        True,
    ),
    "everywhere": (lambda rng: rng.normal(size=(20_000, 20)), False),
    "everywhere, far apart": (lambda rng: rng.normal(size=(20_000, 20)) * 1e150, False),
    "few": (lambda rng: rng.normal(size=(500, 3)) @ rng.normal(size=(3, 20)), False),
    "many dimensions": (lambda rng: rng.normal(size=(20_000, 3)) @ rng.normal(size=(3, 40)), False),
    "at one place": (lambda rng: np.ones((20_000, 20)), True),
}


@pytest.mark.parametrize("name", LIE)
@pytest.mark.filterwarnings("error")
def test_a_tree_is_chosen_where_it_leaves_most_pairs_out(name: str) -> None:
    make, suits = LIE[name]
    assert _suits_tree(check_problem(make(np.random.default_rng(0))).in_own_units()) == suits
