"""The state of greedy: selecting many points in one pass over the tiles is selecting them one after another."""

import numpy as np
import pytest

from adacore.facility import evaluation
from adacore.facility.evaluation import Evaluation
from adacore.facility.problem import check_problem
from adacore.facility.workers import Workers


def some_problem(copies, *, metric="euclidean"):
    """Make rows in groups, some of them equal, some of weight 0; as many copies of the first as are asked for."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2500, 9)) * 0.1 + random.normal(size=(40, 9))[random.integers(0, 40, 2500)]
    x[500 : 500 + copies] = x[0]
    weights = random.random(len(x))
    weights[::7] = 0
    return check_problem(x.astype(np.float32), weights=weights, metric=metric).in_own_units()


def select(problem, positions, threads=1, first=0):
    with Workers(threads) as workers:
        run = Evaluation(problem, workers)
        return run, run.select(positions, first)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("at_a_time", [7, 1024])
def test_many_points_are_selected_as_one_after_another(monkeypatch, metric, at_a_time):
    monkeypatch.setattr(evaluation, "POINTS_AT_A_TIME", at_a_time)
    problem = some_problem(300, metric=metric)
    positions = np.random.default_rng(1).permutation(2500)[:60]
    together, gains = select(problem, positions)
    with Workers(1) as workers:
        alone = Evaluation(problem, workers)
        expected = [float(alone.select(np.array([p]), number)[0]) for number, p in enumerate(positions)]
    assert np.array_equal(together.minima, alone.minima)
    assert np.array_equal(together.owner, alone.owner)
    assert gains == pytest.approx(expected, rel=1e-12, abs=1e-12 * max(expected[1:]))
    for name in together.state._fields:  # what pruning rests on too
        assert np.array_equal(getattr(together.state, name), getattr(alone.state, name)), name


def test_what_points_gain_does_not_depend_on_threads():
    problem, positions = some_problem(0), np.random.default_rng(1).permutation(2500)[:60]
    gains = [select(problem, positions, threads)[1].tobytes() for threads in (1, 2, 3)]
    assert len(set(gains)) == 1


def test_minima_are_the_distances_to_the_nearest_point():
    problem, positions = some_problem(20), np.arange(0, 2500, 50)
    run, _ = select(problem, positions)
    rows = problem.scaled(run.tree.order)
    distances = np.sqrt(((rows[:, None] - rows[positions]) ** 2).sum(axis=-1))
    served = run.weights[: len(rows)] > 0
    assert run.minima[: len(rows)][served] == pytest.approx(distances.min(axis=1)[served], rel=1e-12)
    assert np.array_equal(run.owner[: len(rows)][served], distances.argmin(axis=1)[served])
