"""Where a run computes: choosing the device, and moving data sets in memory to it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from adacore.experiments.data import ArrayDataset, Splits

SHARE = 0.25
"""Largest part of the device's free memory that data may take: the rest is for activations, and for other runs."""


def choose_device(name: str) -> torch.device:
    """Find the device that a setting names.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator if there is one.

    Returns:
        The device.

    Raises:
        ValueError: If this machine has no such device.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    has: dict[str, Callable[[], bool]] = {
        # In order of preference: ``auto`` takes the first that is there.
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_here in has.items() if is_here()))
    # Refused, with no fall-back to the CPU: a run that is far slower than planned is noticed too late.
    if name not in has or not has[name]():
        raise ValueError(f"device={name!r}, but torch finds no such device here: pass --device cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name what computes, for the record: an accelerator by its model.

    Example:
        >>> describe_device(torch.device("cpu"))
        'cpu'
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what was queued on it, so that a clock read next tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def place(splits: Splits, device: torch.device) -> Splits:
    """Copy data sets in memory to an accelerator, where they fit: no batch then travels from the CPU.

    Args:
        splits: Any data set.
        device: Where the model is.

    Returns:
        The same examples. Data sets that are read from elsewhere, or don't fit, stay as they are.
    """
    if device.type == "cpu":
        return splits
    parts = (splits.train, splits.test, splits.validation)
    # Training and validation set may be parts of one array: it is counted, and copied, once.
    stores = {id(part.store): part.store for part in parts if isinstance(part, ArrayDataset)}
    # All or none: with one part left on the CPU each batch of it would travel, and timings would mix both.
    if sum(store.nbytes for store in stores.values()) > SHARE * _free_bytes(device):
        return splits
    copies = {key: store.to(device) for key, store in stores.items()}

    def moved(part: Any) -> Any:
        return part.moved(copies[id(part.store)]) if isinstance(part, ArrayDataset) else part

    return replace(splits, train=moved(splits.train), test=moved(splits.test), validation=moved(splits.validation))


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float("inf")  # memory is shared with the CPU, where the data lie already
