"""The table of `adacore label` on a terminal."""

import io

from rich.console import Console

from adacore.experiments.report.label_page import label_table


def test_an_ordinary_terminal_of_80_characters_cuts_nothing_off():
    row = {
        "estimator": "logistic",
        "budget": 50,
        "seeds": 5,
        "method": "facility_location",
        "accuracy": 0.91,
        "difference": 0.095,
        "low": 0.032,
        "high": 0.158,
        "verdict": "not distinguishable",
        "saving": {"factor": 2.5, "low": 2.0, "high": 3.2, "capped": False},
        "choosing_seconds": 0.11,
    }
    console = Console(width=80, file=io.StringIO())
    console.print(label_table({"settings": {"seeds": 5}, "rows": [row]}))
    text = console.file.getvalue()
    assert "…" not in text  # folded into further lines, and nothing cut off
    assert {"facility_location", "accuracy", "91.0%", "0.11"} <= set(text.split())
    assert "estimator" not in text  # the only one stands in the title
