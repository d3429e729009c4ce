"""What coresets did in a training run, from the coresets themselves and from what was measured of the examples."""

from adacore.experiments.analysis.coresets import (
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
from adacore.experiments.analysis.variance import (
    BatchError,
    batch_error,
    cluster_batches,
    coreset_batches,
    epoch_batches,
    random_batch_error,
    random_batches,
    sketch_gradients,
    stratified_batches,
)

__all__ = [
    "MEASURED",
    "BatchError",
    "Examples",
    "GradientErrors",
    "batch_error",
    "class_accuracies",
    "cluster_batches",
    "coreset_batches",
    "describe_examples",
    "entropy",
    "epoch_batches",
    "gradient_error",
    "gradient_errors",
    "measure_run",
    "most_chosen",
    "never_chosen",
    "overlaps",
    "profile_by_rank",
    "random_batch_error",
    "random_batches",
    "ranks_within_classes",
    "selection_counts",
    "sketch_gradients",
    "sliding_means",
    "stratified_batches",
]
