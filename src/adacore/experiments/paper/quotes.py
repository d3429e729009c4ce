"""Figures that pages quote from records: each names its record, and is checked to say what the record says.

In Markdown a figure is followed by a comment that readers don't see: ``94.4 %<!-- record demo: adacore accuracy -->``.
Of records that are no comparisons, the comment gives the path to a number. A factor stands behind it if the page writes
the number in another unit, ``97.7 %<!-- record sklearn-search: 15000 rows/random/test_accuracy x 100 -->``, or without
its sign, ``8.6<!-- record uniform-cifar10-s10: adacore difference x -1 --> points below``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adacore.experiments.evidence.intervals import mean_interval
from adacore.experiments.paper.claims import accuracies

_QUOTE = re.compile(
    r"(?P<number>[-+−]?[\d,]*\.?\d+(?:e[-−]?\d+)?)[^\d<>]{0,12}<!-- record (?P<record>[\w-]+): (?P<about>[^>]*?) -->"
)
_MARK = re.compile(r"<!-- record ")

_QUANTITIES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "accuracy": lambda method: 100 * mean_interval(list(accuracies(method).values())).mean,
    "difference": lambda method: 100 * float(method["against_random"]["mean"]),
    "low": lambda method: 100 * float(method["against_random"]["low"]),
    "high": lambda method: 100 * float(method["against_random"]["high"]),
    "seeds": lambda method: len(method["accuracies"]),
    "seconds": lambda method: float(method["seconds"]["total"]),
    "gradients": lambda method: float(method["gradient_evaluations"]),
    "seen": lambda method: 100 * float(method["fraction_seen"]),
}
"""What may be quoted of a method: percentages and points, seconds, gradients with probing, numbers of seeds."""


def wrong_quotes(page: Path, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find the figures of a page that are not what their records say.

    Args:
        page: A Markdown file.
        records: By name.

    Returns:
        A sentence for each, with file and line; none if all agree.
    """
    text = page.read_text(encoding="utf-8")
    told = []
    found = list(_QUOTE.finditer(text))
    # A mark that matches nothing would pass as a figure that agrees.
    if len(found) < len(_MARK.findall(text)):
        told.append(f"{page}: a comment that names a record follows no figure: write 94.4 %<!-- record demo: ... -->")
    for quote in found:
        reason = _wrong(quote, records)
        if reason:
            line = text.count("\n", 0, quote.start()) + 1
            told.append(f"{page}, line {line}: {reason}")
    return told


def _wrong(quote: re.Match[str], records: Mapping[str, Mapping[str, Any]]) -> str | None:
    name, about = quote["record"], quote["about"]
    if name not in records:
        return f"there is no record {name}"
    what, _, factor = about.partition(" x ")
    value = _at_path(records[name], what) if "/" in what else _of_method(records[name], what)
    if value is None:
        return f"record {name} says nothing of {about!r}; quantities of methods: {', '.join(_QUANTITIES)}; or a/path"
    # Pages write thousands with commas and a true minus sign; Python reads neither.
    number = quote["number"].replace(",", "").replace("−", "-")
    value *= float(factor or 1)
    # Half a unit of the last digit that is shown: a quote may round, and nothing else.
    digits, _, exponent = number.lower().partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    if abs(float(number) - value) > half * (1 + 1e-6):
        return f"{quote['number']} is quoted of {name}, {about}, whose record says {value:.6g}"
    return None


def _of_method(record: Mapping[str, Any], about: str) -> float | None:
    """Look up ``adacore accuracy``: a method of a comparison, and what is quoted of it."""
    method, _, quantity = about.rpartition(" ")
    methods = record.get("methods")
    found = next((each for each in methods if each["method"] == method), None) if isinstance(methods, list) else None
    return None if found is None or quantity not in _QUANTITIES else _QUANTITIES[quantity](found)


def _at_path(record: Mapping[str, Any], path: str) -> float | None:
    """Look up ``keys/to/a/number``; whole numbers are positions in lists."""
    value: Any = record
    for key in path.split("/"):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return float(value) if isinstance(value, int | float) else None
