"""A skorch ``NeuralNetClassifier`` that trains on coresets which it selects itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from adacore.errors import require_extra
from adacore.probing.probe import Probe
from adacore.selectors import Selector
from adacore.training.loader import CoresetLoader

# Before the import below: where skorch is missing, the error is one line with the pip command.
require_extra("skorch", "CoresetNetClassifier")

from skorch import NeuralNetClassifier


class CoresetNetClassifier(NeuralNetClassifier):  # type: ignore[misc]  # skorch has no types
    """Trains on a coreset of what ``fit`` is given, selected again every R epochs.

    In every other respect it is a ``skorch.NeuralNetClassifier``: callbacks, history, grid search. The module returns
    logits, and the loss of a step is ``(weights * losses).mean()``. Each call of ``fit`` or ``partial_fit`` begins with
    a selection.

    Args:
        *args: As ``skorch.NeuralNetClassifier`` takes them.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the training examples to select, in (0, 1]; this or ``budget``.
        budget: How many to select.
        every: R, epochs between reselections, or ``"auto"``.
        probe: How to run the module to select.
        coreset_seed: Of every random draw of selecting and shuffling.
        criterion: A loss on logits that takes ``reduction="none"``.
        **kwargs: As ``skorch.NeuralNetClassifier`` takes them.

    Attributes:
        coreset_loader_: The loader, once fitting has begun.

    Raises:
        TypeError: When fitting begins, if the criterion is ``NLLLoss``, for which skorch wants probabilities.

    Example:
        >>> import numpy as np, torch
        >>> from adacore.selectors import Random
        >>> net = CoresetNetClassifier(nn.Linear(3, 2), selector=Random(), fraction=0.5, max_epochs=2,
        ...                            callbacks__print_log=None)
        >>> net.fit(np.eye(40, 3, dtype=np.float32), np.arange(40) % 2).coreset_loader_.epoch
        2
    """

    def __init__(
        self,
        *args: Any,
        selector: Selector,
        fraction: float | None = None,
        budget: int | None = None,
        every: Any = 1,
        probe: Probe | None = None,
        coreset_seed: int = 0,
        criterion: Any = nn.CrossEntropyLoss,
        **kwargs: Any,
    ) -> None:
        # Attributes of the arguments' names, as scikit-learn's get_params and clone expect them.
        self.selector, self.fraction, self.budget, self.every = selector, fraction, budget, every
        self.probe, self.coreset_seed = probe, coreset_seed
        # One loss for each example, unless the caller says so already.
        kwargs.setdefault("criterion__reduction", "none")
        super().__init__(*args, criterion=criterion, **kwargs)

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader over coresets for training, skorch's own for all else."""
        if not training:
            return super().get_iterator(dataset, training=False)
        if isinstance(self.criterion_, nn.NLLLoss):
            raise TypeError(
                "criterion is NLLLoss, of probabilities: pass criterion=torch.nn.CrossEntropyLoss and a module that "
                "returns logits"
            )
        probe = Probe(criterion=self.criterion_) if self.probe is None else self.probe
        self.coreset_loader_ = CoresetLoader(
            dataset,
            self.module_,
            self.selector,
            fraction=self.fraction,
            budget=self.budget,
            every=self.every,
            # -1 is skorch's way to say all examples at once.
            batch_size=self.batch_size if self.batch_size > 0 else len(dataset),
            seed=self.coreset_seed,
            probe=probe,
        )
        return self.coreset_loader_

    def train_step_single(self, batch: Any, **fit_params: Any) -> Any:
        """Take the weights out of a batch and make a step."""
        # skorch takes a batch for a pair of inputs and targets, and moves these two to the device, not the weights.
        *parts, weights = batch
        self._weights = weights.to(self.device)
        try:
            return super().train_step_single(tuple(parts), **fit_params)
        finally:
            # Also after an error: validation, which calls ``get_loss`` too, must not meet weights of another batch.
            self._weights = None

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the weighted mean of the losses in training, and the mean in validation."""
        losses: Tensor = super().get_loss(y_pred, y_true, *args, **kwargs)
        weights = getattr(self, "_weights", None)
        return losses.mean() if weights is None else (weights * losses).mean()
