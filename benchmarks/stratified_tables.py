"""The tables of docs/variance.md, written from the records of the small trainings.

    python benchmarks/stratified_tables.py mnist-ablation mnist-every

One row for each arm: accuracy on the test set, its difference to Random in points with the corrected interval, the
verdict, and median seconds of probing and selecting beside those of training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parents[1] / "docs" / "records"


def row(arm: dict[str, Any]) -> str:
    judged = arm.get("against random")
    told = "– | "
    if judged is not None:
        mean, low, high = (f"{100 * judged[end]:+.1f}" for end in ("mean", "low", "high"))
        told = f"{mean} ({low} to {high}) | {judged['verdict']}"
    seconds = f"{arm['selection_seconds']:.1f} beside {arm['training_seconds']:.1f}"
    return f"| `{arm['arm']}` | {arm['rate']} | {100 * arm['accuracy']:.1f} % | {told} | {seconds} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+")
    for name in parser.parse_args().experiments:
        record = json.loads((RECORDS / f"stratified-training-{name}.json").read_text())
        print(f"\n[{name}](records/stratified-training-{name}.json)\n")
        print("| arm | rate | accuracy | less Random | | seconds |\n| --- | --- | --- | --- | --- | --- |")
        print("\n".join(map(row, record["arms"])))


if __name__ == "__main__":
    main()
