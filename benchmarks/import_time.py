"""How much longer `import adacore` takes than `import torch`, in fresh processes that take turns.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def seconds(module: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def main(rounds: int = 7) -> None:
    for module in ("torch", "adacore"):
        seconds(module)  # files come from the disk the first time
    pairs = [(seconds("torch"), seconds("adacore")) for _ in range(rounds)]
    torch, adacore = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
    print(f"import torch {torch:.2f} s, import adacore {adacore:.2f} s: {adacore - torch:+.2f} s (bar: +1.0 s)")


if __name__ == "__main__":
    main()
