"""One selection for a model as it is, in this process alone."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from torch import nn
from torch.utils.data import Dataset

from adacore.coreset import Coreset
from adacore.probing.batch_layout import length_of
from adacore.probing.probe import Probe
from adacore.selectors import Selector
from adacore.training.arguments import budget_of, probed
from adacore.training.reselector import Reselector


def select(
    model: nn.Module,
    dataset: Dataset[Any],
    selector: Selector,
    *,
    fraction: float | None = None,
    budget: int | None = None,
    labels: ArrayLike | None = None,
    validation: Dataset[Any] | None = None,
    probe_dataset: Dataset[Any] | None = None,
    probe: Probe | None = None,
    seed: int = 0,
) -> Coreset:
    """Select a coreset of a data set, once, by what a model makes of it.

    The model is run over the data set in eval mode. Parameters, buffers, gradients and random streams are left as they
    were.

    Args:
        model: Maps a batch of inputs to logits of shape (batch, outputs).
        dataset: A map-style data set of n examples: tuples (inputs, targets) or dicts.
        selector: The method, such as ``adacore.AdaCore()``.
        fraction: Share of the examples to select, in (0, 1]; this or ``budget``.
        budget: How many to select, in [1, n].
        labels: Strata to select within, whole numbers, shape (n,); None to take the targets where they are classes.
        validation: A held-out data set, for selectors that require one.
        probe_dataset: The same examples in the same order without augmentation.
        probe: How to run the model over the data set: loss, last layer, batch size, device, workers; see
            ``adacore.Probe``.
        seed: Of every random draw.

    Returns:
        Indices into the data set, and weights.

    Raises:
        ValueError: If sizes, labels, targets, logits or the criterion do not fit together.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch
        >>> from adacore.selectors import Random
        >>> data = torch.utils.data.TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
        >>> select(nn.Linear(3, 2), data, Random(), fraction=0.2).weights
        array([5., 5., 5., 5.])
    """
    n = length_of(dataset)
    reselector = Reselector(
        model,
        probed(dataset, probe_dataset),
        selector,
        budget=budget_of(selector, n, budget=budget, fraction=fraction),
        probe=probe,
        labels=labels,
        validation=validation,
        seed=seed,
        batches=None,
    )
    reselector.selection_for(0)
    assert reselector.coreset is not None
    return reselector.coreset
