"""The page of picks: which rows were chosen, what each stands for, and what is not covered yet."""

from __future__ import annotations

import base64
import importlib.util
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.report.svg import Axes, Line, Style, line_chart
from adacore.labelling.coverage import Coverage
from adacore.labelling.items import Items

THUMBNAIL = 72
"""Pixels along the longer side of a picture: three pictures a pick stay under 5 MB for 500 picks."""
WORST = 24
"""Rows served worst that are shown: four lines of six cards on a wide screen."""
MAP_SIZE = (1000, 640)
"""Width and height of the map in its own units; half a unit is the rounding of a point's position."""
MAP_ROWS = 30_000
"""Rows drawn on the map at most: some 8 bytes each, so a quarter of a megabyte."""
TEXT = 240
"""Characters of a text that are shown."""


def check_report_libraries() -> None:
    """Make sure, before anything is computed, that what draws the page is installed.

    Raises:
        ModuleNotFoundError: If a library is missing.
    """
    for library in ("jinja2", "matplotlib", "sklearn"):
        # Found and not imported: importing would cost seconds before anything is chosen.
        if importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(f"the report needs {library}: pip install 'adacore[experiments]'")


@dataclass(frozen=True)
class Card:
    """A row as it is shown.

    Attributes:
        row: Its position.
        text: Its text, or the name of its file; empty where there are no items.
        image: A data URL, or None.
        label: Its class, or None.
        distance: To the pick that serves it; None for a pick.
    """

    row: int
    text: str
    image: str | None
    label: str | None
    distance: float | None


@dataclass(frozen=True)
class PickCard:
    """A pick as it is shown.

    Attributes:
        number: From 1, in pick order; 0 for a row that was selected before.
        card: The row itself.
        served: Rows that it stands for, itself included.
        share: The same over all rows, in percent.
        nearest: The nearest row that it stands for, or None if it stands for itself alone.
        farthest: The farthest, or None if there is no other than the nearest.
    """

    number: int
    card: Card
    served: float
    share: float
    nearest: Card | None
    farthest: Card | None


def card_of(items: Items, row: int, *, label: Any = None, distance: float | None = None) -> Card:
    """Show a row.

    Args:
        items: What stands behind the rows.
        row: Its position.
        label: Its class, or None.
        distance: To the pick that serves it, or None.
    """
    text, image = "", None
    if items.values is not None:
        value = items.values[row]
        if items.images:
            text, image = _image(Path(value))
        else:
            # On one line: line breaks and tabs would tear a card apart.
            text = " ".join(str(value).split())
            text = text if len(text) <= TEXT else text[: TEXT - 1] + "…"
    return Card(row, text, image, None if label is None else str(label), distance)


def _image(path: Path) -> tuple[str, str | None]:
    """Return the name and the thumbnail; of an image that is cut short the name alone."""
    try:
        return path.name, thumbnail(path)
    except ValueError as error:
        # The selection is made and saved by now: one broken image must not cost the page.
        warnings.warn(str(error), stacklevel=2)
        return f"{path.name} (cannot be read)", None


def thumbnail(path: Path) -> str:
    """Shrink an image to a data URL.

    Args:
        path: Of an image that Pillow reads.

    Returns:
        A WebP image, at most ``THUMBNAIL`` pixels along its longer side.

    Raises:
        ValueError: If it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    # Pillow's readers raise almost anything: SyntaxError for a PNG, struct.error, an error of its own for sizes that
    # look like an attack.
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot read the image {path}: {words}; the page shows its name instead") from error
    # In place, and never enlarged.
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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
        before: x and y of rows that were selected before.
        kind: The projection.
        shown: Rows drawn.
    """

    path: str
    picks: list[tuple[int, float, float]]
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
    # Percentiles keep a few outliers from squeezing all other rows into a corner; they are drawn at the edge.
    low, high = np.percentile(plane, [0.2, 99.8], axis=0)
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
    return Map(path, new, places[: coverage.initial], kind, len(drawn))


