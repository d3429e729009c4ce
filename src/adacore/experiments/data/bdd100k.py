"""BDD100k, weather classification, in its published layout: folders of JPEGs and JSON labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adacore.errors import unreadable
from adacore.experiments.data.arrays import Splits

WEATHER = ("clear", "foggy", "overcast", "partly cloudy", "rainy", "snowy", "undefined")
SIZE = (224, 224)
"""Height and width that images are resized to: the paper gives none, this is what ResNet-50 was made for."""


class ImageFiles(Dataset[tuple[Tensor, Tensor]]):
    """Images decoded when asked for.

    Args:
        paths: Image files.
        targets: Classes, int64, shape (n,).
    """

    def __init__(self, paths: list[Path], targets: Tensor) -> None:
        self.paths, self.targets = paths, targets

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def known_targets(self) -> Tensor:
        """The targets, exactly as items carry them."""
        return self.targets

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        path = self.paths[index]
        try:
            # Closed at once: with tens of thousands of images open files run out.
            with Image.open(path) as image:
                small = image.convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError) as error:
            raise unreadable(path, error) from error
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div_(255), self.targets[index]


def load_bdd100k(root: Path) -> Splits:
    """Load BDD100k for weather classification; its validation set, whose labels are public, is the test set.

    Args:
        root: The folder that holds the data sets; in it ``bdd100k/images/100k/{train,val}/*.jpg`` and
            ``bdd100k/labels/det_20/det_{train,val}.json``, or
            ``bdd100k/labels/bdd100k_labels_images_{train,val}.json``, or a JSON for each image in
            ``bdd100k/labels/100k/{train,val}/``.

    Returns:
        Inputs of shape (3, 224, 224) in [0, 1], decoded when asked for; seven classes.

    Raises:
        FileNotFoundError: If the layout is not there.
    """
    folder = root / "bdd100k"
    if not (folder / "images" / "100k").is_dir():
        raise FileNotFoundError(f"no BDD100k below {root}: expected bdd100k/images/100k/train; see --data-root")
    train, test = _split(folder, "train"), _split(folder, "val")
    return Splits("bdd100k", train, test, (3, *SIZE), len(WEATHER), WEATHER)


def _split(folder: Path, split: str) -> ImageFiles:
    images = folder / "images" / "100k" / split
    paths, classes = [], []
    for source, entry in _entries(folder / "labels", split):
        try:
            path = images / Path(entry["name"]).with_suffix(".jpg").name
            classes.append(WEATHER.index(entry["attributes"]["weather"]))
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(source, f"an entry has no name, or no known weather ({error})") from error
        paths.append(path)
    # Looked for when loading: a missing image would otherwise stop a training in the middle of an epoch.
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"no {missing}, which the labels name: the images are incomplete, unpack them again")
    return ImageFiles(paths, torch.tensor(classes, dtype=torch.int64))


def _entries(labels: Path, split: str) -> list[tuple[Path, Any]]:
    # Labels were published in three layouts over the years; people have any of them.
    whole = (labels / "det_20" / f"det_{split}.json", labels / f"bdd100k_labels_images_{split}.json")
    source = next((path for path in whole if path.is_file()), None)
    if source is not None:
        entries = [(source, entry) for entry in _read(source, list)]
    else:
        single = sorted((labels / "100k" / split).glob("*.json"))
        entries = [(path, _read(path, dict)) for path in single]
    if not entries:
        raise FileNotFoundError(f"no labels of {split} below {labels}: expected det_20/det_{split}.json")
    return entries


def _read(path: Path, kind: type) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not isinstance(content, kind):
        raise unreadable(path, f"it holds a {type(content).__name__}, expected a {kind.__name__}")
    return content
