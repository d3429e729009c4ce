"""The probe: how a model is run over a data set, and the one method that does it: model + data set -> Snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.utils.data import Dataset

from adacore.probing.batch_layout import Forward, length_of
from adacore.probing.half_precision import HalfPrecision, check_half_precision
from adacore.probing.labels import check_labels
from adacore.probing.losses import LossFunction, per_example
from adacore.probing.model_state import preserving_state
from adacore.probing.pass_over_data import Measurement
from adacore.probing.processes import Processes
from adacore.probing.reading import check_reading_settings
from adacore.probing.snapshot import Requirements, Snapshot


@dataclass(frozen=True)
class Probe:
    """How to run a model over a data set, given once to ``select`` and ``CoresetLoader``.

    Attributes:
        criterion: The loss that the model trains with: a loss module (its ``reduction`` does not matter), a function
            that returns one loss for each example, or None for cross-entropy.
        forward: ``(model, inputs) -> logits``, for models that are called in another way than ``model(inputs)``.
        layer: Name of the last linear layer, as in ``model.named_modules()``; None to find it where it is needed.
        batch_size: Examples that the model is run on at a time; lower it where memory runs out.
        device: Where to run; None for the model's own device.
        loader: Settings of ``torch.utils.data.DataLoader`` that say how examples are read, such as ``collate_fn``,
            ``num_workers``, ``worker_init_fn``, ``multiprocessing_context``. They hold for every reading of a data set.
        autocast: ``"bfloat16"`` or ``"float16"`` to run the model under ``torch.autocast`` in that type; None to run it
            under whatever autocast is in force where it is called. Only the forward pass is in half precision:
            gradients and curvature are computed from its outputs in float32. With bfloat16, a probe of ResNet-20 takes
            about half the time on a CPU with AVX-512. Proxies are off by its rounding, 2^-9 of each product: they order
            strata and tell clusters well enough, but equal picks are not to be expected.

    Raises:
        ValueError: If a number is out of range or a setting unknown.
        TypeError: If a value is of the wrong kind.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> Probe(batch_size=2).measure(nn.Linear(3, 2), data, Requirements(proxy="logits")).proxies.shape
        (3, 2)
        >>> Probe(autocast="bfloat16").measure(nn.Linear(3, 2), data, Requirements(proxy="logits")).proxies.dtype
        dtype('float32')
    """

    criterion: LossFunction | None = None
    forward: Forward | None = None
    layer: str | None = None
    batch_size: int = 512
    device: torch.device | str | None = None
    loader: Mapping[str, Any] = field(default_factory=dict)
    autocast: HalfPrecision | None = None

    def __post_init__(self) -> None:
        # All is checked here, where it is given, and not hours later at the first selection.
        per_example(self.criterion)
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int | np.integer):
            raise TypeError(f"batch_size={self.batch_size!r} is not a whole number: pass an int of at least 1")
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} is below 1: pass an int of at least 1")
        if self.forward is not None and not callable(self.forward):
            raise TypeError(f"forward={self.forward!r} cannot be called: pass a function (model, inputs) -> logits")
        check_half_precision(self.autocast)
        check_reading_settings(self.loader)

    def measure(
        self,
        model: nn.Module,
        dataset: Dataset[Any],
        requirements: Requirements,
        *,
        strata: ArrayLike | None = None,
        validation: Dataset[Any] | None = None,
        seed: int = 0,
        reselection: int = 0,
        forgetting: NDArray[np.int64] | None = None,
        processes: Processes | None = None,
    ) -> Snapshot:
        """Run a model over a data set once, in eval mode and without a graph, and keep what a selector requires.

        Parameters, buffers, training flags, gradients, hooks and random streams are afterwards as they were.

        Args:
            model: Maps a batch of inputs to logits of shape (batch, outputs); called under the ambient autocast.
            dataset: A map-style data set of n examples: tuples (inputs, targets) or dicts.
            requirements: What to compute; nothing else is.
            strata: Groups to select within, shape (n,); None to take the targets where they are classes.
            validation: A held-out data set, of which the same is measured if it is required.
            seed: Of the projection of ``proxy="last_layer"``, and with ``reselection`` of what else is drawn.
            reselection: How many reselections came before.
            forgetting: Forgetting events counted in training, int64, shape (n,).
            processes: Those that call this together, with the same model and data set; each runs a share of it.

        Returns:
            A snapshot with float32 arrays in the order of the data set.

        Raises:
            ValueError: If the data are empty, the logits do not fit the targets or are not finite, the criterion
                reduces over the batch, couples its examples or lacks the curvature that is needed, several layers could
                be the last one, or something that is required is missing.
            TypeError: If the data set is not map-style or its batches are of another form.
        """
        n = length_of(dataset)
        if requirements.validation and validation is None:
            raise ValueError("the selector needs validation data: pass validation=, a data set held out from training")
        # Labels are checked before the model runs: a wrong one must not cost a pass over the data.
        snapshot = Snapshot(n, None if strata is None else check_labels(strata, n))
        if requirements.needs_model:
            try:
                with preserving_state(model):
                    measurement = Measurement(
                        model, requirements, self, seed=seed, reselection=reselection, processes=processes
                    )
                    measured = measurement.over(dataset)
            except torch.OutOfMemoryError as error:
                error.add_note(f"The probe ran {self.batch_size} examples at a time: lower Probe(batch_size=...).")
                raise
            # What the model predicts is not known of the examples, and so nothing to select within.
            classes = measured.targets if requirements.targets == "given" else None
            snapshot = replace(measured, strata=classes if strata is None else snapshot.strata)
        if requirements.forgetting:
            snapshot = replace(snapshot, forgetting=np.zeros(n, np.int64) if forgetting is None else forgetting)
        if requirements.validation and validation is not None:
            # The held-out set has no held-out set of its own, and is not trained on, so that nothing of it is
            # forgotten.
            needs = replace(requirements, validation=False, forgetting=False)
            held_out = self.measure(model, validation, needs, seed=seed, reselection=reselection, processes=processes)
            if strata is not None:  # the user's groups of the training data say nothing about other examples
                held_out = replace(held_out, strata=None)
            snapshot = replace(snapshot, validation=held_out)
        return snapshot