def render_picks(
    features: Any,
    coverage: Coverage,
    *,
    title: str,
    items: Items | None = None,
    labels: NDArray[Any] | None = None,
    certificate: float | None = None,
    command: str | None = None,
) -> str:
    """Make the page.

    Args:
        features: The rows, shape (n, d).
        coverage: Of the selection.
        title: What was selected from.
        items: What stands behind each row.
        labels: Class of each row, shape (n,), or None.
        certificate: Of the coreset, or None.
        command: How the selection was made, to make it again.

    Returns:
        HTML that needs nothing else.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adacore.experiments.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    items = Items() if items is None else items
    picks = [_pick_card(position, coverage, items, labels) for position in range(len(coverage.picks))]
    worst = [
        card_of(items, int(row), label=None if labels is None else labels[row], distance=float(coverage.distances[row]))
        for row in coverage.worst(WORST)
        # A row at distance 0 is served perfectly: a duplicate of a pick is not worth a card.
        if coverage.distances[row] > 0
    ]
    return environment.get_template("picks.html.j2").render(
        title=title,
        n=len(coverage.owner),
        before=[pick for pick in picks if pick.number == 0],
        picks=[pick for pick in picks if pick.number > 0],
        worst=worst,
        curve=_curve(coverage),
        half=_picks_for(coverage, 0.5),
        classes=_classes(coverage, labels),
        map=draw_map(features, coverage),
        map_size=MAP_SIZE,
        mean_distance=float(coverage.distances.mean()),
        certificate=certificate,
        command=command,
        images=items.images,
    )


def _pick_card(position: int, coverage: Coverage, items: Items, labels: NDArray[Any] | None) -> PickCard:
    def show(row: int, distance: float | None) -> Card:
        return card_of(items, row, label=None if labels is None else labels[row], distance=distance)

    nearest, farthest = coverage.nearest(position), coverage.farthest(position)
    around = [show(int(row), float(coverage.distances[row])) for row in [*nearest, *farthest]]
    served = float(coverage.served[position])
    return PickCard(
        max(0, position - coverage.initial + 1),
        show(int(coverage.picks[position]), None),
        served,
        100 * served / len(coverage.owner),
        around[0] if around else None,
        around[1] if len(around) == 2 and around[1].row != around[0].row else None,
    )


def _curve(coverage: Coverage) -> str | None:
    """Draw the mean distance of a row to its nearest pick against the number of picks."""
    if coverage.curve is None or len(coverage.curve) < 3:
        return None
    mean = coverage.curve / len(coverage.owner)
    line = Line("mean distance", Style(0, 0), np.arange(len(mean), dtype=np.float64), mean)
    return line_chart([line], Axes("new picks", "mean distance to the nearest pick", whole_x=True), name="curve")


def _picks_for(coverage: Coverage, share: float) -> int | None:
    """Tell how many of the new picks gained a share of all that the picks after the first gained."""
    if coverage.curve is None or len(coverage.curve) < 4:
        return None
    curve = coverage.curve[np.isfinite(coverage.curve)]
    # Of what the picks after the first gained: the first one's gain has no start to be measured from.
    reached = curve <= curve[0] - share * (curve[0] - curve[-1])
    return int(np.argmax(reached)) + len(coverage.curve) - len(curve)


def _classes(coverage: Coverage, labels: NDArray[Any] | None) -> list[tuple[str, int, int]]:
    """Count rows and picks by class, largest class first."""
    if labels is None:
        return []
    names, counts = np.unique(labels.astype(str), return_counts=True)
    chosen = dict(zip(*np.unique(labels[coverage.picks].astype(str), return_counts=True), strict=True))
    # Stable: classes of one size stay in the order of their names.
    order = np.argsort(-counts, kind="stable")
    return [(str(names[i]), int(counts[i]), int(chosen.get(names[i], 0))) for i in order]
