"""A Lightning callback that keeps a ``CoresetLoader`` in step with ``Trainer.fit``: epochs, checkpoints, logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adacore.errors import require_extra
from adacore.training.loader import CoresetLoader

# Before the import below: where Lightning is missing, the error is one line with the pip command.
require_extra("lightning", "CoresetCallback")

from lightning.pytorch import Callback, LightningModule, Trainer

STATE = "adacore"
"""Key of the loader's state in a checkpoint."""


class CoresetCallback(Callback):
    """Lets ``Trainer.fit(module, train_dataloaders=loader)`` train on the coresets of a ``CoresetLoader``.

    The module's ``training_step`` gets batches with weights, ``(inputs, targets, weights)``, and returns
    ``(weights * losses).mean()``. The callback saves the loader's state with every checkpoint and restores it, keeps
    the loader's epoch in step with Lightning's where epochs are cut short (``limit_train_batches``), logs the ledger at
    the end of every epoch, and refuses what would go wrong in silence.

    Raises:
        ValueError: When fitting begins, if the training loader is no ``CoresetLoader``, a checkpoint has no state of a
            loader, or there are several processes without ``Trainer(use_distributed_sampler=False)``.

    Example:
        >>> trainer = Trainer(max_epochs=3, callbacks=[CoresetCallback()])  # doctest: +SKIP
        >>> trainer.fit(module, train_dataloaders=loader)  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._state: Mapping[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a trainer that would take the loader apart, before the first step.

        Args:
            trainer: Whose ``fit`` begins.
            pl_module: The module that it fits.

        Raises:
            ValueError: If there are several processes, and Lightning is to share out the examples.
        """
        # Lightning would make the loader anew, with a sampler of its own that knows neither coreset nor weights. Its
        # setting has no public name; where a later version has none at all, there is nothing to refuse.
        shares = getattr(trainer._accelerator_connector, "use_distributed_sampler", False)
        if trainer.world_size > 1 and shares:
            raise ValueError(
                f"{trainer.world_size} processes: a CoresetLoader shares out the examples itself; pass "
                "Trainer(use_distributed_sampler=False)"
            )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the loader's state; the loader itself is not known before ``on_train_start``.

        Args:
            trainer: Whose ``fit`` resumes.
            pl_module: The module that it fits.
            checkpoint: What was saved.

        Raises:
            ValueError: If it was saved without this callback.
        """
        # Training on would do without the coreset and the averages of before, and look as if it had resumed.
        if STATE not in checkpoint:
            raise ValueError(
                "the checkpoint has no state of a CoresetLoader: it was saved without CoresetCallback; train anew, "
                "without ckpt_path="
            )
        self._state = checkpoint[STATE]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the loader's state back.

        Lightning restores it too, but only in the middle of an epoch. It has called ``iter(loader)`` before this hook,
        and goes on with that iterator; the loader lets an iterator that has delivered nothing follow the state.

        Args:
            trainer: In ``fit``.
            pl_module: The module that it fits.
        """
        # Taken once: a second ``fit`` of this trainer goes on with the state that the loader has reached by then.
        loader, state, self._state = loader_of(trainer), self._state, None
        if state is not None:
            loader.load_state_dict(state)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go to Lightning's epoch: an epoch that ``limit_train_batches`` cuts short ends all the same.

        Args:
            trainer: In ``fit``.
            pl_module: The module that it fits.
        """
        loader = loader_of(trainer)
        # Only where they differ: ``set_epoch`` goes to the start of an epoch, and would undo a resume in its middle.
        if loader.epoch != trainer.current_epoch:
            loader.set_epoch(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the ledger with Lightning's loggers.

        Args:
            trainer: In ``fit``.
            pl_module: The module that it fits.
        """
        loader = loader_of(trainer)
        pl_module.log_dict({f"coreset/{name}": value for name, value in loader.ledger.figures().items()})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the loader's state, at the end of an epoch too.

        Args:
            trainer: In ``fit``.
            pl_module: The module that it fits.
            checkpoint: What is saved.
        """
        state = loader_of(trainer).state_dict()
        if state["position"] >= trainer.num_training_batches:
            # limit_train_batches ends the epoch here, and whoever resumes asks for the next one.
            state = {**state, "epoch": state["epoch"] + 1, "position": 0}
        checkpoint[STATE] = state


def loader_of(trainer: Trainer) -> CoresetLoader:
    """Find the loader that a trainer trains on.

    Args:
        trainer: In the middle of ``fit``.

    Returns:
        The loader.

    Raises:
        ValueError: If it trains on anything else.
    """
    loader = trainer.train_dataloader
    if not isinstance(loader, CoresetLoader):
        raise ValueError(
            f"CoresetCallback found a {type(loader).__name__} as training loader: pass a CoresetLoader, as in "
            "trainer.fit(module, train_dataloaders=loader)"
        )
    return loader
