"""Evidence: what paired runs of several methods say, at what cost, and no more than that.

Everything that is shown of a comparison, on a terminal, in a report or on the page of results, is formatted from here.
"""

from adacore.experiments.evidence.intervals import Interval, mean_interval
from adacore.experiments.evidence.outcomes import Outcome
from adacore.experiments.evidence.summaries import MethodSummary, summarise
from adacore.experiments.evidence.verdicts import Judgement, Verdict, judge_all

__all__ = [
    "Interval",
    "Judgement",
    "MethodSummary",
    "Outcome",
    "Verdict",
    "judge_all",
    "mean_interval",
    "summarise",
]
