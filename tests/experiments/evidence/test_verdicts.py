"""Verdicts claim no more than the numbers: made-up records, and thousands of comparisons of equal methods."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from adacore.experiments.evidence.as_json import to_json
from adacore.experiments.evidence.outcomes import Outcome
from adacore.experiments.evidence.sentences import judgement_words, sentence, standing, verdict
from adacore.experiments.evidence.summaries import summarise
from adacore.experiments.evidence.verdicts import ERROR, Judgement, judge_all, p_value, seeds_needed

COSTS = {"probing_seconds": 1.0, "selecting_seconds": 2.0, "training_seconds": 3.0, "evaluating_seconds": 9.0}


def row(accuracy: float | None, epoch: int = 1) -> dict[str, object]:
    counts = {"gradient_evaluations": 100 * epoch, "probed_examples": 50 * epoch, "fraction_seen": 0.1}
    return {"epoch": epoch, "test_accuracy": accuracy, **counts, **COSTS}


def finished(*accuracies: float) -> dict[int, Outcome]:
    return {seed: Outcome.finished([row(accuracy)]) for seed, accuracy in enumerate(accuracies)}


def by_seed(accuracies: np.ndarray) -> dict[int, float]:
    return dict(enumerate(accuracies.tolist()))


def test_the_p_value_is_the_paired_t_tests() -> None:
    generator = np.random.default_rng(0)
    for n in (3, 5, 12):
        ours, theirs = generator.normal(0.5, 0.1, (2, n))
        assert p_value((ours - theirs).tolist()) == pytest.approx(ttest_rel(ours, theirs).pvalue)


@pytest.mark.parametrize("test_examples", [None, 10_000, 360])
@pytest.mark.parametrize(("seeds", "count"), [(3, 5), (5, 5), (5, 8)])
def test_of_a_thousand_comparisons_of_equal_methods_at_most_five_per_cent_say_anything(
    seeds: int, count: int, test_examples: int | None
) -> None:
    generator = np.random.default_rng(7)
    false = 0
    for _ in range(1000):
        accuracies = 0.9 + generator.normal(0, 0.01, seeds) + generator.normal(0, 0.005, (count, seeds))
        if test_examples:
            accuracies = np.round(accuracies * test_examples) / test_examples
        methods = {f"m{k}": by_seed(accuracies[k]) for k in range(1, count)}
        judged = judge_all(methods, by_seed(accuracies[0])).values()
        false += any(judgement.verdict in {"better", "worse"} for judgement in judged)
    assert false <= 50


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        seeds = generator.normal(0.9, 0.01, 5)
        methods = {f"m{k}": by_seed(seeds + 0.02 * (k == 1) + generator.normal(0, 0.005, 5)) for k in range(1, 5)}
        found += judge_all(methods, by_seed(seeds + generator.normal(0, 0.005, 5)))["m1"].verdict == "better"
    assert found > 150


def test_the_interval_leaves_out_zero_exactly_where_a_method_is_better_or_worse() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):
        shifts = generator.choice([0, 0.01, 0.02, -0.02], 6)
        methods = {f"m{k}": by_seed(0.5 + shift + generator.normal(0, 0.01, 4)) for k, shift in enumerate(shifts)}
        for judgement in judge_all(methods, by_seed(0.5 + generator.normal(0, 0.01, 4))).values():
            leaves_out_zero = judgement.difference.low > 0 or judgement.difference.high < 0
            assert leaves_out_zero == (judgement.verdict in {"better", "worse"})


def test_equal_differences_on_coarse_accuracies_need_more_seeds_than_they_have() -> None:
    """Differences of one step in 20 test examples: the interval takes their spread as that of the rounding."""
    control = by_seed(np.array([0.5, 0.55, 0.6]))
    judgement = judge_all({"ours": {s: accuracy + 0.05 for s, accuracy in control.items()}}, control)["ours"]
    assert judgement.verdict == "not distinguishable"
    assert judgement.seeds_needed is not None
    assert judgement.seeds_needed > 3


def test_holm_by_hand() -> None:
    """p-values 0.001, 0.02, 0.03: of 0.04 the steps are 0.0133, 0.02 and 0.04; all are significant, in this order."""
    differences = {name: _differences_with(p, seeds=6) for name, p in (("a", 0.001), ("b", 0.019), ("c", 0.03))}
    control = by_seed(np.full(6, 0.5))
    judged = judge_all({name: by_seed(0.5 + values) for name, values in differences.items()}, control)
    assert [judged[name].verdict for name in "abc"] == ["better"] * 3
    assert [judged[name].level for name in "abc"] == pytest.approx([1 - ERROR / 3, 1 - ERROR / 2, 1 - ERROR])
    del differences["a"]
    differences["d"] = _differences_with(0.021, seeds=6)
    del differences["b"]  # now 0.021 > 0.04 / 2 fails, and with it 0.03, which alone would pass
    judged = judge_all({name: by_seed(0.5 + values) for name, values in differences.items()}, control)
    assert {judgement.verdict for judgement in judged.values()} == {"not distinguishable"}


def _differences_with(p: float, *, seeds: int) -> np.ndarray:
    """Make differences whose two-sided t test gives this p-value."""
    from scipy.stats import t

    shape = np.linspace(-1.1, 1, seeds)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    return 0.02 * (shape + t.isf(p / 2, seeds - 1) / math.sqrt(seeds))


def test_two_seeds_say_nothing() -> None:
    ours = summarise({"random": finished(0.5, 0.6), "ours": finished(0.7, 0.8)})[1]
    assert ours.against_random is not None
    assert ours.against_random.verdict == "not distinguishable"
    assert "run at least 3" in sentence(ours)


def test_an_unfinished_run_never_counts() -> None:
    ours = {**finished(0.5, 0.5, 0.5), 3: Outcome([row(0.99)], "unfinished", math.nan)}
    random = finished(0.4, 0.41, 0.42, 0.43)
    summary = summarise({"random": random, "ours": ours})[1]
    assert summary.accuracies.keys() == {0, 1, 2}
    assert summary.unfinished == (3,)
    assert summary.against_random is not None
    assert summary.against_random.difference.count == 3


def test_a_diverged_run_counts_as_what_it_reached() -> None:
    random = finished(0.80, 0.81, 0.82, 0.83)
    steady = finished(0.84, 0.851, 0.862, 0.87)
    broken = {**steady, 3: Outcome([row(0.3)], "diverged", 0.3)}
    never = {**steady, 3: Outcome([], "diverged", 0.1)}
    summaries = summarise({"random": random, "steady": steady, "broken": broken, "never": never})
    verdicts = [summary.against_random.verdict for summary in summaries[1:] if summary.against_random is not None]
    assert verdicts == ["better", "not distinguishable", "not distinguishable"]
    assert summaries[2].accuracies[3] == 0.3
    assert "diverged on 1 of 4 seeds" in sentence(summaries[2])


def test_equal_differences_of_coarse_accuracies_prove_nothing() -> None:
    random = finished(*(k / 360 for k in (320, 322, 325)))
    ours = finished(*(k / 360 for k in (321, 323, 326)))  # one example more, three times
    judgement = summarise({"random": random, "ours": ours})[1].against_random
    assert judgement is not None
    assert judgement.verdict in {"not distinguishable", "equivalent"}


def test_equivalent_is_within_a_point() -> None:
    random = finished(0.80, 0.85, 0.90, 0.82)
    ours = finished(0.8004, 0.8498, 0.9001, 0.8201)
    summary = summarise({"random": random, "ours": ours})[1]
    assert standing(summary) == "equivalent"
    assert "within 1 point" in sentence(summary)


def test_only_runs_of_one_experiment_are_compared() -> None:
    methods = {"random": finished(0.5, 0.5, 0.51), "ours": finished(0.9, 0.9, 0.91)}
    apart = summarise(methods, experiments={"random": "10 epochs", "ours": "20 epochs"})
    assert apart[1].against_random is None
    assert "not run in the same experiment" in sentence(apart[1])


def test_costs_count_probing_and_selecting() -> None:
    (summary,) = summarise({"craig": finished(0.9, 0.9, 0.9)})
    assert summary.cost.total_seconds == 6
    assert summary.cost.gradient_evaluations == 150
    written = to_json(summary)
    assert (written["seconds"]["total"], written["gradient_evaluations"], written["steps"]) == (6, 150, 100)
    assert "selection included" in verdict([summary])


def test_how_many_seeds_would_tell_is_about_right() -> None:
    """With as many seeds as advised, the difference seen is found in about four of five simulations."""
    mean, spread, level = 0.02, 0.02, 0.96
    n = seeds_needed(mean, spread, level)
    assert n is not None
    generator = np.random.default_rng(1)
    found = np.mean([p_value(generator.normal(mean, spread, n).tolist()) < 1 - level for _ in range(2000)])
    assert 0.72 < found < 0.9
    assert seeds_needed(0.0, 0.0001, level) == 3  # equivalence is shown at once
    assert seeds_needed(0.0101, 0.5, level) is None


@pytest.mark.parametrize(
    ("mean", "spread", "shown"),
    [(0.02, 0.03, "better"), (-0.02, 0.03, "worse"), (0.001, 0.02, "equivalent"), (-0.001, 0.02, "equivalent")],
)
def test_what_more_seeds_would_show_is_what_they_show(mean: float, spread: float, shown: str) -> None:
    generator = np.random.default_rng(2)

    def judged(n: int) -> Judgement:
        draws = generator.normal(0, 1, n)
        exact = mean + spread * (draws - draws.mean()) / draws.std(ddof=1)  # of just this mean and spread
        return judge_all({"ours": by_seed(0.5 + exact)}, by_seed(np.full(n, 0.5)))["ours"]

    few = judged(5)
    assert few.verdict == "not distinguishable"
    assert few.seeds_needed is not None
    assert few.would_show == shown
    assert judged(few.seeds_needed).verdict == shown
    assert judged(few.seeds_needed).would_show is None
    assert f"would show that it is {shown}" in judgement_words(few)


def test_a_difference_that_is_certain_and_small_is_called_small() -> None:
    random = finished(0.80, 0.85, 0.90, 0.82)
    ours = finished(0.8030, 0.8531, 0.9029, 0.8232)
    judgement = summarise({"random": random, "ours": ours})[1].against_random
    assert judgement is not None
    assert judgement.verdict == "better"
    assert "certainly less than one point" in judgement_words(judgement)
