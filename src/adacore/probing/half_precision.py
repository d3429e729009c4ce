"""Forward passes of a probe in half precision, whatever the precision of the training is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch

HalfPrecision = Literal["bfloat16", "float16"]


def check_half_precision(autocast: object) -> None:
    """Check what a user gave as ``Probe(autocast=...)``.

    Args:
        autocast: Name of a type, or None.

    Raises:
        TypeError: If it is neither a text nor None.
        ValueError: If no model can be run in that type.
    """
    names = " or ".join(f'"{name}"' for name in get_args(HalfPrecision))
    if autocast is not None and not isinstance(autocast, str):
        raise TypeError(
            f"autocast={autocast!r} is a {type(autocast).__name__}: pass {names}, or None for the autocast in force"
        )
    if autocast is not None and autocast not in get_args(HalfPrecision):
        raise ValueError(f"autocast={autocast!r} is unknown: pass {names}, or None for the autocast in force")


def autocasting(autocast: HalfPrecision | None, device: torch.device) -> AbstractContextManager[Any]:
    """Surround one forward pass.

    It is entered anew for every pass: the weights' casts that autocast keeps are gone with it, and so no weight of an
    earlier step can be used in a later probe.

    Args:
        autocast: Name of a type, or None to leave whatever autocast is in force.
        device: Where the model runs.

    Returns:
        A context to be entered once.

    Raises:
        ValueError: If the device cannot run models in that type.
    """
    if autocast is None:
        return nullcontext()
    try:
        return torch.autocast(device.type, dtype=getattr(torch, autocast))
    except RuntimeError as error:  # a GPU without bfloat16, a device that has no autocast
        raise ValueError(
            f'autocast="{autocast}" on {device}: {error}; pass another type, or None for the autocast in force'
        ) from error
