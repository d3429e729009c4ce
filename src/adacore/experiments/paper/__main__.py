"""``python -m adacore.experiments.paper --write-results``: make docs/results.md from the records."""

from __future__ import annotations

import argparse
from pathlib import Path

from adacore.experiments.paper.cards import PICTURES
from adacore.experiments.paper.pictures import draw, has_curves
from adacore.experiments.paper.quotes import wrong_quotes
from adacore.experiments.paper.records import read_records
from adacore.experiments.paper.results import write_results


def main() -> int:
    """Write the page of results.

    Returns:
        0, or 1 if ``--check`` finds that the page is not what the records make, or a figure in another page is not what
        its record says.
    """
    parser = argparse.ArgumentParser(prog="python -m adacore.experiments.paper", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write-results", action="store_true", help="write the page and its pictures")
    action.add_argument("--check", action="store_true", help="only tell whether pages say what records say")
    parser.add_argument("--records", type=Path, default=Path("docs/records"), help="default: docs/records")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"), help="default: docs/results.md")
    arguments = parser.parse_args()
    if not (arguments.records / "paper.yaml").is_file():
        parser.error(f"no {arguments.records / 'paper.yaml'}: run this at the root of a checkout, or pass --records")
    if arguments.write_results:
        print(f"wrote {write_results(arguments.records, arguments.out)}")
        for name, record in read_records(arguments.records).items():
            if isinstance(record.get("methods"), list) and "name" in record and has_curves(record):
                print(f"wrote {draw(record, arguments.out.parent / PICTURES / f'{name}.svg')}")
        return 0
    before = arguments.out.read_text(encoding="utf-8") if arguments.out.is_file() else None
    # Written and read back, so that what is compared went through the same encoding as the page.
    scratch = write_results(arguments.records, arguments.out.with_suffix(".partial"))
    made = scratch.read_text(encoding="utf-8")
    scratch.unlink()
    wrong = [] if made == before else [f"{arguments.out} is not what the records make: run with --write-results"]
    records = read_records(arguments.records)
    for page in (Path("README.md"), *sorted(arguments.out.parent.glob("*.md"))):
        if page.is_file():
            wrong += wrong_quotes(page, records)
    print("\n".join(wrong), end="\n" * bool(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
