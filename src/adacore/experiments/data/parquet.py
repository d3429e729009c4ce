"""Parquet files in the Hugging Face layout: a struct of bytes and path for the image, an integer for the class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unreadable

_IMAGE_COLUMNS = ("img", "image")


def read_images(path: Path, label_columns: Sequence[str]) -> tuple[list[bytes], NDArray[np.int64]]:
    """Read compressed images and their classes.

    Args:
        path: The file.
        label_columns: Possible names of the classes' column, in order of preference.

    Returns:
        The bytes of each image file, and classes, int64, shape (n,).

    Raises:
        ValueError: If the file is truncated, corrupt, or has other columns.
    """
    # Late: data sets in other formats do not wait for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # The schema is at the file's end, and is read without the images.
        available = pq.read_schema(path).names
        image = next((name for name in _IMAGE_COLUMNS if name in available), None)
        label = next((name for name in label_columns if name in available), None)
        if image is None or label is None:
            raise unreadable(path, f"its columns are {available}, expected img and {label_columns[0]}")
        table = pq.read_table(path, columns=[image, label])
        codes = table[image].combine_chunks().field("bytes").to_pylist()
        labels = table[label].to_numpy().astype(np.int64)
    except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
        raise unreadable(path, error) from error
    # The layout also allows a path in place of bytes, which points to a file that is not in this one.
    if not codes or None in codes:
        raise unreadable(path, "an image has no bytes" if codes else "it holds no rows")
    return codes, labels


def class_names_of(path: Path, label_columns: Sequence[str]) -> tuple[str, ...]:
    """Find the classes' names in the schema's metadata.

    Args:
        path: The file.
        label_columns: Possible names of the classes' column.

    Returns:
        Their names, or nothing where the file does not tell.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
        features: dict[str, Any] = json.loads(metadata[b"huggingface"])["info"]["features"]
        return next(tuple(features[name]["names"]) for name in label_columns if name in features)
    # Names are a convenience: whatever is wrong with them, numbers take their place.
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, StopIteration):
        return ()
