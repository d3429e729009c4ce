"""What coresets did in a training run, from the coresets themselves and from what was measured of the examples."""

from adacore.experiments.analysis.coresets import (
    fractions_touched,
    gradient_error,
    most_chosen,
    never_chosen,
    overlaps,
    selection_counts,
)
from adacore.experiments.analysis.observed import (
    MEASURED,
    Examples,
    GradientErrors,
    describe_examples,
    gradient_errors,
    measure_run,
)
from adacore.experiments.analysis.scores import (
    class_accuracies,
    entropy,
    profile_by_rank,
    ranks_within_classes,
    sliding_means,
)

__all__ = [
    "MEASURED",
    "Examples",
    "GradientErrors",
    "class_accuracies",
    "describe_examples",
    "entropy",
    "fractions_touched",
    "gradient_error",
    "gradient_errors",
    "measure_run",
    "most_chosen",
    "never_chosen",
    "overlaps",
    "profile_by_rank",
    "ranks_within_classes",
    "selection_counts",
    "sliding_means",
]
