"""Figures that pages quote from records: each names its record, and is checked to say what the record says.

In Markdown a figure is followed by a comment that readers don't see: ``94.4 %<!-- record demo: adacore accuracy -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adacore.experiments.evidence.intervals import mean_interval
from adacore.experiments.paper.claims import accuracies

_QUOTE = re.compile(r"(?P<number>[-+−]?[\d,]*\.?\d+)[^\d<>]{0,12}<!-- record (?P<record>[\w-]+): (?P<about>[^>]*?) -->")
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
    name, (method, _, quantity) = quote["record"], quote["about"].rpartition(" ")
    if name not in records:
        return f"there is no record {name}"
    found = next((each for each in records[name]["methods"] if each["method"] == method), None)
    if found is None or quantity not in _QUANTITIES:
        return f"record {name} says nothing of {quote['about']!r}; quantities: {', '.join(_QUANTITIES)}"
    # Pages write thousands with commas and a true minus sign; Python reads neither.
    number = quote["number"].replace(",", "").replace("−", "-")
    value = _QUANTITIES[quantity](found)
    # Half a unit of the last digit that is shown: a quote may round, and nothing else.
    half = 0.5 * 10.0 ** -len(number.partition(".")[2])
    if abs(float(number) - value) > half + 1e-9:
        return f"{quote['number']} is quoted of {name}, {quote['about']}, whose record says {value:.6g}"
    return None
