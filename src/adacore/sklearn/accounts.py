"""What selecting and fitting took, and after how many fits the selection has paid for itself."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FitLedger:
    """The account of one fit on a coreset.

    Attributes:
        population: n, examples that were chosen from.
        size: k, examples chosen.
        selecting_seconds: What the selection took when it was computed.
        fitting_seconds: What fitting on the coreset took.
        selection_reused: Whether the selection came from the cache, so that this fit did not pay for it.

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

    @property
    def estimated_fits_until_paid(self) -> int | None:
        """As ``fits_until_paid``, if a fit costs as much an example on everything as it did on the coreset.

        Where fitting grows faster than the number of examples, as with kernels, it pays sooner.
        """
        return self.fits_until_paid(self.fitting_seconds * self.population / max(1, self.size))

    def fits_until_paid(self, full_fit_seconds: float) -> int | None:
        """Return the least number of fits after which selecting once was cheaper than fitting on everything.

        ``ceil(selecting / (full fit - coreset fit))``.

        Args:
            full_fit_seconds: What one fit on everything takes, as measured.

        Returns:
            At least 1; None if a fit on the coreset saves nothing.

        Raises:
            ValueError: If the seconds are negative or not finite.
        """
        if not (math.isfinite(full_fit_seconds) and full_fit_seconds >= 0):
            raise ValueError(f"full_fit_seconds={full_fit_seconds}: expected seconds, finite and >= 0")
        saved = full_fit_seconds - self.fitting_seconds
        return max(1, math.ceil(self.selecting_seconds / saved)) if saved > 0 else None
