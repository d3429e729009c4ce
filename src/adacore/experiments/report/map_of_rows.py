"""The map of a page of picks: all rows in the plane, with the picks among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.labelling.coverage import Coverage

MAP_SIZE = (1000, 640)
"""Width and height of the map in its own units; half a unit is the rounding of a point's position."""
MAP_ROWS = 30_000
"""Rows drawn on the map at most: some 8 bytes each, so a quarter of a megabyte."""
NUMBERED, SMALL_NUMBER = 20, (22, 16)
"""Picks whose numbers stand on the map, since more would cover each other; a number's width and height in its units."""
FEW, LARGE_NUMBER = 8, (46, 34)
"""The same on a phone, where the map is a third as wide and its letters must be three times as large in its units."""
Place = tuple[int, float, float]
"""Number, x and y."""


def project(features: Any, *, seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Lay rows out in the plane.

    Args:
        features: Shape (n, d).
        seed: Of the projection's random draws.

    Returns:
        Shape (n, 2), and the name of the projection: UMAP where ``umap-learn`` is installed, else the first two
        principal components.
    """
    rows = features.toarray() if hasattr(features, "toarray") else np.asarray(features)
    # float32 is enough for a picture, and halves what the projection computes with.
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    # Rows that have one or two features are shown as they are: a projection would only turn them.
    if rows.shape[1] == 1:
        return np.column_stack([rows, np.zeros(len(rows))]), "the feature itself"
    if rows.shape[1] == 2:
        return rows.astype(np.float64), "the two features"
    try:
        from umap import UMAP  # an optional library: seconds to import, and much clearer maps of embeddings
    except ModuleNotFoundError:
        from sklearn.decomposition import PCA

        # Randomised: two components are wanted, and an exact decomposition computes all of them.
        plane = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(rows)
        return plane.astype(np.float64), "principal components"
    return np.asarray(UMAP(random_state=seed).fit_transform(rows), np.float64), "UMAP"


@dataclass(frozen=True)
class Map:
    """All rows in the plane, in the map's own units.

    Attributes:
        path: The rows as one SVG path of dots.
        picks: Number, x and y of each pick.
        numbers: Number, x and y of the numbers that are written.
        large_numbers: The same on a narrow screen, fewer and larger.
        before: x and y of rows that were selected before.
        kind: The projection.
        shown: Rows drawn.
    """

    path: str
    picks: list[Place]
    numbers: list[Place]
    large_numbers: list[Place]
    before: list[tuple[float, float]]
    kind: str
    shown: int


def draw_map(features: Any, coverage: Coverage, *, seed: int = 0) -> Map:
    """Place rows and picks on the map.

    Args:
        features: Shape (n, d).
        coverage: Of the selection.
        seed: Of the projection, and of which rows are drawn where there are many.

    Returns:
        The map.
    """
    plane, kind = project(features, seed=seed)
    # Percentiles keep a few outliers from squeezing all other rows into a corner: what lies a quarter of the span
    # beyond them is drawn at the edge, which in most pictures is nothing.
    low, high = np.percentile(plane, [0.2, 99.8], axis=0)
    margin = 0.25 * (high - low)
    low, high = np.maximum(plane.min(0), low - margin), np.minimum(plane.max(0), high + margin)
    span = np.where(high > low, high - low, 1.0)
    size = np.array(MAP_SIZE, float)
    units = np.clip((plane - low) / span, 0, 1) * (size - 40) + 20
    # SVG counts from the top, and people draw from the bottom.
    units[:, 1] = size[1] - units[:, 1]
    drawn = np.arange(len(units))
    if len(units) > MAP_ROWS:
        drawn = np.sort(np.random.default_rng(seed).choice(len(units), MAP_ROWS, replace=False))
    # A line of length zero with round ends is a dot; one path draws thousands of them faster than as many circles.
    path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in units[drawn])
    places = [(round(float(x), 1), round(float(y), 1)) for x, y in units[coverage.picks]]
    new = [(number, *place) for number, place in enumerate(places[coverage.initial :], 1)]
    small, large = _place_numbers(new, NUMBERED, SMALL_NUMBER), _place_numbers(new, FEW, LARGE_NUMBER)
    return Map(path, new, small, large, places[: coverage.initial], kind, len(drawn))


def _place_numbers(picks: list[Place], count: int, size: tuple[int, int]) -> list[Place]:
    """Put numbers beside picks where they cover no other number and no other numbered pick; the first picks first."""
    wide, high = size
    placed: list[Place] = []
    numbered = picks[:count]
    for number, x, y in numbered:
        # Right above, right below, left above, left below; the first that is free, or none. A text stands on its y.
        for dx, dy in ((8, -6), (8, high + 2), (-wide - 6, -6), (-wide - 6, high + 2)):
            at = (x + dx, y + dy)
            inside = 0 <= at[0] <= MAP_SIZE[0] - wide and high <= at[1] <= MAP_SIZE[1]
            free = all(abs(at[0] - a) > wide or abs(at[1] - b) > high for _, a, b in placed)
            # A pick's circle has a radius of six.
            clear = all(
                other == number or not (-6 <= a - at[0] <= wide + 6 and -high - 6 <= b - at[1] <= 6)
                for other, a, b in numbered
            )
            if inside and free and clear:
                placed.append((number, *at))
                break
    return placed
