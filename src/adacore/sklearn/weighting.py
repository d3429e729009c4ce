"""What the weights of a coreset mean to an estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from adacore.errors import unknown_name

WEIGHTS = ("sum_to_n", "mean_one", "none")

HEAVY_SHARE = 0.2
"""Of all weight: above it, and above ``HEAVY_TIMES`` the mean, a fit follows one example, and a warning says so."""

HEAVY_TIMES = 10.0


class HeavyExampleWarning(UserWarning):
    """One example of the coreset carries a large share of all weight."""


def scaled_weights(weights: NDArray[np.float64], meaning: str) -> NDArray[np.float64]:
    """Scale a coreset's weights to what an estimator is to be given.

    An estimator minimises ``R(w) + C sum_j gamma_j loss_j(w)`` (SVC, LogisticRegression; Ridge and its kin have
    ``alpha R(w)`` in place of C). With weights that sum to n the loss is that of all data, and C keeps its meaning; yet
    k examples know less than n do, and the same C overfits them. With weights of mean one, C regularises as it would on
    k examples.

    Args:
        weights: gamma, summing to n, float64, shape (k,).
        meaning: ``"sum_to_n"``, ``"mean_one"`` or ``"none"`` (every weight is 1, so that the estimator does not know
            for how many examples each one stands).

    Returns:
        float64, shape (k,).

    Raises:
        ValueError: If the meaning is unknown.

    Example:
        >>> scaled_weights(np.array([3.0, 1.0]), "mean_one")
        array([1.5, 0.5])
    """
    if meaning not in WEIGHTS:
        raise unknown_name("weights", meaning, [*WEIGHTS, "auto"])
    if meaning == "none":
        return np.ones(len(weights))
    # Both keep the proportions; they differ in how much the data weigh against the penalty.
    return weights if meaning == "sum_to_n" else weights / weights.mean()


def warn_if_heavy(weights: NDArray[np.float64]) -> None:
    """Warn if one example carries so much weight that a fit follows it alone.

    Args:
        weights: Of the coreset, float64, shape (k,).
    """
    share = float(weights.max() / weights.sum())
    # Both conditions: of three examples one carries a third at least, and nothing is wrong.
    if share > HEAVY_SHARE and share * len(weights) > HEAVY_TIMES:
        warnings.warn(
            f"one example of {len(weights)} carries {share:.0%} of all weight: most examples are alike to "
            "selection; pass features= that tell them apart, or weights='none'",
            HeavyExampleWarning,
            stacklevel=3,
        )


def weight_parameter(estimator: Any) -> str:
    """Return the name under which the estimator's fit takes weights.

    Args:
        estimator: An estimator or a Pipeline, whose last step counts.

    Returns:
        ``"sample_weight"``, with the step's name and two underscores before it where a Pipeline wants that.

    Raises:
        TypeError: If its fit takes none.
    """
    from sklearn import get_config

    # A Pipeline's own ``fit`` takes any keyword: only its last step says whether it knows weights.
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not has_fit_parameter(final, "sample_weight"):
        raise TypeError(
            f"{type(final).__name__}.fit takes no sample_weight, without which a coreset misrepresents the data: wrap "
            "an estimator that does, or pass weights='none' to fit it on the coreset's examples all the same"
        )
    # With routing on, a Pipeline passes sample_weight on by request, and refuses the prefixed name.
    if isinstance(estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
        return f"{estimator.steps[-1][0]}__sample_weight"
    return "sample_weight"
