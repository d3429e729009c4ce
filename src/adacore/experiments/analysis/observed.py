"""What a run records for the analysis: gradient errors as it goes, and every example at its end."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from adacore.coreset import Coreset
from adacore.experiments.analysis.coresets import gradient_error
from adacore.experiments.analysis.scores import class_accuracies, entropy, ranks_within_classes
from adacore.experiments.analysis.variance import Draw, batch_error, random_batch_error
from adacore.probing.curvature import precondition
from adacore.probing.labels import labels_of
from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements
from adacore.selectors import Selector, partitioned


@dataclass(frozen=True)
class GradientErrors:
    """Errors of gradients at one moment of training; nan where something has none.

    Attributes:
        plain: Of the coreset's gradient proxies, eq. (4), normalised as in ``gradient_error``.
        preconditioned: Of the same divided by the Hessian diagonal, eq. (5).
        batch: Of the proxies of single mini-batches as training draws them, relative to the full gradient, see
            ``batch_error``.
        random_batch: Of mini-batches as large, drawn uniformly from all examples.
    """

    plain: float = math.nan
    preconditioned: float = math.nan
    batch: float = math.nan
    random_batch: float = math.nan


def gradient_errors(
    model: nn.Module,
    dataset: Dataset[Any],
    coreset: Coreset | None,
    probe: Probe,
    *,
    draws: Sequence[Draw] = (),
    damping: float = 1e-6,
    seed: int = 0,
    moment: int = 0,
) -> GradientErrors:
    """Run the model over the data and measure gradient errors, for any method, with the same yardstick.

    Proxies are with respect to the logits; the curvature is exact, in blocks of 64, without running averages.

    Args:
        model: As it is now; left untouched.
        dataset: The n examples.
        coreset: Of the same; None for a method without.
        probe: How to run the model.
        draws: Mini-batches of the same, all of one size: none or at least two.
        damping: Added to the curvature, eq. (10).
        seed: Of the blocks.
        moment: Which measurement this is: blocks are drawn from seed and moment.

    Returns:
        The errors.
    """
    # The same space and curvature for all methods: each would look best by its own.
    needs = Requirements(proxy="logits", curvature=Curvature())
    snapshot = probe.measure(model, dataset, needs, seed=seed, reselection=moment)
    if snapshot.proxies is None or snapshot.curvature is None:
        raise RuntimeError("the probe left out proxies or curvature although they were required")
    errors = GradientErrors()
    if coreset is not None:
        preconditioned = precondition(snapshot.proxies, snapshot.curvature, damping)
        errors = replace(
            errors,
            plain=gradient_error(snapshot.proxies, coreset),
            preconditioned=gradient_error(preconditioned, coreset),
        )
    if draws:
        errors = replace(
            errors,
            batch=batch_error(snapshot.proxies, draws).relative_error,
            random_batch=random_batch_error(snapshot.proxies, len(draws[0][0])),
        )
    return errors


def measure_run(
    model: nn.Module,
    train: Dataset[Any],
    test: Dataset[Any],
    coreset: Coreset | None,
    probe: Probe,
    *,
    draws: Sequence[Draw] = (),
    seed: int,
    epoch: int,
) -> dict[str, float | None]:
    """Measure what a row of metrics tells the analysis beyond what every row tells.

    Args:
        model: After the epoch; left untouched.
        train: The n training examples.
        test: Test examples, with classes.
        coreset: What was trained on; None where mini-batches are drawn from all examples.
        probe: How to run the model.
        draws: Mini-batches as training draws them now.
        seed: Of all that is drawn.
        epoch: From 1.

    Returns:
        ``gradient_error`` and ``preconditioned_gradient_error`` of the coreset; ``batch_gradient_error`` of the
        mini-batches and ``random_batch_gradient_error`` of random ones; ``worst_class_accuracy``, the least of the
        accuracies on the test examples of each class that occurs in training; and ``seen_classes_accuracy``, the
        accuracy on all of those. What is not finite is None.
    """
    errors = gradient_errors(model, train, coreset, probe, draws=draws, seed=seed, moment=epoch)
    seen = labels_of(train, loader=probe.loader)
    # No seed: probabilities are measured without any draw.
    tested = probe.measure(model, test, Requirements(probabilities=True))
    measured = {
        "gradient_error": errors.plain,
        "preconditioned_gradient_error": errors.preconditioned,
        "batch_gradient_error": errors.batch,
        "random_batch_gradient_error": errors.random_batch,
    }
    if seen is not None and tested.targets is not None and tested.probabilities is not None:
        known = np.isin(tested.targets, seen)  # a class that was never trained on can't be got right
        predicted, labels = tested.probabilities.argmax(axis=1)[known], tested.targets[known]
        if labels.size:
            measured["worst_class_accuracy"] = min(class_accuracies(predicted, labels).values())
            measured["seen_classes_accuracy"] = float((predicted == labels).mean())
    # Every key in every row that was measured: readers need not ask which of them a run has.
    return {name: value if math.isfinite(value := measured.get(name, math.nan)) else None for name in MEASURED}


MEASURED = (
    "gradient_error",
    "preconditioned_gradient_error",
    "batch_gradient_error",
    "random_batch_gradient_error",
    "worst_class_accuracy",
    "seen_classes_accuracy",
)
"""Keys of what ``measure_run`` returns."""


@dataclass(frozen=True, eq=False)
class Examples:
    """What is known about every training example at the end of a run.

    Attributes:
        labels: Classes, int64, shape (n,).
        forgetting: Forgetting events in training, int64, shape (n,).
        uncertainty: Entropy of the predicted probabilities in nats, float64, shape (n,).
        ranks: When the method, selecting all examples, picks the example within its class, from 0, int64, shape (n,).
    """

    labels: NDArray[np.int64]
    forgetting: NDArray[np.int64]
    uncertainty: NDArray[np.float64]
    ranks: NDArray[np.int64]

    def save(self, path: Path) -> Path:
        """Write a ``.npz`` file.

        Args:
            path: Where to.

        Returns:
            The path.
        """
        # A file and not a path: to a path of another ending numpy would append .npz, and write elsewhere.
        with path.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        return path

    @classmethod
    def load(cls, path: Path) -> Examples:
        """Read what ``save`` wrote.

        Args:
            path: The file.

        Returns:
            The examples.

        Raises:
            ValueError: If it is not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        # All that numpy raises for a file that is cut short or of another kind: the report can do without it, and says
        # how.
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{path} holds no examples ({words}): delete it, and the report leaves out what it shows; to have it "
                "again, train into another folder with --analyse-every 1 or more"
            ) from error


