"""The laboratory: data sets, runs, comparisons, evidence, reports, and the experiments of the paper."""

from adacore.errors import require_extra

# One check at the door, for all that the laboratory imports further in: a missing package is then one line that says
# what to install, and not a failure after an hour of training, when the first chart is drawn.
require_extra("experiments", "adacore's laboratory (train, compare, report, reproduce, doctor)")
