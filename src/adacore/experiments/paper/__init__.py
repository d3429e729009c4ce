"""The paper's figures and tables, run again: set-ups, runs, records, and the page of results made of them."""

from adacore.experiments.paper.records import make_record, write_record
from adacore.experiments.paper.results import write_results
from adacore.experiments.paper.run import reproduce
from adacore.experiments.paper.set_ups import configure, parts_of

__all__ = ["configure", "make_record", "parts_of", "reproduce", "write_record", "write_results"]
