"""``python -m adacore.experiments.paper --write-results``: make docs/results.md from the records."""

from __future__ import annotations

import argparse
from pathlib import Path

from adacore.experiments.paper.results import write_results


def main() -> int:
    """Write the page of results.

    Returns:
        0, or 1 if ``--check`` finds that the page is not what the records make.
    """
    parser = argparse.ArgumentParser(prog="python -m adacore.experiments.paper", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write-results", action="store_true", help="write the page")
    action.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    parser.add_argument("--records", type=Path, default=Path("docs/records"), help="default: docs/records")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"), help="default: docs/results.md")
    arguments = parser.parse_args()
    if not (arguments.records / "paper.yaml").is_file():
        parser.error(f"no {arguments.records / 'paper.yaml'}: run this at the root of a checkout, or pass --records")
    if arguments.write_results:
        print(f"wrote {write_results(arguments.records, arguments.out)}")
        return 0
    before = arguments.out.read_text(encoding="utf-8") if arguments.out.is_file() else None
    scratch = write_results(arguments.records, arguments.out.with_suffix(".partial"))
    made = scratch.read_text(encoding="utf-8")
    scratch.unlink()
    if made != before:
        print(f"{arguments.out} is not what the records make: run with --write-results")
    return int(made != before)


if __name__ == "__main__":
    raise SystemExit(main())
