"""Comparing methods of choosing what to label, on data whose labels are known: seeds paired, resumable, recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.experiments.evidence.label_saving import label_saving
from adacore.experiments.evidence.verdicts import judge_all
from adacore.facility.strata import partition
from adacore.labelling.durable_files import append_line, prepare_file, replace_file
from adacore.labelling.methods import Method, parse_method
from adacore.labelling.simulation import Outcome, Simulation, split_trial
from adacore.selectors.settings import check_fields

Progress = Callable[[int, int, str], None]
"""``(parts done, parts in all, what is next)``."""

RANDOM = "random"
GROWTH = 1.5
"""Ratio of successive budgets of random's learning curve: between two of them accuracy is interpolated in log b, where
curves of accuracy are nearly straight over half an octave."""
REACH = 6
"""Random's curve goes up to this many times the largest budget, or to all of the pool. A method that is better than all
of the curve is only said to save at least so many labels."""


OUTCOMES_FILE = "outcomes.jsonl"
"""A folder that has it belongs to a simulation of labelling."""

_ADDED = {"seeds", "first_seed", "methods", "labels"}
"""Settings that may change from one simulation to the next in the same folder: outcomes are added to those there."""


def _setting(default: Any, text: str, **bounds: float) -> Any:
    return field(default=default, metadata={"help": text, "bounds": bounds})


@dataclass(frozen=True)
class LabelSettings:
    """Settings of ``adacore label``; the help texts say what each field means.

    Raises:
        ValueError: If a value is out of range, or a method or estimator is unknown.
        TypeError: If a value is of the wrong kind.

    Example:
        >>> LabelSettings(budgets=("20", "50")).numbers
        (20, 50)
    """

    labels: str | None = _setting(
        None, "the true classes: a column's name, target (LIBSVM), an .npy file, or a .txt file with a label a line"
    )
    methods: tuple[str, ...] = _setting(
        (RANDOM, "facility_location", "k_means"),
        "methods, separated by commas: random, facility_location, facility_location(metric=cosine, weighted=true, "
        "refine=false), k_center, k_means, typiclust; in rounds, by a model of the labels so far: margin, entropy, "
        "badge, adacore(targets=predicted)",
    )
    budgets: tuple[str, ...] = _setting(("20", "50", "100"), "numbers of labels, separated by commas")
    estimators: tuple[str, ...] = _setting(
        ("logistic", "nearest"), "what learns from the labels: logistic, nearest, or package.module:Class"
    )
    seeds: int = _setting(
        10, "random divisions into rows to choose from and rows to test on, shared by all methods", least=1
    )
    first_seed: int = _setting(
        0, "number of the first seed: a method that was chosen on some seeds is to be judged on others", least=0
    )
    start: str = _setting("facility_location", "method of the first round for methods that need a model")
    test: float = _setting(1 / 3, "share of the rows to test on, in (0, 1)", above=0, below=1)
    pool: int | None = _setting(
        None, "the most rows that are chosen from (default: all that are not tested on)", least=1
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for budget in self.budgets:
            if not budget.isdigit() or int(budget) < 1:
                raise ValueError(f"budgets: {budget!r} is not a number of labels: pass whole numbers, as in 20,50,100")
        # Made once to be checked: methods and estimators are looked up here, before any data are read.
        self.simulation()

    @property
    def seed_numbers(self) -> range:
        """The seeds by number."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The budgets as numbers, ascending."""
        return tuple(sorted({int(budget) for budget in self.budgets}))

    def simulation(self) -> Simulation:
        """Return what is run for every method but random."""
        return Simulation(self.methods, self.numbers, self.estimators, self.start)

    def random_curve(self, pool: int) -> Simulation:
        """Return what is run for random rows: more budgets, so that other methods' accuracies lie on the curve.

        Args:
            pool: Rows that are chosen from.
        """
        top = min(pool, REACH * max(self.numbers))
        # The budgets themselves are on the curve, so that differences to random are paired and not interpolated.
        budgets, budget = set(self.numbers), float(min(self.numbers))
        while budget < top:
            budgets.add(round(budget))
            budget *= GROWTH
        return Simulation((RANDOM,), tuple(budgets | {top}), self.estimators)


