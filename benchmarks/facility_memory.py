"""Peak memory and seconds of facility_location by the form of its rows, beside what ``plan`` predicts.

    python benchmarks/facility_memory.py
    python benchmarks/facility_memory.py --rows 50000 --budget 500 --only csr

Each form is measured in a process of its own: the peak of its resident memory after the selection less that before,
when the rows lie in memory (or are mapped: then their file is taken off as well). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FORMS = ("float32", "float64", "float16", "bfloat16", "int8", "float32 mapped", "float16 mapped", "cosine", "csr")

MIB = 2**20


def make_rows(form: str, n: int, d: int) -> Any:
    """Make rows in some form: a memory map of the file of float32 numbers, or an array, a tensor, a sparse matrix."""
    rng = np.random.default_rng(0)
    if form == "csr":
        import scipy.sparse

        entries = rng.random(n * 50, dtype=np.float32), rng.integers(0, 100_000, n * 50), np.arange(0, n * 50 + 1, 50)
        rows = scipy.sparse.csr_matrix(entries, shape=(n, 100_000))
        rows.sum_duplicates()
        return rows
    centres = rng.normal(size=(200, d)).astype(np.float32)
    rows = centres[rng.integers(0, 200, n)]
    rows += 0.5 * rng.standard_normal((n, d), dtype=np.float32)
    if form == "bfloat16":
        import torch

        return torch.from_numpy(rows).bfloat16()
    kind = form.split()[0] if form != "cosine" else "float32"
    rows = (20 * rows).clip(-120, 120).astype(np.int8) if kind == "int8" else rows.astype(kind)
    if form.endswith("mapped"):
        path = Path(tempfile.mkdtemp()) / "rows.npy"
        np.save(path, rows)
        return np.load(path, mmap_mode="r")
    return rows


def measure(form: str, n: int, d: int, k: int) -> None:
    """Select once in this process; print the form's line."""
    from adacore.facility import facility_location, prepare_kernels
    from adacore.facility.planning import plan_strata
    from adacore.facility.problem import check_problem

    prepare_kernels()
    rows = make_rows(form, n, d)
    facility_location(rows[:2000], budget=5)  # whatever is compiled for this form
    metric = "cosine" if form == "cosine" else "euclidean"
    problem = check_problem(rows[:2000])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time()
    coreset = facility_location(rows, budget=k, metric=metric)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    planned = plan_strata([check_problem(rows, metric=metric)], [k])
    held = planned.bytes + copied_bytes(rows, problem)
    size = entries_bytes(rows)
    if form.endswith("mapped"):
        peak -= size / MIB  # pages of the file, which the system takes back when it needs them
    print(
        f"| {form} | {n:,} x {rows.shape[1]:,} | {k:,} | {size / MIB:,.0f} | {peak:,.0f} | {held / MIB:,.0f} | "
        f"{seconds:.1f} | {planned.seconds * planned.threads:.1f} | {len(coreset):,} |",
        flush=True,
    )


def entries_bytes(rows: Any) -> int:
    """Count the bytes of the rows as passed."""
    if hasattr(rows, "indptr"):
        return int(rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes)
    return int(rows.nbytes)


def copied_bytes(rows: Any, problem: Any) -> int:
    """Count the bytes of the copy that rows are converted to before anything is selected, where they are."""
    if hasattr(rows, "indptr"):
        return 0  # in the prediction already
    dtype = np.dtype(str(rows.dtype).removeprefix("torch.")) if "bfloat16" not in str(rows.dtype) else None
    return 0 if dtype == problem.rows.dtype else rows.shape[0] * rows.shape[1] * problem.rows.dtype.itemsize


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure peak memory by the form of the rows.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--only", choices=FORMS, default=None, help="one form, in this process")
    arguments = parser.parse_args()
    if arguments.only is not None:
        measure(arguments.only, arguments.rows, arguments.columns, arguments.budget)
        return
    print("| rows | shape | k | input, MiB | peak, MiB | predicted, MiB | CPU s | predicted | picks |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for form in FORMS:
        sizes = f"--rows {arguments.rows} --columns {arguments.columns} --budget {arguments.budget}".split()
        subprocess.run([sys.executable, __file__, *sizes, "--only", form], check=True)


if __name__ == "__main__":
    main()
