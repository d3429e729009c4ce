"""Compare facility_location with naive greedy on random small problems over all options.

    python benchmarks/fuzz_facility_location.py --seconds 120
    python benchmarks/fuzz_facility_location.py --problems 100000 --engine tree

The oracle holds all distances in float64 and looks at every candidate for every pick. A pick may differ from the
oracle's only where the two are a tie up to the rounding of the oracle's own sums. Every problem follows from its number
alone. ``--engine tree`` sends small problems, too, through the engine for large ones.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from pathlib import Path

from adacore.facility import engines

# This project's tests, whatever package of that name some library has installed.
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).resolve().parent.parent / "tests")]

from tests.facility.random_problems import check_problem, draw_problem  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare facility_location with naive greedy on small problems.")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--problems", type=int, default=None, help="stop after so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument(
        "--engine", choices=("usual", "tree"), default="usual", help="which engine takes small problems"
    )
    arguments = parser.parse_args()
    if arguments.engine == "tree":
        engines.MOST_PAIRS = 0
    start, number, wrong = time.monotonic(), arguments.first, 0
    most = arguments.problems if arguments.problems is not None else sys.maxsize
    while number - arguments.first < most and time.monotonic() - start < arguments.seconds:
        problem = draw_problem(number)
        try:
            complaint = check_problem(problem)
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        if complaint is not None:
            wrong += 1
            options = {name: value for name, value in problem.options.items() if isinstance(value, int | str | dict)}
            others = sorted(set(problem.options) - set(options))
            print(f"problem {number} ({problem.kind}, {problem.x.shape}, {options}, {others}): {complaint}", flush=True)
        number += 1
    print(f"{number - arguments.first} problems, {wrong} wrong, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
