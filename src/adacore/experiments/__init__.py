"""The laboratory: data sets, runs, comparisons, evidence, reports, and the experiments of the paper."""