def simulate_labelling(
    x: Any,
    y: ArrayLike,
    settings: LabelSettings,
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run every method with every seed that is not done yet, and say what they come to.

    Args:
        x: Features, shape (n, d): an array, a memory map, or a scipy matrix, which is made dense.
        y: Classes, whatever they are called, shape (n,).
        settings: What to simulate.
        out: Folder of ``outcomes.jsonl``, appended to after each method and seed, and ``record.json``.
        progress: Told of each part.

    Returns:
        The record, as ``summarise`` makes it.

    Raises:
        ValueError: If the folder holds outcomes of other settings or data, or a budget exceeds the pool.
        FileExistsError: If it holds trainings.
    """
    # Estimators and methods take dense rows; simulations are of tables that fit into memory.
    x = np.asarray(x.toarray() if hasattr(x, "toarray") else x)
    x = x if x.dtype in {np.dtype(np.float32), np.dtype(np.float64)} else x.astype(np.float32)
    # Classes by number: texts would be compared in every count. A missing label is refused, and no class of its own.
    y = partition(y, len(x)).numbers
    _check_rows(x, settings)
    prepare_file(out / "record.json")
    _claim(out, settings, x, y)
    file = out / OUTCOMES_FILE
    outcomes = _read(file)
    done = {(outcome.method, outcome.seed) for outcome in outcomes}
    # Any seed tells the pool's size, on which random's budgets depend.
    first = split_trial(x, y, seed=0, test=settings.test, pool=settings.pool)
    if max(settings.numbers) > len(first.targets):
        raise ValueError(
            f"budgets: {max(settings.numbers)} exceeds the pool of {len(first.targets)} rows to choose from: lower it"
        )
    runs: list[tuple[Method, Simulation]] = [(parse_method(RANDOM), settings.random_curve(len(first.targets)))]
    runs += [(method, settings.simulation()) for method in settings.simulation().parsed if method.name != RANDOM]
    # Seed by seed: a simulation that is stopped early has whole pairs.
    left = [(seed, *run) for seed in settings.seed_numbers for run in runs if (run[0].name, seed) not in done]
    for position, (seed, method, simulation) in enumerate(left):
        if progress is not None:
            progress(position, len(left), f"{method.name}, seed {seed}")
        trial = split_trial(x, y, seed=seed, test=settings.test, pool=settings.pool)
        new = list(simulation.run(trial, method))
        # One line for a whole part, and on disk before the next: a part is there or not, never half.
        append_line(file, json.dumps([outcome.to_json() for outcome in new]))
        outcomes += new
    if progress is not None:
        progress(len(left), len(left), "done")
    record = summarise(outcomes, settings)
    replace_file(out / "record.json", json.dumps(record, indent=1))
    return record


def summarise(outcomes: Iterable[Outcome], settings: LabelSettings) -> dict[str, Any]:
    """Say what the outcomes of all methods come to.

    Args:
        outcomes: Of all methods and seeds.
        settings: What was simulated.

    Returns:
        Plain values: ``settings``; ``random``, its curve by estimator; ``rows``, one for each method, budget and
        estimator, with mean accuracy, the difference to random with its interval (Holm's correction over the methods),
        the verdict, the label saving and the seconds of choosing. ``accuracies`` are those of the seeds by number, from
        which further comparisons can be made.
    """
    table: dict[tuple[str, int, str], dict[int, Outcome]] = {}
    for outcome in outcomes:
        # A folder may hold more seeds than were asked for: the numbers are of those that the settings name.
        if outcome.seed in settings.seed_numbers:
            table.setdefault((outcome.method, outcome.budget, outcome.estimator), {})[outcome.seed] = outcome
    # Of the file's outcomes only what was asked for: a folder may hold more methods.
    names = [name for name in settings.methods if name != RANDOM]
    record: dict[str, Any] = {"settings": {**asdict(settings)}, "random": {}, "rows": []}
    for estimator in settings.estimators:
        curve = {
            budget: _accuracies(seeds)
            for (method, budget, kind), seeds in table.items()
            if method == RANDOM and kind == estimator
        }
        record["random"][estimator] = {
            str(budget): {
                "mean": float(np.mean(list(curve[budget].values()))),
                "seeds": len(curve[budget]),
                "accuracies": _by_text(curve[budget]),
            }
            for budget in sorted(curve)
        }
        for budget in settings.numbers:
            cells = {name: table[name, budget, estimator] for name in names if (name, budget, estimator) in table}
            # One family of comparisons for each budget and estimator: Holm's correction counts the methods within it.
            judged = judge_all({name: _accuracies(cell) for name, cell in cells.items()}, curve.get(budget, {}))
            for name, cell in cells.items():
                record["rows"].append(_row(name, budget, estimator, cell, curve, judged.get(name)))
    return record


def _row(
    name: str,
    budget: int,
    estimator: str,
    cell: Mapping[int, Outcome],
    curve: Mapping[int, Mapping[int, float]],
    judged: Any,
) -> dict[str, Any]:
    accuracies = _accuracies(cell)
    row: dict[str, Any] = {
        "method": name,
        "budget": budget,
        "estimator": estimator,
        "seeds": len(accuracies),
        "accuracy": float(np.mean(list(accuracies.values()))),
        "accuracies": _by_text(accuracies),
        "classes": float(np.mean([outcome.classes for outcome in cell.values()])),
        # The median: the first call of a process compiles, and would dominate a mean.
        "choosing_seconds": float(np.median([outcome.choosing_seconds for outcome in cell.values()])),
    }
    if judged is not None:
        difference = judged.difference
        row |= {
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "level": judged.level,
            "verdict": judged.verdict,
        }
    seeds = sorted(accuracies)
    # Only budgets that every seed has: the bootstrap draws seeds across all of them.
    paired = {b: np.array([held[seed] for seed in seeds]) for b, held in curve.items() if all(s in held for s in seeds)}
    # A curve takes two points; there may be one while random is still being simulated.
    if len(paired) >= 2:
        saving = label_saving(paired, np.array([accuracies[seed] for seed in seeds]), budget)
        row["saving"] = asdict(saving)
    return row


def _accuracies(cell: Mapping[int, Outcome]) -> dict[int, float]:
    return {seed: outcome.accuracy for seed, outcome in cell.items()}


def _check_rows(x: NDArray[Any], settings: LabelSettings) -> None:
    """Refuse rows that a later method would refuse, before those ahead of it have run for minutes."""
    if x.ndim != 2:
        raise ValueError(f"features have shape {x.shape}: expected (rows, features), one row for each example")
    bad = np.flatnonzero(~np.isfinite(x).all(1))
    if len(bad):
        raise ValueError(f"features: row {bad[0]} holds nan or an infinite value: mend or drop such rows")
    empty = np.flatnonzero(~x.any(1))
    if len(empty) and any(method.metric == "cosine" for method in settings.simulation().parsed):
        raise ValueError(f"features: row {empty[0]} is all zeros, which has no direction: drop it, or use euclidean")


def _by_text(accuracies: Mapping[int, float]) -> dict[str, float]:
    """Write seeds as texts, ascending: what is returned equals what is read from JSON, whose keys are texts."""
    return {str(seed): round(accuracies[seed], 6) for seed in sorted(accuracies)}


def _claim(out: Path, settings: LabelSettings, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Make sure that the folder's outcomes are of these data and settings; seeds and methods may be added."""
    # Both kinds of comparison write a report of the same name.
    if (out / "config.yaml").exists():
        raise FileExistsError(f"{out} holds a training or a comparison of trainings: pass another --out")
    identity = {
        **{key: value for key, value in asdict(settings).items() if key not in _ADDED},
        "shape": list(x.shape),
        # A sum notices other data; it needs no second copy, and rounding cannot change it on one machine.
        "sum": float(np.asarray(x, np.float64).sum()),
        "classes": np.bincount(y).tolist(),
    }
    # Through JSON and back before comparing: tuples become lists there, and would differ from what was read.
    text = json.dumps(identity, default=list)
    file = out / "identity.json"
    if not file.exists():
        replace_file(file, text)
        return
    old = json.loads(file.read_text(encoding="utf-8"))
    differs = [key for key, value in json.loads(text).items() if old.get(key) != value]
    if differs:
        raise ValueError(
            f"{out} holds a simulation with other {', '.join(differs)}: pass another --out, or the same settings"
        )


def _read(file: Path) -> list[Outcome]:
    if not file.exists():
        return []
    outcomes = []
    content = file.read_text(encoding="utf-8")
    if content and not content.endswith("\n"):  # a kill in the middle of a line: its method and seed are run again
        content = content[: content.rfind("\n") + 1]
        replace_file(file, content)
    for number, line in enumerate(content.splitlines(), 1):
        try:
            # Outcomes of another version lack fields or have others: a TypeError, which the message turns into a line
            # to remove.
            outcomes += [Outcome(**row) for row in json.loads(line)]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file}, line {number} is damaged ({error}): remove the line to run it again") from error
    return outcomes
