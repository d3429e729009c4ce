"""What the engine takes: points, masses and classes, checked and brought to one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Points:
    """Points with masses, scaled by a power of two to a spread near 1, so that no square over- or underflows.

    Attributes:
        rows: Coordinates divided by ``scale``, float64, shape (n, d), C-contiguous.
        masses: Mass of each point, float64, shape (n,).
        scale: Power of two; a distance in the caller's units is a distance between rows times this.
    """

    rows: NDArray[np.float64]
    masses: NDArray[np.float64]
    scale: float

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.rows.shape[0])

    def take(self, members: NDArray[np.int64]) -> Points:
        """Return the points at the given positions."""
        return Points(np.ascontiguousarray(self.rows[members]), self.masses[members], self.scale)


def check_points(x: Any, weights: Any = None) -> Points:
    """Check points and masses, and bring them to one form.

    Args:
        x: Coordinates, a real array or tensor on any device, shape (n, d).
        weights: Mass of each point, shape (n,), finite, at least 0; one each if None.

    Returns:
        The points.

    Raises:
        ValueError: If a shape is wrong, there are no points, or a number is nan, infinite or (a mass) negative.
        TypeError: If the numbers are not real.
    """
    rows = as_array(x, "x")
    if rows.ndim != 2:
        raise ValueError(f"x has shape {rows.shape}: expected (n, d), one row per example; reshape it")
    n, d = rows.shape
    if n == 0:
        raise ValueError("there are no examples to select from: x is empty; pass at least one row")
    if d == 0:
        raise ValueError(f"x has shape {rows.shape}: examples without features can't be compared; pass d >= 1 columns")
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"x has dtype {rows.dtype}: expected real numbers; convert it first")
    rows = np.array(rows, dtype=np.float64, order="C")
    largest = float(max(-rows.min(), rows.max()))
    if not np.isfinite(largest):
        row, column = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
        raise ValueError(
            f"x[{row}, {column}] is {rows[row, column]}: expected finite numbers; drop or repair such rows first"
        )
    scale = _power_of_two(largest)
    rows /= scale
    spread = _power_of_two(float((rows.max(axis=0) - rows.min(axis=0)).max()))
    rows /= spread
    scale *= spread
    return Points(rows, _check_masses(weights, n), scale)


def _power_of_two(value: float) -> float:
    """Return the largest power of two up to a number, within what a double can hold exactly; 1 for 0."""
    return float(np.exp2(np.clip(np.floor(np.log2(value)), -1000, 1000))) if value > 0 else 1.0


def _check_masses(weights: Any, n: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(n)
    masses = as_array(weights, "weights")
    if masses.shape != (n,):
        raise ValueError(f"weights have shape {masses.shape}: expected ({n},), the mass of each example")
    if masses.dtype.kind not in "fiub":
        raise TypeError(f"weights have dtype {masses.dtype}: expected real numbers")
    masses = masses.astype(np.float64)
    if not (np.isfinite(masses).all() and (masses >= 0).all() and masses.sum() > 0 and np.isfinite(masses.sum())):
        raise ValueError("weights hold a negative, nan or infinite number, or only zeros: masses are finite and >= 0")
    return masses


def check_labels(labels: Any, n: int) -> list[NDArray[np.int64]]:
    """Split the examples into classes.

    Args:
        labels: Class of each example, whole numbers, strings or booleans, shape (n,).
        n: Number of examples.

    Returns:
        Positions of each class' examples, ascending, classes in ascending order.

    Raises:
        ValueError: If the shape is wrong or a label is nan.
    """
    values = as_array(labels, "labels")
    if values.shape != (n,):
        raise ValueError(f"labels have shape {values.shape}: expected ({n},), the class of each example")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("labels hold nan or infinite numbers: expected the class of each example")
    _, members = np.unique(values, return_inverse=True)
    counts = np.bincount(members)
    return np.split(np.argsort(members, kind="stable").astype(np.int64), np.cumsum(counts)[:-1])


def as_array(values: Any, name: str) -> NDArray[Any]:
    """View an array, a tensor on any device, a data frame or a nested sequence as a numpy array.

    Args:
        values: What was passed.
        name: Its name, for the error.

    Returns:
        The array.

    Raises:
        TypeError: If it can't be viewed so.
    """
    if hasattr(values, "detach"):
        values = values.detach()
        if not values.dtype.is_floating_point and not values.dtype.is_complex:
            return np.asarray(values.cpu().numpy())
        if values.dtype.itemsize < 4:
            values = values.float()
        return np.asarray(values.resolve_conj().cpu().numpy())
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name} is no array ({error}): pass a numpy array, a torch tensor or equal rows") from error
