"""Decoding many small compressed images into one array, on all cores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adacore.errors import unreadable
from adacore.facility.threads import thread_count

# Images that a worker hands back at once, so that messages between processes stay few.
_CHUNK = 500
# Processes take seconds to start, since each imports torch: fewer images are decoded without any.
_WORTH_PROCESSES = 4000


class _Chunks(Dataset[Any]):
    """Compressed images, decoded some hundred at a time; a chunk that holds a broken one gives its position."""

    def __init__(self, encoded: Sequence[bytes], shape: tuple[int, int]) -> None:
        self.encoded, self.shape = encoded, shape

    def __len__(self) -> int:
        return -(-len(self.encoded) // _CHUNK)

    def __getitem__(self, index: int) -> Tensor | tuple[int, str]:
        start = index * _CHUNK
        chunk = self.encoded[start : start + _CHUNK]
        pixels = np.empty((len(chunk), 3, *self.shape), np.uint8)
        for offset, code in enumerate(chunk):
            try:
                pixels[offset] = decode(code).transpose(2, 0, 1)
            except (OSError, ValueError, SyntaxError, TypeError) as error:
                # Handed back and not raised: a worker's exception reaches the parent without the position of the image.
                return start + offset, f"{error}"
        return torch.from_numpy(pixels)


def decode(code: bytes) -> NDArray[np.uint8]:
    """Decode an image of any format that Pillow reads.

    Args:
        code: The bytes of the image file.

    Returns:
        RGB, uint8, shape (height, width, 3).
    """
    from PIL import Image

    with Image.open(io.BytesIO(code)) as image:
        # Grey and palette images too get three channels, since all go into one array.
        return np.asarray(image.convert("RGB"))


def decode_all(encoded: Sequence[bytes], path: Path) -> NDArray[np.uint8]:
    """Decode images of one size, in processes where there are many: Pillow's WebP decoder holds the interpreter's lock.

    Args:
        encoded: The bytes of each image file, at least one.
        path: The file that they come from, for messages.

    Returns:
        uint8, shape (n, 3, height, width).

    Raises:
        ValueError: If an image cannot be decoded, or has another size than the first.
    """
    try:
        # The first image says how large all are, so that the array is allocated once.
        shape = decode(encoded[0]).shape[:2]
    except (OSError, ValueError, SyntaxError, TypeError) as error:
        raise unreadable(path, f"image 0: {error}") from error
    workers = thread_count() if len(encoded) >= _WORTH_PROCESSES and thread_count() > 1 else 0
    chunks = DataLoader(
        _Chunks(encoded, shape), batch_size=None, num_workers=workers, generator=torch.Generator().manual_seed(0)
    )
    # Bytes: as floats the same images would take four times as much.
    pixels = np.empty((len(encoded), 3, *shape), np.uint8)
    for index, chunk in enumerate(chunks):
        if not isinstance(chunk, Tensor):
            raise unreadable(path, f"image {chunk[0]}: {chunk[1]}")
        pixels[index * _CHUNK : index * _CHUNK + len(chunk)] = chunk.numpy()
    return pixels
