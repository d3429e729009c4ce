"""What selecting and fitting took, and after how many fits the selection has paid for itself."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NOTICED_SECONDS = 0.5
"""A selection below this is not worth a warning, nor the pilot that a warning is based on."""


class SlowSelectionWarning(UserWarning):
    """Selecting took longer than fitting on all examples would have."""


@dataclass(frozen=True)
class FitLedger:
    """The account of one fit on a coreset.

    Attributes:
        population: n, examples that were chosen from.
        size: k, examples chosen.
        selecting_seconds: What the selection took when it was computed, libraries and kernels being loaded before.
        fitting_seconds: What fitting on the coreset took.
        selection_reused: Whether the selection came from the cache, so that this fit did not pay for it.
        largest_share: Of all weight, the share that the heaviest example carries.

    Example:
        >>> ledger = FitLedger(1000, 100, selecting_seconds=3.0, fitting_seconds=0.5, selection_reused=False)
        >>> ledger.fits_until_paid(full_fit_seconds=1.5), ledger.estimated_fits_until_paid
        (3, 1)
    """

    population: int
    size: int
    selecting_seconds: float
    fitting_seconds: float
    selection_reused: bool
    largest_share: float = 0.0

    @property
    def estimated_fits_until_paid(self) -> int | None:
        """Return ``fits_until_paid`` under the assumption that fitting takes as many seconds per example on all data.

        Where fitting grows faster than the number of examples, as with kernels, it pays sooner.
        """
        # A guess that is linear in n: most fits grow at least as fast, so that it errs on the side of selecting.
        return self.fits_until_paid(self.fitting_seconds * self.population / max(1, self.size))

    def fits_until_paid(self, full_fit_seconds: float) -> int | None:
        """Return the least number of fits after which selecting once was cheaper than fitting on all data.

        ``ceil(selecting / (full fit - coreset fit))``.

        Args:
            full_fit_seconds: What one fit on all data takes, as measured.

        Returns:
            At least 1; None if a fit on the coreset saves nothing.

        Raises:
            ValueError: If the seconds are negative or not finite.
        """
        if not (math.isfinite(full_fit_seconds) and full_fit_seconds >= 0):
            raise ValueError(f"full_fit_seconds={full_fit_seconds}: expected seconds, finite and >= 0")
        saved = full_fit_seconds - self.fitting_seconds
        # At least one fit: the coreset itself has been fitted on once by then.
        return max(1, math.ceil(self.selecting_seconds / saved)) if saved > 0 else None


def warn_if_slow(ledger: FitLedger, fit_half: Callable[[], Any]) -> None:
    """Warn if selecting took longer than fitting on all examples would have.

    A fit on half of the coreset is timed as a pilot: with the fit on all of it, it says how fitting grows, as a power p
    of the number of examples between 1 and 3, and ``fitting seconds (n / k)^p`` is what all examples would take. The
    pilot runs only where even p = 1 says that selecting was slower, so that it costs a small share of the selection.

    Args:
        ledger: Of the fit.
        fit_half: Fits a clone of the estimator on half of the coreset.
    """
    # n / k: how many times as many examples a fit on all data would see.
    ratio = ledger.population / ledger.size
    if (
        # Nothing was paid for, or halves of two examples would be timed, or fitting on all data was slower even if
        # linear.
        ledger.selection_reused
        or ledger.size < 4
        or ledger.selecting_seconds < max(NOTICED_SECONDS, ledger.fitting_seconds * ratio)
    ):
        return
    begin = time.perf_counter()
    try:
        fit_half()
    except ValueError:  # half a coreset may lack a class; then nothing is known, and nothing said
        return
    # Both times are kept off 0: very small fits are below the clock's resolution, and their ratio is a power below.
    half = max(time.perf_counter() - begin, 1e-6)
    # log2 of fit(k) / fit(k / 2) is p in k^p. Timings are noisy: below 1 would say that more data are cheaper, and
    # above 3 grows nothing that people fit (an exact kernel method is cubic).
    power = min(3.0, max(1.0, math.log2(max(ledger.fitting_seconds, 1e-6) / half)))
    full = ledger.fitting_seconds * ratio**power
    if ledger.selecting_seconds > full:
        warnings.warn(
            f"selecting took {ledger.selecting_seconds:.2g} s, fitting on all {ledger.population} examples would take "
            f"about {full:.2g} s: fit the estimator on all, pass memory= if it is fitted many times, or "
            "method='random'",
            SlowSelectionWarning,
            stacklevel=3,
        )
