"""The page of picks: which rows were chosen, what each stands for, and what is not covered yet."""

from __future__ import annotations

import base64
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.report.map_of_rows import MAP_SIZE, draw_map
from adacore.experiments.report.svg import Axes, Line, Style, line_chart
from adacore.labelling.coverage import Coverage, reached
from adacore.labelling.items import Items

THUMBNAIL = 72
"""Pixels along the longer side of a picture: three pictures a pick stay under 5 MB for 500 picks."""
WORST = 24
"""Rows served worst that are shown: four lines of six cards on a wide screen."""
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


def render_picks(
    features: Any,
    coverage: Coverage,
    *,
    title: str,
    items: Items | None = None,
    labels: NDArray[Any] | None = None,
    known: Mapping[int, str] | None = None,
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
        known: Labels of rows that were selected before, by position.
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
    label_of = (known or {}).get if labels is None else labels.__getitem__
    picks = [_pick_card(position, coverage, items, label_of) for position in range(len(coverage.picks))]
    worst = [
        card_of(items, int(row), label=label_of(int(row)), distance=float(coverage.distances[row]))
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
        reached=reached(coverage),
        classes=_classes(coverage, labels),
        map=draw_map(features, coverage),
        map_size=MAP_SIZE,
        mean_distance=float(coverage.distances.mean()),
        certificate=certificate,
        command=command,
        images=items.images,
    )


def _pick_card(position: int, coverage: Coverage, items: Items, label_of: Callable[[int], Any]) -> PickCard:
    def show(row: int, distance: float | None) -> Card:
        return card_of(items, row, label=label_of(row), distance=distance)

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
    """Draw the mean distance of a row to its nearest pick against the number of picks, with dots where it is told."""
    if coverage.curve is None or len(coverage.curve) < 3:
        return None
    mean = coverage.curve / len(coverage.owner)
    lines = [Line("mean distance", Style(0, 0), np.arange(len(mean), dtype=np.float64), mean)]
    told = reached(coverage)
    places = () if told is None else (told.half, told.most)
    # A line of one point is a dot.
    lines += [Line("", Style(1, 0), np.array([float(place)]), mean[place : place + 1]) for place in places]
    axes = Axes("new picks", "mean distance to the nearest pick", whole_x=True)
    return line_chart(lines, axes, name="curve")


def _classes(coverage: Coverage, labels: NDArray[Any] | None) -> list[tuple[str, int, int]]:
    """Count rows and picks by class, largest class first."""
    if labels is None:
        return []
    names, counts = np.unique(labels.astype(str), return_counts=True)
    chosen = dict(zip(*np.unique(labels[coverage.picks].astype(str), return_counts=True), strict=True))
    # Stable: classes of one size stay in the order of their names.
    order = np.argsort(-counts, kind="stable")
    return [(str(names[i]), int(counts[i]), int(chosen.get(names[i], 0))) for i in order]
