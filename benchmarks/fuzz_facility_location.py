"""Compare facility_location with naive greedy on random small problems over all options.

    python benchmarks/fuzz_facility_location.py --seconds 120
    python benchmarks/fuzz_facility_location.py --problems 100000
    python benchmarks/fuzz_facility_location.py --seconds 120 --engine products

The oracle holds all distances in float64 and looks at every candidate for every pick. A pick may differ from the
oracle's only where the two are a tie up to the rounding of the oracle's own sums. Every problem follows from its number
alone.

Each problem draws rows of some kind and scale, any combination of options (initial, candidates, clients, weights,
labels, quotas, metric, threads), what is asked for (a budget, a tolerance, refinement, another method), the form in
which rows come (float16 to float64, bfloat16, whole numbers, tensors, memory maps, sparse), and the engine. Of some,
the nearest picks and the farthest-first picks are looked at too. ``--engine`` sends plain problems of every size and
dimension through one engine instead. ``products-8-bits`` takes all bounds from 8 bits, however loose they get, where
the machine has such products; so does the usual mixture. ``products-torch`` is the engine for many dimensions as it
computes on a GPU, here on the CPU.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np

from adacore.facility import engines
from adacore.facility.products import compiled_evaluator, eight_bits, sample
from adacore.facility.products import greedy as product_greedy
from adacore.facility.products.choosing_evaluators import choose_evaluator

# This project's tests, whatever package of that name some library has installed.
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).resolve().parent.parent / "tests")]

from tests.facility.random_problems import RandomProblem, check_problem, draw_problem  # noqa: E402
from tests.facility.varied_problems import check_varied, draw_varied  # noqa: E402

ENGINES = ("any", "usual", "tree", "products", "products-8-bits", "products-torch")

MANY_DIMENSIONS = (64, 384, 1500)
"""Most random problems have few dimensions, where the bounds on rounding are tight; in many they are loose."""


def force_engine(name: str) -> None:
    """Send every problem through one engine."""
    if name in ("any", "products-8-bits"):
        use_8_bits()
    if name in ("any", "usual"):
        return
    engines.MOST_PAIRS = 0
    if name == "tree":
        engines.LEAST_DIMENSIONS = sys.maxsize
        return
    engines.LEAST_DIMENSIONS = 0
    if name == "products-torch":
        product_greedy.choose_evaluator = lambda sides, workers, compiled: choose_evaluator(sides, workers, False)


def use_8_bits() -> None:
    """Bound distances from 8 bits in all dimensions, however loose bounds get: they must still be bounds."""
    # torch 2.13 multiplies rows of a single number wrongly: ``_int_mm`` of (3, 1) and (1, 3).
    eight_bits.LEAST_DIMENSIONS = 2
    sample.MOST_SLACK = sample.MOST_LARGER = compiled_evaluator.MOST_LONGER = sys.float_info.max


def widen(problem: RandomProblem, number: int) -> RandomProblem:
    """Turn rows of every third problem into many dimensions, by a random matrix; clients by the same."""
    if number % 3:
        return problem
    rng = np.random.default_rng(number)
    d = int(rng.choice(MANY_DIMENSIONS))
    turn = rng.normal(size=(problem.x.shape[1], d)) / d**0.5
    options = dict(problem.options)
    if "clients" in options:
        options["clients"] = options["clients"] @ turn
    # Multiplied row by row, so that equal rows stay equal to the last bit.
    wide = np.stack([row @ turn for row in problem.x.astype(np.float64)])
    if options.get("metric") == "cosine":
        # Directions that occur twice, at other lengths.
        wide[len(wide) // 2 :] = 3 * wide[: len(wide) - len(wide) // 2]
    return RandomProblem(problem.kind, wide, options)


def check_number(number: int, engine: str) -> tuple[str, str | None]:
    """Draw a problem and run it; return what it is, and what is wrong with the answer, if anything."""
    told = "not drawn"
    try:
        if engine == "any":
            varied = draw_varied(number)
            told = str(varied)
            return told, check_varied(varied)
        problem = draw_problem(number)
        if engine.startswith("products"):
            problem = widen(problem, number)
        options = {name: value for name, value in problem.options.items() if isinstance(value, int | str | dict)}
        told = f"{problem.kind}, {problem.x.shape}, {options}, {sorted(set(problem.options) - set(options))}"
        return told, check_problem(problem)
    except Exception as error:  # whatever the engine raises is wrong: every drawn problem has an answer
        return told, f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare facility_location with naive greedy on small problems.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--problems", type=int, default=None, help="stop after so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--engine", choices=ENGINES, default="any", help="which engine takes all problems")
    arguments = parser.parse_args()
    force_engine(arguments.engine)
    # Many problems have fewer different rows than are asked for, on purpose.
    warnings.simplefilter("ignore", UserWarning)
    start, number, wrong = time.monotonic(), arguments.first, 0
    most = arguments.problems if arguments.problems is not None else sys.maxsize
    while number - arguments.first < most and time.monotonic() - start < arguments.seconds:
        told, complaint = check_number(number, arguments.engine)
        if complaint is not None:
            wrong += 1
            print(f"problem {number} ({told}): {complaint}", flush=True)
        number += 1
    print(f"{number - arguments.first} problems, {wrong} wrong, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
