"""What choosing rows to label is worth, on data whose classes are known; writes docs/records/labelling-*.json.

    python benchmarks/labelling.py digits mnist ...  # the records: seeds 100 to 119, all data sets if none is named
    python benchmarks/labelling.py --seeds=12 mnist  # fewer, where time runs out
    python benchmarks/labelling.py refined mnist     # what swaps add (refine=true): seeds 200 to 211
    python benchmarks/labelling.py claims            # from the records: the default against random, one family of tests
    python benchmarks/labelling.py means             # facility location and AdaCore against others over data sets
    python benchmarks/labelling.py seconds mnist     # processor seconds of choosing 100 rows of one seed
    python benchmarks/labelling.py tables            # everything
    python benchmarks/labelling.py page              # writes these three into docs/labelling.md

A simulation that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

import adacore
from adacore.experiments.evidence.intervals import Interval
from adacore.experiments.evidence.verdicts import judge_all
from adacore.experiments.runs.labelling_comparison import LabelSettings, simulate_labelling
from adacore.labelling.methods import Pool, parse_method
from adacore.labelling.simulation import split_trial
from labelling_data import DATASETS, ROOT, RUNS

RECORDS = ROOT / "docs" / "records"
FEATURES = (
    "random",
    "facility_location(refine=false)",
    "facility_location(refine=false, weighted=true)",
    "facility_location(metric=cosine, refine=false, weighted=true)",
    "k_center",
    "k_means",
    "typiclust",
)
IN_ROUNDS = ("margin", "entropy", "badge", "adacore(targets=predicted)", "craig(targets=predicted)")
BUDGETS = ("20", "50", "100", "200", "500")
FIRST_SEED, SEEDS = 100, 20
"""Of the records, and the same for all methods. Set before any of them was run."""
GREEDY, REFINED = "facility_location(refine=false)", "facility_location(refine=true)"
REFINED_METHODS = ("random", GREEDY, REFINED, "k_means", "typiclust")
REFINED_FIRST_SEED, REFINED_SEEDS = 200, 12
"""Swaps are judged on seeds of their own: that they help at 20 labels was seen on seeds 100 to 119 of digits."""
HEADLINE = REFINED
"""The facility location that claims are made of: what ``adacore label`` and ``adacore.labelling.Rounds`` do up to 200
labels where nothing is set. Swaps were thought of on the seeds 100 to 119 of digits; that they are the default was
decided on the seeds of the claims, on which nothing else was tried."""
CLAIMED = ("digits", "mnist", "packages")
CLAIMED_BUDGETS = (20, 50)


def run(name: str, settings: LabelSettings, command: str, file: Path, folder: Path) -> None:
    """Simulate, and write the record."""
    data = DATASETS[name]()
    # The first round of methods that need a model is as in the records that are there: without swaps.
    settings = LabelSettings(**{**settings.__dict__, "pool": data.pool, "test": data.test, "start": GREEDY})
    tell = lambda *part: print(*part, flush=True)  # noqa: E731
    record = simulate_labelling(data.rows, data.classes, settings, folder, progress=tell)
    record["made_with"] = {
        "command": f"python benchmarks/labelling.py {command}",
        "adacore": adacore.__version__,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, shared with other work: seconds are too long",
    }
    file.write_text(_compact(record), encoding="utf-8")


def _compact(record: dict[str, Any]) -> str:
    """Write a record with a line for each row, so that a change of one shows as one line."""
    head = {key: value for key, value in record.items() if key != "rows"}
    rows = ",\n".join(f"  {json.dumps(row)}" for row in record["rows"])
    return json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{rows}\n ]\n}}\n'


def read_records(names: Iterable[str] = tuple(DATASETS), *, kind: str = "") -> dict[str, dict[str, Any]]:
    """Read the records that are there, by data set; ``kind`` is "refined-" for those of refined selections."""
    files = {name: RECORDS / f"labelling-{kind}{name}.json" for name in names}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def seeds_of(record: dict[str, Any], method: str, budget: int, estimator: str) -> dict[int, float]:
    """Accuracies by seed."""
    if method == "random":
        found = record["random"][estimator][str(budget)]
    else:
        key = (method, budget, estimator)
        found = next(row for row in record["rows"] if (row["method"], row["budget"], row["estimator"]) == key)
    return {int(seed): accuracy for seed, accuracy in found["accuracies"].items()}


def tables() -> str:
    """Write the tables of accuracies and savings."""
    lines = []
    for name, record in read_records().items():
        counts = {row["seeds"] for row in record["rows"]}
        for estimator in record["settings"]["estimators"]:
            rows = [row for row in record["rows"] if row["estimator"] == estimator]
            budgets = sorted({row["budget"] for row in rows})
            lines += [
                "",
                f"{name}, {estimator}, {'/'.join(map(str, sorted(counts)))} seeds:",
                "",
                f"| method | {' | '.join(map(str, budgets))} |",
            ]
            random = [f"{100 * record['random'][estimator][str(b)]['mean']:.1f} %" for b in budgets]
            lines += ["| --- |" + " --- |" * len(budgets), f"| random | {' | '.join(random)} |"]
            for method in dict.fromkeys(row["method"] for row in rows):
                cells = {row["budget"]: _cell(row) for row in rows if row["method"] == method}
                lines.append(f"| {method} | {' | '.join(cells[b] for b in budgets)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    """Write a difference in points, bold where it is better than random, and the saving."""
    text = f"{100 * row['difference']:+.1f}"
    limit = "< " if row["saving"].get("below") else ""
    return f"{f'**{text}**' if row['verdict'] == 'better' else text}, {limit}{row['saving']['factor']:.1f} x"


def claims() -> str:
    """Judge what is claimed, all in one family: the headline against random on each data set, budget and estimator."""
    ours, controls, savings = {}, {}, {}
    for name, record in read_records(CLAIMED, kind="refined-").items():
        for budget in CLAIMED_BUDGETS:
            for estimator in record["settings"]["estimators"]:
                key = f"{name} | {budget} | {estimator}"
                ours[key] = seeds_of(record, HEADLINE, budget, estimator)
                controls[key] = seeds_of(record, "random", budget, estimator)
                savings[key] = next(
                    row
                    for row in record["rows"]
                    if (row["method"], row["budget"], row["estimator"]) == (HEADLINE, budget, estimator)
                )
    judged = judge_all(ours, controls)
    lines = ["| data | labels | learner | points over random | verdict | label saving (95 %) | with all methods |"]
    lines.append("| --- |" + " --- |" * 6)
    for key, judgement in judged.items():
        difference, row = judgement.difference, savings[key]
        saving = row["saving"]
        lines.append(
            f"| {key} | {_points(difference)} | {judgement.verdict} | {saving['factor']:.1f} x ({saving['low']:.1f} to "
            f"{saving['high']:.1f}) | {row['verdict']} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f}) |"
        )
    return "\n".join(lines)


def means() -> str:
    """Compare over data sets, each counting the same, with 95 % intervals of the paired differences."""
    records, refined = read_records(), read_records(kind="refined-")
    lines = [f"Means over {', '.join(records)} (refined: over {', '.join(refined)}), in points, with 95 % intervals."]
    pairs = [(refined, REFINED, other) for other in ("k_means", "typiclust", GREEDY)]
    pairs += [(records, GREEDY, other) for other in ("k_means", "typiclust")]
    adacore_pairs = ("craig(targets=predicted)", "badge", "margin", GREEDY)
    pairs += [(records, "adacore(targets=predicted)", other) for other in adacore_pairs]
    for estimator in ("logistic", "nearest"):
        lines += ["", f"| {estimator} | {' | '.join(BUDGETS)} |", "| --- |" + " --- |" * len(BUDGETS)]
        for held, ours, theirs in pairs:
            cells = []
            for budget in map(int, BUDGETS):
                sets = []
                for record in held.values():
                    a, b = (seeds_of(record, method, budget, estimator) for method in (ours, theirs))
                    sets.append([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])
                cells.append(_points(mean_over_sets(sets)))
            lines.append(f"| {ours} less {theirs} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_over_sets(sets: Sequence[Sequence[float]], *, level: float = 0.95) -> Interval:
    r"""Average differences within each data set, and then over data sets, each counting the same.

    The mean of means sum_d mean_d / m has the variance sum_d v_d / m^2, v_d = s_d^2 / n_d, and about
    (sum_d v_d)^2 / sum_d (v_d^2 / (n_d - 1)) degrees of freedom (Welch, 1947). The data sets are taken as they are: the
    interval says how well their mean is known, and nothing of others.
    """
    means = [float(np.mean(values)) for values in sets]
    variances = np.array([float(np.var(values, ddof=1)) / len(values) for values in sets])
    mean, error = float(np.mean(means)), math.sqrt(float(variances.sum())) / len(sets)
    if error == 0:  # all differences of a set are equal, in every set: no spread is seen
        return Interval(mean, mean, mean, sum(map(len, sets)))
    degrees = variances.sum() ** 2 / sum(v**2 / (len(values) - 1) for v, values in zip(variances, sets, strict=True))
    half = float(t.ppf((1 + level) / 2, degrees)) * error
    return Interval(mean, mean - half, mean + half, sum(map(len, sets)))


def seconds(name: str, budget: int = 100, repeats: int = 3) -> str:
    """Measure the processor seconds of choosing from nothing, the median of some repeats after a first call."""
    data = DATASETS[name]()
    trial = split_trial(data.rows, data.classes, seed=0, test=data.test, pool=data.pool)
    pool = Pool(np.asarray(trial.features, np.float32), np.empty(0, np.int64))
    lines = [f"{budget} of {len(trial.targets):,} x {trial.features.shape[1]}, CPU seconds, median of {repeats}:"]
    for method in map(parse_method, (GREEDY, REFINED, "k_center", "k_means", "typiclust")):
        spent = []
        for repeat in range(repeats + 1):
            start = time.process_time()
            method.choose(pool, budget, np.random.default_rng(repeat))
            spent.append(time.process_time() - start)
        lines.append(f"{method.name} {np.median(spent[1:]):.2f}")
    return "\n".join(lines)


def _points(interval: Any) -> str:
    return f"{100 * interval.mean:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


def main() -> None:
    """Simulate on the data sets that are named, or print what is recorded."""
    printed = {"tables": tables, "claims": claims, "means": means}
    if sys.argv[1:2] == ["page"]:
        page = ROOT / "docs" / "labelling.md"
        text = page.read_text(encoding="utf-8")
        for name, write in printed.items():
            begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}{write().strip()}\n{end}{rest.partition(end)[2]}"
        page.write_text(text, encoding="utf-8")
    elif sys.argv[1:2] == ["seconds"]:
        print("\n".join(map(seconds, sys.argv[2:])))
    elif sys.argv[1:] and sys.argv[1] in printed:
        print(printed[sys.argv[1]]())
    else:
        seeds = next((int(word.partition("=")[2]) for word in sys.argv[1:] if word.startswith("--seeds=")), SEEDS)
        names = [word for word in sys.argv[1:] if not word.startswith("--")]
        kind, methods, first = "", (*FEATURES, *IN_ROUNDS), FIRST_SEED
        if names[:1] == ["refined"]:
            kind, methods, first = "refined-", REFINED_METHODS, REFINED_FIRST_SEED
            names, seeds = names[1:], min(seeds, REFINED_SEEDS)
        for name in names or DATASETS:
            settings = LabelSettings(methods=methods, budgets=BUDGETS, seeds=seeds, first_seed=first)
            command = f"{kind.replace('-', ' ')}{name}"
            run(name, settings, command, RECORDS / f"labelling-{kind}{name}.json", RUNS / f"{kind}{name}")


if __name__ == "__main__":
    main()
