"""The paper's figures and tables, run again: set-ups, runs, records, and the page of results made of them."""

from adacore.reproduce.records import make_record, write_record
from adacore.reproduce.results import write_results
from adacore.reproduce.run import reproduce
from adacore.reproduce.set_ups import configure, parts_of

__all__ = ["configure", "make_record", "parts_of", "reproduce", "write_record", "write_results"]