def describe_examples(
    model: nn.Module,
    dataset: Dataset[Any],
    selector: Selector,
    probe: Probe,
    forgetting: NDArray[np.int64],
    *,
    validation: Dataset[Any] | None = None,
    seed: int = 0,
) -> Examples:
    """Rank the examples by a method at the end of training, beside how uncertain and how often forgotten they are.

    Args:
        model: At the end of training; left untouched.
        dataset: The n examples, with classes.
        selector: The method that ranks: it selects them all, class by class, and its order is the rank.
        probe: How to run the model.
        forgetting: Forgetting events, int64, shape (n,).
        validation: A held-out data set, for selectors that require one.
        seed: Of every random draw.

    Returns:
        Labels, forgetting events, uncertainties, ranks.

    Raises:
        ValueError: If the data have no classes.
    """
    # One pass measures for both: the ranking's needs and the entropy's probabilities.
    needs = replace(selector.requirements(), probabilities=True)
    snapshot = probe.measure(model, dataset, needs, validation=validation, seed=seed, forgetting=forgetting)
    if snapshot.strata is None or snapshot.probabilities is None:
        raise ValueError("the data have no classes: examples are ranked within classes; pass labels=")
    # Selecting all of them gives an order, for which no budget has to be chosen.
    ranked = partitioned(selector, labelled=True).select(
        snapshot, snapshot.n, generator=np.random.default_rng([seed, 0])
    )
    return Examples(
        labels=snapshot.strata,
        forgetting=np.asarray(forgetting, dtype=np.int64),
        uncertainty=entropy(snapshot.probabilities),
        ranks=ranks_within_classes(ranked.indices, snapshot.strata),
    )
