"""Keeps a ``CoresetLoader`` in the checkpoints of Accelerate's ``save_state`` and ``load_state``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adacore.errors import require_extra
from adacore.training.loader import CoresetLoader

require_extra("accelerate", "CoresetCheckpoint")


class CoresetCheckpoint:
    """What ``accelerator.register_for_checkpointing`` takes, so that a training on coresets can be resumed.

    Accelerate fetches batches ahead of training, so that the loader itself does not know how many of them were trained
    on. The prepared loader counts epochs: that is the epoch which is saved. In the middle of an epoch skip its first
    batches, ``accelerate.skip_first_batches(prepared, steps)``, as with any other loader.

    Args:
        loader: The loader of coresets.
        prepared: What ``accelerator.prepare`` made of it.

    Raises:
        TypeError: If the one is no ``CoresetLoader``, or the other is not prepared.

    Example:
        >>> model, loader_of_accelerate = accelerator.prepare(model, loader)  # doctest: +SKIP
        >>> accelerator.register_for_checkpointing(CoresetCheckpoint(loader, loader_of_accelerate))  # doctest: +SKIP
        >>> accelerator.save_state("checkpoint")  # doctest: +SKIP
    """

    def __init__(self, loader: CoresetLoader, prepared: Any) -> None:
        if not isinstance(loader, CoresetLoader):
            raise TypeError(f"loader is a {type(loader).__name__}: expected the CoresetLoader that was prepared")
        # An attribute of the loaders that Accelerate makes, and of no others.
        if not hasattr(prepared, "iteration"):
            raise TypeError(
                f"prepared is a {type(prepared).__name__}: expected what accelerator.prepare(loader) returned"
            )
        self.loader, self.prepared = loader, prepared

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state at the start of the epoch that the training is in."""
        # Position 0: skip_first_batches counts from the start of the epoch.
        return {**self.loader.state_dict(), "epoch": self.prepared.iteration, "position": 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put the loader's state back, and the prepared loader to the same epoch.

        Args:
            state: As ``state_dict()`` returned it.

        Raises:
            ValueError: If it is of a loader with other settings.
        """
        self.loader.load_state_dict(state)
        # Otherwise it would count from 0 in this process, and train on epoch 0 once more.
        self.prepared.set_epoch(self.loader.epoch)
