"""The doctor: checks the installation, and that every selector keeps its promises, on the user's machine."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

_FORK_SECONDS = 30.0
"""A forked worker does its work in milliseconds; one that hangs on an inherited lock never does."""

_CORE = ("torch", "numba", "numpy")

_LABORATORY = ("scipy", "scikit-learn", "lightning-fabric")
"""What the extra ``experiments`` installs, as far as the doctor and what it checks need it."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        part: What was looked at.
        healthy: Whether all is well.
        detail: What was found; if something is wrong, what to do.
    """

    part: str
    healthy: bool
    detail: str


def run(console: Console | None = None) -> bool:
    """Check everything and print a table.

    Args:
        console: Where to print; None for standard output.

    Returns:
        Whether all is well.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if console is None else console
    start, findings = time.perf_counter(), []
    table = Table("Checked", "", "Found", title="adacore doctor", title_justify="left")
    # Compiling and forking take seconds without any output: the status says that something happens.
    with console.status("checking"):
        for finding in diagnose():
            findings.append(finding)
            mark = Text("ok", "green") if finding.healthy else Text("FAILED", "bold red")
            table.add_row(Text(finding.part), mark, Text(finding.detail))
    console.print(table)
    failed = [finding.part for finding in findings if not finding.healthy]
    verdict = f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}." if failed else "All is well."
    console.print(Text(f"{verdict} Took {time.perf_counter() - start:.0f} s."))
    return not failed


def diagnose() -> Iterator[Finding]:
    """Check the installation and every selector, installed ones of other packages too, one after another."""
    # From what everything rests on to what rests on it: the first failure explains those below.
    checks: dict[str, Callable[[], str]] = {
        "Python": _python,
        "packages": _packages,
        "threads": _threads,
        "compiled code": _compiled,
        "cache folder": _cache,
        "forked workers": _fork,
    }
    for part, check in checks.items():
        try:
            yield Finding(part, True, check())
        except Exception as error:  # whatever is wrong with this machine belongs into the table
            yield Finding(part, False, _sentence(error))
    yield from _selectors()


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages() -> str:
    found, missing = [], []
    for name in (*_CORE, *_LABORATORY):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        # With its extra: the core alone would not bring what the laboratory lacks.
        wanted = "adacore" if {*missing} <= {*_CORE} else "'adacore[experiments]'"
        raise RuntimeError(f"not installed: {', '.join(missing)}: pip install {wanted}")
    return ", ".join(found)


def _threads() -> str:
    import torch

    from adacore.facility.threads import run_in_threads, thread_count

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Threads within threads would compute with cores times cores of them, which is slower than one.
    nested = run_in_threads(lambda _: thread_count(), range(2), threads=2)
    if nested != [1, 1]:
        raise RuntimeError(f"threads within threads: {nested}, expected one each")
    few = "" if torch.get_num_threads() <= cores else f"; torch uses {torch.get_num_threads()}: set OMP_NUM_THREADS"
    return f"selection uses {thread_count()} of {cores} cores{few}"


def _compiled() -> str:
    from adacore.facility import facility_location, facility_objective

    x = np.random.default_rng(0).normal(size=(200, 5))  # small enough to compare with the full matrix of distances
    start = time.perf_counter()
    coreset = facility_location(x, budget=10)
    seconds = time.perf_counter() - start
    # The definition itself, in float64: 200 x 200 distances are nothing here, and nothing is shared with the engine.
    distances = np.sqrt(np.square(x[:, None] - x[None]).sum(-1))
    # The first pick is the one that a person can check: the row with the least sum of distances.
    if coreset.indices[0] != distances.sum(0).argmin():
        raise RuntimeError("the first pick is not the medoid: reinstall numba, and report this")
    expected = distances[:, coreset.indices].min(1).sum()
    if not np.isclose(facility_objective(x, coreset.indices), expected):
        raise RuntimeError("L(S) differs from its definition: reinstall torch, and report this")
    return f"the first selection took {seconds:.1f} s, agrees with the definition"


def _cache() -> str:
    """Compiled code is kept where numba was told to, beside the package, or in the user's cache folder."""
    import adacore

    package, home = Path(adacore.__file__).parent, Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    given = os.environ.get("NUMBA_CACHE_DIR")
    for folder in [Path(given)] if given else [package, home]:
        # A cache folder may not exist yet: then its nearest existing parent decides whether it can be made.
        existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
        if os.access(existing, os.W_OK):
            return f"compiled code is kept in {folder}"
    return "none can be written to, every process compiles anew (seconds): set NUMBA_CACHE_DIR to a folder of yours"


def _fork() -> str:
    if "fork" not in multiprocessing.get_all_start_methods():
        return "this system does not fork"
    # fork and not spawn: it is what DataLoader uses on Linux, and what inherits locks of threads that no longer run.
    context: Any = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    worker = context.Process(target=_work, args=(answers,), daemon=True)
    worker.start()
    # Joined before the queue is read: a worker that hangs never writes to it.
    worker.join(_FORK_SECONDS)
    if worker.is_alive():
        worker.kill()
        raise RuntimeError("a forked process hangs after a selection: use DataLoader(multiprocessing_context='spawn')")
    if worker.exitcode != 0 or answers.empty():
        raise RuntimeError(f"a forked process ended with exit code {worker.exitcode} after a selection")
    return "work after a selection"


def _work(answers: Any) -> None:
    import torch

    torch.set_num_threads(1)  # as a DataLoader's worker does
    answers.put(float(torch.ones(100, 100).mm(torch.ones(100, 100)).sum()))


def _selectors() -> Iterator[Finding]:
    from adacore.selectors import SELECTORS, installed_selectors
    from adacore.selectors.invariants import INVARIANTS, check_selector

    installed = installed_selectors()
    # Other packages' selectors keep the same promises, and are checked by the same invariants.
    for name, selector in {**SELECTORS, **installed}.items():
        part = f"selector {name}" + (" (installed)" if name in installed else "")
        if isinstance(selector, Exception):
            yield Finding(part, False, f"does not load: {_sentence(selector)}")
            continue
        try:
            made = selector()
            broken = check_selector(made)
            count = sum(invariant.applies(made.traits) for invariant in INVARIANTS.values())
        except Exception as error:  # another package's selector may do anything
            yield Finding(part, False, f"cannot be made without settings: {_sentence(error)}")
            continue
        said = "; ".join(f"not {INVARIANTS[broke].promise!r}: {how}" for broke, how in broken.items())
        yield Finding(part, not broken, said or f"keeps its {count} promises")
