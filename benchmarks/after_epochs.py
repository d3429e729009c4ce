"""What runs that are not finished had reached after some epochs, method by method and paired by seed.

    python benchmarks/after_epochs.py FOLDER EPOCH NAME

reads the runs below FOLDER and writes docs/records/NAME.json. A training that was cut off is no result of the whole
training, and the record says so: learning rates had not fallen yet.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from adacore.experiments.paper import make_record, write_record
from adacore.experiments.runs.recorded_runs import Method, read_methods


def cut(method: Method, epochs: int) -> Method:
    """Keep the first epochs of every run, as if it had been one of so many epochs."""
    runs = [
        dataclasses.replace(run, settings={**run.settings, "epochs": epochs}, rows=run.rows[:epochs])
        for run in method.runs
    ]
    return dataclasses.replace(method, runs=tuple(runs))


def main() -> None:
    folder, epochs, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    methods = [cut(method, epochs) for method in read_methods(folder).methods]
    record = make_record(methods, name)
    record["settings"]["epochs"] = 200
    record = {**record, "cut_off": epochs, "command": f"python benchmarks/after_epochs.py FOLDER {epochs} {name}"}
    # The methods last, one a line, as in every record.
    record["methods"] = record.pop("methods")
    print(f"wrote {write_record(record, Path('docs/records'))}")


if __name__ == "__main__":
    main()
