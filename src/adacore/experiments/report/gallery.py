"""Galleries of the images that a method chose most often, and of ones that it never chose."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.experiments.analysis import most_chosen, never_chosen, selection_counts
from adacore.experiments.runs.recorded_runs import Run

_OUR_OWN = {
    f"adacore.experiments.paper.small:{name}"
    for name in ("mnist", "cifar10", "cifar10_imbalanced", "cifar100", "cifar100_imbalanced", "bdd100k")
}
"""Import paths that a report may follow: a folder's settings could name anything else, and have it executed."""

SHOWN = 24
"""Images in a gallery."""
_LARGEST = 64
"""Width and height in pixels that larger images are shrunk to."""


@dataclass(frozen=True)
class Picture:
    """An image with what is said below it.

    Attributes:
        source: Its pixels, as a data URI.
        label: Name of its class.
        index: Its position in the training set.
        times: How often it was chosen.
    """

    source: str
    label: str
    index: int
    times: int


@dataclass(frozen=True)
class Gallery:
    """Images of one run.

    Attributes:
        name: The method, as people write it.
        seed: Of the run.
        reselections: How many coresets there were.
        never_share: Share of the examples that were never chosen.
        most: Chosen most often.
        never: Never chosen.
    """

    name: str
    seed: int
    reselections: int
    never_share: float
    most: tuple[Picture, ...]
    never: tuple[Picture, ...]


def load_images(run: Run) -> Any | None:
    """Load the data set of a run if it is of images.

    Args:
        run: Its settings name the data set.

    Returns:
        ``Splits``, or None if the data are no images.

    Raises:
        FileNotFoundError: If the data are not there.
        ValueError: If they cannot be read, or code of the user's would have to be run.
    """
    settings, name = run.settings, str(run.settings["data"])
    # A run's folder may come from anyone: what its settings name is not imported.
    if ":" in name and name not in _OUR_OWN:
        raise ValueError(f"{name} is code of your own, and a report runs none")
    from adacore.experiments import data  # here, since only galleries load any

    splits = data.load(
        name,
        data_root=settings.get("data_root"),
        validation=float(settings.get("validation") or 0.0),
        seed=run.seed,
    )
    return splits if len(splits.shape) == 3 and splits.shape[0] in {1, 3} else None


def make_gallery(name: str, run: Run, splits: Any) -> Gallery | None:
    """Collect the images of a run.

    Args:
        name: The method, as people write it.
        run: With its coresets.
        splits: Its data set.

    Returns:
        The gallery, or None if the coresets are not of this data set.
    """
    coresets = [coreset for _, coreset in run.coresets]
    # Another number of examples is another data set: its pictures would stand under wrong positions.
    if not coresets or coresets[0].population != len(splits.train):
        return None
    counts = selection_counts(coresets)
    never = never_chosen(counts, SHOWN, generator=np.random.default_rng(run.seed))
    return Gallery(
        name,
        run.seed,
        len(coresets),
        float((counts == 0).mean()),
        _pictures(most_chosen(counts, SHOWN), counts, splits),
        _pictures(never, counts, splits),
    )


def _pictures(rows: NDArray[np.int64], counts: NDArray[np.int64], splits: Any) -> tuple[Picture, ...]:
    pictures = []
    for row in rows.tolist():
        pixels, target = splits.train[row]
        label = splits.class_names[int(target)] if int(target) < len(splits.class_names) else str(int(target))
        pictures.append(Picture(_encode(pixels), label, row, int(counts[row])))
    return tuple(pictures)


def _encode(pixels: Any) -> str:
    from PIL import Image

    levels = np.clip(np.asarray(pixels, dtype=np.float64) * 255, 0, 255).round().astype(np.uint8)
    image = Image.fromarray(levels[0], "L") if len(levels) == 1 else Image.fromarray(levels.transpose(1, 2, 0), "RGB")
    # PNG keeps the few pixels of a small image sharp; a photograph is much smaller as JPEG.
    large = max(image.size) > _LARGEST
    if large:
        image.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if large else "PNG", optimize=True)
    kind = "jpeg" if large else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
