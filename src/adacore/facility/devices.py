"""Where a selection computes: what was asked for, or where the rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def check_device(device: Any, x: Any) -> torch.device | None:
    """Check where to compute.

    Args:
        device: What was passed: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, a ``torch.device``; None for where ``x`` is.
        x: The rows.

    Returns:
        The device, or None for the CPU.

    Raises:
        ValueError: If there is no such device here, or it does not compute in double precision.

    Example:
        >>> check_device("cpu", [[0.0]]) is None
        True
    """
    # Only tensors say where to compute: numpy 2 arrays have a ``device`` as well.
    place = getattr(x, "device", None) if device is None and hasattr(x, "detach") else device
    if place is None or str(place) == "cpu":
        return None
    import torch  # 1 s, and not needed to select on the CPU

    try:
        asked = torch.device(place)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is no device: pass 'cpu', 'cuda' or a torch.device") from error
    if asked.type == "cpu":
        return None
    if hasattr(x, "tocsr"):
        raise ValueError(
            f"device={device!r}: sparse rows are compared on the CPU; leave device= out, or pass x.toarray()"
        )
    if asked.type != "cuda":  # what decides is computed in float64, which other accelerators lack
        if device is None:
            return None
        raise ValueError(f"device={device!r}: selection runs on 'cpu' or 'cuda'")
    if not torch.cuda.is_available() or (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={device!r}: torch finds no such GPU here; pass device='cpu'")
    return asked
